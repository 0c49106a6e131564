"""The surest trigger first, then again without its rows: one loop for all units."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from btu.evidence.bars import LEAST_ROWS, MOST_OF_A_LABEL, SUSPECT_RATE, UNITS_SHARE
from btu.evidence.cores import find_core
from btu.evidence.further import FURTHER
from btu.evidence.judge import STORIES, Judged, judge_units
from btu.evidence.measure import Content, Measures, measure_units
from btu.evidence.placement import Fits, Neighbours
from btu.evidence.planting import Planted
from btu.evidence.reading import fit_naive_bayes
from btu.evidence.rows import RowScorer
from btu.evidence.tests import Kind, Story, Test, Verdict
from btu.evidence.units import Units, find_units
from btu.evidence.view import View
from btu.evidence.words import find_places

_MOST_ROUNDS = 50
_MOST_SURE = 0.999


@dataclass(frozen=True)
class Round:
    """What one look at the units of a view gave.

    Attributes:
        view: The rows.
        units: All that stand in enough of them.
        measures: Theirs.
        judged: Those that were tested.
        names: Word ids of each unit.
    """

    view: View
    units: Units
    measures: Measures
    judged: Judged

    @classmethod
    def of(
        cls, view: View, neighbours: Neighbours, planted: Planted, fits: Fits | None = None
    ) -> Round:
        """Measure and judge all units of a view.

        Args:
            view: The rows.
            neighbours: Counts of this corpus.
            planted: Levels of planted words in it.
            fits: What the counts say of the view, where it was asked before.
        """
        units = find_units(view.words, least_rows=int(LEAST_ROWS.value))
        measures = measure_units(view, units, neighbours, fits)
        return cls(view, units, measures, judge_units(measures, planted))


@dataclass(frozen=True)
class Search:
    """What the loop found.

    Attributes:
        content: What the words of the rows say, in the first round, of all rows.
        judged: Those that were tested in it.
        last: The last round, of the rows that no trigger explains, but where none was left.
        tests: All that is a trigger, and of the last round all that is worth a look.
    """

    content: Content
    judged: Judged
    last: Round
    tests: tuple[Test, ...]


def find_triggers(
    view: View,
    planted: Planted,
    neighbours: Neighbours,
    *,
    budget: float,
    proposed: Collection[str] = (),
    accepted: Collection[str] = (),
) -> Search:
    """Look for the surest trigger, take its rows out, look again.

    Args:
        view: All rows that count.
        planted: Levels of planted words in this corpus.
        neighbours: Counts of this corpus.
        budget: False triggers that a clean corpus may give, all searches together.
        proposed: Words that something else proposes; half of the units' share is theirs.
        accepted: Names of units that a reviewer accepted.
    """

    def keep(listed: Collection[Test]) -> list[Test]:
        """Those not found yet, as they are judged here; see `share_budget` for their budget."""
        tests = [
            replace(test, budget=(len(found) + 1) * budget, is_accepted=test.name in accepted)
            for test in listed
            if (test.name, test.label) not in found
        ]
        return [_demote(t, unjudged) for t in tests]

    found: dict[tuple[str, int], Test] = {}
    unjudged: set[int] = set()
    at_first = np.bincount(view.labels, minlength=view.num_labels)
    now = Round.of(view, neighbours, planted)
    content, judged = now.measures.content, now.judged
    for left in reversed(range(_MOST_ROUNDS)):
        listed = _list_tests(now, planted, neighbours, proposed=proposed)
        tests = keep(listed)
        new = _pick_surest(tests)
        for further in FURTHER:
            if new:
                break
            more = keep(further.find(view, now.units, now.measures, neighbours, planted))
            tests, new = [*tests, *_pick_surest(more, "suspect")], _pick_surest(more)
        if not new:
            break
        new = [_settle(test, now, planted, neighbours) for test in new]
        explained = np.concatenate([test.flagged for test in new])
        fits = now.measures.fits.select(view.find_left(explained)[view.words.row])
        view = view.without(explained)
        found |= {(test.name, test.label): test for test in new}
        by_label = np.bincount(view.labels, minlength=view.num_labels)
        for label in {test.label for test in new}:
            if by_label[label] < (1 - MOST_OF_A_LABEL.value) * at_first[label]:
                unjudged.add(label)
        if not left or not len(view):
            break
        del now  # two at once would need the memory of both
        now = Round.of(view, neighbours, planted, fits)
    kept = [_demote(t, unjudged) for t in found.values()]
    return Search(content, judged, now, (*kept, *tests))


def _settle(test: Test, now: Round, planted: Planted, neighbours: Neighbours) -> Test:
    """A trigger in relabelled rows by the words that have most of them."""
    if test.kind not in ("word", "phrase") or test.story == "kept":
        return test
    view, fits = now.view, now.measures.fits
    place = {name: i for i, name in enumerate(view.words.names)}
    ids = tuple(place[word] for word in test.words)
    core = find_core(view, now.judged, neighbours, fits, ids, test.label)
    if core == ids:
        return test
    units = Units.at(find_places(view.words.flat, core), len(core))
    measures = measure_units(view, units, neighbours, fits)
    step = now.judged.step_of(int(measures.rows[0]))
    every = np.array([0])
    scores = now.judged.rulers[step].score(measures.pick(every))
    alone = Round(view, units, measures, Judged(every, scores, np.array([step]), now.judged.rulers))
    found = _describe_unit(alone, planted, neighbours, 0, core, test.false_alarms)
    found = replace(found, budget=test.budget, is_accepted=test.is_accepted)
    return found if len(found.flagged) > len(test.flagged) else test


def _demote(test: Test, unjudged: Collection[int]) -> Test:
    """A word in rows that keep their label is a suspect where the label would lose most of them."""
    if test.story != "kept" or test.label not in unjudged:
        return test
    return replace(test, reason="most rows of its label would be called poisoned")


def _pick_surest(tests: Collection[Test], verdict: Verdict = "trigger") -> list[Test]:
    """The surest of a verdict, and those that share no row with a surer one."""
    picked: list[Test] = []
    own = [test for test in tests if test.verdict == verdict]
    for test in sorted(own, key=lambda t: t.false_alarms):
        if not any(np.isin(test.rows, other.rows).any() for other in picked):
            picked.append(test)
    return picked


def _list_tests(
    now: Round,
    planted: Planted,
    neighbours: Neighbours,
    *,
    proposed: Collection[str],
) -> list[Test]:
    """The units that are worth a look, as tests."""
    judged, names = now.judged, now.view.words.names
    ids = now.units.words_of(now.view.words)
    known = {i for i, name in enumerate(names) if name in proposed} if proposed else set()
    is_proposed = np.array([bool(known.intersection(ids[u])) for u in judged.tested.tolist()], bool)
    alarms = judged.false_alarms / UNITS_SHARE.value
    if is_proposed.any():
        ratio = np.where(is_proposed, is_proposed.mean(), 1 - is_proposed.mean())
        alarms = alarms * 2 * ratio
    return [
        _describe_unit(
            now, planted, neighbours, place, ids[judged.tested[place]], float(alarms[place])
        )
        for place in np.flatnonzero(alarms <= SUSPECT_RATE.value).tolist()
    ]


def _describe_unit(
    now: Round,
    planted: Planted,
    neighbours: Neighbours,
    place: int,
    ids: tuple[int, ...],
    alarms: float,
) -> Test:
    measures, scores, view = now.measures, now.judged.scores, now.view
    unit = int(now.judged.tested[place])
    words = tuple(view.words.names[i] for i in ids)
    label = int(measures.label[unit])
    places = find_places(view.corpus.flat, ids)
    holding = view.corpus.row[places]
    held = np.unique(holding).astype(np.int64)
    rows = held[view.corpus_labels[held] == label]
    level, _ = planted.levels[0].at(measures.size[[unit]])
    part, story = float(scores.part[place]), STORIES[int(scores.story[place])]
    row_scores, scorer = np.ones(len(rows)), None
    if part < 1:
        scorer = _make_scorer(now, planted, place, ids, story)
        row_scores = _score_rows(now, scorer, unit, rows, neighbours)
    kind: Kind = "word" if len(words) == 1 else "phrase"
    return Test(
        kind=kind,
        name=" ".join(words),
        words=words,
        label=label,
        rows=rows,
        row_scores=row_scores,
        held=held,
        story=story,
        part=part,
        false_alarms=alarms,
        share=float(measures.share[unit]),
        spread=float(measures.spread[unit]),
        label_base=float(measures.base[unit]),
        placed=float(measures.placed[unit]),
        placed_if_planted=float(level[0]),
        placement_odds=float(scores.placement[place]),
        label_odds=float(scores.label[place]),
        content_odds=float(scores.content[place]),
        scorer=scorer,
    )


def _make_scorer(
    now: Round, planted: Planted, place: int, ids: tuple[int, ...], story: Story
) -> RowScorer:
    """What tells the planted rows of a unit from the others that bear its label."""
    measures, scores, view = now.measures, now.judged.scores, now.view
    unit, part = int(now.judged.tested[place]), float(scores.part[place])
    label, scale = int(measures.label[unit]), measures.content.scale
    weights = fit_naive_bayes(view.words.presence, view.labels, view.num_labels)[:, label].copy()
    weights[list(ids)] = 0
    among = min(part * measures.rows[unit] / measures.labelled[unit], _MOST_SURE)
    level = planted.levels[0]
    mean = float(level.at(measures.size[[unit]])[0][0])
    honest = float((measures.placed[unit] - part * mean) / (1 - part))
    return RowScorer(
        ids=ids,
        odds=float(np.log(among / (1 - among))),
        weights=weights,
        own=(float(scale.own[label]), float(scale.own_spread[label])),
        others=(float(scale.others[label]), float(scale.others_spread[label])),
        breaks=None if story == "replaced" else (mean, honest, level.spread),
    )


def _score_rows(
    now: Round, scorer: RowScorer, unit: int, rows: NDArray[np.int64], neighbours: Neighbours
) -> NDArray[np.float64]:
    """The chance that each labelled row of a unit was planted, by what it says and its place."""
    measures, view = now.measures, now.view
    chosen = np.isin(np.arange(len(view.corpus)), rows)
    words = view.corpus.select(chosen)
    margins = scorer.read(words)
    # Rows of the view are read by fits that never saw them.
    pairs = measures.pairs_of(unit)
    known = view.rows[measures.pair_row[pairs]]
    margins[np.searchsorted(rows, known)] = measures.pair_margin[pairs]
    return scorer.score(margins, scorer.place(words, neighbours))
