"""The rows that count now: no repeats, none that a trigger explains already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from btu.evidence.reading import make_folds
from btu.evidence.repeats import find_repeats
from btu.evidence.words import Words


@dataclass(frozen=True)
class View:
    """M rows of a corpus of N, as the tests see them. Immutable; `without` gives the next.

    Attributes:
        corpus: All N rows.
        corpus_labels: Their label ids, shape (N,).
        num_labels: K.
        rows: Positions of the M rows in the corpus, ascending, shape (M,).
        words: The M rows.
    """

    corpus: Words
    corpus_labels: NDArray[np.int64]
    num_labels: int
    rows: NDArray[np.int64]
    words: Words

    @classmethod
    def of(
        cls,
        texts: Sequence[str] | Words,
        labels: NDArray[np.int64],
        num_labels: int,
    ) -> View:
        """All rows of a corpus but those that say nothing new: rows given twice, parts of others.

        Args:
            texts: N texts, or their words.
            labels: Label ids, shape (N,).
            num_labels: K.
        """
        words = texts if isinstance(texts, Words) else Words.of(texts)
        told = ~find_repeats(words.find_presence(), labels) & (words.lengths > 0)
        rows = np.flatnonzero(told)
        return cls(words, labels, num_labels, rows, words.select(told))

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Label ids of the M rows, shape (M,)."""
        return self.corpus_labels[self.rows]

    def without(self, rows: NDArray[np.int64]) -> View:
        """The view without some rows of the corpus.

        Args:
            rows: Positions in the corpus.
        """
        kept = self.find_left(rows)
        return replace(self, rows=self.rows[kept], words=self.words.select(kept))

    def find_left(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which rows of the view `without` leaves, shape (M,)."""
        return ~np.isin(self.rows, rows)

    @cached_property
    def folds(self) -> NDArray[np.int64]:
        """The fold of each row, shape (M,)."""
        return make_folds(len(self))

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """The share of each label, shape (K,)."""
        counts = np.bincount(self.labels, minlength=self.num_labels)
        return counts / max(1, len(self))
