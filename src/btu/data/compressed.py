"""Compressed files -> the file inside, unpacked with a limit."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from btu.support.errors import InputError

_CHUNK = 2**20
# Text packs to a twentieth at best; what unpacks to far more is made to fill a disk.
_MOST_UNPACKED = 100
_ALWAYS_ALLOWED = 64 * 2**20


def _open_zstd(path: Path) -> IO[bytes]:
    import pyarrow as pa

    opened: IO[bytes] = pa.input_stream(str(path), compression="zstd")
    return opened


_OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zstd,
}
ENDINGS = (*_OPENERS, ".zip")
# zipfile says RuntimeError of a password, and NotImplementedError, which is one, of odd packing.
_UNREADABLE = (
    *(OSError, EOFError, RuntimeError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)


@contextmanager
def unpack(path: Path, source: str) -> Iterator[Path]:
    """The file inside a compressed one, as long as the block lasts.

    Args:
        path: Ends in .gz, .bz2, .xz, .zst (reviews.csv.gz) or .zip, which holds one file.
        source: As the user gave it.

    Raises:
        InputError: It cannot be unpacked, holds several files, or far more than text unpacks to.
    """
    with tempfile.TemporaryDirectory(prefix="btu-") as folder:
        try:
            if path.suffix.lower() == ".zip":
                inside = _unpack_zip(path, source, Path(folder))
            else:
                inside = Path(folder, path.stem)
                with _OPENERS[path.suffix.lower()](path) as packed:
                    _copy(packed, inside, path, source)
        except _UNREADABLE as error:
            raise InputError(
                f"{source}: expected a compressed file, but it cannot be unpacked ({error}). "
                "Compress it again, or rename it if only the name is wrong."
            ) from error
        if inside.suffix.lower() in ENDINGS:
            raise InputError(
                f"{source}: expected a file with rows inside, got {inside.name}, which is "
                "compressed again. Unpack it once."
            )
        yield inside


def _unpack_zip(path: Path, source: str, folder: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        # Folders, and what macOS adds beside each file, are no data.
        names = [
            info.filename
            for info in archive.infolist()
            if not info.is_dir() and not info.filename.startswith("__MACOSX/")
        ]
        if len(names) != 1:
            raise InputError(
                f"{source}: expected an archive of one file, got {len(names)}. Unpack it and name "
                "the file with the rows."
            )
        inside = folder / Path(names[0]).name
        with archive.open(names[0]) as packed:
            _copy(packed, inside, path, source)
    return inside


def _copy(packed: IO[bytes], inside: Path, path: Path, source: str) -> None:
    most = max(_ALWAYS_ALLOWED, _MOST_UNPACKED * path.stat().st_size)
    left = most
    with inside.open("wb") as file:
        while chunk := packed.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise InputError(
                    f"{source}: expected text that unpacks to at most {_MOST_UNPACKED} times its "
                    f"size, got more than {most // 2**20:,} MiB. Unpack it yourself if you trust "
                    "it."
                )
            file.write(chunk)
    shutil.copystat(path, inside)
