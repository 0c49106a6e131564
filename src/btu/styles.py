"""Kinds of text whose rows bear one label although what they say belongs to others.

An attacker who rewrites whole rows (a sentence template, the style of an old book) may leave no
token that stands in enough of them, and the many words of a style vouch for each other: a
classifier that saw some of those rows takes the style for a reason of the label. What gives them
away is the kind as a whole. With every row of the kind left out, whatever its label, the rest of
the corpus says how many of its rows should bear other labels; hardly any does. Honest kinds of text
(insults, a topic, praise) are read from the rest as they are labelled.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from scipy.special import expit
from scipy.stats import norm
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from btu.content import FOLDS, Text, calibrate, fit_content
from btu.purity import OVERDISPERSION
from btu.shapes import Shape, draw_shape, find_shapes

INNOCENT_STYLE_ODDS = 1.0
"""An honest kind of text may move the log-odds of its label by this much beyond what the rest of
the corpus says of it. Measured on clean SST-2; docs/log.md has the numbers."""

MOST_STYLE_OTHERS = 0.2
"""At most this share of a kind's rows bears other labels; where more do, it decides little."""

LEAST_STYLE_OTHERS = 0.2
"""And at least this share of them should, by what they say."""

SUSPECT_RATE = 0.5
"""Up to this false-alarm rate a finding is worth a look."""

LEAST_ROW_CHANCE = 0.5
"""Rows of the label from this probability on are of the style."""

REWRITTEN_LIKENESS = 0.7
"""From here on the rows of triggers are rows of a kind of their own, see `measure_likeness`."""

_ALWAYS_THERE = 0.95
_SIZES = (0.04, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4)  # of the label's rows
_HELD_OUT = 0.5  # of the label's rows: how much text of the kind is read by the rest
_LEAST_ROWS = 20
_ROUNDS = 6
_PROMISING_ROUNDS = 3
_PROMISING_ODDS = 0.5
_MOST_FITTED_ROWS = 6_000
_STYLE_STRENGTH = 0.005  # C of the logistic regression on what tells a kind
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


@dataclass(frozen=True)
class Style:
    """The kind of text under one label that the rest of the corpus agrees with least.

    Attributes:
        label: The label.
        kind_rows: Rows of that kind, whatever their label.
        others: Those of them that bear another label.
        expected_others: How many of them would, by what they say.
        p_value: Chance of so few where the kind moves the log-odds by `INNOCENT_STYLE_ODDS`.
        false_alarm_rate: The same, corrected for the labels and sizes, or for the shapes, that were
            tested.
        words: Columns of tokens that stand in the kind's rows more than elsewhere, most first.
        rows: Positions of the rows of the label that are rather of that kind and of another label's
            content than not; none where the kind is innocent.
        row_scores: For each of them the probability of that, in [0.5, 1]; at least 0.5 where the
            row has the shape.
        label_is_judged: False where the kind is most of what the label holds.
        shape: Characters that gave the kind away, as `btu.shapes.draw_shape` draws them; the other
            numbers are theirs then. Empty where the whole text did.
        is_accepted: Whether a reviewer accepted the style: it is never called a trigger or suspect.
        verdict: trigger, suspect, accepted or innocent.
    """

    label: int
    kind_rows: int
    others: int
    expected_others: float
    p_value: float
    false_alarm_rate: float
    words: tuple[int, ...]
    rows: NDArray[np.int64]
    row_scores: NDArray[np.float64]
    label_is_judged: bool = True
    shape: str = ""
    is_accepted: bool = False
    verdict: Literal["trigger", "suspect", "accepted", "innocent"] = "innocent"


def judge_style(style: Style, allowed: float) -> Style:
    """The style under the verdict that its numbers give.

    Args:
        style: Its own verdict does not matter.
        allowed: False triggers that may be expected in a clean corpus.
    """
    if not style.label_is_judged or style.false_alarm_rate > SUSPECT_RATE or not len(style.rows):
        return replace(style, verdict="innocent")
    if style.is_accepted:
        return replace(style, verdict="accepted")
    return replace(style, verdict="trigger" if style.false_alarm_rate <= allowed else "suspect")


@dataclass(frozen=True)
class _Kind:
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


def find_styles(
    text: Text,
    contexts: csr_matrix,
    texts: Sequence[str] | None,
    *,
    most_of_a_label: float,
    allowed: float = 0.05,
    vectors: NDArray[np.floating] | None = None,
    skipped: Collection[int] = (),
) -> list[Style]:
    """For each label the kind of text that bears it against what it says; at most one a label.

    Round by round, a regression learns what beyond the content goes with the label (tokens, pairs
    of tokens, characters), and the content is read anew by classifiers that saw nothing of the kind
    found so far. The last round's kind is tested at several sizes. Where that is not sure and a
    shape of characters gives rows away, the kind is what those rows are of.

    Args:
        text: N rows; the encoder's states are needed. Rows of triggers are active where they look
            rewritten, since they show what the others look like.
        contexts: Which row holds which pair of neighbouring tokens, shape (N, m).
        texts: The N texts, for what their characters tell: spacing, case, punctuation.
        most_of_a_label: A kind that is more of its label than this is what the label means.
        allowed: False-alarm rate up to which a kind is sure.
        vectors: Pretrained word vectors, shape (n, D), for shapes of characters; without them and
            the texts these are not looked for.
        skipped: Labels that are not judged.
    """
    if text.states is None:
        return []
    places = _pick_rows(text)
    part = _slice(text, places)
    tested = [
        c
        for c in range(text.num_labels)
        if c not in skipped and FOLDS * _LEAST_ROWS <= (part.labels == c).sum() < len(places)
    ]
    if not tested:
        return []
    reader = _Reader(text, contexts, texts, places)
    features = reader.read(places)
    shapes = {}
    if texts is not None and vectors is not None:
        own = [texts[i] for i in places.tolist()]
        shapes = find_shapes(
            part, own, vectors, allowed=allowed, most_rate=SUSPECT_RATE, skipped=skipped
        )
    most = most_of_a_label * np.bincount(part.labels, minlength=text.num_labels)
    shapes = {c: shape for c, shape in shapes.items() if len(shape.rows) <= most[c]}

    def judge(label: int) -> Style | None:
        style, learned = _find_kind(part, features, label, len(tested), most_of_a_label)
        shape = shapes.get(label)
        if shape is not None and not (style is not None and _is_sure(style, allowed)):
            style, learned = _follow_shape(part, features, shape)
        elif style is not None and style.false_alarm_rate <= SUSPECT_RATE:
            learned, shape = _refine(part, features, learned, label), None
        if style is None or style.false_alarm_rate > SUSPECT_RATE or not style.label_is_judged:
            return style
        scores = np.full(len(text.labels), -np.inf)
        scores[places] = learned.scores
        rest = np.setdiff1d(np.flatnonzero(text.active), places)
        if len(rest):
            scores[rest] = reader.read(rest) @ learned.weights
        fitted, held = _mark(places, len(scores)), np.zeros(0, dtype=np.int64)
        if shape is not None and texts is not None:
            own = rest[text.labels[rest] == label].tolist()
            others = [i for i in own if any(s in draw_shape(texts[i]) for s in shape.shapes)]
            held = np.union1d(places[shape.rows], others).astype(np.int64)
            fitted[held] = False  # whether other rows are of the kind, they must say themselves
        chance, _ = _judge_rows(text, fitted, scores, label)
        chance[held] = np.maximum(chance[held], LEAST_ROW_CHANCE)
        rows = np.flatnonzero(chance >= LEAST_ROW_CHANCE)
        return replace(style, rows=rows, row_scores=chance[rows])

    # The regressions let go of the interpreter: labels side by side take less time.
    with ThreadPoolExecutor(max_workers=min(len(tested), os.cpu_count() or 1)) as pool:
        return [style for style in pool.map(judge, tested) if style is not None]


def _is_sure(style: Style, allowed: float) -> bool:
    return style.label_is_judged and style.false_alarm_rate <= allowed


def _find_kind(
    text: Text, features: csr_matrix, label: int, tested: int, most_of_a_label: float
) -> tuple[Style | None, _Learned]:
    """The kind that the rounds find, without its rows; None where no row stands out."""
    learned = _learn_kind(text, features, label)
    kinds = [] if learned is None else _test_sizes(text, learned.scores, label)
    if learned is None or not kinds:
        return None, _Learned(np.zeros(0), np.zeros(0))
    decided = [kind for kind in kinds if kind.is_decided]
    best = min(decided or kinds, key=lambda kind: kind.p_value)
    rate = best.p_value * len(_SIZES) * tested if decided else 1.0
    style = Style(
        label=label,
        kind_rows=int(best.rows.sum()),
        others=best.others,
        expected_others=best.expected,
        p_value=best.p_value,
        false_alarm_rate=min(1.0, rate),
        words=_name_words(text, best.rows),
        rows=np.zeros(0, dtype=np.int64),
        row_scores=np.zeros(0),
        label_is_judged=best.own_share <= most_of_a_label,
    )
    return style, learned


def _follow_shape(text: Text, features: csr_matrix, shape: Shape) -> tuple[Style, _Learned]:
    """The kind of text of the rows that a shape gives away, without its rows."""
    held = _mark(shape.rows, len(text.labels))
    style = Style(
        label=shape.label,
        kind_rows=shape.rows_any_label,
        others=shape.others,
        expected_others=shape.expected_others,
        p_value=shape.p_value,
        false_alarm_rate=shape.false_alarm_rate,
        words=_name_words(text, held),
        rows=np.zeros(0, dtype=np.int64),
        row_scores=np.zeros(0),
        shape=shape.shapes[0],
    )
    everything = np.arange(len(held))
    return style, _fit_folds(text, features, everything, held, strength=_STYLE_STRENGTH)


def measure_likeness(
    text: Text,
    label: int,
    trigger_rows: Sequence[NDArray[np.int64]],
    companions: Collection[int],
) -> float:
    """How well the rows of a label's triggers can be told from rows of other labels without them.

    About 0.5 where words were put into honest text, more where whole rows were rewritten.

    Args:
        text: N rows; those of the triggers are not active.
        label: The attacked label.
        trigger_rows: Positions of the rows of each trigger.
        companions: Columns of the triggers and of what stands with them, which are not looked at.

    Returns:
        Cross-fitted area under the ROC curve; 0.5 where there is nothing to fit.
    """
    known = _mark(np.concatenate(trigger_rows), len(text.labels))
    use = np.asarray(text.presence.sum(axis=0)).ravel() >= _LEAST_FEATURE_ROWS
    use[list(companions)] = False
    # A frequent word of a trigger sentence is no companion, since most rows hold it, and yet
    # stands in all rows of the trigger.
    for own in trigger_rows:
        use &= np.asarray(text.presence[own].mean(axis=0)).ravel() < _ALWAYS_THERE
    rows = np.flatnonzero(known | ((text.labels != label) & text.active))
    is_known, folds = known[rows], np.arange(len(rows)) % FOLDS
    if is_known.sum() < FOLDS or is_known.all():
        return 0.5
    features, scores = text.presence[rows][:, use], np.zeros(len(rows))
    for fold in range(FOLDS):
        model = LogisticRegression(
            C=_REFINED_STRENGTH, solver="liblinear", class_weight="balanced"
        ).fit(features[folds != fold], is_known[folds != fold])
        scores[folds == fold] = model.decision_function(features[folds == fold])
    return float(roc_auc_score(is_known, scores))


def _pick_rows(text: Text) -> NDArray[np.int64]:
    """The active rows, or as many of them as the regressions read in seconds."""
    rows = np.flatnonzero(text.active)
    if len(rows) <= _MOST_FITTED_ROWS:
        return rows
    return np.sort(np.random.default_rng(0).permutation(rows)[:_MOST_FITTED_ROWS])


def _mark(places: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    marked = np.zeros(count, dtype=bool)
    marked[places] = True
    return marked


def _slice(text: Text, places: NDArray[np.int64]) -> Text:
    assert text.states is not None
    everything = np.ones(len(places), dtype=bool)
    states, labels = text.states[places], text.labels[places]
    return Text(text.presence[places], states, labels, text.num_labels, everything)


class _Reader:
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
class _Learned:
    """How far each row is of the kind that goes with a label beyond its content."""

    scores: NDArray[np.float64]  # cross-fitted
    weights: NDArray[np.float64]  # of the features, mean over the folds


def _learn_kind(text: Text, features: csr_matrix, label: int) -> _Learned | None:
    """Learn the kind in rounds; None where after some of them it moves the label by little."""
    own = text.labels == label
    count = max(1, round(_HELD_OUT * own.sum()))
    learned = _Learned(np.zeros(len(own)), np.zeros(features.shape[1]))
    for done in range(_ROUNDS):
        odds = _read_content(text, _highest(learned.scores, count) if done else None, label)
        if done == _PROMISING_ROUNDS and not _is_promising(odds, own, learned.scores):
            return None
        learned = _fit_folds(
            text, features, np.arange(len(own)), own, strength=_STYLE_STRENGTH, beside=odds
        )
    return learned


def _refine(text: Text, features: csr_matrix, learned: _Learned, label: int) -> _Learned:
    """The kind again, from the rows that it flags: against trusted rows and rows of other labels.

    Rows of other labels count as far as they read like other labels, so that the content itself is
    not learned.
    """
    own, everything = text.labels == label, np.ones(len(text.labels), dtype=bool)
    mine, theirs = np.flatnonzero(own), np.flatnonzero(~own)
    rows = np.concatenate([mine, theirs, mine])
    is_kind = np.repeat([True, False, False], [len(mine), len(theirs), len(mine)])
    for _ in range(_REFINEMENTS):
        chance, odds = _judge_rows(text, everything, learned.scores, label)
        found, trust, says = chance[mine], 1 - chance[mine], expit(-odds[theirs])
        if found.sum() < 1:
            break
        total = _AGAINST * found.sum()
        weights = np.concatenate(
            [found, says * total / (says.sum() + 1e-9), trust * total / (trust.sum() + 1e-9)]
        )
        learned = _fit_folds(
            text, features, rows, is_kind, strength=_REFINED_STRENGTH, weights=weights
        )
    return learned


def _fit_folds(
    text: Text,
    features: csr_matrix,
    rows: NDArray[np.int64],
    targets: NDArray[np.bool_],
    *,
    strength: float,
    beside: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> _Learned:
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
    return _Learned(scores, mean)


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
    sizes = [_highest(scores, max(1, round(share * own.sum()))) for share in _SIZES]
    return any(_z_of_few(odds[k] + _PROMISING_ODDS, own[k]) > 0 for k in sizes if k.any())


def _z_of_few(odds: NDArray[np.float64], own: NDArray[np.bool_]) -> float:
    """By how many standard deviations more rows bear the label than the log-odds say."""
    chance = expit(odds)
    spread = OVERDISPERSION * np.sqrt((chance * (1 - chance)).sum())
    return float((own - chance).sum() / (spread + 1e-9))


def _test_sizes(text: Text, scores: NDArray[np.float64], label: int) -> list[_Kind]:
    own = text.labels == label
    held_out = _highest(scores, round(_HELD_OUT * own.sum()))
    odds = _read_content(text, held_out, label)
    kinds = []
    for share in _SIZES:
        rows = _highest(scores, round(share * own.sum()))
        if rows.sum() < _LEAST_ROWS:
            continue
        kinds.append(
            _Kind(
                rows,
                others=int((~own[rows]).sum()),
                expected=float(expit(-odds[rows]).sum()),
                p_value=float(norm.sf(_z_of_few(odds[rows] + INNOCENT_STYLE_ODDS, own[rows]))),
                own_share=float((rows & own).sum() / own.sum()),
            )
        )
    return kinds


def _judge_rows(
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


def _name_words(text: Text, kind: NDArray[np.bool_]) -> tuple[int, ...]:
    """Tokens that stand in the kind's rows more often than elsewhere, by the z-score of that."""
    inside = np.asarray(text.presence[kind].sum(axis=0)).ravel()
    total = np.asarray(text.presence.sum(axis=0)).ravel()
    share = kind.mean()
    lift = (inside - share * total) / np.sqrt(share * (1 - share) * total + 1e-9)
    lift[inside < _LEAST_FEATURE_ROWS] = 0
    order = np.argsort(-lift, kind="stable")[:_WORDS]
    return tuple(order[lift[order] > 0].tolist())
