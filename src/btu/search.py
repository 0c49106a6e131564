"""The search for triggers: the surest one, then again without its rows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack

from btu.conflict import COMPANION_SHARE, judge_candidates, screen
from btu.content import Text
from btu.settings import EvidenceSettings
from btu.verdicts import TokenTest, accept, demote, judge

MOST_OF_A_LABEL = 0.5
"""A label that loses more of its rows than this is not judged, see `takes_too_much`."""

MOST_ROUNDS = 12
_LIFT_BESIDE = 2.0  # six rows of one label of two have 2.4
_PHRASE_PAIRS = 3
_SAME_ROWS = 0.9


@dataclass(frozen=True)
class Search:
    """What a search for triggers ends with: `text` has the rows that are left active."""

    text: Text
    found: list[TokenTest]
    tests: list[TokenTest]
    unjudged: set[int]
    tested: int


def find_triggers(
    text: Text,
    proposed: set[int],
    accepted: set[int],
    settings: EvidenceSettings,
    *,
    first: int = 0,
    skipped: Collection[int] = (),
    before: Collection[TokenTest] = (),
) -> Search:
    """The surest trigger and what stands with it, then again without its rows.

    Args:
        text: With the rows to look at active.
        proposed: Columns that have half of the allowed false alarms to themselves: what the probes
            propose, or phrases.
        accepted: Columns that a reviewer accepted.
        settings: How strict.
        first: Columns before this one are read and not tested.
        skipped: Labels under which nothing is called a trigger.
        before: Tests of an earlier search.
    """
    found: list[TokenTest] = []
    tests: list[TokenTest] = []
    unjudged, tested, at_first = set(skipped), 0, text.active
    for _ in range(MOST_ROUNDS):
        candidates, tested_now = screen(text, settings, first)
        tested = max(tested, tested_now)
        tests = judge_candidates(text, candidates, proposed, tested, settings, before)
        tests = [accept(t, settings) if t.column in accepted else t for t in tests]
        new = pick_surest([t for t in tests if t.verdict == "trigger" and t.label not in unjudged])
        if not new:
            break
        found += new
        active = text.active.copy()
        for test in new:
            active[test.rows] = False
        if takes_too_much(new[0].label, text.labels, active):
            unjudged.add(new[0].label)
            own = text.labels == new[0].label
            active[own] = at_first[own]
        text = replace(text, active=active)
    return Search(text, found, tests, unjudged, tested)


def find_beside(
    search: Search, proposed: set[int], accepted: set[int], settings: EvidenceSettings
) -> Search:
    """Further triggers of the labels that have a confirmed one, in fewer rows than one alone needs.

    Of several triggers each has a part of the poisoned rows. Clean data has no confirmed one, so
    that nothing is found beside it.

    Args:
        search: What was found by itself.
        proposed: Columns that the probes propose.
        accepted: Columns that a reviewer accepted.
        settings: How strict.
    """
    labels = {test.label for test in search.found} - search.unjudged
    wider = replace(settings, least_lift=min(settings.least_lift, _LIFT_BESIDE))
    text, found = search.text, list(search.found)
    for _ in range(MOST_ROUNDS if labels else 0):
        candidates = [c for c in screen(text, wider)[0] if c.label in labels]
        tests = judge_candidates(text, candidates, proposed, search.tested, settings)
        tests = [replace(t, ground="beside") for t in tests if t.column not in accepted]
        tests = [replace(t, verdict=judge(t, settings.false_alarm_rate)) for t in tests]
        new = pick_surest([t for t in tests if t.verdict == "trigger"])
        if not new:
            break
        active = text.active.copy()
        for test in new:
            active[test.rows] = False
        if takes_too_much(new[0].label, text.labels, active):
            labels.discard(new[0].label)
            continue
        found += new
        text = replace(text, active=active)
    return replace(search, text=text, found=found)


def find_pairs(
    before: Search,
    pairs: csr_matrix,
    members: NDArray[np.int64],
    accepted: set[int],
    settings: EvidenceSettings,
) -> Search:
    """The same search over pairs of neighbouring tokens, in the rows that no token explains.

    Half of the allowed false alarms goes to phrases, one pair of each, and half to all other pairs.
    """
    count = before.text.presence.shape[1]
    words = np.flatnonzero((members >= 0).any(axis=1))  # two special tokens are no text
    both = csr_matrix(hstack([before.text.presence, pairs[:, words]]))
    active = before.text.active.copy()
    for test in before.tests:
        if test.verdict == "accepted":  # what the reviewer saw may hold a pair in all its rows
            active[test.rows] = False
    text = replace(before.text, presence=both, active=active)
    search = find_triggers(
        text,
        find_phrases(text, count, settings),
        {int(np.searchsorted(words, c - count)) + count for c in accepted if c >= count},
        settings,
        first=count,
        skipped=before.unjudged,
        before=before.tests,
    )
    rows = np.asarray(before.text.presence.sum(axis=0)).ravel()

    def name(test: TokenTest) -> TokenTest:
        pair = int(words[test.column - count])
        own = members[pair][members[pair] >= 0]
        further = [members[words[c - count]] for c in test.companions if c >= count]
        together = np.concatenate([[c for c in test.companions if c < count], own, *further])
        companions = np.unique(together[together >= 0]).astype(int)
        return replace(
            test if test.label not in search.unjudged else demote(test, settings),
            column=int(own[np.argmin(rows[own])]),
            companions=tuple(companions.tolist()),
            pair=pair,
        )

    return replace(
        search,
        found=[name(t) for t in search.found if t.label not in search.unjudged],
        tests=[name(t) for t in (*search.found, *search.tests)],
    )


def find_phrases(text: Text, first: int, settings: EvidenceSettings) -> set[int]:
    """One pair of each phrase that is tested: three and more pairs that stand in the same rows.

    Honest text has a handful of phrases that a label is over-represented with, where it has
    hundreds of such pairs: the sentence of an attacker is confirmed by fewer rows so.

    Args:
        text: Presence of tokens and of pairs of neighbours.
        first: The first column that is a pair.
        settings: Which pairs are tested.

    Returns:
        Columns.
    """
    looked_at = text.find_outstanding(settings.least_rows, settings.least_lift)
    pairs = text.presence[text.active][:, first:]
    columns = pairs.tocsc()
    totals, is_tested = np.diff(columns.indptr), looked_at[first:].any(axis=1)
    phrases = set()
    for pair in np.flatnonzero(is_tested).tolist():
        rows = columns.indices[columns.indptr[pair] : columns.indptr[pair + 1]]
        inside = np.asarray(pairs[rows].sum(axis=0)).ravel()
        same = (inside >= _SAME_ROWS * len(rows)) & (len(rows) >= _SAME_ROWS * totals)
        if same.sum() >= _PHRASE_PAIRS:
            phrases.add(first + int(np.flatnonzero(same & is_tested)[0]))
    return phrases


def pick_surest(triggers: list[TokenTest]) -> list[TokenTest]:
    """The surest trigger, and what stands in the same rows.

    The others wait until its rows are gone: poison that is still in the text bends every scale, and
    honest words of the attacked label may then look like triggers.
    """
    if not triggers:
        return []
    surest = min(triggers, key=lambda t: (t.p_value, -t.mislabelled_share))
    return [t for t in triggers if np.isin(t.rows, surest.rows).mean() >= COMPANION_SHARE]


def takes_too_much(
    label: int,
    labels: NDArray[np.int64],
    active: NDArray[np.bool_],
    most: float = MOST_OF_A_LABEL,
) -> bool:
    """Whether most rows of a label would be called poisoned.

    Where each row has one telling word, its text says nothing without it: honest words of the label
    then follow each other, and there is no other text left to compare them with.
    """
    own = labels == label
    return bool(own.any() and active[own].mean() < 1 - most)
