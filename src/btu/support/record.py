"""A record: what a run has to say as JSON types, nothing rounded, with versions and hardware."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from btu.support.errors import InputError
from btu.support.folders import replace_file

RECORD_VERSION = 4
RECORD_NAME = "btu.json"
_PACKAGES = (
    "backdoor-token-unlearning",
    "accelerate",
    "datasets",
    "numpy",
    "peft",
    "safetensors",
    "scikit-learn",
    "tokenizers",
    "torch",
    "transformers",
)


def build_record(kind: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """A record: what a run has to say, with versions, hardware and time.

    Args:
        kind: What it records, such as `scan`.
        parts: What the run itself has to say, JSON types.
    """
    return {
        "record_version": RECORD_VERSION,
        "kind": kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **list_versions(_PACKAGES)},
        "hardware": {
            "device": find_device(),
            "machine": platform.machine(),
            "cpu_count": os.cpu_count(),
            "torch_threads": sys.modules["torch"].get_num_threads()
            if "torch" in sys.modules
            else None,
        },
        **parts,
    }


def find_device() -> str:
    """Where models run; a scan of texts alone has none and asks no library for it."""
    if "torch" not in sys.modules:
        return "cpu"
    from accelerate import PartialState

    return PartialState().device.type


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


def list_versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Which version of each package is installed; None for one that is not."""
    found: dict[str, str | None] = {}
    for package in packages:
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
