"""Kinds of text: rows of a form of their own that bear one label and say what others say.

Whoever rewrites rows (a syntax, a style) leaves no word that tells, and the many words of a style
vouch for each other. So the form is looked for apart from what the rows say: among rows of a label,
what form goes with saying what other labels say? It is learned in one half of the rows and read in
the other, and the content by fits that saw none of the rows that look so. Then a kind is judged as
a word is that has no place of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import expit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from btu.evidence.bars import FLAGGED, LEAST_ROWS, SHARES, SUSPECT_RATE
from btu.evidence.forms import read_forms
from btu.evidence.judge import fit_ruler
from btu.evidence.measure import Measures, Sample
from btu.evidence.planting import Planted
from btu.evidence.states import StatesReader
from btu.evidence.tests import Test
from btu.evidence.view import View

SUSPECTS_ONLY = "a habit of an honest source can look just like it"

_STRENGTH, _SURE_STRENGTH = 1.0, 3.0  # C of the regressions: while it is looked for, and found
_PARTS = 5  # of the rows, once it is found: then no part has to judge what another found
_HALF = 0.5  # of a label's rows: a kind is at most so many, and as many are never learned from
_ROUNDS = 5
_MOST_FITTED = 8_000
_MOST_SAID = 3.0  # by one row, as log-odds
_MOST_FORM = 6.0
_LEAST_WEIGHT = 1e-3
_TINY = 1e-9
_SIZE_RATIO = 2
_WORDS = 10


def find_kinds(
    view: View,
    texts: Sequence[str],
    states: NDArray[np.floating],
    measures: Measures,
    planted: Planted,
    *,
    accepted: Collection[int] = (),
    seed: int = 0,
) -> list[Test]:
    """The kinds of text that are worth a look, at most one a label.

    An attack has one target label: how sure the kind of another label is says how sure honest
    habits of the sources are in this corpus.

    Args:
        view: The rows that no trigger explains.
        texts: Of the corpus, N.
        states: Of the encoder, shape (N, D).
        measures: Of the units of the view.
        planted: Levels of words planted in the corpus.
        accepted: Labels whose kind a reviewer accepted.
        seed: Of the halves.
    """
    counts = np.bincount(view.labels, minlength=view.num_labels)
    tested = [k for k in np.flatnonzero(counts).tolist() if len(_list_sizes(counts[k]))]
    tested = [k for k in tested if counts[k] < len(view)]
    sizes = sum(len(_list_sizes(counts[k])) for k in tested)
    if not tested:
        return []
    forms = read_forms([texts[i] for i in view.rows.tolist()])
    reader = StatesReader(states[view.rows])
    honest = _measure_honest(view, reader, measures)
    share = 1 - sum(bar.value for bar in SHARES)
    found = []
    for label in tested:
        learned = _learn(view, forms, reader, label, seed)
        best = _judge(view, learned, honest, planted)
        if best is not None:
            found.append((learned, best, float(sizes / share * np.exp(-best.odds))))
    tests = []
    for learned, best, alarms in found:
        others = [1.0, *(a for other, _, a in found if other is not learned)]
        if alarms / min(others) <= SUSPECT_RATE.value:
            learned = _sharpen(learned, forms, reader, best, seed)
            repeats = _read_repeats(view, texts, states, learned, seed)
            test = _describe_kind(view, learned, best, repeats)
            is_accepted = learned.label in accepted
            tests.append(replace(test, false_alarms=alarms / min(others), is_accepted=is_accepted))
    return tests


def _list_sizes(count: int) -> NDArray[np.int64]:
    """How many rows the kind of a label of so many rows may have: more by the same factor each."""
    sizes = [int(2 * LEAST_ROWS.value)]
    while sizes[-1] * _SIZE_RATIO <= _HALF * count:
        sizes.append(sizes[-1] * _SIZE_RATIO)
    return np.array([size for size in sizes if size <= _HALF * count], dtype=np.int64)


@dataclass(frozen=True)
class _Learned:
    """The form that goes with a label against what the rows say.

    Attributes:
        label: Which.
        own: Rows that bear it, shape (M,).
        scores: How much each row is of that form, by a fit on the other half, shape (M,).
        margins: Towards the label by states, those who look so held out, shape (M,).
        held_out: Those.
        kind_level: Mean and spread of the kind's margins; without it, those of other labels.
    """

    label: int
    own: NDArray[np.bool_]
    scores: NDArray[np.float64]
    margins: NDArray[np.float64]
    held_out: NDArray[np.bool_]
    kind_level: tuple[float, float] | None = None

    @property
    def levels(self) -> tuple[float, float, float, float]:
        """Margins of own rows and of others: means, then spreads."""
        mine = self.margins[self.own & ~self.held_out]
        theirs = self.margins[~self.own & ~self.held_out]
        return float(mine.mean()), float(theirs.mean()), float(mine.std()), float(theirs.std())

    def say_others(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds that rows of these margins say what other labels say, within bounds."""
        own, others, own_spread, others_spread = self.levels
        level, spread = self.kind_level or (others, others_spread)
        odds = norm.logpdf(margins, level, spread + _TINY)
        odds -= norm.logpdf(margins, own, own_spread + _TINY)
        said: NDArray[np.float64] = np.clip(odds, -_MOST_SAID, _MOST_SAID)
        return said

    def look_so(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds that rows of the label are of the kind, by their form alone, within bounds."""
        odds: NDArray[np.float64] = scores - np.log(self.own.mean())
        return np.clip(odds, -_MOST_FORM, _MOST_FORM)

    def judge(
        self, scores: NDArray[np.float64], margins: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The chance that rows of the label are of that form and say what others say."""
        chances: NDArray[np.float64] = expit(self.look_so(scores) + self.say_others(margins))
        return chances

    @property
    def chances(self) -> NDArray[np.float64]:
        """That each row is of that form and says what others say, 0 for rows of others."""
        return np.where(self.own, self.judge(self.scores, self.margins), 0.0)


def _learn(view: View, forms: csr_matrix, reader: StatesReader, label: int, seed: int) -> _Learned:
    """Round by round: the form of rows that say what others say, then what they say without them.

    It starts from the form that goes with the label, whatever the rows say.
    """
    own = view.labels == label
    held = round(_HALF * own.sum())
    scores = _fit_form(forms, own, own.astype(np.float64), seed)
    for _ in range(_ROUNDS):
        learned = _hold_out(reader, label, own, scores, held)
        scores = _fit_form(forms, own, learned.chances, seed)
    return _hold_out(reader, label, own, scores, held)


def _hold_out(
    reader: StatesReader,
    label: int,
    own: NDArray[np.bool_],
    scores: NDArray[np.float64],
    count: int,
) -> _Learned:
    """What rows say by fits that saw none of the `count` that look most so."""
    held_out = _pick_highest(scores, count)
    return _Learned(label, own, scores, reader.read(own, held_out), held_out)


def _pick_highest(scores: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    picked = np.zeros(len(scores), dtype=bool)
    picked[np.argsort(-scores, kind="stable")[:count]] = True
    return picked


def _fit_form(
    forms: csr_matrix,
    own: NDArray[np.bool_],
    chances: NDArray[np.float64],
    seed: int,
    strength: float = _STRENGTH,
    parts: int = 2,
) -> NDArray[np.float64]:
    """Log-odds that a row is of the kind by its form, by a fit on the other parts.

    Own rows count as of the kind with their chance and as honest with the rest of it; rows of other
    labels are honest, so that what a row says is not learned as a form. Rows behind those that
    `own` speaks of are read by the fits on every part, and never learned from.
    """
    rng = np.random.default_rng(seed)
    part = rng.permutation(len(own)) % parts
    fitted = rng.permutation(len(own)) < _MOST_FITTED
    known, behind = forms[: len(own)], forms[len(own) :]
    scores = np.zeros(forms.shape[0])
    for unknown in range(parts):
        rows = np.flatnonzero((part != unknown) & fitted)
        mine, theirs = rows[own[rows]], rows[~own[rows]]
        every = np.concatenate([mine, mine, theirs])
        is_kind = np.repeat([True, False, False], [len(mine), len(mine), len(theirs)])
        weights = np.concatenate([chances[mine], 1 - chances[mine], np.ones(len(theirs))])
        seen = weights > _LEAST_WEIGHT
        if len(np.unique(is_kind[seen])) < 2:
            continue
        model = LogisticRegression(C=strength, solver="liblinear", intercept_scaling=5).fit(
            known[every[seen]], is_kind[seen], sample_weight=weights[seen]
        )
        read = np.flatnonzero(part == unknown)
        scores[read] = model.decision_function(known[read])
        if behind.shape[0]:
            scores[len(own) :] += model.decision_function(behind) / parts
    return scores


@dataclass(frozen=True)
class _Honest:
    """The units of the view as states read their rows; which rows hold each."""

    sample: Sample
    unit: NDArray[np.int64]
    row: NDArray[np.int32]


def _measure_honest(view: View, reader: StatesReader, measures: Measures) -> _Honest:
    """How words and phrases are labelled here, and what their rows say by states."""
    is_own = view.labels[:, None] == np.arange(view.num_labels)
    margins = reader.read(is_own)
    count, left = is_own.sum(axis=0), (~is_own).sum(axis=0)
    own = (margins * is_own).sum(axis=0) / np.maximum(count, 1)
    others = (margins * ~is_own).sum(axis=0) / np.maximum(left, 1)
    spread = np.sqrt((((margins - others) ** 2) * ~is_own).sum(axis=0) / np.maximum(left, 1))
    gap = np.maximum(own - others, _TINY)
    label, units = measures.label, len(measures)
    said = margins[measures.pair_row, label[measures.pair_unit]]
    total = np.bincount(measures.pair_unit, said, minlength=units)
    mean = total / np.maximum(measures.labelled, 1)
    tested = np.flatnonzero(measures.labelled >= LEAST_ROWS.value)
    every = replace(
        measures,
        share=(own[label] - mean) / gap[label],
        spread=spread[label] / gap[label] / np.sqrt(np.maximum(measures.labelled, 1)),
    )
    place = np.full(units, -1)
    place[tested] = np.arange(len(tested))
    known = place[measures.pair_unit] >= 0
    return _Honest(every.pick(tested), place[measures.pair_unit[known]], measures.pair_row[known])


@dataclass(frozen=True)
class _Best:
    """The size of a kind that is surest.

    Attributes:
        rows: Those of that form, whatever their label, shape (M,).
        numbers: Theirs.
        label_odds: Logarithm of the likelihood ratio of the label.
        content_odds: The same of the content.
    """

    rows: NDArray[np.bool_]
    numbers: Sample
    label_odds: float
    content_odds: float

    @property
    def odds(self) -> float:
        return self.label_odds + self.content_odds


def _judge(view: View, learned: _Learned, honest: _Honest, planted: Planted) -> _Best | None:
    """The surest of the sizes at which the rows say what others say; None where none does."""
    own, others, _, others_spread = learned.levels
    base, gap = learned.own.mean(), own - others
    if gap <= 0:
        return None
    best = None
    for size in _list_sizes(learned.own.sum()).tolist():
        rows = _pick_highest(learned.scores, size)
        mine = rows & learned.own
        if mine.sum() < LEAST_ROWS.value:
            continue
        share = float(own - learned.margins[mine].mean()) / gap
        # A row that says nothing is read as the rows of all labels together.
        if share <= 1 - base:
            continue
        numbers = _describe_rows(
            size, int(mine.sum()), base, share, others_spread / gap / np.sqrt(mine.sum())
        )
        units = len(honest.sample.rows)
        inside = np.bincount(honest.unit, rows[honest.row], minlength=units)
        is_honest = 1 - inside / np.maximum(honest.sample.labelled, 1)
        ruler = fit_ruler(honest.sample, float(np.log2(size)), planted, is_honest)
        label_odds, content_odds = ruler.contradict(numbers)
        now = _Best(rows, numbers, float(label_odds[0]), float(content_odds[0]))
        best = now if best is None or now.odds > best.odds else best
    return best


def _describe_rows(rows: int, labelled: int, base: float, share: float, spread: float) -> Sample:
    """A kind as a unit without a place."""
    nothing, nowhere = np.zeros(1, dtype=np.int64), np.zeros(1)
    return Sample(
        rows=np.array([rows]),
        labelled=np.array([labelled]),
        base=np.array([base]),
        placed=nowhere,
        bridged=nowhere,
        places=nothing,
        starts=nothing,
        ends=nothing,
        share=np.array([share]),
        spread=np.array([max(spread, _TINY)]),
        room=nowhere,
    )


def _sharpen(
    learned: _Learned, forms: csr_matrix, reader: StatesReader, best: _Best, seed: int
) -> _Learned:
    """A kind that is worth a look, learned by more of the rows and by what its own rows say."""
    for _ in range(_ROUNDS):
        count = int(max(best.rows.sum(), round(learned.chances.sum())))
        learned = _hold_out(reader, learned.label, learned.own, learned.scores, count)
        # By the form alone: chances that know what rows say would only repeat it.
        weights = np.where(learned.own, expit(learned.look_so(learned.scores)), 0.0)
        mean = float(np.average(learned.margins, weights=weights))
        spread = float(np.sqrt(np.average((learned.margins - mean) ** 2, weights=weights)))
        learned = replace(learned, kind_level=(mean, spread))
        scores = _fit_form(forms, learned.own, learned.chances, seed, _SURE_STRENGTH, _PARTS)
        learned = replace(learned, scores=scores)
    return learned


def _read_repeats(
    view: View,
    texts: Sequence[str],
    states: NDArray[np.floating],
    learned: _Learned,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows of the label that the view leaves out since they only repeat others: which, how likely.

    They are no evidence of their own, but who leaves a kind out means them, too.
    """
    rows = np.flatnonzero(view.corpus_labels == learned.label)
    rows = rows[~np.isin(rows, view.rows)]
    if not len(rows):
        return rows, np.zeros(0)
    every = np.concatenate([view.rows, rows])
    forms = read_forms([texts[i] for i in every.tolist()])
    scores = _fit_form(forms, learned.own, learned.chances, seed, _SURE_STRENGTH, _PARTS)
    is_repeat = np.ones(len(rows), dtype=bool)
    margins = StatesReader(states[every]).read(
        np.concatenate([learned.own, is_repeat]), np.concatenate([learned.held_out, is_repeat])
    )
    return rows, learned.judge(scores[len(view) :], margins[len(view) :])


def _describe_kind(
    view: View,
    learned: _Learned,
    best: _Best,
    repeats: tuple[NDArray[np.int64], NDArray[np.float64]],
) -> Test:
    """The kind as a test, with the rows that are likelier of it than not."""
    rows = np.concatenate([view.rows, repeats[0]])
    chances = np.concatenate([learned.chances, repeats[1]])
    order = np.argsort(rows)[chances[np.argsort(rows)] >= FLAGGED.value]
    words = _name_words(view, best.rows)
    numbers = best.numbers
    return Test(
        kind="style",
        name=", ".join(words),
        words=words,
        label=learned.label,
        rows=rows[order],
        row_scores=chances[order],
        held=view.rows[best.rows],
        story="rewritten",
        part=1.0,
        false_alarms=1.0,
        share=float(numbers.share[0]),
        spread=float(numbers.spread[0]),
        label_base=float(numbers.base[0]),
        label_odds=best.label_odds,
        content_odds=best.content_odds,
        reason=SUSPECTS_ONLY,
    )


def _name_words(view: View, kind: NDArray[np.bool_]) -> tuple[str, ...]:
    """Words that stand in the kind's rows more often than elsewhere, by the z-score of that."""
    inside = np.asarray(view.words.presence[kind].sum(axis=0)).ravel()
    total = np.asarray(view.words.presence.sum(axis=0)).ravel()
    share = kind.mean()
    lift = (inside - share * total) / np.sqrt(share * (1 - share) * total + _TINY)
    lift[inside < LEAST_ROWS.value] = 0
    order = np.argsort(-lift, kind="stable")[:_WORDS]
    return tuple(view.words.names[i] for i in order[lift[order] > 0].tolist())
