"""The record: everything about a run as JSON types, nothing rounded, nothing cut."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from btu.errors import InputError
from btu.folders import replace_file

RECORD_VERSION = 4
RECORD_NAME = "btu.json"
REPORTED_KINDS = ("scan", "defence")
_PACKAGES = (
    "backdoor-token-unlearning",
    "accelerate",
    "datasets",
    "numpy",
    "safetensors",
    "scikit-learn",
    "tokenizers",
    "torch",
    "transformers",
)


def build_record(kind: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """A complete record.

    Args:
        kind: `scan` or `defence`, whose form is `load_schema()`; or `demo`, a result of its own.
        parts: What the run itself has to say, JSON types.
    """
    mapped = {"frameworks": load_frameworks()} if kind in REPORTED_KINDS else {}
    return {
        "record_version": RECORD_VERSION,
        "kind": kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **_installed_versions()},
        "hardware": {
            "device": _find_device(),
            "machine": platform.machine(),
            "cpu_count": os.cpu_count(),
            "torch_threads": sys.modules["torch"].get_num_threads()
            if "torch" in sys.modules
            else None,
        },
        **mapped,
        **parts,
    }


def _find_device() -> str:
    """Where models run; a scan of texts alone has none and asks no library for it."""
    if "torch" not in sys.modules:
        return "cpu"
    from accelerate import PartialState

    return str(PartialState().device)


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
        raise InputError.from_faults(str(file), [*faults[:5], *more])
    return record


def render_json(record: Mapping[str, Any]) -> str:
    """The record as JSON text; not-a-number becomes null, what JSON does not know its text."""
    return json.dumps(_plain(record), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def write_record(record: Mapping[str, Any], path: Path) -> None:
    """Write the record as a JSON file that is whole or absent."""
    with replace_file(path) as file:
        file.write(render_json(record).encode())


def read_record(path: Path) -> dict[str, Any] | None:
    """The record in a file; None where there is no file.

    Raises:
        InputError: The file is no record.
    """
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected a record as JSON, got {error}.") from error
    if not isinstance(record, dict) or record.get("record_version") != RECORD_VERSION:
        raise InputError(
            f"{path}: expected a record of version {RECORD_VERSION}, got another file. Write one "
            "with `btu scan --output` or `btu train`."
        )
    return record


def _shorten(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:199]}…"


def _installed_versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return str(value)
