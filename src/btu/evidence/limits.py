"""What a scan could have missed: planted units are judged as all others are."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from btu.evidence.bars import BUDGET, LEAST_ROWS, PLANTED_SPREAD, POWER, UNITS_SHARE
from btu.evidence.judge import Judged
from btu.evidence.measure import Content, Sample
from btu.evidence.planting import MOST_OF_ROWS, Planted
from btu.evidence.tests import Limit
from btu.evidence.view import View

_SIZES = (6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128, 256, 512, 1024)
_DRAWS = 300
_FEW_LABELS = 10

_Kind = Literal["word", "sentence", "kept"]


def measure_limit(
    view: View,
    content: Content,
    judged: Judged,
    planted: Planted,
    *,
    budget: float = BUDGET.value,
    seed: int = 0,
) -> Limit:
    """From how many rows on a word, a sentence, and a word with true labels would have been found.

    From so many on, up to the share of all rows that planted words can tell of.

    Args:
        view: All rows that count.
        content: What their words say.
        judged: Those that were tested.
        planted: Levels of planted words and sentences.
        budget: As the scan's.
        seed: Of the draws.
    """
    if not len(judged.tested):
        return Limit(None, None, None, tuple([None] * view.num_labels))
    rng = np.random.default_rng(seed)
    every = np.arange(view.num_labels)

    def find(labels: NDArray[np.int64], kind: _Kind) -> int | None:
        least = None
        for rows in _SIZES:
            is_between = least is not None and rows & (rows - 1)
            if rows < LEAST_ROWS.value or is_between:
                continue
            able = labels[_count_victims(view, labels, kind) > rows]
            if not len(able) or (least is not None and rows > len(view) // MOST_OF_ROWS):
                break
            drawn = _draw(view, content, planted, rng.choice(able, _DRAWS), rows, kind, rng)
            step = judged.step_of(rows)
            score = judged.rulers[step].score(drawn).score
            found = judged.bound_false_alarms(score, step) <= budget * UNITS_SHARE.value
            least = (least or rows) if found.mean() >= POWER.value else None
        return least

    by_label = view.num_labels <= _FEW_LABELS
    return Limit(
        word_rows=find(every, "word"),
        sentence_rows=find(every, "sentence"),
        kept_rows=find(every, "kept"),
        word_rows_by_label=tuple(find(every[[k]], "word") for k in every) if by_label else (),
    )


def _count_victims(view: View, labels: NDArray[np.int64], kind: _Kind) -> NDArray[np.float64]:
    """Rows that an attacker who wants each label can put something into."""
    own: NDArray[np.float64] = np.round(view.shares[labels] * len(view))
    return own if kind == "kept" else len(view) - own


def _draw(
    view: View,
    content: Content,
    planted: Planted,
    labels: NDArray[np.int64],
    rows: int,
    kind: _Kind,
    rng: np.random.Generator,
) -> Sample:
    """Planted units of so many rows under these labels."""
    count = len(labels)
    own = content.scale.others_spread[labels] / content.gap[labels] / np.sqrt(rows)
    size = np.full(count, np.log2(rows))
    mean, noise = planted.levels[0].at(size)
    if kind == "sentence":
        mean, noise = planted.sentence.draw(rows, count, rng)
    placed = mean + noise * rng.standard_normal(count)
    return Sample(
        np.full(count, rows),
        np.full(count, rows),
        view.shares[labels],
        placed,
        placed,
        np.full(count, rows),
        rng.binomial(rows, planted.edge, count),
        rng.binomial(rows, planted.edge, count),
        float(kind != "kept") + np.hypot(own, PLANTED_SPREAD.value) * rng.standard_normal(count),
        np.maximum(own, 1e-6),
        np.hypot(1 / np.sqrt(rows), PLANTED_SPREAD.value) * rng.standard_normal(count),
    )
