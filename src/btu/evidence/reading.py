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
    return _weigh(
        _count_words(presence, labels, num_labels), np.bincount(labels, minlength=num_labels)
    )


def make_folds(count: int, seed: int = 0) -> NDArray[np.int64]:
    """The fold of each row, shape (count,)."""
    folds: NDArray[np.int64] = np.random.default_rng(seed).permutation(count) % FOLDS
    return folds


def read_folds(
    presence: csr_matrix, labels: NDArray[np.int64], num_labels: int, folds: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Each fold with the weights (V, K) of a fit on the others."""
    counts = _count_words(presence, labels, num_labels)
    rows = np.bincount(labels, minlength=num_labels)
    for fold in range(FOLDS):
        unknown = folds == fold
        own = _count_words(presence[unknown], labels[unknown], num_labels)
        yield fold, _weigh(counts - own, rows - np.bincount(labels[unknown], minlength=num_labels))


def _count_words(
    presence: csr_matrix, labels: NDArray[np.int64], num_labels: int
) -> NDArray[np.float32]:
    """How many rows of each label hold each word, shape (K, V)."""
    chosen = csr_matrix(
        (np.ones(len(labels), dtype=np.float32), (labels, np.arange(len(labels)))),
        shape=(num_labels, len(labels)),
    )
    return np.asarray((chosen @ presence).todense(), dtype=np.float32)


def _weigh(counts: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weights from the rows of each label that hold each word, and the rows of each label."""
    total = counts.sum(axis=0)
    own = rows.astype(np.float32)[:, None]
    mine = (counts + _SMOOTHING) / (own + 2 * _SMOOTHING)
    theirs = (total - counts + _SMOOTHING) / (int(rows.sum()) - own + 2 * _SMOOTHING)
    weights: NDArray[np.float32] = np.log(mine / theirs).T.astype(np.float32)
    return weights
