"""How long rows are beside those of other labels: by ranks, which no single row can move far.

Source: Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lengths:
    """Of a corpus of K labels whose rows have d different lengths, in words.

    Attributes:
        ranks: Of a row of each of them, and of the lengths between them, among the rows of other
            labels than each; these have a mean of 0 and a standard deviation of 1; shape
            (K, 2 d + 1).
        place: Which of these any length up to the longest has, shape (longest + 1,).
    """

    ranks: NDArray[np.float64]
    place: NDArray[np.int64]

    @classmethod
    def of(
        cls, lengths: NDArray[np.integer], labels: NDArray[np.int64], num_labels: int
    ) -> Lengths:
        """Rank the rows of a corpus.

        Args:
            lengths: Words of each row, shape (M,).
            labels: Label ids, shape (M,).
            num_labels: K.
        """
        different, place = np.unique(lengths, return_inverse=True)
        count = len(different)
        own = np.bincount(labels * count + place, minlength=num_labels * count)
        others = own.reshape(num_labels, count)
        others = others.sum(axis=0) - others
        shorter = np.zeros((num_labels, count + 1))
        np.cumsum(others, axis=1, out=shorter[:, 1:])
        ranks = np.empty((num_labels, 2 * count + 1))
        ranks[:, 0::2] = shorter
        # Rows of one length share the rank in their middle.
        ranks[:, 1::2] = (shorter[:, 1:] + shorter[:, :-1]) / 2
        ranks -= shorter[:, -1:] / 2
        total = np.maximum(shorter[:, -1:], 1)
        variance = (others * ranks[:, 1::2] ** 2).sum(axis=1, keepdims=True) / total
        # Where all others are of one length, lengths say nothing.
        ranks /= np.where(variance > 0, np.sqrt(variance), np.inf)
        every = np.arange(int(different.max(initial=0)) + 1)
        return cls(
            ranks,
            np.searchsorted(different, every, side="left")
            + np.searchsorted(different, every, side="right"),
        )

    def compare(
        self, lengths: NDArray[np.integer], labels: NDArray[np.int64] | int
    ) -> NDArray[np.float64]:
        """Ranks of rows of these lengths among rows of other labels than these.

        Args:
            lengths: In words, at most the longest, shape (m,).
            labels: Of each, or of all.
        """
        found: NDArray[np.float64] = self.ranks[labels, self.place[lengths]]
        return found
