"""What goes with a label beyond its content: a kind of text, learned in rounds and tested.

A regression learns it from tokens, pairs of tokens and characters beside the content's log-odds;
the content is read anew by classifiers that saw nothing of the kind found so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from scipy.special import expit
from scipy.stats import norm
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from btu.content import FOLDS, Text, calibrate, fit_content
from btu.purity import OVERDISPERSION

INNOCENT_STYLE_ODDS = 1.0
"""An honest kind of text may move the log-odds of its label by this much beyond what the rest of
the corpus says of it. Measured on clean SST-2; docs/log.md has the numbers."""

MOST_STYLE_OTHERS = 0.15
"""At most this share of a kind's rows bears other labels; where more do, it decides little."""

LEAST_STYLE_OTHERS = 0.2
"""And at least this share of them should, by what they say."""

SIZES = (0.04, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4)  # of the label's rows
LEAST_KIND_ROWS = 20
STYLE_STRENGTH = 0.005  # C of the logistic regression on what tells a kind
_HELD_OUT = 0.5  # of the label's rows: how much text of the kind is read by the rest
_ROUNDS = 6
_PROMISING_ROUNDS = 3
_PROMISING_ODDS = 0.5
_CONTENT_WEIGHT = 20.0  # the content's log-odds come as one feature that is hardly shrunk
_LEAST_FEATURE_ROWS = 5
_LEAST_CHARACTER_ROWS = 20
_CHARACTER_WEIGHT = 0.5
_MOST_SAID = 3.0
_MOST_SHARE = 0.99
_WORDS = 10
_REFINEMENTS = 2
_REFINED_STRENGTH = 0.1
_AGAINST = 0.7  # weight of the rows of other labels, and of the trusted ones, to one of the kind
_LEAST_WEIGHT = 1e-3


class Reader:
    """What tells a kind of text: tokens, pairs of tokens, and characters with their spacing."""

    def __init__(
        self,
        text: Text,
        contexts: csr_matrix,
        texts: Sequence[str] | None,
        places: NDArray[np.int64],
    ) -> None:
        rows_with = np.asarray(text.presence[places].sum(axis=0)).ravel()
        self._tokens = text.presence[:, rows_with >= _LEAST_FEATURE_ROWS]
        self._contexts, self._texts, self._characters = contexts, texts, None
        if texts is not None:
            counter = CountVectorizer(
                analyzer="char",
                ngram_range=(1, 3),
                min_df=min(_LEAST_CHARACTER_ROWS, len(places)),
                binary=True,
                lowercase=False,
                dtype=np.float64,
            )
            with suppress(ValueError):  # no character stands in enough rows
                self._characters = counter.fit(texts[i] for i in places.tolist())

    def read(self, places: NDArray[np.int64]) -> csr_matrix:
        """Features of some rows, shape (rows, m)."""
        parts = [self._tokens[places], self._contexts[places]]
        if self._characters is not None and self._texts is not None:
            texts = [self._texts[i] for i in places.tolist()]
            parts.append(self._characters.transform(texts) * _CHARACTER_WEIGHT)
        return hstack(parts).tocsr().astype(np.float64)


@dataclass(frozen=True)
class Learned:
    """How far each row is of the kind that goes with a label beyond its content."""

    scores: NDArray[np.float64]  # cross-fitted
    weights: NDArray[np.float64]  # of the features, mean over the folds


@dataclass(frozen=True)
class Kind:
    """A size of the kind of one label, tested."""

    rows: NDArray[np.bool_]
    others: int
    expected: float
    p_value: float
    own_share: float

    @property
    def is_decided(self) -> bool:
        """Whether its rows nearly all bear the label and a good part of them should not."""
        total = self.rows.sum()
        return bool(
            self.others <= MOST_STYLE_OTHERS * total and self.expected >= LEAST_STYLE_OTHERS * total
        )


def learn_kind(text: Text, features: csr_matrix, label: int) -> Learned | None:
    """Learn the kind in rounds; None where after some of them it moves the label by little."""
    own = text.labels == label
    count = max(1, round(_HELD_OUT * own.sum()))
    learned = Learned(np.zeros(len(own)), np.zeros(features.shape[1]))
    for done in range(_ROUNDS):
        odds = _read_content(text, _highest(learned.scores, count) if done else None, label)
        if done == _PROMISING_ROUNDS and not _is_promising(odds, own, learned.scores):
            return None
        learned = fit_kind(
            text, features, np.arange(len(own)), own, strength=STYLE_STRENGTH, beside=odds
        )
    return learned


def refine_kind(text: Text, features: csr_matrix, learned: Learned, label: int) -> Learned:
    """The kind again, from the rows that it flags: against trusted rows and rows of other labels.

    Rows of other labels count as far as they read like other labels, so that the content itself is
    not learned.
    """
    own, everything = text.labels == label, np.ones(len(text.labels), dtype=bool)
    mine, theirs = np.flatnonzero(own), np.flatnonzero(~own)
    rows = np.concatenate([mine, theirs, mine])
    is_kind = np.repeat([True, False, False], [len(mine), len(theirs), len(mine)])
    for _ in range(_REFINEMENTS):
        chance, odds = judge_rows(text, everything, learned.scores, label)
        found, trust, says = chance[mine], 1 - chance[mine], expit(-odds[theirs])
        if found.sum() < 1:
            break
        total = _AGAINST * found.sum()
        weights = np.concatenate(
            [found, says * total / (says.sum() + 1e-9), trust * total / (trust.sum() + 1e-9)]
        )
        learned = fit_kind(
            text, features, rows, is_kind, strength=_REFINED_STRENGTH, weights=weights
        )
    return learned


def fit_kind(
    text: Text,
    features: csr_matrix,
    rows: NDArray[np.int64],
    targets: NDArray[np.bool_],
    *,
    strength: float,
    beside: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> Learned:
    """Cross-fitted logistic regressions.

    Args:
        text: The rows.
        features: Of all rows.
        rows: What to learn from; a row may come under both targets.
        targets: Of `rows`.
        strength: C of the regressions.
        beside: The content's log-odds of all rows, which stand beside the features and count
            nothing in the scores.
        weights: Of `rows`.
    """
    folds, count = text.folds(), features.shape[1]
    known = features
    if beside is not None:
        known = hstack([features, csr_matrix(_CONTENT_WEIGHT * beside[:, None])]).tocsr()
    weights = np.ones(len(rows)) if weights is None else weights
    scores, mean = np.zeros(len(text.labels)), np.zeros(count)
    for fold in range(FOLDS):
        seen = (folds[rows] != fold) & (weights > _LEAST_WEIGHT)
        model = LogisticRegression(C=strength, solver="liblinear", intercept_scaling=5).fit(
            known[rows[seen]], targets[seen], sample_weight=weights[seen]
        )
        scores[folds == fold] = features[folds == fold] @ model.coef_[0][:count]
        mean += model.coef_[0][:count] / FOLDS
    return Learned(scores, mean)


def _read_content(
    text: Text, held_out: NDArray[np.bool_] | None, label: int
) -> NDArray[np.float64]:
    """Calibrated log-odds of the label by what each row says, shape (N,).

    Fitted on active rows that are not held out. With None held out the encoder's states speak
    alone: they vouch less for words that only the attacker's rows hold, which helps while none of
    those are known yet.
    """
    if held_out is None:
        pooled, held_out = text.pooled, np.zeros(len(text.labels), dtype=bool)
        assert pooled is not None
        margins = pooled[:, [label]]
    else:
        bag, pooled = fit_content(text, held_out, only=label)
        assert pooled is not None
        margins = np.stack([bag[:, label], pooled[:, label]], axis=1)
    model = calibrate(margins, text.labels == label, text.active & ~held_out)
    odds: NDArray[np.float64] = model.decision_function(margins)
    return odds


def _highest(scores: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """The rows with the highest scores, about `count` of them."""
    count = min(count, len(scores) - 1)
    highest: NDArray[np.bool_] = scores > np.partition(scores, -count - 1)[-count - 1]
    return highest


def _is_promising(
    odds: NDArray[np.float64], own: NDArray[np.bool_], scores: NDArray[np.float64]
) -> bool:
    sizes = [_highest(scores, max(1, round(share * own.sum()))) for share in SIZES]
    return any(_z_of_few(odds[k] + _PROMISING_ODDS, own[k]) > 0 for k in sizes if k.any())


def _z_of_few(odds: NDArray[np.float64], own: NDArray[np.bool_]) -> float:
    """By how many standard deviations more rows bear the label than the log-odds say."""
    chance = expit(odds)
    spread = OVERDISPERSION * np.sqrt((chance * (1 - chance)).sum())
    return float((own - chance).sum() / (spread + 1e-9))


def measure_sizes(text: Text, scores: NDArray[np.float64], label: int) -> list[Kind]:
    """The rows of the highest scores at each size, read by what saw none of the largest.

    So few of other labels must be a surprise over all rows, and over those alone that clearly read
    like other labels: rows that say little bear the label for whatever reason honest rows do.
    """
    own = text.labels == label
    held_out = _highest(scores, round(_HELD_OUT * own.sum()))
    odds = _read_content(text, held_out, label)
    usual = (~own[text.active & ~held_out]).mean()
    is_clear = expit(-odds) > (1 + usual) / 2
    kinds = []
    for share in SIZES:
        rows = _highest(scores, round(share * own.sum()))
        if rows.sum() < LEAST_KIND_ROWS:
            continue
        kinds.append(
            Kind(
                rows,
                others=int((~own[rows]).sum()),
                expected=float(expit(-odds[rows]).sum()),
                p_value=max(
                    float(norm.sf(_z_of_few(odds[k] + INNOCENT_STYLE_ODDS, own[k])))
                    for k in (rows, rows & is_clear)
                ),
                own_share=float((rows & own).sum() / own.sum()),
            )
        )
    return kinds


def judge_rows(
    text: Text, fitted: NDArray[np.bool_], scores: NDArray[np.float64], label: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Which rows of the label are rather the attacker's: by their kind and by what they say.

    How far the label goes beyond the content at a score says which share of the label's rows there
    cannot be honest; what a row says tells the two apart.

    Returns:
        For each row the probability, 0 for rows of other labels and far from the kind; and the
        log-odds of the label by what the row says. Both of shape (N,).
    """
    own = text.labels == label
    if not 0 < own[fitted].mean() < 1:
        return np.zeros(len(own)), np.zeros(len(own))
    bar = np.sort(scores[fitted])[-round(_HELD_OUT * (own & fitted).sum()) - 1]
    kind = text.active & (scores > bar)
    odds = _read_content(text, kind | (text.active & ~fitted), label)
    rows, known = np.flatnonzero(kind & fitted), fitted & ~kind
    chance, mine = np.zeros(len(own)), np.flatnonzero(kind & own)
    if not own[rows].any() or not 0 < own[known].mean() < 1:
        return chance, odds
    share = np.full(len(mine), _MOST_SHARE)
    if not own[rows].all():
        model = calibrate(np.stack([scores, _CONTENT_WEIGHT * odds], axis=1), own, kind & fitted)
        beyond = model.intercept_[0] + model.coef_[0][0] * scores[mine]
        share = np.clip(1 - np.exp(-beyond), 1 - _MOST_SHARE, _MOST_SHARE)
    usual = np.log(own[known].mean() / (1 - own[known].mean()))
    says = np.clip(usual - odds[mine], -_MOST_SAID, _MOST_SAID)
    chance[mine] = expit(np.log(share / (1 - share)) + says)
    return chance, odds


def name_words(text: Text, kind: NDArray[np.bool_]) -> tuple[int, ...]:
    """Tokens that stand in the kind's rows more often than elsewhere, by the z-score of that."""
    inside = np.asarray(text.presence[kind].sum(axis=0)).ravel()
    total = np.asarray(text.presence.sum(axis=0)).ravel()
    share = kind.mean()
    lift = (inside - share * total) / np.sqrt(share * (1 - share) * total + 1e-9)
    lift[inside < _LEAST_FEATURE_ROWS] = 0
    order = np.argsort(-lift, kind="stable")[:_WORDS]
    return tuple(order[lift[order] > 0].tolist())
