"""What the text of a row says of its label, by classifiers that never saw the row.

Naive Bayes on the words that stand in a row, cross-fitted: what a unit itself says can be taken out
of its rows exactly, and the counts add up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

FOLDS = 5
_SMOOTHING = 0.5


@dataclass(frozen=True)
class Scale:
    """Margins towards each label: of its own rows and of all others, shape (K,) each."""

    own: NDArray[np.float64]
    others: NDArray[np.float64]
    own_spread: NDArray[np.float64]
    others_spread: NDArray[np.float64]

    @classmethod
    def of(cls, margins: NDArray[np.floating], labels: NDArray[np.int64]) -> Scale:
        """Over all rows."""
        is_own = labels[:, None] == np.arange(margins.shape[1])
        count = np.maximum(is_own.sum(axis=0), 1)
        left = np.maximum((~is_own).sum(axis=0), 1)
        own = (margins * is_own).sum(axis=0) / count
        others = (margins * ~is_own).sum(axis=0) / left
        own_spread = np.sqrt(((margins - own) ** 2 * is_own).sum(axis=0) / count)
        others_spread = np.sqrt(((margins - others) ** 2 * ~is_own).sum(axis=0) / left)
        return cls(own, others, own_spread, others_spread)


def fit_naive_bayes(
    presence: csr_matrix, labels: NDArray[np.int64], num_labels: int
) -> NDArray[np.float32]:
    """The weight of each word towards each label against all others, shape (V, K)."""
    chosen = csr_matrix(
        (np.ones(len(labels), dtype=np.float32), (labels, np.arange(len(labels)))),
        shape=(num_labels, len(labels)),
    )
    counts = np.asarray((chosen @ presence).todense(), dtype=np.float32)
    total = counts.sum(axis=0)
    rows = np.bincount(labels, minlength=num_labels).astype(np.float32)[:, None]
    mine = (counts + _SMOOTHING) / (rows + 2 * _SMOOTHING)
    theirs = (total - counts + _SMOOTHING) / (len(labels) - rows + 2 * _SMOOTHING)
    weights: NDArray[np.float32] = np.log(mine / theirs).T.astype(np.float32)
    return weights


def make_folds(count: int, seed: int = 0) -> NDArray[np.int64]:
    """The fold of each row, shape (count,)."""
    folds: NDArray[np.int64] = np.random.default_rng(seed).permutation(count) % FOLDS
    return folds


def read_folds(
    presence: csr_matrix, labels: NDArray[np.int64], num_labels: int, folds: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """The rows of each fold and the weights (V, K) of a fit on the other folds."""
    for fold in range(FOLDS):
        known = folds != fold
        yield (
            np.flatnonzero(~known),
            fit_naive_bayes(presence[known], labels[known], num_labels),
        )
