"""What half and double of each deciding number do, in Markdown, from results of a small census."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from btu.bench.census.ablation import ABLATIONS
from btu.bench.census.store import FAILED, SKIPPED
from btu.bench.columns import NOTHING, render_table
from btu.evidence.bars import BARS

_FACTORS = ("0.5", "2")
_ENOUGH = 0.95


def render_bars(folder: Path) -> str:
    """Every deciding number with its reason, and what half and double of it do.

    Args:
        folder: Results of `btu bench census benchmark/bars`, and in folders of their own those with
            `--bar NAME=FACTOR`. Numbers without any show a dash.
    """
    now = _add_up(folder)
    rows = [
        [
            bar.name,
            f"{bar.value:g}",
            *(_add_up(folder / f"{bar.name}={factor}") for factor in _FACTORS),
            bar.why,
        ]
        for bar in BARS
    ]
    said = f"As they are: {now} (clean corpora with a trigger; attacks that were found whole)."
    return f"{said}\n\n{render_table(['', 'value', 'half', 'double', 'why'], rows)}"


def render_ablation(folder: Path) -> str:
    """What each question and each kind of candidate is worth, in Markdown.

    Args:
        folder: As of `render_bars`, with results of `--without NAME` in folders of their own.
    """
    rows = [["all of it", _add_up(folder)]]
    rows += [
        [f"without {what}", _add_up(folder / f"without-{name}")]
        for name, (what, *_) in ABLATIONS.items()
    ]
    return render_table(["", "clean corpora with a trigger; attacks found whole"], rows)


def _add_up(folder: Path) -> str:
    cases = [case for path in sorted(folder.glob("*.json")) for case in _read(path)]
    clean = [c for c in cases if not c["planted"]]
    attacked = [c for c in cases if c["planted"]]
    if not cases:
        return NOTHING
    alarms = sum(c["num_triggers"] > 0 for c in clean)
    found = sum(c["found"] >= _ENOUGH * c["planted"] for c in attacked)
    return f"{alarms} of {len(clean)}; {found} of {len(attacked)}"


def _read(path: Path) -> Iterable[Mapping[str, Any]]:
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return [case for case in cases if not {SKIPPED, FAILED} & case.keys()]
