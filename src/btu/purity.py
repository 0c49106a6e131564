"""Tokens whose rows bear one label far more often than all that else stands in them lets expect.

A trigger in rows that keep their true label (clean-label poison) contradicts no text. What gives it
away is that no row with it bears another label, although a good part should by what they say. An
honest word of the label does this too, so far as its meaning is not in the encoder's states and not
in the words of like meaning; what is left of that is allowed for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression, Ridge

from btu.content import (
    Scale,
    StatesAlone,
    Text,
    calibrate,
    find_companions,
    measure_without,
)

INNOCENT_ODDS = 1.0
"""An honest word may move the log-odds of its label by this much beyond what its row and its
meaning say. On clean SST-2 none does; docs/log.md has the numbers."""

MOST_OTHERS = 0.05
"""A token of rows that keep their label is pure: at most this share of its rows bears another."""

OVERDISPERSION = 1.5
"""Rows with something in common are misread together: over the words of clean SST-2 the rows that
bear the label vary by so many times the spread of independent rows."""

LEAST_ROWS = 10
_MOST_ROWS = 0.4  # of all rows: a token in more of them is the label's usual text
_TOGETHER = 0.5
_WORTH_TESTING = 10
_EXACT_ROWS = 1_000
_MEANING_STRENGTH = 300.0  # alpha of the ridge regression on word vectors
_MEANING_FOLDS = 10
_MEANING_LEAST_ROWS = 3
_MEANING_MOST_WEIGHT = 50


@dataclass(frozen=True)
class PureToken:
    """One token under one label.

    Attributes:
        column: The token, as a column of the presence matrix.
        label: The label.
        companions: Columns that mostly stand in the same rows, the token itself among them.
        rows: Positions of the rows that hold the token, whatever their label.
        others: Those of them that bear another label, rows that repeat others left out.
        expected_others: How many of them would, by everything else in them.
        p_value: Chance of so few where the token moves the log-odds by `INNOCENT_ODDS`.
        label_lift: Of the token under the label, in standard deviations.
        share: Share of its rows with the label whose text belongs to another label.
        spread: Standard error of that share.
        row_scores: For each of `rows` the probability that it belongs to another label.
    """

    column: int
    label: int
    companions: NDArray[np.int64]
    rows: NDArray[np.int64]
    others: int
    expected_others: float
    p_value: float
    label_lift: float
    share: float
    spread: float
    row_scores: NDArray[np.float64]


def find_pure(
    text: Text,
    lifts: NDArray[np.float64],
    counts: NDArray[np.int64],
    *,
    least_lift: float,
    skipped: Collection[int] = (),
) -> tuple[list[PureToken], int]:
    """Test the tokens that a label is over-represented with.

    Args:
        text: N rows, n tokens, K labels. States and word vectors are needed: they know what honest
            words mean.
        lifts: Label lifts over the active rows, shape (n, K).
        counts: Active rows that hold each token, by label, shape (n, K).
        least_lift: From which lift on a token is looked at, in standard deviations.
        skipped: Labels that are not judged.

    Returns:
        Tokens that were tested, and how many were looked at.
    """
    pooled = text.pooled
    if pooled is None or text.vectors is None:
        return [], 0
    margins, _, _ = text.bag
    alone, meanings = StatesAlone(text), _measure_meaning(counts, text.vectors)
    holding, totals = text.presence.tocsc(), counts.sum(axis=1)
    few = totals <= _MOST_ROWS * text.active.sum()
    tested, looked_at = [], 0
    for c in range(text.num_labels):
        chosen = few & (counts[:, c] >= LEAST_ROWS) & (lifts[:, c] >= least_lift)
        looked_at += int(chosen.sum())
        own = text.labels == c
        if c in skipped or not chosen.any() or own[text.active].all():
            continue
        meaning = meanings[:, c]
        model = calibrate(np.stack([margins[:, c], pooled[:, c]], axis=1), own, text.active)
        scale = Scale.of(pooled[:, c], own, text.active)
        found, columns = [], np.flatnonzero(chosen)
        beside = find_companions(text, c, columns, counts[:, c], least_share=_TOGETHER)
        for column, companions in zip(columns.tolist(), beside, strict=True):
            holds = holding.indices[holding.indptr[column] : holding.indptr[column + 1]]
            rows = np.sort(holds[text.active[holds]])
            told = text.drop_repeats(rows)
            bag = measure_without(text, c, rows, companions)
            is_told = np.isin(rows, told)
            odds = (_odds(model, bag, pooled[rows, c]) + meaning[column])[is_told]
            others = int((~own[told]).sum())
            surprise = (expit(-odds).sum() - others) / np.sqrt((expit(odds) * expit(-odds)).sum())
            found.append((float(surprise), column, rows, companions, bag))
        found.sort(key=lambda f: -f[0])
        for _, column, rows, companions, bag in found[:_WORTH_TESTING]:
            states, told = alone.predict(rows)[:, c], text.drop_repeats(rows)
            is_told = np.isin(rows, told)
            odds = (_odds(model, bag, states) + meaning[column])[is_told]
            others = int((~own[told]).sum())
            share, spread = scale.estimate(states[own[rows] & is_told])
            tested.append(
                PureToken(
                    column=column,
                    label=c,
                    companions=companions,
                    rows=rows,
                    others=others,
                    expected_others=float(expit(-odds).sum()),
                    p_value=measure_so_few(others, expit(-odds - INNOCENT_ODDS)),
                    label_lift=float(lifts[column, c]),
                    share=share,
                    spread=spread,
                    row_scores=scale.score(states, share),
                )
            )
    return sorted(tested, key=lambda t: t.p_value), looked_at


def measure_so_few(count: int, chances: ArrayLike) -> float:
    """Chance of at most `count` hits among independent trials with these chances.

    The Poisson binomial distribution: exact up to 1,000 trials, by the central limit beyond.

    Args:
        count: Hits.
        chances: Of a hit in each trial, in [0, 1].

    Example:
        >>> measure_so_few(0, [0.5, 0.5])
        0.25
    """
    chance = np.asarray(chances, dtype=float)
    if count >= len(chance):
        return 1.0
    if len(chance) > _EXACT_ROWS:
        spread = float(np.sqrt((chance * (1 - chance)).sum())) + 1e-12
        return float(norm.cdf((count + 0.5 - chance.sum()) / spread))
    hits = np.zeros(count + 1)
    hits[0] = 1.0
    for p in chance.tolist():
        hits[1:] = hits[1:] * (1 - p) + hits[:-1] * p
        hits[0] *= 1 - p
    return float(hits.sum())


def _odds(
    model: LogisticRegression, bag: NDArray[np.float64], states: NDArray[np.float64]
) -> NDArray[np.float64]:
    odds: NDArray[np.float64] = model.decision_function(np.stack([bag, states], axis=1))
    return odds


def _measure_meaning(
    counts: NDArray[np.int64], vectors: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Log-odds that words of like meaning move towards each label, never below 0, shape (n, K).

    A cross-fitted ridge regression of each token's own lean on its pretrained word vector.
    """
    held = counts.sum(axis=1)
    prior = np.clip(counts.sum(axis=0) / max(1, held.sum()), 1e-6, 1 - 1e-6)
    others = held[:, None] - counts
    lean = np.log((counts + 2 * prior) / (others + 2 * (1 - prior))) - np.log(prior / (1 - prior))
    usable = held >= _MEANING_LEAST_ROWS
    expected = np.zeros(lean.shape)
    if usable.sum() < _MEANING_FOLDS:
        return expected
    word = np.asarray(vectors, dtype=np.float32)
    word = (word - word[usable].mean(axis=0)) / (word[usable].std(axis=0) + 1e-6)
    fold = np.random.default_rng(0).permutation(len(held)) % _MEANING_FOLDS
    weight = np.minimum(held, _MEANING_MOST_WEIGHT)
    for f in range(_MEANING_FOLDS):
        fit = usable & (fold != f)
        model = Ridge(alpha=_MEANING_STRENGTH)
        model.fit(word[fit], lean[fit], sample_weight=weight[fit])
        expected[fold == f] = model.predict(word[fold == f])
    return np.maximum(expected, 0.0)
