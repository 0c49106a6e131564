"""What a change of the evidence did to the cells that were trained again: then and now.

`python -m tools.retrained --before COMMIT` compares the results in the working tree with those of
an older commit and writes `benchmark/results/retrained.json`; `make render` makes the page of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from btu.bench.cells import ORACLE
from btu.bench.columns import render_percent, render_points, render_table
from btu.bench.replay import DEFENCE
from btu.bench.results import OK
from btu.support.record import build_record, write_record

RESULTS = Path("benchmark/results")
RESULT = RESULTS / "retrained.json"
PAGE = Path("docs/retrained.md")

_HEAD = """# Trained again

Cells of the default recipe that were trained again because [the evidence of today](replay.md)
leaves out other rows than the evidence that their older results were measured with. *Excess* is the
attack success rate less the oracle's of the same rows and seed, in percentage points, each pair
from one machine: {then} then, {now} now.

    python -m tools.retrained --before COMMIT
    make render

"""


def compare_results(before: str) -> list[dict[str, Any]]:
    """Every result of the default recipe that leaves out other rows than at a commit.

    Args:
        before: A commit, as git reads it.
    """
    cells = []
    for path in sorted(RESULTS.glob(f"*/*-{DEFENCE}-s*.json")):
        now, then = _read_now(path), _read_then(before, path)
        if now is None or then is None:
            continue
        if sorted(now["flagged_row_ids"] or []) == sorted(then["flagged_row_ids"] or []):
            continue
        best = path.with_name(path.name.replace(f"-{DEFENCE}-", f"-{ORACLE}-"))
        cells.append(
            {
                "key": f"{path.parent.name}/{path.stem}",
                "poisoned": len(now["poisoned_row_ids"]),
                "then": _sum_up(then, _read_then(before, best)),
                "now": _sum_up(now, _read_now(best)),
            }
        )
    return cells


def _read_now(path: Path) -> dict[str, Any] | None:
    return _read_ok(path.read_text(encoding="utf-8")) if path.exists() else None


def _read_then(commit: str, path: Path) -> dict[str, Any] | None:
    shown = subprocess.run(
        ["git", "show", f"{commit}:{path.as_posix()}"], capture_output=True, text=True
    )
    return _read_ok(shown.stdout) if shown.returncode == 0 else None


def _read_ok(text: str) -> dict[str, Any] | None:
    result: dict[str, Any] = json.loads(text)
    return result if result["status"] == OK else None


def _sum_up(result: Mapping[str, Any], oracle: Mapping[str, Any] | None) -> dict[str, Any]:
    poisoned, flagged = set(result["poisoned_row_ids"]), set(result["flagged_row_ids"] or [])
    best = oracle or {}
    return {
        "poisoned": len(flagged & poisoned),
        "clean": len(flagged - poisoned),
        "clean_accuracy": result["clean_accuracy"],
        "attack_success_rate": result["attack_success_rate"],
        "oracle_clean_accuracy": best.get("clean_accuracy"),
        "oracle_attack_success_rate": best.get("attack_success_rate"),
        "device": result["hardware"]["device"],
    }


def render_retrained(record: Mapping[str, Any]) -> str:
    """The page: a sentence on all of them, then every cell."""
    cells = record["cells"]
    devices = {
        when: " and ".join(sorted({cell[when]["device"] for cell in cells})) for when in _WHEN
    }
    excess = [(_excess(cell["then"]), _excess(cell["now"])) for cell in cells]
    pairs = [(then, now) for then, now in excess if then is not None and now is not None]
    means = [sum(side) / len(side) for side in zip(*pairs, strict=True)]
    said = (
        f"{len(cells)} cells. Mean excess then {render_points(means[0])}, "
        f"now {render_points(means[1])}. {_say_machines(cells)}\n\n"
    )
    rows = [
        [
            cell["key"].replace(f"-{DEFENCE}", ""),
            f"{cell['poisoned']:,}",
            *(f"{cell[when]['poisoned']:,} + {cell[when]['clean']:,}" for when in _WHEN),
            *(f"{render_percent(cell[when]['clean_accuracy'])}" for when in _WHEN),
            *("–" if x is None else render_points(x) for x in pair),
        ]
        for cell, pair in zip(cells, excess, strict=True)
    ]
    head = [
        "cell",
        "poisoned rows",
        "left out then, poisoned + clean",
        "now",
        "accuracy then",
        "now",
        "excess then",
        "now",
    ]
    return _HEAD.format(**devices) + said + render_table(head, rows) + "\n"


_WHEN = ("then", "now")


def _say_machines(cells: Sequence[Mapping[str, Any]]) -> str:
    """How far one training lies from the same on the other machine: the oracle's rows are alike."""
    names = ("oracle_clean_accuracy", "oracle_attack_success_rate")
    pairs = [[(c["then"][name], c["now"][name]) for c in cells] for name in names]
    apart = [[abs(a - b) for a, b in told if a is not None and b is not None] for told in pairs]
    accuracy, success = (
        f"{render_percent(sum(d) / len(d))} points of {name} in the mean and "
        f"{render_percent(max(d))} at most"
        for name, d in zip(("accuracy", "attack success"), apart, strict=True)
    )
    return (
        "The oracle's rows are the same then and now: what two machines make of one seed differs "
        f"by {accuracy}, and by {success}."
    )


def _excess(side: Mapping[str, Any]) -> float | None:
    ours, best = side["attack_success_rate"], side["oracle_attack_success_rate"]
    return None if ours is None or best is None else ours - best


def main() -> None:
    """Compare and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", required=True, help="a commit")
    before = parser.parse_args().before
    cells = compare_results(before)
    write_record(build_record("retrained", {"before": before, "cells": cells}), RESULT)


if __name__ == "__main__":
    main()
