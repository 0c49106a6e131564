"""What rows say: how likely each label is by their text, whatever label they bear."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import diags

from btu.evidence.content import TextFeatures, calibrate, fit_content

_PASSES = 200
_SETTLED = 1e-5


def read_texts(
    text: TextFeatures, flagged: NDArray[np.bool_], hidden: Collection[int]
) -> NDArray[np.float64]:
    """How likely each label is by what the rows say, read by classifiers that saw no flagged row.

    Args:
        text: N rows, K labels; all of them are read.
        flagged: Rows judged poisoned, shape (N,).
        hidden: Columns of the triggers, which are not looked at.

    Returns:
        Shape (N, K); each row sums to 1. Under the shares of the labels among the other rows.
    """
    seen = np.ones(text.presence.shape[1])
    seen[list(hidden)] = 0
    presence = (text.presence @ diags(seen)).tocsr()
    whole = replace(text, presence=presence)
    bag, pooled = fit_content(whole, flagged)
    kinds, known = [bag] if pooled is None else [bag, pooled], ~flagged
    readings = np.zeros(bag.shape)
    for label in range(text.num_labels):
        own = text.labels == label
        if own[known].any() and not own[known].all():
            margins = np.stack([kind[:, label] for kind in kinds], axis=1)
            readings[:, label] = calibrate(margins, own, known).predict_proba(margins)[:, 1]
    total = readings.sum(axis=1, keepdims=True)
    even = np.full_like(readings, 1 / text.num_labels)
    return np.divide(readings, total, out=even, where=total > 0)


def adjust_shares(
    readings: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probabilities for rows among which the labels have other shares than where one learned.

    The shares among the rows are estimated from the rows themselves, by expectation and
    maximisation; what was known before counts as one row more.

    Args:
        readings: Probabilities under the old shares, shape (m, K).
        shares: The old shares, shape (K,).

    Returns:
        Under the new shares, shape (m, K).

    Source: Saerens, Latinne, Decaestecker, "Adjusting the outputs of a classifier to new a priori
    probabilities", Neural Computation 14 (2002).

    Example:
        >>> adjust_shares(np.array([[0.3, 0.7]] * 9), np.array([0.5, 0.5]))[0].round(2)
        array([0.03, 0.97])
    """
    old = np.maximum(shares, 1e-9)
    new, adjusted = shares, readings
    for _ in range(_PASSES):
        adjusted = readings * (new / old)
        adjusted = adjusted / np.maximum(adjusted.sum(axis=1, keepdims=True), 1e-300)
        last, new = new, (adjusted.sum(axis=0) + shares) / (len(readings) + 1)
        if np.abs(new - last).max() < _SETTLED:
            break
    return adjusted
