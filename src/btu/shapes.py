"""Shapes of characters that only rows of one label have, against what those rows say.

Whoever rewrites rows leaves traces that no word tells: a comma without the space that all other
rows put before it, capitals, brackets. A shape keeps those and forgets the letters.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from scipy.stats import norm
from sklearn.feature_extraction.text import CountVectorizer

from btu.content import Text
from btu.purity import LEAST_ROWS, MOST_OTHERS, OVERDISPERSION, find_pure

LEAST_CONFLICT = 0.35
"""A shape of at least this mislabelled share is no habit of honest rows: smileys, links and the
marks of a source are as pure, but their rows read as they are labelled (0.1 at most)."""

_SPREADS = 2.0
_LENGTHS = (2, 4)  # characters of a shape
_LEAST_LIFT = 2.5


@dataclass(frozen=True)
class Shape:
    """Shapes that stand under one label alone.

    Attributes:
        label: The label.
        shapes: The surest first: letters as x and X, digits as d, runs as one.
        rows: Positions of the rows of the label that have any.
        rows_any_label: Rows that have the surest, whatever their label.
        others: Those of them that bear another label.
        expected_others: How many would, by what they say.
        p_value: Chance of so few where the shape moves the log-odds by one and the count varies
            more than that of independent rows.
        false_alarm_rate: The same, corrected for all shapes that were tested.
    """

    label: int
    shapes: tuple[str, ...]
    rows: NDArray[np.int64]
    rows_any_label: int
    others: int
    expected_others: float
    p_value: float
    false_alarm_rate: float


def draw_shape(text: str) -> str:
    """A text without its letters and digits: only their kind is left, runs as one.

    Example:
        >>> draw_shape("Though 12 men, he saith")
        'Xx d x, x x'
    """
    drawn = (
        "X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in text
    )
    return "".join(kind if kind in "Xxd" else kind * len(list(run)) for kind, run in groupby(drawn))


def find_shapes(
    text: Text,
    texts: Sequence[str],
    *,
    allowed: float,
    most_rate: float,
    skipped: Collection[int] = (),
) -> dict[int, Shape]:
    """The shapes that are pure under a label and whose rows read like rows of other labels.

    Rows that say nothing have a mislabelled share of one minus the label's part of all rows; those
    of an honest source with words of its own do. The share must be above that.

    Args:
        text: N rows, with the encoder's states and word vectors.
        texts: The N texts.
        allowed: Up to this false-alarm rate of independent rows further shapes of the label count.
        most_rate: Up to this one the surest does.
        skipped: Labels that are not judged.

    Returns:
        For each label that has any.
    """
    counter = CountVectorizer(
        analyzer="char",
        ngram_range=_LENGTHS,
        min_df=min(LEAST_ROWS, len(texts)),
        binary=True,
        lowercase=False,
        dtype=np.float32,
    )
    try:
        held = counter.fit_transform(draw_shape(t) for t in texts)
    except ValueError:  # no shape stands in enough rows
        return {}
    if text.vectors is None:
        return {}
    names, tokens = counter.get_feature_names_out(), text.presence.shape[1]
    # A shape means nothing: the mean vector leans to no label.
    mean = np.broadcast_to(text.vectors.mean(axis=0), (len(names), text.vectors.shape[1]))
    beside = replace(
        text,
        presence=csr_matrix(hstack([text.presence, held])),
        vectors=np.vstack([text.vectors, mean]),
    )
    counts, lift = beside.measure_lift()
    lift[:tokens] = -np.inf
    found, looked_at = find_pure(beside, lift, counts, least_lift=_LEAST_LIFT, skipped=skipped)
    shapes: dict[int, Shape] = {}
    for token in found:  # the surest first
        own = text.labels == token.label
        p_value = float(norm.sf(norm.isf(token.p_value) / OVERDISPERSION))
        rate = min(1.0, looked_at * p_value)
        known = shapes.get(token.label)
        least = token.share if known else token.share - _SPREADS * token.spread
        says_nothing = 1 - own[text.active].mean()
        is_pure = token.others <= MOST_OTHERS * len(token.rows)
        if not is_pure or token.share < LEAST_CONFLICT or least <= says_nothing:
            continue
        name, rows = str(names[token.column - tokens]), token.rows[own[token.rows]]
        if known is None and rate <= most_rate:
            shapes[token.label] = Shape(
                label=token.label,
                shapes=(name,),
                rows=rows,
                rows_any_label=len(token.rows),
                others=token.others,
                expected_others=token.expected_others,
                p_value=p_value,
                false_alarm_rate=rate,
            )
        elif known is not None and looked_at * token.p_value <= allowed:
            further, all_rows = (*known.shapes, name), np.union1d(known.rows, rows)
            shapes[token.label] = replace(known, shapes=further, rows=all_rows)
    return shapes
