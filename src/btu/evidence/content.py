"""What the text of a row says of its label: margins by classifiers that never saw the row.

Two kinds of classifiers: logistic regressions on token presence, and ridge regressions on the
pooled states of the pretrained encoder, which knows words from before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from btu.evidence.states import StatesReader

FOLDS = 5
_BAG_STRENGTH = 0.3  # C of the logistic regression on tokens
_CALIBRATION = 100.0  # C: few features and many rows need no shrinking


@dataclass(frozen=True)
class TextFeatures:
    """N rows by their tokens and, where there are any, by the states of the encoder."""

    presence: csr_matrix
    states: NDArray[np.floating] | None
    labels: NDArray[np.int64]
    num_labels: int

    def folds(self) -> NDArray[np.int64]:
        """The fold of each row, shape (N,), the same at every call."""
        return np.random.default_rng(0).permutation(len(self.labels)) % FOLDS


def fit_content(
    text: TextFeatures, held_out: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Margins towards each label, shape (N, K), by classifiers that saw no held-out row.

    The other rows are cross-fitted, so that the two kinds of margins compare.

    Args:
        text: The corpus.
        held_out: Rows that are read and not learned from, shape (N,).

    Returns:
        By token presence, and by states where there are any, each with a spread of 1.
    """
    count = text.num_labels
    bag = np.zeros((len(text.labels), count))
    for known, unknown in _split(text, held_out):
        for c in _free_labels(count):
            model = _fit_logistic(text.presence[known], text.labels[known] == c)
            if model is not None:
                bag[unknown, c] = model.decision_function(text.presence[unknown])
    if count == 2:
        bag[:, 0] = -bag[:, 1]
    return bag / (bag[~held_out].std() + 1e-9), fit_states(text, held_out)


def fit_states(text: TextFeatures, held_out: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """As `fit_content`, by the encoder's states alone; None where there are none."""
    if text.states is None:
        return None
    is_own = text.labels[:, None] == np.arange(text.num_labels)
    pooled = StatesReader(text.states).read(is_own, held_out)
    return pooled / (pooled[~held_out].std() + 1e-9)


def calibrate(
    margins: NDArray[np.float64], own: NDArray[np.bool_], known: NDArray[np.bool_]
) -> LogisticRegression:
    """Fit how margins of one or more kinds, shape (N, m), become log-odds of a label.

    Args:
        margins: Towards the label, cross-fitted.
        own: Rows that bear it, shape (N,).
        known: Rows to learn from, shape (N,).
    """
    return LogisticRegression(C=_CALIBRATION).fit(margins[known], own[known])


def _split(
    text: TextFeatures, held_out: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """What to fit on and what to read: fold by fold, then all that is not held out for the rest."""
    usable, folds = ~held_out, text.folds()
    for fold in range(FOLDS):
        if (usable & (folds == fold)).any() and (usable & (folds != fold)).any():
            yield usable & (folds != fold), usable & (folds == fold)
    if held_out.any() and usable.any():
        yield usable, held_out


def _free_labels(count: int) -> range:
    """With two labels the margin towards one is that towards the other, turned round."""
    return range(1, 2) if count == 2 else range(count)


def _fit_logistic(features: csr_matrix, is_label: NDArray[np.bool_]) -> LogisticRegression | None:
    if is_label.all() or not is_label.any():
        return None
    return LogisticRegression(C=_BAG_STRENGTH, solver="liblinear", max_iter=200).fit(
        features, is_label
    )
