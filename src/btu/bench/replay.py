"""Conductor: the evidence of today on the training rows of committed results.

A result of the default recipe stands as long as the rows that it left out are the same. Where they
differ the cell has to be trained again. Words and phrases alone are asked, without a model: what
the probes propose can only make more of them certain. Rewritten rows need an encoder and are not
replayed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from btu.attacks.paraphrase import Paraphrase
from btu.attacks.registry import ATTACKS
from btu.bench.cells import Cell
from btu.bench.columns import render_table
from btu.bench.experiment import Benchmark
from btu.bench.results import OK, read_commit
from btu.bench.trial import prepare_trial
from btu.data.corpus import Corpus
from btu.evidence.find import find_evidence
from btu.support.errors import InputError
from btu.support.progress import track
from btu.support.record import build_record

DEFENCE = "btu-verified"


@dataclass(frozen=True)
class Flags:
    """How many rows are named, poisoned ones and others."""

    poisoned: int
    clean: int

    @classmethod
    def of(cls, named: NDArray[np.bool_], is_poisoned: NDArray[np.bool_]) -> Flags:
        """Of N rows."""
        return cls(int((named & is_poisoned).sum()), int((named & ~is_poisoned).sum()))

    def __str__(self) -> str:
        return f"{self.poisoned:,} + {self.clean:,}"


@dataclass(frozen=True)
class Replayed:
    """One cell, then and now.

    Attributes:
        key: Of the cell.
        title: Its attack and rate.
        corpus: Its corpus.
        seed: Its seed.
        poisoned: Rows that are poisoned.
        then: Rows that the committed result judged poisoned.
        now: Rows that the evidence judges poisoned now.
        suspects: Rows of suspects beside those, now.
        is_same: Whether the very same rows are judged poisoned.
    """

    key: str
    title: str
    corpus: str
    seed: int
    poisoned: int
    then: Flags
    now: Flags
    suspects: Flags
    is_same: bool


def replay_cells(
    benchmark: Benchmark,
    results: Mapping[str, Mapping[str, Any]],
    *,
    corpora: Path | None,
    only: str = "*",
    tell: Callable[[Replayed], None] | None = None,
) -> list[Replayed]:
    """Ask the evidence about the training rows of every result of the default recipe.

    Args:
        benchmark: Whose cells.
        results: By the cells' keys.
        corpora: Folder of corpora; None for the Hub.
        only: Cells whose id matches.
        tell: Is told of each cell as it ends.

    Raises:
        InputError: The corpora are not those that the results were measured on.
    """
    cells = [
        cell
        for cell in benchmark.cells
        if cell.defence.kind == DEFENCE
        and not cell.defence.options
        and fnmatch(cell.id, only)
        and results.get(cell.key, {}).get("status") == OK
        and not issubclass(ATTACKS.get(cell.attack.kind, object), Paraphrase)
    ]
    asked: dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]] = {}
    replayed = []
    with threadpool_limits(1):
        for cell in track(cells, "replay"):
            result = results[cell.key]
            trial = prepare_trial(cell, corpora)
            rows = trial.train.fingerprint()
            if rows != result["data"]["train"]["sha256"]:
                raise InputError(
                    f"{cell.key}: expected the training rows that the result was measured on "
                    "(SHA-256 of its record), got others. Name the same corpora with --corpora."
                )
            if rows not in asked:
                asked[rows] = _ask(trial.train, cell.seed)
            found = _compare(cell, trial.train, trial.is_poisoned, result, *asked[rows])
            replayed.append(found)
            if tell is not None:
                tell(found)
    return replayed


def _ask(train: Corpus, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows judged poisoned, and rows of suspects beside them."""
    found = find_evidence(train.texts, train.labels, num_labels=train.num_labels, seed=seed)
    suspected = np.zeros(len(train), dtype=bool)
    for test in found.suspects:
        suspected[test.rows] = True
    return found.flagged, suspected & ~found.flagged


def _compare(
    cell: Cell,
    train: Corpus,
    is_poisoned: NDArray[np.bool_],
    result: Mapping[str, Any],
    flagged: NDArray[np.bool_],
    suspected: NDArray[np.bool_],
) -> Replayed:
    then = np.isin(train.row_ids, result["flagged_row_ids"] or [])
    return Replayed(
        key=cell.key,
        title=cell.title,
        corpus=cell.rule.name,
        seed=cell.seed,
        poisoned=int(is_poisoned.sum()),
        then=Flags.of(then, is_poisoned),
        now=Flags.of(flagged, is_poisoned),
        suspects=Flags.of(suspected, is_poisoned),
        is_same=bool((then == flagged).all()),
    )


def render_replay(replayed: Sequence[Replayed]) -> str:
    """JSON, one cell a line."""
    commit = read_commit()
    head = {**build_record("replay", {}), "commit": commit.id, "dirty": commit.is_dirty}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    cells = ",\n".join(json.dumps(asdict(cell)) for cell in replayed)
    return "\n".join(["{", *lines, f'"cells": [\n{cells}\n]', "}\n"])


PAGE = """# Replay

The evidence of today on the training rows of the committed results of the default recipe. Words and
phrases are asked without a model; what the probes of a model propose has a budget of its own, so
that some of what is a suspect here is a trigger there. Rewritten rows need an encoder and are not
replayed.

    btu bench replay --corpora FOLDER --output benchmark/results/replay.json --page docs/replay.md

"""


def render_replay_page(replayed: Sequence[Replayed]) -> str:
    """The cells whose rows differ, as a page, after a sentence that counts the others."""
    changed = [cell for cell in replayed if not cell.is_same]
    same = len(replayed) - len(changed)
    if not changed:
        return f"{PAGE}All {same:,} results stand: the same rows are left out.\n"
    said = (
        f"Of {len(replayed):,} results {same:,} stand: the same rows are left out. "
        f"The other {len(changed):,}, poisoned + clean rows:"
    )
    rows = [
        [
            f"{cell.key.partition('/')[0]}: {cell.corpus}, {cell.title}, seed {cell.seed}",
            f"{cell.poisoned:,}",
            str(cell.then),
            str(cell.now),
            str(cell.suspects),
        ]
        for cell in changed
    ]
    header = ["", "poisoned", "left out then", "left out now", "suspects now"]
    return f"{PAGE}{said}\n\n{render_table(header, rows)}\n"
