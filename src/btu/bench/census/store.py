"""Results of a census: one JSON file a corpus, a line for each case, whole or absent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from btu.bench.census.plan import CensusCase, Source
from btu.bench.results import read_commit
from btu.data.corpus import Corpus
from btu.support.errors import InputError
from btu.support.folders import replace_file
from btu.support.record import build_record, render_json

DONE = "done"
FAILED = "failed"
SKIPPED = "skipped"

Counts = Mapping[str, Any]
"""What was counted in a case, JSON types."""


class SourceStore:
    """The results of one corpus.

    A case that was counted on other rows, or as something else than it is now, is not among them.
    """

    def __init__(self, folder: Path, source: Source, whole: Corpus) -> None:
        """Open the file of the corpus, or begin one.

        Args:
            folder: Of all results.
            source: The corpus.
            whole: Its rows.

        Raises:
            InputError: The file is no result.
        """
        self._path = folder / f"{source.name}.json"
        self._source = source
        self._data = {
            "rows": len(whole),
            "labels": whole.num_labels,
            "sha256": whole.fingerprint(),
        }
        old = _read(self._path)
        is_same = old.get("data") == self._data
        self._runs: list[dict[str, Any]] = list(old["runs"]) if is_same else []
        self._cases: dict[str, Counts] = {c["id"]: c for c in old["cases"]} if is_same else {}
        self._run: int | None = None

    def is_done(self, case: CensusCase) -> bool:
        """Whether there is a result that did not fail."""
        found = self._cases.get(case.id)
        return found is not None and _is_of(found, case) and FAILED not in found

    def add(self, case: CensusCase, counts: Counts) -> None:
        """Keep what was counted, and write the file anew."""
        if self._run is None:
            self._run = len(self._runs)
            self._runs.append(_describe_run())
        self._cases[case.id] = {
            "id": case.id,
            "case": case.to_dict(),
            "run": self._run,
            **counts,
        }
        self._write()

    def _write(self) -> None:
        """One case a line, so that a change reads well."""
        used = sorted({int(case["run"]) for case in self._cases.values()})
        runs = [self._runs[run] for run in used]
        cases = [{**case, "run": used.index(case["run"])} for case in self._cases.values()]
        head = {
            "kind": "census",
            "corpus": self._source.name,
            "family": self._source.family,
            "held_out": self._source.held_out,
            "data": self._data,
        }
        lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
        text = "\n".join(
            [
                "{",
                *lines,
                f'"runs": [\n{_join_lines(runs)}\n],',
                f'"cases": [\n{_join_lines(cases)}\n]',
                "}\n",
            ]
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(self._path) as file:
            file.write(text.encode())


def load_counts(folder: Path, cases: Iterable[CensusCase]) -> dict[str, Counts]:
    """The results of these cases by their ids, each with the facts of its corpus.

    Args:
        folder: Of results.
        cases: One that was counted as something else than it is now has no result.

    Raises:
        InputError: A file is no result.
    """
    files: dict[str, dict[str, Any]] = {}
    found: dict[str, Counts] = {}
    for case in cases:
        name = case.source.name
        if name not in files:
            files[name] = _read(folder / f"{name}.json")
            files[name]["by_id"] = {counts["id"]: counts for counts in files[name]["cases"]}
        counts = files[name]["by_id"].get(case.id)
        if _is_of(counts, case):
            run = files[name]["runs"][counts["run"]]
            found[case.id] = {**counts, "commit": run["commit"], "dirty": run["dirty"]}
    return found


def _is_of(counts: Counts | None, case: CensusCase) -> bool:
    return counts is not None and counts["case"] == json.loads(json.dumps(case.to_dict()))


def _describe_run() -> dict[str, Any]:
    commit = read_commit()
    return {**build_record("census", {}), "commit": commit.id, "dirty": commit.is_dirty}


def _join_lines(values: Iterable[Mapping[str, Any]]) -> str:
    return ",\n".join(json.dumps(json.loads(render_json(value))) for value in values)


def _read(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = result["kind"] == "census" and {"data", "runs", "cases"} <= result.keys()
    except FileNotFoundError:
        return {"runs": [], "cases": []}
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise InputError(f"{path}: expected a result of `btu bench census`, got another file.")
    return result
