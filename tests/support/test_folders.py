"""Output is whole or absent: what stands there before an error stands there afterwards."""

import errno
import os
from pathlib import Path

import pytest

from btu.support.errors import InputError
from btu.support.folders import check_output_file, check_output_folder, replace_file, replace_folder


@pytest.fixture
def old(tmp_path) -> Path:
    """A folder with a file and a folder in it."""
    folder = tmp_path / "out"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"old a")
    (folder / "inner" / "b.txt").write_bytes(b"old b")
    return folder


OLD = {"out/a.txt": b"old a", "out/inner/b.txt": b"old b"}
ERRORS = [RuntimeError("broken"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")]
IDS = ["error", "interrupt", "full disk"]


def read_all(folder: Path) -> dict[str, bytes]:
    """Every file below, hidden ones too; a folder without files would be missed, so it fails."""
    for path in folder.rglob("*"):
        assert path.is_file() or any(path.iterdir()), f"{path} is empty"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write_half_folder(folder: Path, error: BaseException) -> None:
    with replace_folder(folder, overwrite=True) as fresh:
        (fresh / "c.txt").write_bytes(b"half")
        raise error


def write_half_file(path: Path, error: BaseException) -> None:
    with replace_file(path) as file:
        file.write(b"half")
        raise error


# ---- folders


def test_the_new_folder_takes_the_place_of_the_old_one_as_a_whole(old, tmp_path):
    with replace_folder(old, overwrite=True) as fresh:
        assert not list(fresh.iterdir())
        (fresh / "c.txt").write_bytes(b"new")
        assert {name: content for name, content in read_all(tmp_path).items() if name in OLD} == OLD
    assert read_all(tmp_path) == {"out/c.txt": b"new"}


def test_a_new_folder_comes_with_the_folders_above_it(tmp_path):
    with replace_folder(tmp_path / "deep" / "down") as fresh:
        (fresh / "c.txt").write_bytes(b"new")
    assert read_all(tmp_path) == {"deep/down/c.txt": b"new"}


def test_an_empty_folder_needs_no_overwrite(tmp_path):
    (tmp_path / "out").mkdir()
    with replace_folder(tmp_path / "out") as fresh:
        (fresh / "c.txt").write_bytes(b"new")
    assert read_all(tmp_path) == {"out/c.txt": b"new"}


@pytest.mark.parametrize("error", ERRORS, ids=IDS)
def test_an_error_in_the_block_leaves_the_old_folder_and_nothing_else(old, tmp_path, error):
    with pytest.raises(type(error)):
        write_half_folder(old, error)
    assert read_all(tmp_path) == OLD


def test_an_error_in_the_block_leaves_no_folder_where_none_was(tmp_path):
    with pytest.raises(RuntimeError):
        write_half_folder(tmp_path / "out", RuntimeError("broken"))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_that_shows_only_when_the_bytes_are_flushed_leaves_the_old_folder(
    old, tmp_path, monkeypatch
):
    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"), replace_folder(old, overwrite=True) as fresh:
        (fresh / "c.txt").write_bytes(b"new")
    assert read_all(tmp_path) == OLD


@pytest.mark.parametrize("step", [1, 2], ids=["old away", "new there"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_an_interrupt_between_the_two_renames_leaves_a_whole_folder(
    old, tmp_path, monkeypatch, step, done
):
    rename, calls = Path.rename, []

    def interrupted(self, target):
        calls.append(self)
        if len(calls) == step:
            if done:
                rename(self, target)
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with (
        pytest.raises((KeyboardInterrupt, OSError)),
        replace_folder(old, overwrite=True) as fresh,
    ):
        (fresh / "c.txt").write_bytes(b"new")
    assert read_all(tmp_path) in (OLD, {"out/c.txt": b"new"})


def test_a_rename_that_fails_leaves_the_old_folder(old, tmp_path, monkeypatch):
    rename = Path.rename

    def fail(self, target):
        if self.name == "new":
            raise PermissionError(errno.EACCES, "no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(PermissionError), replace_folder(old, overwrite=True) as fresh:
        (fresh / "c.txt").write_bytes(b"new")
    assert read_all(tmp_path) == OLD


def test_a_folder_in_use_is_refused_before_anything_is_written(old, tmp_path):
    with pytest.raises(InputError, match=r"empty or new output folder.*--overwrite"):
        replace_folder(old).__enter__()
    with pytest.raises(InputError, match="--overwrite"):
        check_output_folder(old, overwrite=False)
    assert read_all(tmp_path) == OLD


def test_a_file_is_no_output_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="expected an output folder, found a file"):
            check_output_folder(tmp_path / "file", overwrite=overwrite)


def test_home_the_working_folder_and_all_above_them_are_refused(tmp_path, monkeypatch):
    home, work = tmp_path / "homes" / "me", tmp_path / "work" / "here"
    for folder in (home, work):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    for precious in (home, home.parent, work, work.parent, tmp_path, ".", "..", "~", "/"):
        with pytest.raises(InputError, match="expected a folder of its own"):
            check_output_folder(precious, overwrite=True)
    (work / "out").mkdir()
    (work / "out" / "file").touch()
    assert check_output_folder("out", overwrite=True) == work / "out"


def test_a_link_to_a_precious_folder_is_refused(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(InputError, match="expected a folder of its own"):
        check_output_folder(tmp_path / "link", overwrite=True)


def test_the_working_folder_is_refused_even_while_it_is_empty(tmp_path, monkeypatch):
    """Renamed away, it would leave the user's shell in a folder that is no more."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected a folder of its own"):
        check_output_folder(".", overwrite=False)


# ---- files


def test_the_new_file_takes_the_place_of_the_old_one_only_when_it_is_whole(tmp_path):
    path = tmp_path / "out.json"
    path.write_bytes(b"old")
    with replace_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert read_all(tmp_path) == {"out.json": b"new"}


@pytest.mark.parametrize("error", ERRORS, ids=IDS)
def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "out.json"
    path.write_bytes(b"old")
    with pytest.raises(type(error)):
        write_half_file(path, error)
    assert read_all(tmp_path) == {"out.json": b"old"}


def test_an_output_file_is_new_or_may_be_overwritten(tmp_path):
    path = tmp_path / "out.json"
    check_output_file(path, overwrite=False)
    path.write_bytes(b"old")
    with pytest.raises(InputError, match=r"expected a new output file, found one.*--overwrite"):
        check_output_file(path, overwrite=False)
    check_output_file(path, overwrite=True)
    assert path.read_bytes() == b"old"


def test_an_output_file_is_no_folder_and_stands_below_no_file(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="expected an output file, found a folder"):
            check_output_file(tmp_path, overwrite=overwrite)
        with pytest.raises(InputError, match=r"expected a folder above it, found the file .*file"):
            check_output_file(file / "deep" / "out.json", overwrite=overwrite)
    assert read_all(tmp_path) == {"file": b"mine"}


def test_a_missing_folder_is_made_when_the_file_is_written_and_not_before(tmp_path):
    path = tmp_path / "new" / "deep" / "out.json"
    check_output_file(path, overwrite=False)
    assert not list(tmp_path.iterdir())
    with replace_file(path) as file:
        file.write(b"whole")
    assert path.read_bytes() == b"whole"


def test_a_link_to_a_file_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "rows.csv", tmp_path / "rows.csv"
    target.write_text("old")
    link.symlink_to(target)
    with replace_file(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"
