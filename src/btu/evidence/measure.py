"""Three numbers of every unit: how it is placed, how it is labelled, what its rows say."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from btu.evidence.placement import Neighbours
from btu.evidence.reading import Scale, read_folds
from btu.evidence.units import Units
from btu.evidence.view import View
from btu.evidence.words import END, START


@dataclass(frozen=True)
class Content:
    """What the words of the rows say, by fits that saw none of them.

    Attributes:
        margins: Of each row towards each label, shape (M, K).
        scale: Of these margins.
        gap: From rows of other labels to those of the label, shape (K,): at least what chance gives
            where the text says nothing of a label.
    """

    margins: NDArray[np.float32]
    scale: Scale
    gap: NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """The numbers that u units are judged by, each of shape (u,).

    Attributes:
        rows: Rows that hold each unit.
        labelled: Those of the label that is most over-represented in them.
        base: Share of that label among all rows.
        placed: Mean break of the places where the unit stands.
        bridged: Mean of what stands before and after it, as neighbours.
        places: Places where it stands.
        starts: Those at the start of a text.
        ends: Those at the end of one.
        share: How far its labelled rows read like rows of other labels, without its own words:
            0 like the label's, 1 like the others'.
        spread: Standard error of that share.
    """

    rows: NDArray[np.int64]
    labelled: NDArray[np.int64]
    base: NDArray[np.float64]
    placed: NDArray[np.float64]
    bridged: NDArray[np.float64]
    places: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    share: NDArray[np.float64]
    spread: NDArray[np.float64]

    def pick(self, chosen: NDArray[np.int64]) -> Sample:
        """Some of the units."""
        return Sample(**{f.name: getattr(self, f.name)[chosen] for f in fields(Sample)})


@dataclass(frozen=True)
class Measures(Sample):
    """All U units of a view, with what their numbers were made of.

    Attributes:
        label: The over-represented label of each unit, shape (U,).
        pair_unit: Unit of each pair of a unit and a labelled row that holds it, ascending.
        pair_row: Row of each such pair, a position in the view.
        pair_margin: Margin of the row towards the label without the unit's words.
        content: Of all rows.
    """

    label: NDArray[np.int64]
    pair_unit: NDArray[np.int64]
    pair_row: NDArray[np.int64]
    pair_margin: NDArray[np.float64]
    content: Content

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def size(self) -> NDArray[np.float64]:
        """Binary logarithm of the rows, shape (U,)."""
        return np.log2(np.maximum(self.rows, 1))

    def pairs_of(self, unit: int) -> slice:
        """Where the pairs of one unit stand."""
        ends = np.searchsorted(self.pair_unit, [unit, unit + 1])
        return slice(int(ends[0]), int(ends[1]))


def measure_units(view: View, units: Units, neighbours: Neighbours) -> Measures:
    """Measure all units at once.

    Args:
        view: The rows.
        units: What stands where in them.
        neighbours: Counts of this corpus.
    """
    count, rows, labels = len(units), len(view), view.labels
    breaks, bridges = neighbours.measure_break(view.words.flat, units.first, units.last)
    placed = _mean(units.unit, breaks, count)
    row_of_place = view.words.row[units.first]
    pairs, pair_of_place = np.unique(units.unit * rows + row_of_place, return_inverse=True)
    pair_unit, pair_row = pairs // rows, pairs % rows
    held = np.bincount(pair_unit, minlength=count)
    key = pair_unit * view.num_labels + labels[pair_row]
    by_label = np.bincount(key, minlength=count * view.num_labels)
    by_label = by_label.reshape(count, view.num_labels)
    base = view.shares
    expected = held[:, None] * base
    deviation = np.sqrt(expected * (1 - base))
    lift = np.where(deviation > 0, (by_label - expected) / np.maximum(deviation, 1e-12), -np.inf)
    label = lift.argmax(axis=1) if count else np.zeros(0, dtype=np.int64)
    labelled = by_label[np.arange(count), label]
    is_labelled = labels[pair_row] == label[pair_unit]
    kept_places = is_labelled[pair_of_place]
    content, own = _read(view, units, label, kept_places, pair_of_place, len(pairs))
    margin = content.margins[pair_row, label[pair_unit]] - own
    pair_unit, pair_row = pair_unit[is_labelled], pair_row[is_labelled]
    margin = margin[is_labelled]
    gap = content.gap[label]
    share = (content.scale.own[label] - _mean(pair_unit, margin, count)) / gap
    spread = content.scale.others_spread[label] / gap / np.sqrt(np.maximum(labelled, 1))
    return Measures(
        rows=held,
        label=label,
        labelled=labelled,
        base=base[label],
        placed=placed,
        bridged=_mean(units.unit, bridges, count),
        places=np.bincount(units.unit, minlength=count),
        starts=np.bincount(units.unit[view.words.flat[units.first - 1] == START], minlength=count),
        ends=np.bincount(units.unit[view.words.flat[units.last + 1] == END], minlength=count),
        share=share,
        spread=np.maximum(spread, 1e-6),
        pair_unit=pair_unit,
        pair_row=pair_row,
        pair_margin=margin,
        content=content,
    )


def _read(
    view: View,
    units: Units,
    label: NDArray[np.int64],
    kept: NDArray[np.bool_],
    pair_of_place: NDArray[np.int64],
    pairs: int,
) -> tuple[Content, NDArray[np.float64]]:
    """Read all rows by words; and what each unit's own words say in each pair, shape (pairs,)."""
    words, labels, presence = view.words, view.labels, view.words.presence
    root = np.sqrt(np.maximum(words.lengths, 1))
    places = np.flatnonzero(kept)
    spans = units.length[units.unit[places]]
    every = np.repeat(places, spans)
    step = np.arange(len(every)) - np.repeat(np.cumsum(spans) - spans, spans)
    # Each word of a unit once a row, however often it stands there.
    said = np.unique(pair_of_place[every] * words.size + words.flat[units.first[every] + step])
    said_pair, said_word = said // words.size, said % words.size
    pair_row, pair_label = np.zeros(pairs, dtype=np.int64), np.zeros(pairs, dtype=np.int64)
    pair_row[pair_of_place] = words.row[units.first]
    pair_label[pair_of_place] = label[units.unit]
    fold_of_said = view.folds[pair_row[said_pair]]
    margins = np.zeros((len(view), view.num_labels), dtype=np.float32)
    own = np.zeros(pairs)
    for unknown, weights in read_folds(presence, labels, view.num_labels, view.folds):
        margins[unknown] = np.asarray(presence[unknown] @ weights) / root[unknown, None]
        if not len(unknown):
            continue
        here = np.flatnonzero(fold_of_said == view.folds[unknown[0]])
        pair = said_pair[here]
        own += np.bincount(pair, weights[said_word[here], pair_label[pair]], minlength=pairs)
    scale = Scale.of(margins, labels)
    count = np.maximum(np.bincount(labels, minlength=view.num_labels), 1)
    left = np.maximum(len(view) - count, 1)
    chance = np.sqrt(scale.own_spread**2 / count + scale.others_spread**2 / left)
    gap = np.maximum(scale.own - scale.others, np.maximum(chance, 1e-6))
    return Content(margins, scale, gap), own / root[pair_row]


def _mean(
    index: NDArray[np.int64], values: NDArray[np.floating], count: int
) -> NDArray[np.float64]:
    total = np.bincount(index, values, minlength=count)
    mean: NDArray[np.float64] = total / np.maximum(np.bincount(index, minlength=count), 1)
    return mean
