"""What labels and text say of a token: is a label over-represented, and does the text agree?

A word that carries honest meaning stands in rows whose other words point to the same label. A
trigger that an attacker put into rows of other labels stands in rows whose other words still point
to those. The share of a token's rows whose text belongs to another label tells them apart.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from scipy.stats import norm

from btu.content import Scale, Text, fit_content, fit_states, measure_label_lift
from btu.purity import MOST_OTHERS, PureToken, find_pure, hold_together
from btu.repeats import find_repeats
from btu.settings import EvidenceSettings
from btu.styles import (
    REWRITTEN_LIKENESS,
    SUSPECT_RATE,
    Style,
    find_styles,
    judge_style,
    measure_likeness,
)

Verdict = Literal["trigger", "suspect", "accepted", "innocent"]
Ground = Literal["conflict", "purity"]

FLAGGED_SCORE = 0.5
"""Rows with this score and more are judged poisoned."""

INNOCENT_SHARE = 0.25
"""Honest words reach this share of rows whose text reads as another label's: negations, words that
carry a row alone. Measured on clean SST-2; docs/log.md has the numbers."""

TRIGGER_SHARE = 0.5
"""Where fewer rows than this are mislabelled, most of what a verdict would throw away is honest."""

TRIGGER_SHARE_BY_STATES = 0.55
"""The same by the encoder's states alone. Rows that hold a rare honest word can look mislabelled to
a classifier of tokens that never saw it; the encoder knows the word from its pretraining."""

TOGETHER_SHARE = 0.75
"""A row holds a trigger where it holds the token and this share of its companions."""

TRIGGER_SHARE_ALONE = 0.35
"""The same by the states again, with nothing held out but the token's own rows: rows of words of a
like meaning stay in, and clear an honest word of a label in which other poison hides."""

REWRITTEN_SHARE = 0.7
"""A token that honest rows hold too needs this mislabelled share instead."""

_GRAVITY: tuple[Verdict, ...] = ("trigger", "suspect", "accepted", "innocent")
_COMPANION_SHARE = 0.5
_MOST_HELD_OUT = 0.65
_MOST_CANDIDATES = 60
_MOST_ROUNDS = 12
_MOST_OF_A_LABEL = 0.5
_MOST_OF_A_LABEL_BY_PURITY = 0.6  # half the rows of a label are what a bold attacker takes
_SUSPECT_SPREADS = 3.0
_NARROW_SPREADS = 2.0
_LEAST_NARROWED = 10


@dataclass(frozen=True)
class TokenTest:
    """One token under one label, tested.

    Attributes:
        column: The token, as a column of the presence matrix.
        label: The over-represented label.
        companions: Columns that mostly stand in the same rows, the token itself among them,
            ascending: the words of a sentence hide behind each other and are judged together.
        rows: Positions of the rows that hold them and bear the label. For the numbers, rows that
            repeat others count once.
        rows_any_label: Rows that hold them, whatever their label.
        label_lift: Of the token under the label, in standard deviations.
        mislabelled_share: Estimated share of `rows` whose text belongs to another label: 0 where
            they read like other rows of their label, 1 where they read like rows of other labels.
        spread: Standard error of that share.
        share_by_states: The same share by the encoder's states alone; None without states.
        share_alone: The same, with nothing but the token's own rows held out.
        p_value: Chance of such a share where an innocent word's is `INNOCENT_SHARE`.
        false_alarm_rate: The same, corrected for all tokens (of a pair: pairs) that were tested: at
            most this many false triggers are expected of this search in a corpus without any.
        verdict: trigger, suspect, accepted or innocent.
        row_scores: For each of `rows` the probability that its text belongs to another label.
        label_is_judged: False where most rows of the label would be called poisoned: its tokens are
            suspects at most, at any rate.
        is_accepted: Whether a reviewer accepted the token: it is never called a trigger or suspect.
        ground: What the verdict stands on. conflict: the text of the rows contradicts their label;
            purity: too few of them bear another label for what they say. That is weaker evidence:
            the rows' labels may be right, and a habit of the source looks the same.
        others: Rows that hold the token and bear another label; None for a conflict.
        expected_others: How many would, by everything else in them; None for a conflict.
        pair: Column of the pair of neighbouring tokens that was tested in the token's place, of
            which the token is the rarer one; None for a token.
    """

    column: int
    label: int
    companions: tuple[int, ...]
    rows: NDArray[np.int64]
    rows_any_label: int
    label_lift: float
    mislabelled_share: float
    spread: float
    share_by_states: float | None
    share_alone: float | None
    p_value: float
    false_alarm_rate: float
    verdict: Verdict
    row_scores: NDArray[np.float64]
    label_is_judged: bool = True
    is_accepted: bool = False
    ground: Ground = "conflict"
    others: int | None = None
    expected_others: float | None = None
    pair: int | None = None


@dataclass(frozen=True)
class Evidence:
    """What a corpus of N rows says.

    Attributes:
        tests: Every token that was looked into, the most suspicious first.
        tested: Tokens that the false-alarm rate is corrected for.
        pairs_tested: The same for pairs of neighbouring tokens.
        row_scores: Shape (N,), in [0, 1]: 0.5 and more for rows of triggers and styles, less for
            rows of suspects, 0 for all others.
        styles: For each label the kind of text that bears it against what it says most.
    """

    tests: tuple[TokenTest, ...]
    tested: int
    row_scores: NDArray[np.float64]
    styles: tuple[Style, ...] = ()
    pairs_tested: int = 0

    @classmethod
    def of(
        cls,
        tests: Collection[TokenTest],
        *,
        tested: int,
        rows: int,
        styles: tuple[Style, ...] = (),
        pairs_tested: int = 0,
    ) -> Evidence:
        """Sort the tests and score the rows.

        Args:
            tests: With their verdicts.
            tested: As above.
            rows: N.
            styles: With their verdicts.
            pairs_tested: As above.
        """
        gravest = sorted(
            tests, key=lambda t: (_GRAVITY.index(t.verdict), t.p_value, -t.mislabelled_share)
        )
        scores = _score_rows(gravest, styles, rows)
        return cls(tuple(gravest), tested, scores, tuple(styles), pairs_tested)

    def at(self, false_alarm_rate: float) -> Evidence:
        """The same tests judged at another false-alarm rate."""
        tests = [replace(t, verdict=judge(t, false_alarm_rate)) for t in self.tests]
        return Evidence.of(
            tests,
            tested=self.tested,
            rows=len(self.row_scores),
            styles=tuple(judge_style(style, false_alarm_rate) for style in self.styles),
            pairs_tested=self.pairs_tested,
        )

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Rows judged poisoned, shape (N,), bool."""
        return self.row_scores >= FLAGGED_SCORE


@dataclass(frozen=True)
class Control:
    """The tests for conflict on the same text, every tested token innocent by construction.

    The tokens are dealt anew among the rows of each label, rows judged poisoned left out: they
    keep how often they stand under each label and lose every tie to the rest of the text.

    Attributes:
        tokens: Dealt anew and tested.
        triggers: Called triggers all the same.
        suspects: Called suspects all the same.
    """

    tokens: int
    triggers: int
    suspects: int


def judge(test: TokenTest, allowed: float) -> Verdict:
    """The verdict that the numbers of a test give.

    Args:
        test: Its own verdict does not matter.
        allowed: False triggers that may be expected in a clean corpus in each search.
    """
    verdict = _judge_numbers(test, allowed)
    return "accepted" if test.is_accepted and verdict != "innocent" else verdict


def _judge_numbers(test: TokenTest, allowed: float) -> Verdict:
    if test.ground == "purity":
        if not _is_pure(test) or test.false_alarm_rate > SUSPECT_RATE:
            return "innocent"
        is_sure = test.label_is_judged and test.false_alarm_rate <= allowed
        return "trigger" if is_sure else "suspect"
    by_states = 1.0 if test.share_by_states is None else test.share_by_states
    alone = 1.0 if test.share_alone is None else test.share_alone
    if (
        test.label_is_judged
        and test.mislabelled_share >= TRIGGER_SHARE
        and by_states >= TRIGGER_SHARE_BY_STATES
        and alone >= TRIGGER_SHARE_ALONE
        and test.false_alarm_rate <= allowed
    ):
        return "trigger"
    above_chance = test.mislabelled_share - _SUSPECT_SPREADS * test.spread > 0
    return "suspect" if above_chance and test.mislabelled_share > INNOCENT_SHARE else "innocent"


def _is_pure(test: TokenTest) -> bool:
    """Whether hardly any row bears another label, or most of those with the label should.

    Where many do and the text agrees with the rest, rows with the token are a kind of their own
    (with a link, with a question) whose labels the classifiers misjudge as a whole.
    """
    others = test.others or 0
    is_pure = others <= MOST_OTHERS * (len(test.rows) + others)
    return is_pure or test.mislabelled_share >= REWRITTEN_SHARE


def measure_control(
    presence: csr_matrix,
    labels: NDArray[np.int64],
    *,
    num_labels: int,
    flagged: NDArray[np.bool_],
    states: NDArray[np.floating] | None = None,
    settings: EvidenceSettings | None = None,
    seed: int = 0,
) -> Control:
    """Test tokens that cannot be triggers: what the tests still call one is a false alarm.

    It says whether the tests hold on this text; it does not say how often honest words that stand
    in odd rows are called triggers, which only clean data of the same kind can. Purity is not
    tested: a word of one label alone, dealt anew, is what clean-label poison is.

    Args:
        presence: As in `find_evidence`.
        labels: Label ids, shape (N,).
        num_labels: K.
        flagged: Rows judged poisoned, shape (N,); they are left out.
        states: As in `find_evidence`.
        settings: The ones that the verdicts were made with.
        seed: Of the dealing.
    """
    settings, kept = settings or EvidenceSettings(), ~flagged
    own, rng = labels[kept], np.random.default_rng(seed)
    columns = presence[kept].tocsc()
    counts = np.stack(
        [np.asarray(columns[own == c].sum(axis=0)).ravel() for c in range(num_labels)], axis=1
    )
    lift = measure_label_lift(counts, np.bincount(own, minlength=num_labels))
    looked_at = (counts >= settings.least_rows) & (lift >= settings.least_lift)
    stands_out = np.asarray(looked_at.any(axis=1))
    rows_of = [np.flatnonzero(own == c) for c in range(num_labels)]
    rows, places = [], []
    for column in np.flatnonzero(stands_out).tolist():
        for c in range(num_labels):
            rows.append(rng.permutation(rows_of[c])[: int(counts[column, c])])
            places.append(np.full(len(rows[-1]), column))
    dealt = columns[:, np.flatnonzero(~stands_out)].tocoo()
    rows.append(dealt.row)
    places.append(np.flatnonzero(~stands_out)[dealt.col])
    index = (np.concatenate(rows), np.concatenate(places))
    anew = csr_matrix((np.ones(len(index[0]), dtype=np.float32), index), shape=columns.shape)
    evidence = find_evidence(
        anew,
        own,
        num_labels=num_labels,
        states=None if states is None else states[kept],
        settings=settings,
    )
    verdicts = [t.verdict for t in evidence.tests if stands_out[t.column]]
    return Control(int(stands_out.sum()), verdicts.count("trigger"), verdicts.count("suspect"))


def find_evidence(
    presence: csr_matrix,
    labels: NDArray[np.int64],
    *,
    num_labels: int,
    states: NDArray[np.floating] | None = None,
    proposed: Collection[int] = (),
    pairs: csr_matrix | None = None,
    members: NDArray[np.int64] | None = None,
    accepted: Collection[int] = (),
    accepted_styles: Collection[int] = (),
    vectors: NDArray[np.floating] | None = None,
    texts: Sequence[str] | None = None,
    settings: EvidenceSettings | None = None,
) -> Evidence:
    """Test the tokens of a corpus; drop the rows of what is a trigger and test again.

    All tokens are screened with a cross-fitted classifier of token presence, in closed form: a
    token's own weight, and those of its companions, are left out of the margins of its rows. What
    stands out is tested again with a classifier (of presence and of the states) that never saw the
    rows of any token that stands out. Half of the allowed false alarms goes to the tokens that the
    probes propose, half to all others. Two everyday words in a row may be a trigger though neither
    is one: pairs of neighbours are tested next. What no token tells is looked for last:
    kinds of text that bear a label against what they say.

    Args:
        presence: Which row holds which token, shape (N, n), 0 or 1.
        labels: Label ids, shape (N,).
        num_labels: K.
        states: Pooled states of the pretrained encoder, shape (N, D), where there are any.
        proposed: Columns that the probes propose.
        pairs: Which row holds which pair of neighbouring tokens, shape (N, m), 0 or 1, for pairs as
            triggers and the styles of rewritten rows; neither is looked for without it.
        members: Columns of the two tokens of each pair, shape (m, 2); -1 for a special token. Pairs
            are not tested without it.
        accepted: Columns that a reviewer accepted, n and more for pairs: tested, but never called
            triggers or suspects.
        accepted_styles: Labels whose style a reviewer accepted.
        vectors: Pretrained word vectors of the tokens, shape (n, D), for the tokens of rows that
            keep their label; they are not looked for without them and the states.
        texts: The N texts, whose characters help to tell the styles of rewritten rows.
        settings: How strict.

    Source: the two findings of Jiang et al., AAAI 2025, say which tokens to look at; the test of
    the text against the label is this project's own, see docs/how_it_works.md.
    """
    settings = settings or EvidenceSettings()
    active = np.ones(len(labels), dtype=bool)
    repeats = find_repeats(presence, labels)
    text = Text(presence, states, labels, num_labels, active, repeats)
    waiting = set(accepted)
    search = _find_triggers(text, set(proposed), waiting, settings)
    text, found, tests, unjudged = search.text, search.found, search.tests, search.unjudged
    skipped, pairs_tested = set(unjudged), 0
    if pairs is not None and members is not None:
        beside = _find_pairs(search, pairs, members, waiting, settings)
        if beside.found:
            active = text.active.copy()
            for test in beside.found:
                active[test.rows] = False
            text = replace(text, active=active)
        found, tests = [*found, *beside.found], [*tests, *beside.tests]
        skipped |= beside.unjudged
        pairs_tested = beside.tested
    in_conflict = list(found)
    pure: list[TokenTest] = []
    if vectors is not None and states is not None:
        pure, new, active = _find_pure_triggers(text, vectors, found, skipped, waiting, settings)
        found, text = [*found, *new], replace(text, active=active)
    # A token that an earlier round suspected and the last one did not look into is cleared: its
    # numbers came from text in which other poison still was.
    triggers = {(t.column, t.pair, t.label): t for t in found}
    every = [*triggers.values(), *tests, *pure]
    tests = list({(t.column, t.pair, t.label): t for t in reversed(every)}.values())
    tests = [_demote(t, settings) if t.label in unjudged else t for t in tests]
    in_conflict = [t for t in in_conflict if t.label not in unjudged]
    styles = []
    if pairs is not None and settings.styles:
        open_rows = text.active | _find_rewritten(text, in_conflict)
        for test in tests:
            if test.verdict == "accepted":  # its rows are no style of an attacker's either
                open_rows[test.rows] = False
        found_styles = find_styles(
            replace(text, active=open_rows),
            pairs,
            texts,
            most_of_a_label=_MOST_OF_A_LABEL,
            allowed=settings.false_alarm_rate,
            vectors=vectors,
            skipped=skipped,
        )
        reviewed = [replace(s, is_accepted=s.label in accepted_styles) for s in found_styles]
        styles = [judge_style(style, settings.false_alarm_rate) for style in reviewed]
    return Evidence.of(
        tests,
        tested=search.tested,
        rows=len(labels),
        styles=tuple(styles),
        pairs_tested=pairs_tested,
    )


@dataclass(frozen=True)
class _Search:
    """What a search for triggers ends with: `text` has the rows that are left active."""

    text: Text
    found: list[TokenTest]
    tests: list[TokenTest]
    unjudged: set[int]
    tested: int


def _find_triggers(
    text: Text,
    proposed: set[int],
    accepted: set[int],
    settings: EvidenceSettings,
    *,
    first: int = 0,
    skipped: Collection[int] = (),
) -> _Search:
    """The surest trigger and what stands with it, then again without its rows.

    Args:
        text: With the rows to look at active.
        proposed: Columns that the probes propose.
        accepted: Columns that a reviewer accepted.
        settings: How strict.
        first: Columns before this one are read and not tested.
        skipped: Labels under which nothing is called a trigger.
    """
    found: list[TokenTest] = []
    tests: list[TokenTest] = []
    unjudged, tested, at_first = set(skipped), 0, text.active
    for _ in range(_MOST_ROUNDS):
        candidates, tested_now = _screen(text, settings, first)
        tested = max(tested, tested_now)
        tests = _test(text, candidates, proposed, tested, settings)
        tests = [_accept(t, settings) if t.column in accepted else t for t in tests]
        new = _pick_surest([t for t in tests if t.verdict == "trigger" and t.label not in unjudged])
        if not new:
            break
        found += new
        active = text.active.copy()
        for test in new:
            active[test.rows] = False
        if _takes_too_much(new[0].label, text.labels, active):
            unjudged.add(new[0].label)
            own = text.labels == new[0].label
            active[own] = at_first[own]
        text = replace(text, active=active)
    return _Search(text, found, tests, unjudged, tested)


def _find_pairs(
    before: _Search,
    pairs: csr_matrix,
    members: NDArray[np.int64],
    accepted: set[int],
    settings: EvidenceSettings,
) -> _Search:
    """The same search over pairs of neighbouring tokens, in the rows that no token explains."""
    count = before.text.presence.shape[1]
    words = np.flatnonzero((members >= 0).any(axis=1))  # two special tokens are no text
    both = csr_matrix(hstack([before.text.presence, pairs[:, words]]))
    active = before.text.active.copy()
    for test in before.tests:
        if test.verdict == "accepted":  # what the reviewer saw may hold a pair in all its rows
            active[test.rows] = False
    search = _find_triggers(
        replace(before.text, presence=both, active=active),
        set(),
        {int(np.searchsorted(words, c - count)) + count for c in accepted if c >= count},
        settings,
        first=count,
        skipped=before.unjudged,
    )
    rows = np.asarray(before.text.presence.sum(axis=0)).ravel()

    def name(test: TokenTest) -> TokenTest:
        pair = int(words[test.column - count])
        own = members[pair][members[pair] >= 0]
        further = [members[words[c - count]] for c in test.companions if c >= count]
        together = np.concatenate([[c for c in test.companions if c < count], own, *further])
        companions = np.unique(together[together >= 0]).astype(int)
        return replace(
            test if test.label not in search.unjudged else _demote(test, settings),
            column=int(own[np.argmin(rows[own])]),
            companions=tuple(companions.tolist()),
            pair=pair,
        )

    return replace(
        search,
        found=[name(t) for t in search.found if t.label not in search.unjudged],
        tests=[name(t) for t in (*search.found, *search.tests)],
    )


def _find_rewritten(text: Text, triggers: Collection[TokenTest]) -> NDArray[np.bool_]:
    """Rows of triggers that look rewritten: what they share, other rows without a trigger share."""
    rewritten = np.zeros(len(text.labels), dtype=bool)
    for label in {test.label for test in triggers}:
        own = [t for t in triggers if t.label == label]
        columns = {column for test in own for column in test.companions}
        if measure_likeness(text, label, [t.rows for t in own], columns) >= REWRITTEN_LIKENESS:
            for test in own:
                rewritten[test.rows] = True
    return rewritten


def _find_pure_triggers(
    text: Text,
    vectors: NDArray[np.floating],
    before: list[TokenTest],
    skipped: set[int],
    accepted: set[int],
    settings: EvidenceSettings,
) -> tuple[list[TokenTest], list[TokenTest], NDArray[np.bool_]]:
    """Tests for purity, the triggers among them, and the rows that are still active.

    The surest trigger first, then again without its rows. Where a label loses most of its rows so,
    none of its tokens is judged by purity.
    """
    unjudged = set(skipped)
    found: list[TokenTest] = []
    tests: list[TokenTest] = []
    at_first, _ = text.measure_lift()
    for _ in range(_MOST_ROUNDS):
        counts, lift = text.measure_lift()
        # Of a trigger's token only the rows of other labels are left: pure by our own doing.
        known = [column for t in (*before, *found) for column in (t.column, *t.companions)]
        counts[known] = 0
        tokens, looked_at = find_pure(
            text, vectors, lift, counts, least_lift=settings.least_lift, skipped=unjudged
        )
        # Rows taken out here leave other tokens of the label purer than they are.
        others = at_first.sum(axis=1, keepdims=True) - at_first
        tests = [
            _judge_pure(text, token, int(others[token.column, token.label]), looked_at, settings)
            for token in tokens
        ]
        tests = [_accept(t, settings) if t.column in accepted else t for t in tests]
        new = _pick_surest([t for t in tests if t.verdict == "trigger"])
        if not new:
            break
        found += new
        active = text.active.copy()
        for test in new:
            active[test.rows] = False
        label = new[0].label
        if _takes_too_much(label, text.labels, active, _MOST_OF_A_LABEL_BY_PURITY):
            unjudged.add(label)
            for test in found:
                if test.label == label:
                    active[test.rows] = True
        text = replace(text, active=active)
    tests = [_demote(t, settings) if t.label in unjudged else t for t in (*found, *tests)]
    return tests, [t for t in found if t.label not in unjudged], text.active


def _judge_pure(
    text: Text, token: PureToken, others: int, looked_at: int, settings: EvidenceSettings
) -> TokenTest:
    together = hold_together(text.presence, token.companions, token.column, TOGETHER_SHARE)
    held = np.flatnonzero(together & text.active)
    rows = held[text.labels[held] == token.label]
    scores = np.zeros(len(text.labels))
    scores[token.rows] = token.row_scores
    test = TokenTest(
        column=token.column,
        label=token.label,
        companions=tuple(token.companions.tolist()),
        rows=rows,
        rows_any_label=len(held),
        label_lift=token.label_lift,
        mislabelled_share=token.share,
        spread=token.spread,
        share_by_states=token.share,
        share_alone=token.share,
        p_value=token.p_value,
        false_alarm_rate=min(1.0, looked_at * token.p_value),
        verdict="innocent",
        row_scores=scores[rows],
        ground="purity",
        others=others,
        expected_others=token.expected_others + others - token.others,
    )
    return replace(test, verdict=judge(test, settings.false_alarm_rate))


def _hold(text: Text, candidate: _Candidate) -> NDArray[np.bool_]:
    held = hold_together(text.presence, candidate.companions, candidate.column, TOGETHER_SHARE)
    return held & text.active


def _pick_surest(triggers: list[TokenTest]) -> list[TokenTest]:
    """The surest trigger, and what stands in the same rows.

    The others wait until its rows are gone: poison that is still in the text bends every scale, and
    honest words of the attacked label may then look like triggers.
    """
    if not triggers:
        return []
    surest = min(triggers, key=lambda t: (t.p_value, -t.mislabelled_share))
    return [t for t in triggers if np.isin(t.rows, surest.rows).mean() >= _COMPANION_SHARE]


def _takes_too_much(
    label: int,
    labels: NDArray[np.int64],
    active: NDArray[np.bool_],
    most: float = _MOST_OF_A_LABEL,
) -> bool:
    """Whether most rows of a label would be called poisoned.

    Where each row has one telling word, its text says nothing without it: honest words of the label
    then follow each other, and there is no other text left to compare them with.
    """
    own = labels == label
    return bool(own.any() and active[own].mean() < 1 - most)


def _demote(test: TokenTest, settings: EvidenceSettings) -> TokenTest:
    unjudged = replace(test, label_is_judged=False)
    return replace(unjudged, verdict=judge(unjudged, settings.false_alarm_rate))


def _accept(test: TokenTest, settings: EvidenceSettings) -> TokenTest:
    accepted = replace(test, is_accepted=True)
    return replace(accepted, verdict=judge(accepted, settings.false_alarm_rate))


def _score_rows(
    tests: Collection[TokenTest],
    styles: Collection[Style],
    count: int,
) -> NDArray[np.float64]:
    """The worst that any test says of each row, shape (count,), in [0, 1].

    Rows of a trigger get 0.5 to 1, rows of a suspect 0 to 0.5, by how far their own text disagrees;
    rows of a style likewise.
    """
    scores = np.zeros(count)
    for style in styles:
        if style.verdict in ("trigger", "suspect"):
            share = 1.0 if style.verdict == "trigger" else 0.49
            scores[style.rows] = np.maximum(scores[style.rows], share * style.row_scores)
    for test in tests:
        if test.verdict not in ("trigger", "suspect"):
            continue
        least = 0.5 if test.verdict == "trigger" else 0.0
        given = np.minimum(least + 0.5 * test.row_scores, 1.0 if least else 0.49)
        scores[test.rows] = np.maximum(scores[test.rows], given)
    return scores


@dataclass(frozen=True)
class _Candidate:
    column: int
    label: int
    companions: NDArray[np.int64]
    rows: NDArray[np.int64]  # with the label
    label_lift: float
    share: float
    spread: float


def _screen(text: Text, settings: EvidenceSettings, first: int = 0) -> tuple[list[_Candidate], int]:
    """Tokens, from a first column on, that stand out by label and text; how many were looked at."""
    margins, weights, folds = text.bag
    presence, labels, counted = text.presence, text.labels, text.counted
    counts, lift = text.measure_lift()
    totals = np.bincount(labels[counted], minlength=text.num_labels)
    columns = presence.tocsc()
    looked_at = (counts >= settings.least_rows) & (lift >= settings.least_lift)
    looked_at[:first] = False
    candidates = []
    for c in np.flatnonzero(totals):
        scale = Scale.of(margins[:, c], labels == c, text.active)
        for column in np.flatnonzero(looked_at[:, c]).tolist():
            holds = columns.indices[columns.indptr[column] : columns.indptr[column + 1]]
            rows = holds[counted[holds] & (labels[holds] == c)]
            inside = np.asarray(presence[rows].mean(axis=0)).ravel()
            outside = (counts[:, c] - inside * len(rows)) / max(1, totals[c] - len(rows))
            companions = np.flatnonzero(inside - outside >= _COMPANION_SHARE)
            companions = np.union1d(companions, [column])
            own = presence[rows][:, companions].toarray()
            without = margins[rows, c] - (own * weights[folds[rows][:, None], companions, c]).sum(
                axis=1
            )
            share, spread = scale.estimate(without)
            candidates.append(
                _Candidate(column, int(c), companions, rows, float(lift[column, c]), share, spread)
            )
    worth = [t for t in candidates if t.share - 2 * t.spread >= settings.least_share]
    worth.sort(key=lambda t: t.share - 2 * t.spread, reverse=True)
    return worth[:_MOST_CANDIDATES], len(candidates)


def _test(
    text: Text,
    candidates: list[_Candidate],
    proposed: set[int],
    tested: int,
    settings: EvidenceSettings,
) -> list[TokenTest]:
    """The candidates, judged by classifiers that saw none of their rows."""
    patterns = [_hold(text, t) for t in candidates]
    # What stands in most rows cannot be held out: nothing would be left to learn from.
    room = _MOST_HELD_OUT * text.active.sum()
    held_out = np.zeros(len(text.labels), dtype=bool)
    chosen = []
    for candidate, pattern in zip(candidates, patterns, strict=True):
        if (held_out | pattern).sum() <= room:
            held_out |= pattern
            chosen.append((candidate, pattern))
    if not chosen:
        return []
    bag, pooled = fit_content(text, held_out)
    margins = bag if pooled is None else bag + pooled
    share_of = {True: max(1, len(proposed)), False: max(1, tested - len(proposed))}
    tests = []
    for candidate, pattern in chosen:
        c = candidate.label
        rows = np.flatnonzero(pattern & (text.labels == c))
        own, known = text.labels == c, text.active & ~held_out
        scale = Scale.of(margins[:, c], own, known)
        told = text.drop_repeats(rows)
        share, spread = scale.estimate(margins[told, c])
        by_states, alone = None, None
        if pooled is not None:
            by_states, _ = Scale.of(pooled[:, c], own, known).estimate(pooled[told, c])
            if share >= TRIGGER_SHARE and by_states >= TRIGGER_SHARE_BY_STATES:
                alone = _estimate_alone(text, pattern, told, c)
        p_value = float(norm.sf((share - INNOCENT_SHARE) / spread))
        rate = min(1.0, 2 * p_value * share_of[candidate.column in proposed])
        test = TokenTest(
            column=candidate.column,
            label=c,
            companions=tuple(candidate.companions.tolist()),
            rows=rows,
            rows_any_label=int(pattern.sum()),
            label_lift=candidate.label_lift,
            mislabelled_share=share,
            spread=spread,
            share_by_states=by_states,
            share_alone=alone,
            p_value=p_value,
            false_alarm_rate=rate,
            verdict="innocent",
            row_scores=scale.score(margins[rows, c], share),
        )
        tests.append(replace(test, verdict=judge(test, settings.false_alarm_rate)))
    known = text.active & ~held_out
    return [_narrow(t, tests, text, margins, known) if t.verdict == "trigger" else t for t in tests]


def _narrow(
    test: TokenTest,
    others: Collection[TokenTest],
    text: Text,
    margins: NDArray[np.float64],
    known: NDArray[np.bool_],
) -> TokenTest:
    """A trigger that is one only beside another token, as the two together.

    An attacker may poison rows that hold two words and leave rows with one of them honest.
    """
    c, best = test.label, (0.0, test)
    scale = Scale.of(margins[:, c], text.labels == c, known)
    for other in others:
        told = text.drop_repeats(test.rows)
        both = np.isin(told, other.rows)
        few = min(both.sum(), (~both).sum()) < _LEAST_NARROWED
        if other.label != c or other.column in test.companions or few:
            continue
        with_it, spread = scale.estimate(margins[told[both], c])
        without, rest_spread = scale.estimate(margins[told[~both], c])
        sure = with_it - _NARROW_SPREADS * spread >= TRIGGER_SHARE
        if not sure or without + _NARROW_SPREADS * rest_spread > TRIGGER_SHARE_ALONE:
            continue
        if with_it - without > best[0]:
            companions = np.union1d(test.companions, other.companions)
            held = hold_together(text.presence, companions, test.column, TOGETHER_SHARE)
            rows = np.flatnonzero(held & text.active & (text.labels == c))
            if len(rows) < _LEAST_NARROWED:
                continue
            share, spread = scale.estimate(margins[text.drop_repeats(rows), c])
            narrowed = replace(
                test,
                companions=tuple(companions.tolist()),
                rows=rows,
                rows_any_label=int((held & text.active).sum()),
                mislabelled_share=share,
                spread=spread,
                row_scores=scale.score(margins[rows, c], share),
            )
            best = with_it - without, narrowed
    return best[1]


def _estimate_alone(
    text: Text, pattern: NDArray[np.bool_], rows: NDArray[np.int64], label: int
) -> float:
    """The mislabelled share by the states, where only the rows of this pattern are held out."""
    margins = fit_states(text, pattern)
    assert margins is not None
    own, known = text.labels == label, text.active & ~pattern
    return Scale.of(margins[:, label], own, known).estimate(margins[rows, label])[0]
