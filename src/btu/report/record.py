"""The record of a scan or a defence: its form, and what it maps to in public frameworks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema

from btu.support.errors import InputError
from btu.support.record import RECORD_NAME, build_record, read_record

REPORTED_KINDS = ("scan", "defence")


def build_reported(kind: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """A complete record of the form `load_schema()`.

    Args:
        kind: `scan` or `defence`.
        parts: What the run itself has to say, JSON types.
    """
    return build_record(kind, {"frameworks": load_frameworks(), **parts})


@cache
def load_schema() -> dict[str, Any]:
    """The JSON Schema of a record, which ships with the package."""
    text = files("btu.report").joinpath("record.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def load_frameworks() -> list[dict[str, str]]:
    """Entries of public frameworks that a record maps to, each with its framework's version."""
    text = files("btu.report").joinpath("frameworks.json").read_text(encoding="utf-8")
    frameworks: list[dict[str, str]] = json.loads(text)
    return frameworks


def load_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A record that `btu scan --output` or `btu train` wrote, checked against its schema.

    Args:
        path: The file, or a folder that holds it under the name `btu.json`.

    Raises:
        InputError: There is no record, or it is of another version or form.
    """
    file = Path(path) / RECORD_NAME if Path(path).is_dir() else Path(path)
    record = read_record(file)
    if record is None:
        raise InputError(
            f"{file}: expected a record, found no file. Write one with `btu scan --output` or "
            "`btu train`."
        )
    if record.get("kind") not in REPORTED_KINDS:
        raise InputError(
            f"{file}: expected the record of a scan or a defence, got one of the kind "
            f"{str(record.get('kind'))!r}. Take the file {RECORD_NAME}."
        )
    validator = jsonschema.Draft202012Validator(load_schema())
    faults = [
        f"{'.'.join(map(str, e.absolute_path)) or 'record'}: {_shorten(e.message)}"
        for e in sorted(validator.iter_errors(record), key=lambda e: list(map(str, e.path)))
    ]
    if faults:
        more = [f"and {len(faults) - 5} more"] if len(faults) > 5 else []
        remedy = "if another version of btu wrote it: make it anew by `btu scan` or `btu train`"
        raise InputError.from_faults(str(file), [*faults[:5], *more, remedy])
    return record


def _shorten(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:199]}…"
