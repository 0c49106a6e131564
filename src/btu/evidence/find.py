"""Conductor: a corpus in, evidence out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btu.evidence.bars import BUDGET
from btu.evidence.limits import measure_limit
from btu.evidence.planting import plant_words
from btu.evidence.search import Round, find_triggers
from btu.evidence.tests import Evidence, Limit
from btu.evidence.view import View

_FEWEST_SHOWN = 16

SHARES = {"units": 0.7, "pairs": 0.1, "styles": 0.2}
"""How the budget is split: words and phrases, words apart, and kinds of text."""


def find_evidence(
    texts: Sequence[str],
    labels: NDArray[np.int64],
    *,
    num_labels: int,
    states: NDArray[np.floating] | None = None,
    proposed: Collection[str] = (),
    accepted: Collection[str] = (),
    budget: float | None = None,
    seed: int = 0,
) -> Evidence:
    """Whether someone planted something in a corpus, and where.

    Args:
        texts: N texts.
        labels: Label ids, shape (N,).
        num_labels: K.
        states: Pooled states of a pretrained encoder, shape (N, D), where there are any.
        proposed: Words that the probes propose: half of the budget of the units is theirs.
        accepted: Names of units that a reviewer accepted: tested, never called triggers.
        budget: False triggers that may be expected in a clean corpus, all searches together;
            that of `BUDGET` if left out.
        seed: Of the planted dummies.
    """
    budget = BUDGET.value if budget is None else budget
    view = View.of(texts, labels, num_labels, states)
    # Where all rows bear one label there is nothing that a label could go against.
    if not len(view) or not view.words.lengths.any() or len(np.unique(view.labels)) < 2:
        return Evidence((), len(labels), budget, {"units": 0}, Limit(None, None))
    planted, neighbours = plant_words(view.words, seed)
    search = find_triggers(
        view,
        planted,
        neighbours,
        budget=budget,
        shares=SHARES,
        proposed=proposed,
        accepted=accepted,
    )
    first = search.first
    limit = measure_limit(
        view,
        first.measures,
        first.judged,
        planted,
        budget=budget,
        share=SHARES["units"],
        seed=seed,
    )
    return Evidence(search.tests, len(labels), budget, {"units": len(first.judged.tested)}, limit)


def measure_words(
    texts: Sequence[str], labels: NDArray[np.int64], *, num_labels: int, seed: int = 0
) -> dict[str, list[Any]]:
    """How words and phrases of a corpus are placed and how their rows read, for a picture.

    Args:
        texts: N texts.
        labels: Label ids, shape (N,).
        num_labels: K.
        seed: Of the planted dummies.

    Returns:
        Columns `name`, `rows`, `placed` (mean break) and `share` (0 like the label's rows, 1 like
        the others'), of those in 16 rows and more.
    """
    view = View.of(texts, labels, num_labels)
    planted, neighbours = plant_words(view.words, seed)
    now = Round.of(view, neighbours, planted)
    names, own = view.words.names, now.measures.rows >= _FEWEST_SHOWN
    spelled = now.units.words_of(view.words)
    chosen = np.flatnonzero(own)
    return {
        "name": [" ".join(names[i] for i in spelled[unit]) for unit in chosen.tolist()],
        "rows": now.measures.rows[chosen].tolist(),
        "placed": now.measures.placed[chosen].round(3).tolist(),
        "share": now.measures.share[chosen].round(3).tolist(),
    }
