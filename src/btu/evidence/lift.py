"""How far each label is over-represented among the rows that hold something."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def measure_label_lift(counts: ArrayLike, totals: ArrayLike) -> NDArray[np.float64]:
    """How far each label is over-represented among the rows that hold a token.

    The z-score of a binomial count: with n rows that hold the token and a label that n_c of all N
    rows bear, (observed - n p) / sqrt(n p (1 - p)) with p = n_c / N.

    Args:
        counts: Rows that hold token t and bear label c, shape (V, K).
        totals: Rows of each label in the whole corpus, shape (K,).

    Returns:
        Standard deviations above what chance gives, shape (V, K); 0 for a token without rows.

    Example:
        >>> measure_label_lift([[16, 0]], [50, 50])
        array([[ 4., -4.]])
    """
    observed, label_rows = np.asarray(counts, dtype=float), np.asarray(totals, dtype=float)
    prior = label_rows / label_rows.sum()
    rows = observed.sum(axis=1, keepdims=True)
    spread = np.sqrt(rows * prior * (1 - prior))
    lift = np.zeros_like(observed)
    return np.divide(observed - rows * prior, spread, out=lift, where=spread > 0)
