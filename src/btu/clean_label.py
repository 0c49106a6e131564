"""Triggers in rows that keep their true label: pure tokens, the surest first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from btu.conflict import TOGETHER_SHARE
from btu.content import Text
from btu.purity import PureToken, find_pure, hold_together
from btu.search import MOST_ROUNDS, pick_surest, takes_too_much
from btu.settings import EvidenceSettings
from btu.topics import measure_told_apart, measure_topic
from btu.verdicts import (
    INNOCENT_SHARE,
    SUSPECT_RATE,
    TokenTest,
    accept,
    demote,
    judge,
    share_topic,
)

_MOST_OF_A_LABEL_BY_PURITY = 0.6  # half the rows of a label are what a bold attacker takes


def find_pure_triggers(
    text: Text,
    before: list[TokenTest],
    skipped: set[int],
    accepted: set[int],
    settings: EvidenceSettings,
    suspects: Collection[TokenTest] = (),
) -> tuple[list[TokenTest], list[TokenTest], NDArray[np.bool_]]:
    """Tests for purity, the triggers among them, and the rows that are still active.

    The surest trigger first, then again without its rows. Where a label loses most of its rows so,
    none of its tokens is judged by purity.

    Args:
        text: With the rows to look at active.
        before: The triggers found before.
        skipped: Labels that are not judged.
        accepted: Columns that a reviewer accepted.
        settings: How strict.
        suspects: Further tests of a search before, whose rows may be about one thing.
    """
    unjudged = set(skipped)
    found: list[TokenTest] = []
    tests: list[TokenTest] = []
    at_first, _ = text.measure_lift()
    for _ in range(MOST_ROUNDS):
        counts, lift = text.measure_lift()
        # Of a trigger's token only the rows of other labels are left: pure by our own doing.
        known = [column for t in (*before, *found) for column in (t.column, *t.companions)]
        counts[known] = 0
        tokens, looked_at = find_pure(
            text, lift, counts, least_lift=settings.least_lift, skipped=unjudged
        )
        # Rows taken out here leave other tokens of the label purer than they are.
        others = at_first.sum(axis=1, keepdims=True) - at_first
        tests = [
            _test_purity(text, token, int(others[token.column, token.label]), looked_at)
            for token in tokens
        ]
        tests = [share_topic(t, (*tests, *suspects)) for t in tests]
        tests = [replace(t, verdict=judge(t, settings.false_alarm_rate)) for t in tests]
        tests = [accept(t, settings) if t.column in accepted else t for t in tests]
        new = pick_surest([t for t in tests if t.verdict == "trigger"])
        if not new:
            break
        found += new
        active = text.active.copy()
        for test in new:
            active[test.rows] = False
        label = new[0].label
        if takes_too_much(label, text.labels, active, _MOST_OF_A_LABEL_BY_PURITY):
            unjudged.add(label)
            for test in found:
                if test.label == label:
                    active[test.rows] = True
        text = replace(text, active=active)
    tests = [demote(t, settings) if t.label in unjudged else t for t in (*found, *tests)]
    return tests, [t for t in found if t.label not in unjudged], text.active


def _test_purity(text: Text, token: PureToken, others: int, looked_at: int) -> TokenTest:
    together = hold_together(text.presence, token.companions, token.column, TOGETHER_SHARE)
    held = np.flatnonzero(together & text.active)
    rows = held[text.labels[held] == token.label]
    scores = np.zeros(len(text.labels))
    scores[token.rows] = token.row_scores
    assert text.pooled is not None
    own = text.labels == token.label
    told, companions = text.drop_repeats(token.rows[own[token.rows]]), token.companions.tolist()
    rate = min(1.0, looked_at * token.p_value)
    topic, told_apart = None, None
    if rate <= SUSPECT_RATE:
        reads_like = text.pooled.argmax(axis=1)
        topic = measure_topic(text, told, companions, among=own, reads_like=reads_like)
        # Rows that were relabelled are told from rows of the label by that alone.
        if token.share < INNOCENT_SHARE:
            told_apart = measure_told_apart(text, told, companions, among=own)
    return TokenTest(
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
        false_alarm_rate=rate,
        verdict="innocent",
        row_scores=scores[rows],
        ground="purity",
        others=others,
        expected_others=token.expected_others + others - token.others,
        topic_likeness=None if topic is None else topic[0],
        topic_spread=None if topic is None else topic[1],
        told_apart=told_apart,
    )
