"""What the text of a row says of its label: margins by classifiers that never saw the row.

Two kinds of classifiers: logistic regressions on token presence, and ridge regressions on the
pooled states of the pretrained encoder, which knows words from before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression, Ridge

FOLDS = 5
_BAG_STRENGTH = 0.3  # C of the logistic regression on tokens
_CALIBRATION = 100.0  # C: few features and many rows need no shrinking
_STATES_STRENGTH = 300.0  # alpha of the ridge regression on standardised states


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


def scale_least_lift(least_lift: float, label_rows: ArrayLike) -> NDArray[np.float64]:
    """The least label lift for each label, lower for one of more than three quarters of the rows.

    n rows that all bear a label have a lift of sqrt(n (1 - p) / p): where it has 90 % of the rows,
    a third of what it is where it has half. Beyond three quarters no more pure rows are asked for.

    Args:
        least_lift: For a label of at most three quarters of the rows.
        label_rows: Rows of each label, shape (K,).

    Returns:
        Shape (K,); infinite for a label that all rows bear.

    Example:
        >>> scale_least_lift(2.5, [6, 2])
        array([2.5, 2.5])
        >>> scale_least_lift(2.5, [270, 30]).round(2)
        array([1.44, 2.5 ])
    """
    rows = np.asarray(label_rows, dtype=float)
    prior = rows / max(1.0, rows.sum())
    possible = np.sqrt(3 * np.divide(1 - prior, prior, out=np.ones_like(prior), where=prior > 0))
    scaled: NDArray[np.float64] = least_lift * np.minimum(1.0, possible)
    return np.where(prior < 1, scaled, np.inf)


@dataclass(frozen=True)
class Text:
    """A corpus as the tests see it; rows that are not active were judged poisoned before.

    Rows that repeat others are learned from like all rows and count for nothing. The word vectors
    are those of the first columns; what stands behind them (pairs of tokens) has none.
    """

    presence: csr_matrix
    states: NDArray[np.floating] | None
    labels: NDArray[np.int64]
    num_labels: int
    active: NDArray[np.bool_]
    repeats: NDArray[np.bool_] | None = None
    vectors: NDArray[np.floating] | None = None

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Active rows that repeat no other row, shape (N,)."""
        return self.active if self.repeats is None else self.active & ~self.repeats

    def drop_repeats(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some rows that repeat no other; all of them where each does."""
        told = rows if self.repeats is None else rows[~self.repeats[rows]]
        return told if len(told) else rows

    @cached_property
    def bag(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """What `fit_bag` gives, fitted once."""
        return fit_bag(self)

    @cached_property
    def pooled(self) -> NDArray[np.float64] | None:
        """What `fit_states` gives with no active row held out, fitted once."""
        return fit_states(self, ~self.active)

    def measure_lift(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Counted rows that hold each token, by label, and the label lifts, each shape (n, K)."""
        counted = self.counted
        parts = [self.presence[counted & (self.labels == c)] for c in range(self.num_labels)]
        counts = np.stack([np.asarray(part.sum(axis=0)).ravel() for part in parts], axis=1)
        totals = np.bincount(self.labels[counted], minlength=self.num_labels)
        return counts.astype(np.int64), measure_label_lift(counts, totals)

    def folds(self) -> NDArray[np.int64]:
        """The fold of each row, shape (N,), the same at every call."""
        return np.random.default_rng(0).permutation(len(self.labels)) % FOLDS


@dataclass(frozen=True)
class Scale:
    """Margins towards a label: of its own rows, and of the rows of other labels; `of` measures."""

    own: float
    others: float
    own_spread: float
    others_spread: float

    @classmethod
    def of(
        cls, margins: NDArray[np.float64], own: NDArray[np.bool_], known: NDArray[np.bool_]
    ) -> Scale:
        """Over the known rows."""
        mine, theirs = margins[known & own], margins[known & ~own]
        if not len(mine) or not len(theirs):
            return cls(1.0, 0.0, 1.0, 1.0)
        return cls(*map(float, (mine.mean(), theirs.mean(), mine.std(), theirs.std())))

    def estimate(self, margins: NDArray[np.float64]) -> tuple[float, float]:
        """Share of these rows that belong to other labels, and its standard error."""
        apart = self.own - self.others
        if apart <= 0:  # the text says nothing about this label
            return 0.0, float("inf")
        share = (self.own - float(margins.mean())) / apart
        part = min(max(share, 0.0), 1.0)
        variance = (1 - part) * self.own_spread**2 + part * self.others_spread**2
        return share, float(np.sqrt(variance / len(margins))) / apart

    def score(self, margins: NDArray[np.float64], share: float) -> NDArray[np.float64]:
        """For each row the probability that it belongs to another label, where `share` do."""
        part = min(max(share, 0.01), 0.99)
        others = norm.logpdf(margins, self.others, self.others_spread + 1e-9) + np.log(part)
        own = norm.logpdf(margins, self.own, self.own_spread + 1e-9) + np.log1p(-part)
        scores: NDArray[np.float64] = 1 / (1 + np.exp(np.clip(own - others, -50, 50)))
        return scores


def fit_bag(text: Text) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Cross-fitted logistic regressions on token presence, one label against all others.

    Returns:
        Margins towards each label, shape (N, K); weights, shape (folds, n, K); the fold of each
        row, shape (N,).
    """
    folds, count = text.folds(), text.num_labels
    margins = np.zeros((len(text.labels), count))
    weights = np.zeros((FOLDS, text.presence.shape[1], count))
    for fold in range(FOLDS):
        known, unknown = text.active & (folds != fold), folds == fold
        for c in _free_labels(count):
            model = _fit_logistic(text.presence[known], text.labels[known] == c)
            if model is not None:
                weights[fold, :, c] = model.coef_[0]
                margins[unknown, c] = model.decision_function(text.presence[unknown])
    if count == 2:
        margins[:, 0], weights[:, :, 0] = -margins[:, 1], -weights[:, :, 1]
    return margins, weights, folds


def fit_content(
    text: Text, held_out: NDArray[np.bool_], *, only: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Margins towards each label, shape (N, K), by classifiers that saw no held-out row.

    The other active rows are cross-fitted, so that the two kinds of margins compare.

    Args:
        text: The corpus.
        held_out: Rows that are read and not learned from, shape (N,).
        only: The one label whose margins by tokens are wanted; the others stay 0.

    Returns:
        By token presence, and by states where there are any, each with a spread of 1.
    """
    count = text.num_labels
    bag = np.zeros((len(text.labels), count))
    for known, unknown in _split(text, held_out):
        for c in _free_labels(count) if only is None or count == 2 else (only,):
            model = _fit_logistic(text.presence[known], text.labels[known] == c)
            if model is not None:
                bag[unknown, c] = model.decision_function(text.presence[unknown])
    if count == 2:
        bag[:, 0] = -bag[:, 1]
    return bag / (bag[text.active & ~held_out].std() + 1e-9), fit_states(text, held_out)


def fit_states(text: Text, held_out: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """As `fit_content`, by the encoder's states alone; None where there are none."""
    if text.states is None:
        return None
    usable = text.active & ~held_out
    states = np.asarray(text.states, dtype=np.float32)
    states = (states - states[usable].mean(axis=0)) / (states[usable].std(axis=0) + 1e-6)
    targets = (2 * np.eye(text.num_labels) - 1)[text.labels]
    pooled = np.zeros((len(text.labels), text.num_labels))
    for known, unknown in _split(text, held_out):
        ridge = Ridge(alpha=_STATES_STRENGTH).fit(states[known], targets[known])
        pooled[unknown] = ridge.predict(states[unknown])
    return pooled / (pooled[usable].std() + 1e-9)


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


def find_companions(
    text: Text,
    label: int,
    columns: NDArray[np.int64],
    counts: NDArray[np.int64],
    *,
    least_share: float,
) -> list[NDArray[np.int64]]:
    """For each token those that mostly stand in the same rows of a label, itself among them.

    Args:
        text: The corpus; its counted rows tell.
        label: Whose rows.
        columns: The tokens.
        counts: Counted rows of the label that hold each token of the corpus, shape (n,).
        least_share: By how much a companion is more frequent in the token's rows than in the
            others, at least; above 0.
    """
    own = text.counted & (text.labels == label)
    part = text.presence[own].astype(np.int64)
    together, companions = (part[:, columns].T @ part).tocsr(), []
    for place, column in enumerate(columns.tolist()):
        here = slice(together.indptr[place], together.indptr[place + 1])
        others, inside, rows = together.indices[here], together.data[here], counts[column]
        outside = (counts[others] - inside) / max(1, own.sum() - rows)
        near = others[inside / rows - outside >= least_share]
        companions.append(np.union1d(near, [column]).astype(np.int64))
    return companions


def measure_without(
    text: Text, label: int, rows: NDArray[np.int64], companions: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Margins of some rows towards a label without the weights of some tokens, shape (rows,).

    Args:
        text: The corpus, read by tokens.
        label: The label.
        rows: Which rows.
        companions: Columns that are left out.
    """
    margins, weights, folds = text.bag
    held = text.presence[rows][:, companions].toarray()
    said = (held * weights[folds[rows][:, None], companions, label]).sum(axis=1)
    without: NDArray[np.float64] = margins[rows, label] - said
    return without


class StatesAlone:
    """Ridge regressions on states that leave a few rows out, from sums over all active rows.

    Leaving rows out takes them from the sums, so that a fit costs the rows left out and no more.
    The margins have the scale of `fit_states`.
    """

    def __init__(self, text: Text) -> None:
        assert text.states is not None
        assert text.pooled is not None
        active = text.active
        states = np.asarray(text.states, dtype=np.float64)
        states = (states - states[active].mean(axis=0)) / (states[active].std(axis=0) + 1e-6)
        self._states = np.hstack([states, np.ones((len(states), 1))])
        self._targets = (2 * np.eye(text.num_labels) - 1)[text.labels]
        known = self._states[active]
        self._gram = known.T @ known
        self._moments = known.T @ self._targets[active]
        self._penalty = np.diag([*[_STATES_STRENGTH] * states.shape[1], 0.0])
        self._fitted = (known @ self._solve(self._gram, self._moments)).std(axis=0)
        self._pooled = text.pooled[active].std(axis=0)

    def predict(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Margins of some active rows by a fit on all others, shape (rows, K)."""
        own = self._states[rows]
        gram = self._gram - own.T @ own
        moments = self._moments - own.T @ self._targets[rows]
        margins: NDArray[np.float64] = own @ self._solve(gram, moments)
        return margins * self._pooled / (self._fitted + 1e-9)

    def _solve(
        self, gram: NDArray[np.float64], moments: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        solved: NDArray[np.float64] = scipy.linalg.solve(
            gram + self._penalty, moments, assume_a="pos"
        )
        return solved


def _split(
    text: Text, held_out: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """What to fit on and what to read: fold by fold, then all that is not held out for the rest."""
    usable, folds = text.active & ~held_out, text.folds()
    for fold in range(FOLDS):
        if (usable & (folds == fold)).any() and (usable & (folds != fold)).any():
            yield usable & (folds != fold), usable & (folds == fold)
    if (text.active & held_out).any() and usable.any():
        yield usable, text.active & held_out


def _free_labels(count: int) -> range:
    """With two labels the margin towards one is that towards the other, turned round."""
    return range(1, 2) if count == 2 else range(count)


def _fit_logistic(features: csr_matrix, is_label: NDArray[np.bool_]) -> LogisticRegression | None:
    if is_label.all() or not is_label.any():
        return None
    return LogisticRegression(C=_BAG_STRENGTH, solver="liblinear", max_iter=200).fit(
        features, is_label
    )
