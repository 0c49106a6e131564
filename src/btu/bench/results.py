"""Results: one JSON file a cell, whole or absent, with everything needed to measure it again."""

from __future__ import annotations

import json
import subprocess
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from btu.bench.cells import Cell
from btu.support.errors import InputError
from btu.support.folders import replace_file
from btu.support.record import build_record, render_json

Status = Literal["ok", "failed", "not-available"]
OK: Status = "ok"
FAILED: Status = "failed"
NOT_AVAILABLE: Status = "not-available"

_MAX_DETAILS = 60_000
_HALF_WRITTEN_AFTER = 600.0
_TRACE_LINES = 12


@dataclass(frozen=True)
class Commit:
    """Which source code measured.

    Attributes:
        id: Git commit; None outside a repository.
        is_dirty: Whether the package differs from that commit; None outside a repository.
    """

    id: str | None
    is_dirty: bool | None


def result_path(results: Path, cell: Cell) -> Path:
    """The file of a cell's result."""
    return results / cell.experiment / f"{cell.id}.json"


def build_result(cell: Cell, status: Status, parts: Mapping[str, Any]) -> dict[str, Any]:
    """A complete result: the cell, the circumstances, and what was measured."""
    commit = read_commit()
    return {
        **build_record("bench", {}),
        "commit": commit.id,
        "dirty": commit.is_dirty,
        "cell": cell.to_dict(),
        "status": status,
        "error": None,
        **parts,
    }


def describe_error(error: BaseException) -> dict[str, str]:
    """The error of a failed cell, with the end of its traceback."""
    trace = "".join(traceback.format_exception(error)).splitlines()
    return {
        "error": f"{type(error).__name__}: {error}",
        "traceback": "\n".join(trace[-_TRACE_LINES:]),
    }


def limit_details(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """A defence's own details, or how long they were, so that a result stays small."""
    size = len(render_json(details))
    return details if size <= _MAX_DETAILS else {"left_out_characters": size}


def write_result(result: Mapping[str, Any], path: Path) -> None:
    """Write a result, one key a line, as a file that is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = json.loads(render_json(result))
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in plain.items())
    with replace_file(path) as file:
        file.write(f"{{\n{lines}\n}}\n".encode())


def load_results(results: Path, cells: Iterable[Cell]) -> dict[str, dict[str, Any]]:
    """The results of these cells, by their keys.

    A result that was measured with other settings than the cell has now is not one of them.

    Raises:
        InputError: A file is no result.
    """
    found = {}
    for cell in cells:
        result = load_result(results, cell)
        if result is not None:
            found[cell.key] = result
    return found


def load_result(results: Path, cell: Cell) -> dict[str, Any] | None:
    """The result of a cell as it is described now; None where there is none.

    Raises:
        InputError: The file is no result.
    """
    result = _read_result(result_path(results, cell))
    if result is None or result["cell"] != json.loads(json.dumps(cell.to_dict())):
        return None
    return result


def copy_result(results: Path, cell: Cell) -> dict[str, Any] | None:
    """The result of the same cell in another experiment, copied; None where there is none."""
    for path in sorted(results.glob(f"*/{cell.id}.json")):
        twin = replace(cell, experiment=path.parent.name)
        result = load_result(results, twin)
        if result is not None and result["status"] == OK:
            copied = {**result, "cell": cell.to_dict(), "copied_from": twin.experiment}
            write_result(copied, result_path(results, cell))
            return copied
    return None


def clear_half_written(results: Path) -> None:
    """Remove what killed runs left beside the results."""
    for path in results.rglob(".*.tmp"):
        if time.time() - path.stat().st_mtime > _HALF_WRITTEN_AFTER:
            path.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def read_commit() -> Commit:
    """The commit of the package's own source, as this process first saw it."""
    package = Path(__file__).resolve().parents[1]
    # A package installed below somebody's repository is not part of that repository.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return Commit(None, None)
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--", ".")
    return Commit(commit, None if changes is None else bool(changes))


def _read_result(path: Path) -> dict[str, Any] | None:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        known = result["kind"] == "bench" and {"cell", "status"} <= result.keys()
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise InputError(
            f"{path}: expected a result of `btu bench run`, got another file. Remove it."
        )
    return dict(result)


def _git(folder: Path, *command: str) -> str | None:
    try:
        run = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return run.stdout.strip() if run.returncode == 0 else None
