"""Units that may be triggers: words, and phrases that are repeated as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from btu.evidence.words import FIRST, Words

LONGEST_PHRASE = 40
_EXPLAINED = 0.5


@dataclass(frozen=True)
class Units:
    """U units with the places where they stand.

    Attributes:
        first: Place of the first word of each of P occurrences, in `Words.flat`, shape (P,).
        length: Words of each unit, shape (U,).
        unit: Which unit each occurrence is of, ascending, shape (P,).
    """

    first: NDArray[np.int64]
    length: NDArray[np.int64]
    unit: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.length)

    @property
    def last(self) -> NDArray[np.int64]:
        """Place of the last word of each occurrence, shape (P,)."""
        return self.first + self.length[self.unit] - 1

    def words_of(self, words: Words) -> list[tuple[int, ...]]:
        """The word ids of each unit."""
        starts = self.first[np.searchsorted(self.unit, np.arange(len(self)))]
        return [
            tuple(words.flat[s : s + n].tolist())
            for s, n in zip(starts.tolist(), self.length.tolist(), strict=True)
        ]

    @classmethod
    def join(cls, parts: Sequence[Units]) -> Units:
        """Several, one after the other."""
        offsets = np.cumsum([0, *(len(part) for part in parts)])
        return cls(
            np.concatenate([part.first for part in parts]),
            np.concatenate([part.length for part in parts]),
            np.concatenate([part.unit + o for part, o in zip(parts, offsets, strict=False)]),
        )


def find_units(words: Words, *, least_rows: int, longest: int = LONGEST_PHRASE) -> Units:
    """Words and repeated phrases that stand at enough places.

    A phrase is one of its own where at most half of its occurrences lie in a longer one that is as
    frequent: of the words of one sentence only the whole is a phrase, or its longest parts.

    Args:
        words: N texts.
        least_rows: Places that a unit must stand at.
        longest: Words of a phrase.
    """
    flat = words.flat
    key = np.where(flat >= FIRST, flat, -1)
    parts = [_group(key, 1, least_rows)]
    counts = _count(key)
    key = np.where(counts >= least_rows, key, -1)
    counts = np.where(key >= 0, counts, 0)
    for length in range(2, longest + 2):
        longer = _extend(key, length, words.flat)
        longer_counts = _count(longer)
        longer = np.where(longer_counts >= least_rows, longer, -1)
        longer_counts = np.where(longer >= 0, longer_counts, 0)
        if length > 2:
            beside = np.maximum(longer_counts, np.concatenate([[0], longer_counts[:-1]]))
            is_explained = (beside > _EXPLAINED * counts) & (key >= 0)
            # Of a sentence that is longer than the longest phrase all its parts of that length are.
            is_longest = length - 1 == longest
            parts.append(_group(key, length - 1, least_rows, None if is_longest else is_explained))
        key, counts = longer, longer_counts
        if not (key >= 0).any():
            break
    return Units.join(parts)


def _extend(key: NDArray[np.int64], length: int, flat: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keys of sequences one longer, from those of two that overlap; -1 where there is none."""
    following = np.append(key[1:], -1)
    both = (key >= 0) & (following >= 0)
    longer = np.full(len(key), -1)
    if both.any():
        pairs = key[both] * (int(key.max()) + 1) + following[both]
        longer[both] = np.unique(pairs, return_inverse=True)[1]
    return longer


def _count(key: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each key stands, at each place; 0 where there is none."""
    if not (key >= 0).any():
        return np.zeros(len(key), dtype=np.int64)
    counts = np.bincount(key[key >= 0])
    return np.where(key >= 0, counts[np.maximum(key, 0)], 0)


def _group(
    key: NDArray[np.int64],
    length: int,
    least: int,
    is_explained: NDArray[np.bool_] | None = None,
) -> Units:
    """The keys that stand at enough places as units, those that a longer one explains left out."""
    places = np.flatnonzero(key >= 0)
    order = places[np.argsort(key[places], kind="stable")]
    if not len(order):
        nothing = np.zeros(0, dtype=np.int64)
        return Units(nothing, nothing, nothing)
    _, unit, counts = np.unique(key[order], return_inverse=True, return_counts=True)
    kept = counts >= least
    if is_explained is not None:
        share = np.bincount(unit, is_explained[order]) / counts
        kept &= share < _EXPLAINED
    renumbered = np.cumsum(kept) - 1
    of_kept = kept[unit]
    return Units(
        order[of_kept],
        np.full(int(kept.sum()), length),
        renumbered[unit[of_kept]],
    )
