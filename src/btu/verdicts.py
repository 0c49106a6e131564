"""One token under one label, tested, and the verdict that its numbers give."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from btu.purity import MOST_OTHERS
from btu.settings import EvidenceSettings

Verdict = Literal["trigger", "suspect", "accepted", "innocent"]
Ground = Literal["conflict", "beside", "purity"]

INNOCENT_SHARE = 0.25
"""Honest words reach this share of rows whose text reads as another label's: negations, words that
carry a row alone. Measured on clean SST-2; docs/log.md has the numbers."""

TRIGGER_SHARE = 0.5
"""Where fewer rows than this are mislabelled, most of what a verdict would throw away is honest."""

TRIGGER_SHARE_BY_STATES = 0.55
"""The same by the encoder's states alone. Rows that hold a rare honest word can look mislabelled to
a classifier of tokens that never saw it; the encoder knows the word from its pretraining."""

TRIGGER_SHARE_ALONE = 0.35
"""The same by the states again, with nothing held out but the token's own rows: rows of words of a
like meaning stay in, and clear an honest word of a label in which other poison hides."""

REWRITTEN_SHARE = 0.7
"""A token that honest rows hold too needs this mislabelled share instead."""

BESIDE_SHARE = 0.7
"""Beside a confirmed trigger of its label a token needs this mislabelled share, and"""

BESIDE_P_VALUE = 0.025
"""this p-value, whatever else was tested: who planted one trigger may have planted others in few
rows each, and without a first one none of this counts. docs/log.md has the numbers."""

TOPIC_LIKENESS = 0.05
"""Rows that are more alike by this mean cosine than random rows, and by three standard deviations
of those, are about one thing: honest until someone says otherwise. docs/log.md has the numbers."""

TOPIC_SPREADS = 3.0
"""Less than this many of those standard deviations may be chance."""

TOLD_APART = 0.6
"""Rows that bear their true label and are told so well from the others of it, and by two standard
deviations of chance, are of a kind of their own: an honest word's. docs/log.md has the numbers."""

SUSPECT_RATE = 0.5
"""Up to this false-alarm rate a finding is worth a look."""

_SUSPECT_SPREADS = 3.0
_WITHIN_SHARE = 0.75
_APART_SPREADS = 2.0


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
            beside: it does so in few rows, and the label has a trigger that is sure by itself;
            purity: too few of them bear another label for what they say. That is weaker evidence:
            the rows' labels may be right, and a habit of the source looks the same.
        others: Rows that hold the token and bear another label, rows that repeat others left out;
            None for a conflict.
        expected_others: How many would, by everything else in them; None for a conflict.
        pair: Column of the pair of neighbouring tokens that was tested in the token's place, of
            which the token is the rarer one; None for a token.
        topic_likeness: How much more alike the rows are than random rows that read like the same
            labels, as a mean cosine; see `btu.topics`. None where it was not measured.
        topic_spread: Standard deviation of that mean cosine over random rows.
        told_apart: Area under the ROC curve with which the rows are told from the other rows of
            their label, without the token; None for rows that the text says are of another label.
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
    topic_likeness: float | None = None
    topic_spread: float | None = None
    told_apart: float | None = None


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
        is_sure = is_sure and not has_topic(test)
        return "trigger" if is_sure else "suspect"
    is_sure = test.false_alarm_rate <= allowed or (test.ground == "beside" and is_beside(test))
    if test.label_is_judged and is_sure and contradicts(test) and not has_topic(test):
        return "trigger"
    above_chance = test.mislabelled_share - _SUSPECT_SPREADS * test.spread > 0
    return "suspect" if above_chance and test.mislabelled_share > INNOCENT_SHARE else "innocent"


def judge_all(tests: Iterable[TokenTest], allowed: float) -> list[TokenTest]:
    """Each test under the verdict of `judge`; beside a trigger only where one is left to be beside.

    Args:
        tests: All of a corpus.
        allowed: False triggers that may be expected in a clean corpus in each search.
    """
    judged = [replace(test, verdict=judge(test, allowed)) for test in tests]
    sure = {t.label for t in judged if t.verdict == "trigger" and t.ground == "conflict"}

    return [
        replace(test, verdict=judge(replace(test, ground="conflict"), allowed))
        if test.ground == "beside" and test.label not in sure
        else test
        for test in judged
    ]


def is_beside(test: TokenTest) -> bool:
    """Whether a token of few rows is a trigger where its label has another that is sure."""
    return test.mislabelled_share >= BESIDE_SHARE and test.p_value <= BESIDE_P_VALUE


def contradicts(test: TokenTest) -> bool:
    """Whether most of the rows are mislabelled, by all that reads them."""
    by_states = 1.0 if test.share_by_states is None else test.share_by_states
    alone = 1.0 if test.share_alone is None else test.share_alone
    return (
        test.mislabelled_share >= TRIGGER_SHARE
        and by_states >= TRIGGER_SHARE_BY_STATES
        and alone >= TRIGGER_SHARE_ALONE
    )


def has_topic(test: TokenTest) -> bool:
    """Whether the rows are about one thing, as those of an honest word or source are."""
    if test.told_apart is not None and test.told_apart >= TOLD_APART:
        chance = np.sqrt(1 / (12 * len(test.rows)))  # of the area for few rows among many
        if test.told_apart - 0.5 >= _APART_SPREADS * chance:
            return True
    if test.topic_likeness is None or test.topic_spread is None:
        return False
    sure = test.topic_likeness >= TOPIC_SPREADS * test.topic_spread
    return test.topic_likeness >= TOPIC_LIKENESS and sure


def share_topic(test: TokenTest, others: Iterable[TokenTest]) -> TokenTest:
    """A test of few rows, with the topic of the token most of whose rows they are among.

    Of few rows it cannot be said whether they are alike; of the source that they are from it can.
    """
    if test.topic_likeness is None or test.topic_spread is None:
        return test
    if TOPIC_SPREADS * test.topic_spread <= TOPIC_LIKENESS:
        return test
    for other in sorted(others, key=lambda t: len(t.rows), reverse=True):
        is_within = np.isin(test.rows, other.rows).mean() >= _WITHIN_SHARE
        if is_within and other.label == test.label and has_topic(other):
            return replace(
                test, topic_likeness=other.topic_likeness, topic_spread=other.topic_spread
            )
    return test


def _is_pure(test: TokenTest) -> bool:
    """Whether hardly any row bears another label, or most of those with the label should.

    Where many do and the text agrees with the rest, rows with the token are a kind of their own
    (with a link, with a question) whose labels the classifiers misjudge as a whole.
    """
    others = test.others or 0
    is_pure = others <= MOST_OTHERS * (len(test.rows) + others)
    return is_pure or test.mislabelled_share >= REWRITTEN_SHARE


def demote(test: TokenTest, settings: EvidenceSettings) -> TokenTest:
    """The test under a label that is not judged: a suspect at most."""
    unjudged = replace(test, label_is_judged=False)
    return replace(unjudged, verdict=judge(unjudged, settings.false_alarm_rate))


def accept(test: TokenTest, settings: EvidenceSettings) -> TokenTest:
    """The test of a token that a reviewer accepted."""
    accepted = replace(test, is_accepted=True)
    return replace(accepted, verdict=judge(accepted, settings.false_alarm_rate))
