"""Which rows of a trigger were planted, where some of them were not: by what they say, and where.

A row that holds the words and bears the label may be an honest one. What the other words of a row
say of the label, and how the words stand in it, are weighed against rows of the label and planted
ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from btu.evidence.placement import Neighbours
from btu.evidence.words import Words, find_places

_LEAST = 1e-6


@dataclass(frozen=True)
class RowScorer:
    """How the rows that hold a unit and bear its label are told apart.

    Attributes:
        ids: Word ids of the unit.
        odds: Logarithm of the odds of a row to be planted, before it is read.
        weights: What each word says of the label, nothing for the unit's own, shape (V,).
        own: Mean and standard deviation of the margins of rows of the label.
        others: The same of rows of other labels.
        breaks: Mean break of planted places, mean of the others, and the standard deviation of
            both; None where the words stand as honest ones.
    """

    ids: tuple[int, ...]
    odds: float
    weights: NDArray[np.float32]
    own: tuple[float, float]
    others: tuple[float, float]
    breaks: tuple[float, float, float] | None

    def read(self, words: Words) -> NDArray[np.float64]:
        """The margin of each row towards the label without the unit's words, shape (N,).

        Args:
            words: N rows, with the ids of the corpus.
        """
        root = np.sqrt(np.maximum(words.lengths, 1))
        return np.asarray(words.presence @ self.weights, dtype=np.float64) / root

    def place(
        self, words: Words, neighbours: Neighbours, *, own: float = 1.0
    ) -> NDArray[np.float64]:
        """The mean break of the unit's places in each row that holds it, shape (N,); else 0.

        Args:
            words: N rows, with the ids of the corpus.
            neighbours: Its counts.
            own: As in `Neighbours.measure_break`.
        """
        first = find_places(words.flat, self.ids)
        last = first + len(self.ids) - 1
        breaks, _ = neighbours.measure_break(words.flat, first, last, own=own)
        row = words.row[first]
        often = np.bincount(row, minlength=len(words))
        total = np.bincount(row, breaks, minlength=len(words)).astype(np.float64)
        return np.asarray(total / often.clip(1))

    def score(
        self, margins: NDArray[np.floating], breaks: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """The chance of each of n rows to be planted, in [0, 1], shape (n,).

        Args:
            margins: As `read` gives them, shape (n,).
            breaks: As `place` gives them, shape (n,).
        """
        odds = np.full(len(margins), self.odds)
        for sign, (mean, spread) in ((1, self.others), (-1, self.own)):
            odds += sign * norm.logpdf(margins, mean, spread + _LEAST)
        if self.breaks is not None:
            planted, honest, spread = self.breaks
            odds += norm.logpdf(breaks, planted, spread) - norm.logpdf(breaks, honest, spread)
        return np.asarray(expit(odds))
