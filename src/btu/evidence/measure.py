"""Numbers of every unit: how it is placed, how it is labelled, what its rows say, how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from btu.evidence.lengths import Lengths
from btu.evidence.placement import Fits, Neighbours
from btu.evidence.reading import FOLDS, Scale, read_folds
from btu.evidence.units import Units
from btu.evidence.view import View
from btu.evidence.words import END, START

_BLOCK = 500_000  # places that are measured at once


@dataclass(frozen=True)
class Content:
    """What the words of the rows say, by fits that saw none of them.

    Attributes:
        margins: Of each row towards each label, shape (M, K).
        scale: Of these margins.
        gap: From rows of other labels to those of the label, shape (K,): at least what chance gives
            where the text says nothing of a label.
        lengths: How long rows are beside those of other labels.
    """

    margins: NDArray[np.float32]
    scale: Scale
    gap: NDArray[np.float64]
    lengths: Lengths


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
        room: How long its labelled rows are without it, beside rows of other labels: the mean of
            `Lengths.compare`. Each more word makes a row likelier to hold an honest unit, and rows
            of one template are all as long; who puts a unit in takes any.
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
    room: NDArray[np.float64]

    def pick(self, chosen: NDArray[np.int64]) -> Sample:
        """Some of the units."""
        return Sample(**{f.name: getattr(self, f.name)[chosen] for f in fields(Sample)})


@dataclass(frozen=True)
class Measures(Sample):
    """All U units of a view, with what their numbers were made of.

    Attributes:
        is_part: Whether each is a word that mostly stands in one repeated phrase, shape (U,).
        label: The over-represented label of each unit, shape (U,).
        pair_unit: Unit of each pair of a unit and a labelled row that holds it, ascending, int32.
        pair_row: Row of each such pair, a position in the view, int32.
        pair_margin: Margin of the row towards the label without the unit's words, float32.
        content: Of all rows.
        fits: How the words of the view fit those beside them.
    """

    is_part: NDArray[np.bool_]
    label: NDArray[np.int64]
    pair_unit: NDArray[np.int32]
    pair_row: NDArray[np.int32]
    pair_margin: NDArray[np.float32]
    content: Content
    fits: Fits

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


def measure_units(
    view: View, units: Units, neighbours: Neighbours, fits: Fits | None = None
) -> Measures:
    """Measure all units at once.

    Args:
        view: The rows.
        units: What stands where in them.
        neighbours: Counts of this corpus.
        fits: What these say of the view, where it was asked before.
    """
    fits = neighbours.measure_fits(view.words.flat) if fits is None else fits
    blocks = list(units.cut(_BLOCK)) or [slice(0, 0)]
    # Some units at a time, so that millions of places need no more memory than thousands.
    placed = _Places.join(
        [_measure_places(view, units.pick(b), b.start, neighbours, fits) for b in blocks]
    )
    count, label = len(units), placed.label
    content, said = _read(view, units, label)
    pair_unit, pair_row = placed.pair_unit, placed.pair_row
    labelled = np.bincount(pair_unit, minlength=count)
    starts = np.concatenate([[0], np.cumsum(labelled)])
    root = np.sqrt(np.maximum(view.words.lengths, 1))
    margin, mean = np.zeros(len(pair_unit), dtype=np.float32), np.zeros(count)
    left = np.zeros(count)
    for block in blocks:
        pairs = slice(starts[block.start], starts[block.stop])
        unit, row = pair_unit[pairs], pair_row[pairs]
        told = content.margins[row, label[unit]] - said[view.folds[row], unit] / root[row]
        margin[pairs] = told
        total = np.bincount(unit - block.start, told, minlength=block.stop - block.start)
        mean[block] = total / np.maximum(labelled[block], 1)
        rest = content.lengths.compare(view.words.lengths[row] - units.length[unit], label[unit])
        total = np.bincount(unit - block.start, rest, minlength=block.stop - block.start)
        left[block] = total / np.maximum(labelled[block], 1)
    gap = content.gap[label]
    share = (content.scale.own[label] - mean) / gap
    spread = content.scale.others_spread[label] / gap / np.sqrt(np.maximum(labelled, 1))
    return Measures(
        rows=placed.rows,
        is_part=units.is_part,
        label=label,
        labelled=labelled,
        base=view.shares[label],
        placed=placed.placed,
        bridged=placed.bridged,
        places=np.diff(units.starts),
        starts=placed.starts,
        ends=placed.ends,
        share=share,
        spread=np.maximum(spread, 1e-6),
        room=left,
        pair_unit=pair_unit,
        pair_row=pair_row,
        pair_margin=margin,
        content=content,
        fits=fits,
    )


@dataclass(frozen=True)
class _Places:
    """What the places of units say: see `Measures`."""

    rows: NDArray[np.int64]
    label: NDArray[np.int64]
    placed: NDArray[np.float64]
    bridged: NDArray[np.float64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    pair_unit: NDArray[np.int32]
    pair_row: NDArray[np.int32]

    @classmethod
    def join(cls, parts: Sequence[_Places]) -> _Places:
        """Of consecutive units."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


def _measure_places(
    view: View, units: Units, offset: int, neighbours: Neighbours, fits: Fits
) -> _Places:
    """Of a few units, the first of which has this number among all."""
    count, labels, flat = len(units), view.labels, view.words.flat
    last, places = units.last, np.maximum(np.diff(units.starts), 1)
    breaks, bridges = neighbours.measure_break(flat, units.first, last, fits)
    row = view.words.row[units.first]
    # The places of a unit ascend: those of one row stand one after the other.
    is_new = np.ones(len(row), dtype=bool)
    is_new[1:] = (units.unit[1:] != units.unit[:-1]) | (row[1:] != row[:-1])
    pair_unit, pair_row = units.unit[is_new], row[is_new]
    held = np.bincount(pair_unit, minlength=count)
    key = pair_unit.astype(np.int64) * view.num_labels + labels[pair_row]
    by_label = np.bincount(key, minlength=count * view.num_labels)
    by_label = by_label.reshape(count, view.num_labels)
    base = view.shares
    expected = held[:, None] * base
    deviation = np.sqrt(expected * (1 - base))
    lift = np.where(deviation > 0, (by_label - expected) / np.maximum(deviation, 1e-12), -np.inf)
    label = lift.argmax(axis=1) if count else np.zeros(0, dtype=np.int64)
    is_labelled = labels[pair_row] == label[pair_unit]
    return _Places(
        rows=held,
        label=label,
        placed=np.bincount(units.unit, breaks, minlength=count) / places,
        bridged=np.bincount(units.unit, bridges, minlength=count) / places,
        starts=np.bincount(units.unit[flat[units.first - 1] == START], minlength=count),
        ends=np.bincount(units.unit[flat[last + 1] == END], minlength=count),
        pair_unit=pair_unit[is_labelled] + np.int32(offset),
        pair_row=pair_row[is_labelled],
    )


def _read(
    view: View, units: Units, label: NDArray[np.int64]
) -> tuple[Content, NDArray[np.float64]]:
    """Read all rows by words; and what each unit's own words say of its label, shape (FOLDS, U).

    The rows of each fold are read by a fit on the others. A word counts once a row, however often
    it stands there.
    """
    words, labels, presence = view.words, view.labels, view.words.presence
    root = np.sqrt(np.maximum(words.lengths, 1))
    ids = [sorted(set(own)) for own in units.words_of(words)]
    unit = np.repeat(np.arange(len(ids)), [len(own) for own in ids])
    own_words = np.array([word for own in ids for word in own], dtype=np.int64)
    margins = np.zeros((len(view), view.num_labels), dtype=np.float32)
    said = np.zeros((FOLDS, len(ids)))
    for fold, weights in read_folds(presence, labels, view.num_labels, view.folds):
        unknown = np.flatnonzero(view.folds == fold)
        margins[unknown] = np.asarray(presence[unknown] @ weights) / root[unknown, None]
        said[fold] = np.bincount(unit, weights[own_words, label[unit]], minlength=len(ids))
    scale = Scale.of(margins, labels)
    count = np.maximum(np.bincount(labels, minlength=view.num_labels), 1)
    left = np.maximum(len(view) - count, 1)
    chance = np.sqrt(scale.own_spread**2 / count + scale.others_spread**2 / left)
    gap = np.maximum(scale.own - scale.others, np.maximum(chance, 1e-6))
    lengths = Lengths.of(words.lengths, labels, view.num_labels)
    return Content(margins, scale, gap, lengths), said
