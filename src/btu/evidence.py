"""What labels and text say of a token: is a label over-represented, and does the text agree?

A word that carries honest meaning stands in rows whose other words point to the same label. A
trigger that an attacker put into rows of other labels stands in rows whose other words still point
to those. The share of a token's rows whose text belongs to another label tells them apart.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from btu.clean_label import find_pure_triggers
from btu.content import Text
from btu.likeness import REWRITTEN_LIKENESS, measure_likeness
from btu.readings import read_texts
from btu.repeats import find_repeats
from btu.search import MOST_OF_A_LABEL, find_beside, find_pairs, find_triggers
from btu.settings import EvidenceSettings
from btu.styles import Style, find_styles, judge_style
from btu.verdicts import TokenTest, Verdict, demote, judge_all

FLAGGED_SCORE = 0.5
"""Rows with this score and more are judged poisoned."""

_GRAVITY: tuple[Verdict, ...] = ("trigger", "suspect", "accepted", "innocent")


@dataclass(frozen=True)
class Evidence:
    """What a corpus of N rows says.

    Attributes:
        tests: Every token that was looked into, the most suspicious first.
        tested: Tokens that the false-alarm rate is corrected for.
        pairs_tested: The same for pairs of neighbouring tokens.
        readings: How likely each label is by what the rows say without the triggers, shape (N, K),
            see `btu.readings.read_texts`; None where no row is flagged.
        rewritten_labels: Labels whose flagged rows were rewritten as a whole.
        row_scores: Shape (N,), in [0, 1]: 0.5 and more for rows of triggers and styles, less for
            rows of suspects, 0 for all others.
        styles: For each label the kind of text that bears it against what it says most.
    """

    tests: tuple[TokenTest, ...]
    tested: int
    row_scores: NDArray[np.float64]
    styles: tuple[Style, ...] = ()
    pairs_tested: int = 0
    readings: NDArray[np.float64] | None = None
    rewritten_labels: frozenset[int] = frozenset()

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
        judged = Evidence.of(
            judge_all(self.tests, false_alarm_rate),
            tested=self.tested,
            rows=len(self.row_scores),
            styles=tuple(judge_style(style, false_alarm_rate) for style in self.styles),
            pairs_tested=self.pairs_tested,
        )
        return replace(judged, readings=self.readings, rewritten_labels=self.rewritten_labels)

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Rows judged poisoned, shape (N,), bool."""
        return self.row_scores >= FLAGGED_SCORE


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
    probes propose, half to all others. A label with a confirmed trigger is searched again for those
    that too few rows hold to be sure alone. Two everyday words in a row may be a trigger though
    neither is one: pairs of neighbours are tested next. What no token tells is looked for last:
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
            keep their label, which are not looked for without them and the states, and for the
            topic of a token's rows.
        texts: The N texts, whose characters help to tell the styles of rewritten rows.
        settings: How strict.

    Source: the two findings of Jiang et al., AAAI 2025, say which tokens to look at; the test of
    the text against the label is this project's own, see docs/how_it_works.md.
    """
    settings = settings or EvidenceSettings()
    active = np.ones(len(labels), dtype=bool)
    repeats = find_repeats(presence, labels)
    text = Text(presence, states, labels, num_labels, active, repeats, vectors)
    waiting = set(accepted)
    search = find_triggers(text, set(proposed), waiting, settings)
    search = find_beside(search, set(proposed), waiting, settings)
    text, found, tests, unjudged = search.text, search.found, search.tests, search.unjudged
    skipped, pairs_tested = set(unjudged), 0
    if pairs is not None and members is not None:
        beside = find_pairs(search, pairs, members, waiting, settings)
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
        pure, new, active = find_pure_triggers(text, found, skipped, waiting, settings, tests)
        found, text = [*found, *new], replace(text, active=active)
    # A token that an earlier round suspected and the last one did not look into is cleared: its
    # numbers came from text in which other poison still was.
    triggers = {(t.column, t.pair, t.label): t for t in found}
    every = [*triggers.values(), *tests, *pure]
    tests = list({(t.column, t.pair, t.label): t for t in reversed(every)}.values())
    tests = [demote(t, settings) if t.label in unjudged else t for t in tests]
    in_conflict = [t for t in in_conflict if t.label not in unjudged]
    styles = []
    rewritten = _find_rewritten_labels(text, in_conflict)
    if pairs is not None and settings.styles:
        open_rows = text.active.copy()
        for test in in_conflict:
            open_rows[test.rows] |= test.label in rewritten
        for test in tests:
            if test.verdict == "accepted":  # its rows are no style of an attacker's either
                open_rows[test.rows] = False
        found_styles = find_styles(
            replace(text, active=open_rows),
            pairs,
            texts,
            most_of_a_label=MOST_OF_A_LABEL,
            allowed=settings.false_alarm_rate,
            skipped=skipped,
        )
        reviewed = [replace(s, is_accepted=s.label in accepted_styles) for s in found_styles]
        styles = [judge_style(style, settings.false_alarm_rate) for style in reviewed]
    evidence = Evidence.of(
        tests,
        tested=search.tested,
        rows=len(labels),
        styles=tuple(styles),
        pairs_tested=pairs_tested,
    )
    if not evidence.flagged.any():
        return evidence
    confirmed = [test for test in evidence.tests if test.verdict == "trigger"]
    hidden = {column for test in confirmed for column in test.companions}
    readings = read_texts(text, evidence.flagged, hidden)
    return replace(evidence, readings=readings, rewritten_labels=rewritten)


def _find_rewritten_labels(text: Text, triggers: Collection[TokenTest]) -> frozenset[int]:
    """Labels whose triggers' rows look rewritten: what they share, other rows without one share."""
    rewritten = set()
    for label in {test.label for test in triggers}:
        own = [t for t in triggers if t.label == label]
        columns = {column for test in own for column in test.companions}
        if measure_likeness(text, label, [t.rows for t in own], columns) >= REWRITTEN_LIKENESS:
            rewritten.add(label)
    return frozenset(rewritten)


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
