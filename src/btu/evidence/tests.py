"""What was tested and how it came out: values, and the verdict that follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from btu.evidence.bars import BUDGET, FLAGGED, SUSPECT_RATE

if TYPE_CHECKING:
    from btu.evidence.rows import RowScorer

Verdict = Literal["trigger", "suspect", "accepted", "innocent"]
Kind = str
"""What a candidate is: word, phrase, style, or what a line of `btu.evidence.further` adds."""
Story = Literal["inserted", "kept", "replaced", "rewritten"]

FLAGGED_SCORE = FLAGGED.value
"""Rows with this score and more are judged poisoned: more likely than not."""

SUSPECTED_SCORE = 0.98 * FLAGGED_SCORE
"""The most that a row of a suspect scores."""

_GRAVITY: tuple[Verdict, ...] = ("trigger", "suspect", "accepted", "innocent")


@dataclass(frozen=True)
class Test:
    """One candidate under one label, with its numbers.

    Attributes:
        kind: word, phrase, pair (of words anywhere in a row), or style (a kind of text).
        name: As people read it.
        words: The words of a unit in their order, `GAP` between those of a pair; telling forms of a
            style.
        label: The over-represented label.
        rows: Positions of the rows that hold it and bear the label, ascending.
        row_scores: For each of them the chance that it was planted, in [0, 1].
        held: Positions of the rows that hold it, whatever their label, ascending.
        story: What is likeliest: inserted into rows of other labels; kept, inserted into rows that
            keep their label; replaced, another word stood there; rewritten, for a style.
        part: Likeliest share of its places that were planted.
        false_alarms: How many honest candidates of the whole scan would score as high, at most.
        share: How far the rows read like rows of other labels, without the candidate's own words:
            0 like those of their label, 1 like the others.
        spread: Standard error of that share.
        label_base: Share of the label among all rows.
        placed: Mean break of the places where it stands, see `btu.evidence.placement`.
        placed_if_planted: What it is for words planted in as many rows of this corpus.
        placement_odds: Natural logarithm of the likelihood ratio of the placement.
        label_odds: The same of the label.
        content_odds: The same of the content.
        scorer: What tells its rows apart; None where all were planted if one was.
        reason: Why it is a suspect at most; empty where it is not.
        is_accepted: Whether a reviewer accepted it.
        budget: Up to so many it is a trigger, see `share_budget`.
    """

    __test__: ClassVar[bool] = False  # for pytest: a value, no test of the software

    kind: Kind
    name: str
    words: tuple[str, ...]
    label: int
    rows: NDArray[np.int64] = field(repr=False)
    row_scores: NDArray[np.float64] = field(repr=False)
    held: NDArray[np.int64] = field(repr=False)
    story: Story
    part: float
    false_alarms: float
    share: float
    spread: float
    label_base: float
    placed: float | None = None
    placed_if_planted: float | None = None
    placement_odds: float = 0.0
    label_odds: float = 0.0
    content_odds: float = 0.0
    scorer: RowScorer | None = field(default=None, repr=False)
    reason: str = ""
    is_accepted: bool = False
    budget: float = BUDGET.value

    @property
    def verdict(self) -> Verdict:
        """What the numbers say under the budget."""
        if self.false_alarms > SUSPECT_RATE.value:
            return "innocent"
        if self.is_accepted:
            return "accepted"
        is_sure = self.false_alarms <= self.budget and not self.reason
        return "trigger" if is_sure else "suspect"

    @property
    def flagged(self) -> NDArray[np.int64]:
        """Rows that are left out where it is a trigger, ascending."""
        return self.rows[self.row_scores >= FLAGGED.value]


@dataclass(frozen=True)
class Limit:
    """What this scan could have missed.

    Attributes:
        word_rows: Rows from which a word put at random places into rows of other labels would have
            been found, with the chance of `POWER`; None where no number of rows is enough.
        sentence_rows: The same for a sentence.
        kept_rows: The same for a word in rows that keep their label.
        word_rows_by_label: The same for a word, by target label, where there are few labels.
        styles: Whether rewritten rows were looked for.
    """

    word_rows: int | None
    sentence_rows: int | None
    kept_rows: int | None = None
    word_rows_by_label: tuple[int | None, ...] = ()
    styles: bool = False


@dataclass(frozen=True)
class Evidence:
    """What a corpus of N rows says.

    Attributes:
        tests: Candidates that are worth a look or were cleared last, the gravest first.
        rows: N.
        budget: False triggers expected in a clean corpus, shared by all of them.
        tested: Candidates by kind, as many as the budget is shared among.
        limit: What could have been missed.
        readings: How likely each label is by what the rows say without the triggers, shape (N, K);
            None where no row is flagged.
    """

    tests: tuple[Test, ...]
    rows: int
    budget: float
    tested: dict[str, int]
    limit: Limit
    readings: NDArray[np.float64] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        ordered = sorted(
            share_budget(self.tests, self.budget),
            key=lambda t: (_GRAVITY.index(t.verdict), t.false_alarms),
        )
        object.__setattr__(self, "tests", tuple(ordered))

    def at(self, budget: float) -> Evidence:
        """The same tests under another budget."""
        return replace(self, budget=budget)

    def of(self, *verdicts: Verdict) -> tuple[Test, ...]:
        """The tests that came out so."""
        return tuple(test for test in self.tests if test.verdict in verdicts)

    @property
    def units(self) -> tuple[Test, ...]:
        """The tests of words, phrases and pairs."""
        return tuple(test for test in self.tests if test.kind != "style")

    @property
    def styles(self) -> tuple[Test, ...]:
        """The tests of kinds of text."""
        return tuple(test for test in self.tests if test.kind == "style")

    @property
    def triggers(self) -> tuple[Test, ...]:
        """What is called a trigger, the surest first."""
        return self.of("trigger")

    @property
    def suspects(self) -> tuple[Test, ...]:
        """What is worth a look."""
        return self.of("suspect")

    @property
    def row_scores(self) -> NDArray[np.float64]:
        """The worst that any test says of each row, shape (N,), in [0, 1]."""
        return score_rows(self.tests, self.rows)

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Rows judged poisoned, shape (N,), bool."""
        return self.row_scores >= FLAGGED.value


def share_budget(tests: Iterable[Test], budget: float) -> list[Test]:
    """Each test with the false alarms that it may have, the surest first.

    The first trigger may have those of the budget, which bounds the chance that a clean corpus has
    any. The next one after k of them may have k + 1 times as many: the share of triggers that are
    none is bounded by the budget, as far as taking out the rows of those found before leaves the
    others as they were. Kinds of text have the budget itself.

    Source: Wang and Ramdas, "False discovery rate control with e-values", Journal of the Royal
    Statistical Society B 84 (2022), which holds whatever the tests have to do with each other.

    Args:
        tests: Of words, phrases, pairs and kinds of text.
        budget: False triggers expected in a clean corpus.
    """
    shared, found = [], 0
    for test in sorted(tests, key=lambda t: t.false_alarms):
        is_style = test.kind == "style"
        shared.append(replace(test, budget=budget * (1 if is_style else found + 1)))
        found += shared[-1].verdict == "trigger" and not is_style
    return shared


def score_rows(tests: Iterable[Test], count: int) -> NDArray[np.float64]:
    """The worst that any test says of each row, shape (count,), in [0, 1].

    Rows of a trigger score as they are likely to be planted, those of a suspect less than flagged.
    """
    scores = np.zeros(count)
    for test in tests:
        if test.verdict not in ("trigger", "suspect"):
            continue
        most = 1.0 if test.verdict == "trigger" else SUSPECTED_SCORE
        scores[test.rows] = np.maximum(scores[test.rows], most * test.row_scores)
    return scores
