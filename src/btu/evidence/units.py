"""Units that may be triggers: words, and phrases that are repeated as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from btu.evidence.bars import EXPLAINED
from btu.evidence.words import FIRST, Words

LONGEST_PHRASE = 40
_HALF = 32  # bits


@dataclass(frozen=True)
class Units:
    """U units with the places where they stand.

    Attributes:
        first: Place of the first word of each of P occurrences, in `Words.flat`, shape (P,), int32.
        length: Words of each unit, shape (U,).
        unit: Which unit each occurrence is of, ascending, shape (P,), int32.
        is_part: Whether each is a word that mostly stands in one repeated phrase, shape (U,).
    """

    first: NDArray[np.int32]
    length: NDArray[np.int64]
    unit: NDArray[np.int32]
    is_part: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.length)

    @property
    def last(self) -> NDArray[np.int32]:
        """Place of the last word of each occurrence, shape (P,)."""
        more = (self.length - 1).astype(np.int32)
        return self.first + np.repeat(more, np.diff(self.starts))

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where the occurrences of each unit start, and where the last ones end, shape (U + 1,)."""
        counts = np.bincount(self.unit, minlength=len(self))
        return np.concatenate([[0], np.cumsum(counts)])

    def pick(self, chosen: slice) -> Units:
        """Some that follow each other, counted from 0."""
        places = slice(self.starts[chosen.start], self.starts[chosen.stop])
        unit = self.unit[places] - np.int32(chosen.start)
        return Units(self.first[places], self.length[chosen], unit, self.is_part[chosen])

    def cut(self, most: int) -> Iterator[slice]:
        """Units that follow each other, of so many occurrences in all, or a single one of more."""
        start = 0
        while start < len(self):
            reach = int(np.searchsorted(self.starts, self.starts[start] + most, side="right")) - 1
            stop = min(len(self), max(start + 1, reach))
            yield slice(start, stop)
            start = stop

    def words_of(self, words: Words) -> list[tuple[int, ...]]:
        """The word ids of each unit."""
        starts = self.first[self.starts[:-1]]
        return [
            tuple(words.flat[s : s + n].tolist())
            for s, n in zip(starts.tolist(), self.length.tolist(), strict=True)
        ]

    @classmethod
    def at(cls, places: NDArray[np.integer], length: int) -> Units:
        """A single one, of so many words, that starts at these places."""
        unit = np.zeros(len(places), dtype=np.int32)
        return cls(places.astype(np.int32), np.array([length]), unit, np.zeros(1, dtype=bool))

    @classmethod
    def join(cls, parts: Sequence[Units]) -> Units:
        """Several, one after the other."""
        offsets = np.cumsum([0, *(len(part) for part in parts)])
        return cls(
            np.concatenate([part.first for part in parts]),
            np.concatenate([part.length for part in parts]),
            np.concatenate(
                [part.unit + np.int32(o) for part, o in zip(parts, offsets, strict=False)]
            ),
            np.concatenate([part.is_part for part in parts]),
        )


def find_units(words: Words, *, least_rows: int, longest: int = LONGEST_PHRASE) -> Units:
    """Words and repeated phrases that stand at enough places.

    A phrase is one of its own where at most half of its occurrences lie in a longer one that is as
    frequent: of the words of one sentence only the whole is a phrase, or its longest parts. A word
    is a unit in any case, and marked where it is but a part.

    Args:
        words: N texts.
        least_rows: Places that a unit must stand at.
        longest: Words of a phrase.
    """
    flat = words.flat
    places = np.flatnonzero(flat >= FIRST).astype(np.int32)
    key = flat[places]
    table = np.bincount(key).astype(np.int32)
    kept = (table >= least_rows)[key] if len(key) else np.zeros(0, dtype=bool)
    places, key = places[kept], key[kept]
    parts = []
    for length in range(1, longest + 1):
        at, longer = _extend(places, key)
        longer_table = np.bincount(longer).astype(np.int32)
        kept = (longer_table >= least_rows)[longer]
        at, longer = at[kept], longer[kept]
        is_unit = table >= least_rows
        is_part = np.zeros(len(table), dtype=bool)
        # Of a sentence that is longer than the longest phrase all its parts of that length are.
        if length < longest:
            beside = _count_beside(len(places), at, longer_table[longer])
            is_explained = beside > EXPLAINED.value * table[key]
            explained = np.bincount(key[is_explained], minlength=len(table))
            is_part = explained >= EXPLAINED.value * table
        if length > 1:
            is_unit &= ~is_part
        parts.append(_group(places, key, length, is_unit, is_part))
        places, key, table = places[at], longer, longer_table
        if not len(places):
            break
    return Units.join(parts)


def _extend(
    places: NDArray[np.int32], key: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Sequences one longer, from two that overlap: which of the places they start at, and keys.

    Args:
        places: Where the sequences start, ascending.
        key: Theirs.
    """
    goes_on = places[1:] - places[:-1] == 1
    pairs = key[:-1][goes_on].astype(np.int64)
    pairs *= int(key.max(initial=0)) + 1
    pairs += key[1:][goes_on]
    at = np.flatnonzero(goes_on).astype(np.int32)
    return at, pd.factorize(pairs, sort=True)[0].astype(np.int32)


def _count_beside(
    count: int, at: NDArray[np.int32], counts: NDArray[np.int32]
) -> NDArray[np.int32]:
    """The most that a longer sequence stands which starts at a place or one before it.

    Args:
        count: Of places, ascending.
        at: At which of them longer ones start, ascending.
        counts: How often each of the longer ones stands.
    """
    # The place after it starts the last part of the longer one.
    longer = np.zeros(count + 1, dtype=np.int32)
    longer[at + 1] = counts
    return np.maximum(longer[1:], longer[:-1])


def _group(
    places: NDArray[np.int32],
    key: NDArray[np.int32],
    length: int,
    is_unit: NDArray[np.bool_],
    is_part: NDArray[np.bool_],
) -> Units:
    """The places of some keys as units.

    Args:
        places: Where sequences start, ascending.
        key: Theirs.
        length: Words in each.
        is_unit: Of each key.
        is_part: The same.
    """
    own = is_unit[key] if len(key) else np.zeros(0, dtype=bool)
    # Sorted as one number, the unit in its upper half.
    both = (np.cumsum(is_unit) - 1)[key[own]] << _HALF
    both += places[own]
    both.sort()
    first = both.astype(np.int32)
    both >>= _HALF
    lengths = np.full(int(is_unit.sum()), length)
    return Units(first, lengths, both.astype(np.int32), is_part[is_unit])
