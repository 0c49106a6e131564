"""Output files and folders that are whole or absent, never half."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from btu.support.errors import InputError


def check_output_folder(folder: str | Path, *, overwrite: bool) -> Path:
    """Refuse early what `replace_folder` would refuse after hours of training.

    Args:
        folder: Where the result shall go.
        overwrite: Whether what is there may be replaced.

    Returns:
        The absolute path.

    Raises:
        InputError: It is a file; it holds something and `overwrite` is False; it is the home
            folder, the working folder or a folder above one of them.
    """
    path = Path(folder).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise InputError(f"{folder}: expected an output folder, found a file. Name a folder.")
    for precious in (Path.home(), Path.cwd()):
        if precious.resolve().is_relative_to(path.resolve()):
            raise InputError(
                f"{folder}: expected a folder of its own for the output, got one that holds "
                f"{precious}. Name a folder that may be replaced."
            )
    if path.exists() and any(path.iterdir()) and not overwrite:
        raise InputError(
            f"{folder}: expected an empty or new output folder, found one with files in it. "
            "Name another folder, or give --overwrite to replace everything in it."
        )
    return path


def check_output_file(path: str | Path, *, overwrite: bool) -> None:
    """Refuse early what `replace_file` would refuse: a folder that is missing is made then.

    Raises:
        InputError: The file exists and `overwrite` is False; it is a folder; a folder above it is
            a file, or cannot be written to.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{path}: expected an output file, found a folder. Name a file in it.")
    if target.exists() and not overwrite:
        raise InputError(
            f"{path}: expected a new output file, found one. Name another, or give --overwrite."
        )
    above = next(folder for folder in target.absolute().parents if folder.exists())
    if not above.is_dir():
        raise InputError(f"{path}: expected a folder above it, found the file {above}.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(
            f"{path}: expected a folder that can be written to, got {above}, which cannot. Name "
            "another one, or change its permissions."
        )


@contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, put in the old one's place only when it is whole and on the disk.

    A link stays one: the file that it points to is replaced. A folder that is missing is made.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with scratch.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def replace_folder(folder: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Write into a new folder that takes the old one's place only once the block has ended well.

    After an error, an interrupt or on a full disk the old content stands whole and nothing of the
    new one is left.

    Args:
        folder: Where the result shall go.
        overwrite: Whether what is there may be replaced.

    Yields:
        An empty folder beside it to write into.

    Raises:
        InputError: As `check_output_folder`.
    """
    target = check_output_folder(folder, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    fresh, old = scratch / "new", scratch / "old"
    try:
        fresh.mkdir()
        yield fresh
        _flush(fresh)
        try:
            if target.exists():
                target.rename(old)
            fresh.rename(target)
        except BaseException:
            if old.exists() and not target.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Make sure that the bytes are on the disk before the old ones go; a full disk shows here."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
