"""Conductor: a corpus in, evidence out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from btu.evidence.bars import BUDGET
from btu.evidence.limits import measure_limit
from btu.evidence.planting import plant_words
from btu.evidence.search import find_triggers
from btu.evidence.tests import Evidence, Limit
from btu.evidence.view import View


def find_evidence(
    texts: Sequence[str],
    labels: NDArray[np.int64],
    *,
    num_labels: int,
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
        proposed: Words that the probes propose: half of the budget of the units is theirs.
        accepted: Names of units that a reviewer accepted: tested, never called triggers.
        budget: False triggers that may be expected in a clean corpus, all searches together;
            that of `BUDGET` if left out.
        seed: Of the planted dummies.
    """
    budget = BUDGET.value if budget is None else budget
    view = View.of(texts, labels, num_labels)
    # Where all rows bear one label there is nothing that a label could go against.
    if not len(view) or not view.words.lengths.any() or len(np.unique(view.labels)) < 2:
        return Evidence((), len(labels), budget, {"units": 0}, Limit(None, None))
    planted, neighbours = plant_words(view.words, seed)
    search = find_triggers(
        view,
        planted,
        neighbours,
        budget=budget,
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
        seed=seed,
    )
    return Evidence(search.tests, len(labels), budget, {"units": len(first.judged.tested)}, limit)
