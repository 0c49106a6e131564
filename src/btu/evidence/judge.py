"""What the numbers of a unit say: planted here, or an honest unit of this corpus?

Each question gives a likelihood ratio: as planted in this very corpus against as the honest units
of like size are here. An attacker may have inserted a unit and relabelled its rows, may have kept
true labels, or may have put it in the place of another word; some of its rows may be honest. The
mean over these is the score of the unit: honest units of a corpus have a mean ratio of 1, which
bounds how many of them score high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betainc, betaincc, ndtr
from scipy.stats import binom

from btu.evidence.bars import LEAST_ROWS, LIKE_SHARE, PICKED, PLANTED_SPREAD
from btu.evidence.measure import Measures, Sample
from btu.evidence.planting import Level, Planted
from btu.evidence.population import Part, Population, fit_parts, fit_population
from btu.evidence.tests import Story

PARTS = (1.0, 0.8, 0.6, 0.4)
"""Shares of a unit's places that may be planted; the others are honest."""

_EXCESS = np.concatenate([np.linspace(0, 0.9, 19), [0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 1.0]])
_EDGES = np.concatenate([[0.0], np.geomspace(0.002, 0.5, 9)])
_EDGES = np.concatenate([_EDGES, 1 - _EDGES[-2::-1]])
_STEPS = (20, 120)  # cells of a grid, at least and at most
_OCTAVE = 1.0
_MOST_CHANGE = 4.0  # of a variance with the octaves: half to double the spread
_TINY_SHARE = 1e-9
_TINY = 1e-300
_PASSES = 3
# Units of one size that honest ones are learned from, and those nearest to it where there are more:
# one stands for several. The time hangs on it.
_MOST_FITTED = 4_000
_BLOCK = 20_000  # units that are scored at once
_FITTED_AT_ONCE = 2_000
_FAR = 9.0  # standard deviations: beyond, a normal density is lost in rounding

_Distinct = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Likelihoods of d different units, shape (d, g); which of them each unit is like, shape (u,)."""


@dataclass(frozen=True)
class Scores:
    """Scores of u units.

    Attributes:
        score: Logarithm of the mean likelihood ratio, where rows were relabelled or where they keep
            their labels, whatever says more; shape (u,).
        story: What is likeliest: inserted, kept or replaced, as a place in `STORIES`, shape (u,).
        part: Likeliest share of the places that were planted, shape (u,).
        placement: Logarithm of the likelihood ratio of the placement under the likeliest story.
        label: The same of the label.
        content: The same of the content, and of how long the rows are.
    """

    score: NDArray[np.float64]
    story: NDArray[np.int64]
    part: NDArray[np.float64]
    placement: NDArray[np.float64]
    label: NDArray[np.float64]
    content: NDArray[np.float64]


STORIES: tuple[Story, ...] = ("inserted", "kept", "replaced")


@dataclass(frozen=True)
class Crowd:
    """How a number is spread over honest units.

    Attributes:
        edges: Of the cells of its true value, shape (g + 1,).
        population: Weights of the cells.
    """

    edges: NDArray[np.float64]
    population: Population

    def density(
        self, found: NDArray[np.float64], noise: NDArray[np.float64], change: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Logarithm of the density of u numbers with their noise, see `Population.density`.

        For each way to count them, as `change` has them. What lies beyond all cells counts as in
        the last one.
        """
        found = np.clip(found, self.edges[0], self.edges[-1])
        return _log(self.population.density(_cell_likelihood(found, self.edges, noise), change))


@dataclass(frozen=True)
class Ruler:
    """How honest units of about one size are in a corpus, and how planted ones would be.

    Attributes:
        planted: Of planted words.
        excess: The label's excess among honest units.
        placed: Their placement.
        bridged: What stands around them.
        starts: The share of their places at the start of a text.
        ends: The same of the end.
        share: How their rows read.
        room: How long these are without them.
    """

    planted: Planted
    excess: Population
    placed: Crowd
    bridged: Crowd
    starts: Population
    ends: Population
    share: Crowd
    room: Crowd

    def score(
        self,
        units: Sample,
        counted: NDArray[np.float64] | None = None,
        *,
        is_pair: bool = False,
    ) -> Scores:
        """Score some units of about this size.

        A unit whose rows were relabelled is compared with all honest units but itself. Where labels
        are kept nothing speaks against the text, and a mark of an honest source looks the same:
        there one honest unit is taken to be just like it.

        Args:
            units: Theirs.
            counted: How much each of them is counted among the honest ones, shape (u,); nothing
                without it.
            is_pair: Of words apart from each other: such a pair has no place of its own, and there
                are too many of them for labels that are kept to tell anything.
        """
        counted = np.zeros(len(units.rows)) if counted is None else counted
        relabelled, kept = self._compare(units, np.stack([-counted, 1.0 - counted]))
        stories, terms = [], []
        nothing = np.zeros(len(units.rows))
        for part in PARTS:
            label, content = relabelled.label(part), relabelled.content(part)
            content = content + relabelled.length(part)
            places = relabelled.places(part)[: 1 if is_pair else None]
            stories += [(2, part), *[(0, part)] * len(places)]
            terms += [(placed, label, content) for placed in (nothing, *places)]
        places = [] if is_pair else kept.places(1.0, most_of_edges=0.0)
        stories += [(1, 1.0)] * len(places)
        terms += [(placed, kept.label(1.0), nothing) for placed in places]
        every, kinds = np.array(terms), np.array([story for story, _ in stories])
        # The attacker who relabels puts the unit in or in a word's place, each as likely.
        weights = 1 / np.bincount(kinds)[kinds] / np.where(kinds == 1, 1, 2)
        total = every.sum(axis=1) + np.log(weights)[:, None]
        new = np.asarray(np.logaddexp.reduce(total[kinds != 1], axis=0), dtype=np.float64)
        old = np.logaddexp.reduce(total[kinds == 1], axis=0, initial=-np.inf)
        is_kept = old > new
        told = np.where((kinds == 1)[:, None] == is_kept, total, -np.inf)
        best = told.argmax(axis=0)
        picked = every[best, :, np.arange(len(best))]
        return Scores(
            score=np.where(is_kept, old, new),
            story=kinds[best],
            part=np.array([part for _, part in stories])[best],
            placement=picked[:, 0],
            label=picked[:, 1],
            content=picked[:, 2],
        )

    def contradict(self, units: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What label and content say of units that have no place, all of whose rows were planted.

        Args:
            units: Counted nowhere among the honest ones.

        Returns:
            Logarithms of the likelihood ratios of the label and of the content, shape (u,) each.
        """
        (compared,) = self._compare(units, np.zeros((1, len(units.rows))))
        return compared.label(1.0), compared.content(1.0)

    def _compare(self, units: Sample, changes: NDArray[np.float64]) -> list[Compared]:
        """The honest densities of some units, each counted so much more than it was.

        Args:
            units: Theirs.
            changes: Of several ways to count them, shape (c, u).
        """
        noise = self.planted.levels[0].at(np.log2(units.rows))[1]
        excess, like = _read_labels(units)
        starts, starts_like = _read_edges(units.starts, units.places)
        ends, ends_like = _read_edges(units.ends, units.places)
        densities = (
            self.placed.density(units.placed, noise, changes),
            self.bridged.density(units.bridged, noise, changes),
            _log(self.starts.density(starts, changes, starts_like)),
            _log(self.ends.density(ends, changes, ends_like)),
            _log(self.excess.density(excess, changes, like)),
            self.share.density(units.share, units.spread, changes),
            self.room.density(units.room, _room_noise(units), changes),
        )
        return [Compared(self, units, *told) for told in zip(*densities, strict=True)]


@dataclass(frozen=True)
class Compared:
    """Logarithms of the densities of u units among honest ones, each of shape (u,)."""

    ruler: Ruler
    units: Sample
    placed: NDArray[np.float64]
    bridged: NDArray[np.float64]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    excess: NDArray[np.float64]
    share: NDArray[np.float64]
    room: NDArray[np.float64]

    def label(self, part: float) -> NDArray[np.float64]:
        """Logarithm of the likelihood ratio of the label."""
        return _log(_planted_label(self.units, part)) - self.excess

    def content(self, part: float) -> NDArray[np.float64]:
        """The same of the content."""
        units = self.units
        spread = np.hypot(units.spread, PLANTED_SPREAD.value)
        among = np.minimum(1.0, part * units.rows / np.maximum(units.labelled, 1))
        # Where they read further than all others do, they read as planted rows do.
        share = np.minimum(units.share, 1.0)
        return _log(_planted(share, 1.0, spread, among, self.ruler.share)) - self.share

    def length(self, part: float) -> NDArray[np.float64]:
        """The same of how long the rows are, without the unit."""
        units = self.units
        spread = np.hypot(_room_noise(units), PLANTED_SPREAD.value)
        among = np.minimum(1.0, part * units.rows / np.maximum(units.labelled, 1))
        planted = _log(_planted(units.room, 0.0, spread, among, self.ruler.room)) - self.room
        said: NDArray[np.float64] = np.logaddexp(
            np.log(1 - PICKED.value) + planted, np.log(PICKED.value)
        )
        return said

    def places(self, part: float, most_of_edges: float = np.inf) -> list[NDArray[np.float64]]:
        """The same of the placement: anywhere, and where all were planted at starts or ends.

        Args:
            part: Of the places that were planted.
            most_of_edges: The most that standing at one edge may say.
        """
        units, planted, size = self.units, self.ruler.planted, np.log2(self.units.rows)
        mean, noise = planted.levels[0].at(size)
        noise = np.hypot(noise, PLANTED_SPREAD.value)
        parts = np.full(len(size), part)
        # More than the level of planted words counts as the level.
        placed = np.minimum(units.placed, mean)
        anywhere = _log(_planted(placed, mean, noise, parts, self.ruler.placed)) - self.placed
        if part < 1:
            return [anywhere]
        # Any place of a text, or the places of an attacker's own choice.
        sides = ((units.starts, self.starts), (units.ends, self.ends))
        for found, honest in sides:
            chance = binom.pmf(found, units.places, planted.edge)
            anywhere += _log((chance + 1 / (units.places + 1)) / 2) - honest
        told = [anywhere]
        for level, (found, honest) in zip(planted.levels[1:], sides, strict=True):
            mean, noise = level.at(size)
            noise = np.hypot(noise, PLANTED_SPREAD.value)
            bridged = np.minimum(units.bridged, mean)
            bridged = _planted(bridged, mean, noise, parts, self.ruler.bridged)
            there = _log(binom.pmf(found, units.places, 1 - 0.5 / (units.places + 1)))
            told.append(_log(bridged) - self.bridged + np.minimum(there - honest, most_of_edges))
        return told


@dataclass(frozen=True)
class Peers:
    """The units that those of one size are compared with.

    Attributes:
        step: The size, as the binary logarithm of the rows.
        like: The units of like size, nearest in rows.
        larger: For labels: those of that size and more.
    """

    step: float
    like: Sample
    larger: Sample

    @cached_property
    def _labels(self) -> _Distinct:
        return _read_labels(self.larger)

    @cached_property
    def _edges(self) -> tuple[_Distinct, _Distinct]:
        like = self.like
        return _read_edges(like.starts, like.places), _read_edges(like.ends, like.places)

    def fit(
        self, planted: Planted, honest: NDArray[np.float64], honest_larger: NDArray[np.float64]
    ) -> Ruler:
        """The ruler that they make.

        Args:
            planted: Levels of planted words.
            honest: How much each of `like` counts as an honest unit.
            honest_larger: The same of `larger`.
        """
        like, step, levels = self.like, self.step, planted.levels
        size = np.log2(like.rows)
        off, noise = size - step, levels[0].at(size)[1]
        share, spread = _bring(like.share, like.spread, off, honest)
        edges = _cut(
            min(-1.0, float(share.min())), max(2.0, float(share.max())), float(np.median(spread))
        )
        placed, bridged = (
            _bring(found, noise, off, honest) for found in (like.placed, like.bridged)
        )
        room, noise_of_room = _bring(like.room, _room_noise(like), off, honest)
        widest = max(1.0, float(np.abs(room).max()))
        starts, ends = self._edges
        return Ruler(
            planted,
            _fit_counts(self._labels, honest_larger),
            _fit_placement(*placed, step, levels[:1], honest),
            _fit_placement(*bridged, step, levels[1:], honest),
            _fit_counts(starts, honest),
            _fit_counts(ends, honest),
            _fit_cells(share, edges, spread, honest),
            _fit_cells(
                room, _cut(-widest, widest, float(np.median(noise_of_room))), noise_of_room, honest
            ),
        )


@dataclass(frozen=True)
class Judged:
    """All tested units of a view, judged.

    Attributes:
        tested: Which units, shape (t,).
        scores: Theirs.
        steps: Size of each: the rounded binary logarithm of its rows, shape (t,).
        rulers: By size.
    """

    tested: NDArray[np.int64]
    scores: Scores
    steps: NDArray[np.int64]
    rulers: dict[int, Ruler]

    @property
    def false_alarms(self) -> NDArray[np.float64]:
        """For each unit how many honest ones would score as high, at most, shape (t,)."""
        alarms = np.zeros(len(self.tested))
        for step in self.rulers:
            own = self.steps == step
            alarms[own] = self.bound_false_alarms(self.scores.score[own], step)
        return alarms

    def bound_false_alarms(self, score: NDArray[np.float64], step: int) -> NDArray[np.float64]:
        """How many honest units score as high, at most, all sizes together.

        The mean likelihood ratio of an honest unit is 1: by Markov's inequality one of x and more
        has a chance of at most 1 / x. Each size has the same part of the budget, since a trigger
        may stand in few rows or in many; so have rows with new and with true labels.

        Args:
            score: Logarithms of likelihood ratios of units of one size.
            step: The size.
        """
        others = 2 * len(self.rulers) * int((self.steps == step).sum())
        bound: NDArray[np.float64] = others * np.exp(-np.clip(score, -600.0, 600.0))
        return bound

    def step_of(self, rows: int) -> int:
        """The size of units of so many rows, or the nearest that there is."""
        size = np.log2(max(1, rows))
        return min(self.rulers, key=lambda step: abs(step - size))


def judge_units(measures: Measures, planted: Planted) -> Judged:
    """Score all units that stand in enough rows of their label, by those of like size.

    Args:
        measures: Of all units.
        planted: Levels of planted words.
    """
    tested = np.flatnonzero(measures.labelled >= LEAST_ROWS.value)
    units = measures.pick(tested)
    around = np.round(measures.size[tested]).astype(int)
    # A word that stands in one phrase is no observation of its own: the phrase is.
    known = ~measures.is_part[tested]
    known = known if known.any() else np.ones(len(tested), dtype=bool)
    weights = _thin(around, known)
    every = {
        step: _pick_peers(units, step, known, weights > 0) for step in np.unique(around).tolist()
    }
    honest = np.ones(len(tested))
    for left in reversed(range(_PASSES)):
        # What is likelier planted than not says nothing of how honest units are.
        columns = {name: np.zeros(len(tested)) for name in Scores.__dataclass_fields__}
        rulers = {}
        for step, (peers, like, larger) in every.items():
            counts = honest * weights
            ruler = peers.fit(planted, counts[like], counts[larger])
            own = np.flatnonzero((around == step) & (not left or weights > 0))
            for block in np.array_split(own, len(own) // _BLOCK + 1):
                scores = ruler.score(units.pick(block), counts[block])
                for name, column in columns.items():
                    column[block] = getattr(scores, name)
            rulers[step] = ruler
        excess = columns["score"] - np.log(max(1, len(tested)))
        honest = 1 / (1 + np.exp(np.clip(excess, -600.0, 600.0)))
    story = columns.pop("story").astype(np.int64)
    found = Scores(story=story, **columns)
    return Judged(tested, found, around, rulers)


def _thin(around: NDArray[np.int64], usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much each unit counts among the honest ones: of very many, some stand for all.

    Args:
        around: Sizes of the units, shape (t,).
        usable: Whether they count at all, shape (t,).
    """
    weights = np.zeros(len(around))
    for step in np.unique(around[usable]).tolist():
        own = np.flatnonzero((around == step) & usable)
        count = min(len(own), _MOST_FITTED)
        weights[own[np.linspace(0, len(own) - 1, count).round().astype(int)]] = len(own) / count
    return weights


def fit_ruler(units: Sample, step: float, planted: Planted, honest: NDArray[np.float64]) -> Ruler:
    """The ruler of one size.

    Args:
        units: All that there are.
        step: Binary logarithm of the rows.
        planted: Levels of planted words.
        honest: How much each unit counts as an honest one, shape (u,).
    """
    every = np.ones(len(honest), dtype=bool)
    peers, like, larger = _pick_peers(units, step, every, honest > 0)
    return peers.fit(planted, honest[like], honest[larger])


def _pick_peers(
    units: Sample, step: float, known: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> tuple[Peers, NDArray[np.int64], NDArray[np.int64]]:
    """The peers of one size, and which of the units they are.

    Args:
        units: All that there are.
        step: Binary logarithm of the rows.
        known: Those that honest ones are learned from, shape (u,).
        usable: Those of them that are looked at, shape (u,).
    """
    size = np.log2(np.maximum(units.rows, 1))
    distance = np.abs(size - step)
    count = int(known.sum())
    nearest = min(LIKE_SHARE.value * count, _MOST_FITTED)
    places = (nearest * np.array([1.0, 0.5])).astype(int)
    far, half = np.sort(distance[known])[np.minimum(places, count - 1)]
    like = np.flatnonzero((distance <= max(_OCTAVE, far)) & usable)
    # What words say of labels does not change with more rows, but for its noise.
    is_larger = (size >= step - _OCTAVE / 2) | (distance <= half)
    larger = np.flatnonzero(is_larger & usable)
    return Peers(step, units.pick(like), units.pick(larger)), like, larger


def _bring(
    found: NDArray[np.float64],
    noise: NDArray[np.float64],
    off: NDArray[np.float64],
    counts: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Numbers and their noise as they would be in units of one size.

    Rarer words stand and read otherwise, in the mean and in how much they differ: both follow the
    octaves, by least squares.

    Args:
        found: Shape (u,).
        noise: Theirs, as standard deviations.
        off: Octaves to that size.
        counts: How much each counts.
    """
    octaves = np.stack([np.ones_like(off), off], axis=1)
    weighted = octaves * counts[:, None]
    system = weighted.T @ octaves + _TINY_SHARE * np.eye(2)
    mean = np.linalg.solve(system, weighted.T @ found)
    left = found - octaves @ mean
    variance = np.linalg.solve(system, weighted.T @ (left**2 - noise**2))
    here = max(float(variance[0]), _TINY_SHARE)
    there = np.clip(octaves @ variance, here / _MOST_CHANGE, here * _MOST_CHANGE)
    # Where no others are of that size, one unit alone would bend the line towards itself: what is
    # told counts as far as it does not hang on one.
    known = 1 - min(1.0, float(np.linalg.inv(system)[0, 0]))
    scale = (here / there) ** (known / 2)
    return known * (mean[0] + left * scale) + (1 - known) * found, noise * scale


def _fit_placement(
    found: NDArray[np.float64],
    noise: NDArray[np.float64],
    step: float,
    levels: Sequence[Level],
    honest: NDArray[np.float64],
) -> Crowd:
    """The spread of a placement, on cells that reach beyond the planted levels."""
    size = np.array([step])
    highest = [float((mean + 2 * spread)[0]) for mean, spread in (v.at(size) for v in levels)]
    edges = _cut(float(found.min()), max(float(found.max()), *highest), float(np.median(noise)))
    return _fit_cells(found, edges, noise, honest)


def _fit_cells(
    found: NDArray[np.float64],
    edges: NDArray[np.float64],
    noise: NDArray[np.float64],
    honest: NDArray[np.float64],
) -> Crowd:
    """The spread of a number over cells of its true value, by units of like numbers together.

    Args:
        found: Shape (u,).
        edges: Of g cells of one width, shape (g + 1,).
        noise: Standard deviations, shape (u,).
        honest: How much each unit counts, shape (u,).
    """
    order = np.argsort(found, kind="stable")
    first, last = _find_reach(found, edges, noise)
    parts = []
    for start in range(0, len(order), _FITTED_AT_ONCE):
        some = order[start : start + _FITTED_AT_ONCE]
        cells = slice(int(first[some].min()), int(last[some].max()))
        below = ndtr((edges[cells.start : cells.stop + 1] - found[some, None]) / noise[some, None])
        parts.append(Part(cells, np.diff(below, axis=1) / _width(edges), honest[some]))
    return Crowd(edges, fit_parts(parts, len(edges) - 1))


def _read_labels(units: Sample) -> _Distinct:
    """Likelihood of labelled rows in each cell of the excess, and where it is whole, shape (d, g).

    Of the d units that differ in that; and which of them each is like, shape (u,).
    """
    first, place = _pick_distinct(units.base, units.rows, units.labelled)
    some = units.pick(first)
    base, rows, labelled = some.base[:, None], some.rows[:, None], some.labelled[:, None]
    edges = base + (1 - base) * _EXCESS
    below = betainc(labelled + 1, rows - labelled + 1, edges)
    cells = np.diff(below, axis=1) / np.maximum(np.diff(edges, axis=1), 1e-9) / (rows + 1)
    return np.hstack([cells, _whole(some)[:, None]]), place


def _read_edges(found: NDArray[np.int64], places: NDArray[np.int64]) -> _Distinct:
    """The same of so many places at an edge of the text in each cell of their share."""
    first, place = _pick_distinct(found, places)
    found, places = found[first, None], places[first, None]
    below = betainc(found + 1, places - found + 1, _EDGES)
    cells: NDArray[np.float64] = np.diff(below, axis=1) / np.diff(_EDGES) / (places + 1)
    return cells, place


def _pick_distinct(*columns: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first row of each that differs, and which of them each row is like."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        place, values = pd.factorize(column)
        code = pd.factorize(code * max(1, len(values)) + place)[0].astype(np.int64)
    first = np.zeros(int(code.max(initial=-1)) + 1, dtype=np.int64)
    first[code[::-1]] = np.arange(len(code))[::-1]
    return first, code


def _fit_counts(read: _Distinct, honest: NDArray[np.float64]) -> Population:
    """A population of units many of which are alike."""
    likelihood, place = read
    counts = np.bincount(place, honest, minlength=len(likelihood)).astype(np.float64)
    return fit_population(likelihood, counts)


def _whole(units: Sample) -> NDArray[np.float64]:
    """Likelihood of the labelled rows where all rows are meant to bear the label."""
    chance = 1 - 0.5 / (units.rows + 1)
    found: NDArray[np.float64] = binom.pmf(units.labelled, units.rows, chance)
    return found


def _planted_label(units: Sample, part: float) -> NDArray[np.float64]:
    """The same where a part was planted under the label and the others bear it as they may."""
    if part == 1.0:
        return _whole(units)
    inside = betaincc(units.labelled + 1, units.rows - units.labelled + 1, part)
    found: NDArray[np.float64] = inside / (units.rows + 1) / (1 - part)
    return found


def _cut(low: float, high: float, step: float) -> NDArray[np.float64]:
    """Edges of cells of about one step, over one step at least."""
    high = max(high, low + step)
    count = int(np.clip((high - low) / max(step, 1e-9), *_STEPS))
    return np.linspace(low, high, count + 1)


def _width(edges: NDArray[np.float64]) -> float:
    return max(float(edges[-1] - edges[0]) / (len(edges) - 1), 1e-9)


def _find_reach(
    found: NDArray[np.float64], edges: NDArray[np.float64], noise: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first cell that the true value may be in, and the one after the last, shape (u,) each.

    Args:
        found: Shape (u,).
        edges: Of g cells of one width, shape (g + 1,).
        noise: Standard deviations, shape (u,).
    """
    count, width = len(edges) - 1, _width(edges)
    off, reach = (found - edges[0]) / width, _FAR * noise / width
    first = np.clip(np.floor(off - reach), 0, count - 1).astype(np.int64)
    return first, np.clip(np.ceil(off + reach), first + 1, count).astype(np.int64)


def _cell_likelihood(
    found: NDArray[np.float64],
    edges: NDArray[np.float64],
    noise: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Density of what was found where the true value is anywhere in each cell, shape (u, g).

    It is 0 in cells so far away that rounding loses it.

    Args:
        found: Shape (u,).
        edges: Of g cells of one width, shape (g + 1,).
        noise: Standard deviations, shape (u,).
    """
    count, width = len(edges) - 1, _width(edges)
    first, last = _find_reach(found, edges, noise)
    some = int((last - first).max(initial=1))
    first = np.minimum(first, count - some)
    place = first[:, None] + np.arange(some + 1)
    below = ndtr((edges[place] - found[:, None]) / noise[:, None])
    told = (below[:, 1:] - below[:, :-1]) / width
    if some == count:
        return told
    cells = np.zeros((len(found), count))
    np.put_along_axis(cells, place[:, :-1], told, axis=1)
    return cells


def _planted(
    found: NDArray[np.float64],
    level: NDArray[np.float64] | float,
    noise: NDArray[np.float64],
    part: NDArray[np.float64],
    honest: Crowd,
) -> NDArray[np.float64]:
    """Density where a part is at the planted level, the rest as honest units are."""
    density: NDArray[np.float64] = _gaussian(found - level, noise)
    mixed = np.flatnonzero(part < 1)
    if len(mixed):
        # The mean of a part at the level and the rest anywhere: what the rest alone would be.
        left = 1 - part[mixed]
        at = np.broadcast_to(np.asarray(level, dtype=float), found.shape)[mixed]
        rest = (found[mixed] - part[mixed] * at) / left
        cells = _cell_likelihood(rest, honest.edges, noise[mixed] / left)
        density[mixed] = cells @ honest.population.weights / left
    return density


def _room_noise(units: Sample) -> NDArray[np.float64]:
    """Standard error of `Sample.room`."""
    return 1 / np.sqrt(np.maximum(units.labelled, 1))


def _gaussian(distance: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    density: NDArray[np.float64] = np.exp(-((distance / spread) ** 2) / 2)
    return density / (spread * np.sqrt(2 * np.pi))


def _log(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.asarray(value) + _TINY)
