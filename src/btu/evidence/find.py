"""Conductor: a corpus in, evidence out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from btu.evidence.bars import BUDGET
from btu.evidence.drawn import Drawn, extend_limit, extend_tests
from btu.evidence.kinds import find_kinds
from btu.evidence.limits import measure_limit
from btu.evidence.placement import Neighbours
from btu.evidence.planting import Planted, plant_words
from btu.evidence.search import Round, Search, find_triggers
from btu.evidence.tests import Evidence, Limit
from btu.evidence.view import View
from btu.evidence.words import UNKNOWN, Words


def find_evidence(
    texts: Sequence[str] | Words,
    labels: NDArray[np.int64],
    *,
    num_labels: int,
    states: NDArray[np.floating] | None = None,
    proposed: Collection[str] = (),
    accepted: Collection[str] = (),
    accepted_kinds: Collection[int] = (),
    budget: float | None = None,
    seed: int = 0,
    drawn: Drawn | None = None,
) -> Evidence:
    """Whether someone planted something in a corpus, and where.

    Args:
        texts: N texts, or their words where no states are given.
        labels: Label ids, shape (N,).
        num_labels: K.
        states: Of a pretrained encoder, shape (N, D): without them no kinds of text are looked for.
        proposed: Words that the probes propose: half of the budget of the units is theirs.
        accepted: Names of units that a reviewer accepted: tested, never called triggers.
        accepted_kinds: Labels whose kind of text a reviewer accepted.
        budget: False triggers that may be expected in a clean corpus, all searches together;
            that of `BUDGET` if left out.
        seed: Of the planted dummies.
        drawn: Where the N rows were drawn from a larger corpus: the evidence is of all its rows.

    Raises:
        ValueError: States were given with words: kinds of text need the texts.
    """
    if states is not None and isinstance(texts, Words):
        raise ValueError("Expected texts with states: kinds of text are read from the texts.")
    budget = BUDGET.value if budget is None else budget
    if drawn is not None:
        words = texts if isinstance(texts, Words) else Words.of(texts)
        texts = replace(words, names=(*words.names, UNKNOWN))
    view = View.of(texts, labels, num_labels)
    # Where all rows bear one label there is nothing that a label could go against.
    rows = len(labels) if drawn is None else len(drawn.labels)
    if not len(view) or not view.words.lengths.any() or len(np.unique(view.labels)) < 2:
        return Evidence((), rows, budget, {"units": 0}, Limit(None, None))
    planted, neighbours = plant_words(view.words, seed)
    search = find_triggers(
        view,
        planted,
        neighbours,
        budget=budget,
        proposed=proposed,
        accepted=accepted,
    )
    limit = measure_limit(view, search.content, search.judged, planted, budget=budget, seed=seed)
    tests, tested = search.tests, {"units": len(search.judged.tested)}
    if states is not None and not isinstance(texts, Words):
        now = _take_out_accepted(search, planted, neighbours)
        tests = (
            *tests,
            *find_kinds(
                now.view, texts, states, now.measures, planted, accepted=accepted_kinds, seed=seed
            ),
        )
    if drawn is not None:
        tests = extend_tests(tests, drawn, view.corpus, neighbours)
        limit = extend_limit(limit, drawn)
    return Evidence(tests, rows, budget, tested, replace(limit, styles=states is not None))


def _take_out_accepted(search: Search, planted: Planted, neighbours: Neighbours) -> Round:
    """The last round, without rows of units that a reviewer accepted: no kind is theirs either."""
    rows = [test.rows for test in search.tests if test.verdict == "accepted"]
    if not rows:
        return search.last
    return Round.of(search.last.view.without(np.concatenate(rows)), neighbours, planted)
