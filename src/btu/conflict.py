"""Tokens whose rows bear one label while their text points to another.

All tokens are screened by a classifier in closed form; what stands out is tested again by
classifiers that never saw the rows of any token that stands out.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from btu.content import (
    Scale,
    Text,
    find_companions,
    fit_content,
    fit_states,
    measure_without,
)
from btu.purity import hold_together
from btu.settings import EvidenceSettings
from btu.topics import measure_topic
from btu.verdicts import (
    INNOCENT_SHARE,
    TRIGGER_SHARE,
    TRIGGER_SHARE_ALONE,
    TRIGGER_SHARE_BY_STATES,
    TokenTest,
    judge,
    share_topic,
)

TOGETHER_SHARE = 0.75
"""A row holds a trigger where it holds the token and this share of its companions."""

COMPANION_SHARE = 0.5
"""What stands in this share of a token's rows, beyond its share of the label's other rows, goes
with the token; triggers this share of whose rows are the surest one's are judged with it."""

_MOST_HELD_OUT = 0.65
_MOST_CANDIDATES = 60
_NARROW_SPREADS = 2.0
_LEAST_NARROWED = 10


@dataclass(frozen=True)
class Candidate:
    """A token that stands out under a label, with the rows that say so; repeats are not among them.

    The mislabelled share and its standard error are those of the screening.
    """

    column: int
    label: int
    companions: NDArray[np.int64]
    rows: NDArray[np.int64]  # with the label
    label_lift: float
    share: float
    spread: float


def screen(text: Text, settings: EvidenceSettings, first: int = 0) -> tuple[list[Candidate], int]:
    """Tokens, from a first column on, that stand out by label and text; how many were looked at."""
    margins, _, _ = text.bag
    labels, counted = text.labels, text.counted
    counts, lift = text.measure_lift()
    holding = text.presence.tocsc()
    looked_at = text.find_outstanding(settings.least_rows, settings.least_lift)
    looked_at[:first] = False
    candidates = []
    for c in np.flatnonzero(looked_at.any(axis=0)).tolist():
        scale = Scale.of(margins[:, c], labels == c, text.active)
        columns = np.flatnonzero(looked_at[:, c])
        beside = find_companions(text, c, columns, counts[:, c], least_share=COMPANION_SHARE)
        for column, companions in zip(columns.tolist(), beside, strict=True):
            holds = holding.indices[holding.indptr[column] : holding.indptr[column + 1]]
            rows = holds[counted[holds] & (labels[holds] == c)]
            without = measure_without(text, c, rows, companions)
            share, spread = scale.estimate(without)
            candidates.append(
                Candidate(column, c, companions, rows, float(lift[column, c]), share, spread)
            )
    worth = [t for t in candidates if t.share - 2 * t.spread >= settings.least_share]
    worth.sort(key=lambda t: t.share - 2 * t.spread, reverse=True)
    return worth[:_MOST_CANDIDATES], len(candidates)


def judge_candidates(
    text: Text,
    candidates: list[Candidate],
    proposed: set[int],
    tested: int,
    settings: EvidenceSettings,
    before: Collection[TokenTest] = (),
) -> list[TokenTest]:
    """The candidates, judged by classifiers that saw none of their rows.

    Args:
        text: With the rows to look at active.
        candidates: What `screen` found worth it.
        proposed: Columns that share half of the allowed false alarms.
        tested: How many columns were screened, for the correction.
        settings: How strict.
        before: Tests of an earlier search, whose rows may be about one thing.
    """
    patterns = [_hold(text, t) for t in candidates]
    # What stands in most rows cannot be held out: nothing would be left to learn from.
    room = _MOST_HELD_OUT * text.active.sum()
    held_out = np.zeros(len(text.labels), dtype=bool)
    chosen = []
    for candidate, pattern in zip(candidates, patterns, strict=True):
        told = text.drop_repeats(np.flatnonzero(pattern & (text.labels == candidate.label)))
        if len(told) < settings.least_rows:  # few hold most of its companions
            continue
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
        by_states, alone, topic = None, None, None
        if pooled is not None:
            by_states, _ = Scale.of(pooled[:, c], own, known).estimate(pooled[told, c])
            if share >= TRIGGER_SHARE and by_states >= TRIGGER_SHARE_BY_STATES:
                alone = _estimate_alone(text, pattern, told, c)
        if share >= TRIGGER_SHARE:
            towards = margins.copy()
            towards[:, c] = -np.inf  # in a conflict the rows read like any label but their own
            topic = measure_topic(
                text,
                told,
                candidate.companions.tolist(),
                among=~own,
                reads_like=towards.argmax(axis=1),
            )
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
            topic_likeness=None if topic is None else topic[0],
            topic_spread=None if topic is None else topic[1],
        )
        tests.append(test)
    tests = [share_topic(t, (*tests, *before)) for t in tests]
    tests = [replace(t, verdict=judge(t, settings.false_alarm_rate)) for t in tests]
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
    told = text.drop_repeats(test.rows)
    for other in others:
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


def _hold(text: Text, candidate: Candidate) -> NDArray[np.bool_]:
    held = hold_together(text.presence, candidate.companions, candidate.column, TOGETHER_SHARE)
    return held & text.active
