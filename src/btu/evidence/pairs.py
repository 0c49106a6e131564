"""Two words apart from each other that point to a label together, whatever each does alone.

An attacker may want two everyday words in a row, each at a place of its own. Pairs are judged as
units are, beside random pairs of the same corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, triu

from btu.evidence.bars import LEAST_ROWS, PAIRS_SHARE, SUSPECT_RATE
from btu.evidence.judge import STORIES, Peers, Scores
from btu.evidence.measure import Measures, Sample
from btu.evidence.placement import Fits, Neighbours
from btu.evidence.planting import Planted
from btu.evidence.reading import read_folds
from btu.evidence.tests import Test
from btu.evidence.units import Units
from btu.evidence.view import View
from btu.evidence.words import GAP, find_places

_MOST_WORDS = 2000  # the most frequent ones
_MOST_TESTED = 200  # pairs that go furthest with a label beyond what their words do
_DRAWN = 400  # random pairs of a size, to compare with
_LEAST = 1e-9


@dataclass(frozen=True)
class _Pairs:
    """Pairs of words, all of shape (p,).

    Attributes:
        left: Place of the first word among the words that are paired.
        right: The same of the second.
        rows: Rows that hold both.
        label: The label that is most over-represented in them.
        labelled: Rows of it.
        lead: How much more the label goes with both words than with either, in standard deviations.
        left_word: Word id of the first.
        right_word: Word id of the second.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    rows: NDArray[np.int64]
    label: NDArray[np.int64]
    labelled: NDArray[np.int64]
    lead: NDArray[np.float64]
    left_word: NDArray[np.int32]
    right_word: NDArray[np.int32]

    @property
    def step(self) -> NDArray[np.int64]:
        """The rounded binary logarithm of the rows."""
        return np.round(np.log2(self.rows)).astype(int)

    def pick(self, chosen: NDArray[np.int64]) -> _Pairs:
        """Some of them."""
        return _Pairs(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def find_pairs(
    view: View,
    units: Units,
    measures: Measures,
    neighbours: Neighbours,
    planted: Planted,
    *,
    seed: int = 0,
) -> list[Test]:
    """Pairs of words that are worth a look.

    Args:
        view: The rows.
        units: Of the view.
        measures: Of the units.
        neighbours: Counts of the corpus.
        planted: Levels of words planted in it.
        seed: Of the pairs to compare with.
    """
    found = score_pairs(view, units, measures, neighbours, planted, seed=seed)
    if found is None:
        return []
    alarms = found.false_alarms / PAIRS_SHARE.value
    tests = []
    for at in np.flatnonzero(alarms <= SUSPECT_RATE.value).tolist():
        scores = found.scores
        test = _describe_pair(view, found.pairs.pick(np.array([at])), found.sample, at, planted)
        tests.append(
            replace(
                test,
                story=STORIES[int(scores.story[at])],
                part=float(scores.part[at]),
                false_alarms=float(alarms[at]),
                placement_odds=float(scores.placement[at]),
                label_odds=float(scores.label[at]),
                content_odds=float(scores.content[at]),
            )
        )
    return tests


@dataclass(frozen=True)
class ScoredPairs:
    """The t pairs that go furthest with a label beyond what their words do.

    Attributes:
        pairs: Which.
        sample: Their numbers.
        scores: Theirs.
        others: All pairs of the size of each, those of the other sizes at the same weight, shape
            (t,).
        count: All pairs.
    """

    pairs: _Pairs
    sample: Sample
    scores: Scores
    others: NDArray[np.int64]
    count: int

    @property
    def false_alarms(self) -> NDArray[np.float64]:
        """For each pair how many honest ones would score as high, at most, shape (t,)."""
        return np.asarray(self.others * np.exp(-np.clip(self.scores.score, -600.0, 600.0)))


def score_pairs(
    view: View,
    units: Units,
    measures: Measures,
    neighbours: Neighbours,
    planted: Planted,
    *,
    seed: int = 0,
) -> ScoredPairs | None:
    """The pairs that stand out most, scored beside random ones; None where there is none.

    Args:
        view: The rows.
        units: Of the view.
        measures: Of the units.
        neighbours: Counts of the corpus.
        planted: Levels of words planted in it.
        seed: Of the pairs to compare with.
    """
    words = _pick_words(units, measures)
    if len(words) < 2:
        return None
    ids = view.words.flat[units.first[units.starts[words]]]
    held = view.words.presence[:, ids]
    pairs = _count_pairs(held, ids, view.labels, view.num_labels)
    if not len(pairs.rows):
        return None
    rng = np.random.default_rng(seed)
    sizes = pairs.step
    drawn = np.concatenate([_draw(np.flatnonzero(sizes == s), rng) for s in np.unique(sizes)])
    tested = np.sort(np.argsort(-pairs.lead, kind="stable")[:_MOST_TESTED])
    chosen = np.union1d(drawn, tested)
    asked = pairs.pick(chosen)
    wanted = np.union1d(asked.left, asked.right)
    fits = measures.fits
    by_word = zip(wanted.tolist(), _hold(view, units, words[wanted], neighbours, fits), strict=True)
    sample = _measure(view, dict(by_word), ids, asked, measures)
    is_drawn, place = np.isin(chosen, drawn), np.searchsorted(chosen, tested)
    columns = {f: np.zeros(len(tested)) for f in Scores.__dataclass_fields__}
    others = np.zeros(len(tested), dtype=np.int64)
    for step in np.unique(sizes[tested]).tolist():
        own = np.flatnonzero(sizes[tested] == step)
        scores = _score(sample, is_drawn, place[own], step, planted)
        for name, column in columns.items():
            column[own] = getattr(scores, name)
        others[own] = len(np.unique(sizes)) * int((sizes == step).sum())
    story = columns.pop("story").astype(np.int64)
    scored = Scores(story=story, **columns)
    return ScoredPairs(pairs.pick(tested), sample.pick(place), scored, others, len(pairs.rows))


def _pick_words(units: Units, measures: Measures) -> NDArray[np.int64]:
    """The most frequent words."""
    words = np.flatnonzero((units.length == 1) & (measures.rows >= LEAST_ROWS.value))
    return np.sort(words[np.argsort(-measures.rows[words], kind="stable")[:_MOST_WORDS]])


@dataclass(frozen=True)
class _Held:
    """The rows that hold a word, ascending, and the mean break of its places there."""

    rows: NDArray[np.int32]
    breaks: NDArray[np.float32]


def _hold(
    view: View,
    units: Units,
    words: NDArray[np.int64],
    neighbours: Neighbours,
    fits: Fits,
) -> Iterator[_Held]:
    """Of each of some units that are single words."""
    flat = view.words.flat
    for word in words.tolist():
        places = units.first[units.starts[word] : units.starts[word + 1]]
        breaks, _ = neighbours.measure_break(flat, places, places, fits)
        row = view.words.row[places]
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        often = np.diff(starts, append=len(row))
        means = np.add.reduceat(breaks, starts) / often
        yield _Held(row[starts], means.astype(np.float32))


def _count_pairs(
    held: csr_matrix, ids: NDArray[np.int32], labels: NDArray[np.int64], num_labels: int
) -> _Pairs:
    """All pairs that stand together in enough rows of a label."""
    share = np.bincount(labels, minlength=num_labels) / max(1, len(labels))
    counted = np.flatnonzero(share).tolist()
    parts = [held[labels == k] for k in counted]
    together = [triu(part.T @ part, 1, format="coo") for part in parts]
    both = np.zeros((len(ids), len(ids)), dtype=np.float32)
    for own in together:
        both[own.row, own.col] += own.data
    left, right = np.nonzero(both >= LEAST_ROWS.value)
    rows = both[left, right].astype(np.float64)
    place = np.full(both.shape, -1, dtype=np.int32)
    place[left, right] = np.arange(len(left))
    alone = np.asarray(held.sum(axis=0), dtype=np.float64).ravel()
    lift = np.full(len(rows), -np.inf)
    label, labelled = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows))
    lead = np.zeros(len(rows))
    for k, part, own in zip(counted, parts, together, strict=True):
        # Pairs that no row of the label holds go with another one.
        at = place[own.row, own.col]
        at, found = at[at >= 0], own.data[at >= 0].astype(np.float64)
        single = np.asarray(part.sum(axis=0), dtype=np.float64).ravel()
        held_by = rows[at]
        now = (found - held_by * share[k]) / np.sqrt(held_by * share[k] * (1 - share[k]) + _LEAST)
        # What each word does where the other is not.
        rates = [
            (single[side[at]] - found + share[k]) / (alone[side[at]] - held_by + 1)
            for side in (left, right)
        ]
        expected = np.clip(np.maximum(share[k], np.maximum(*rates)), 0, 1)
        leads = (found - held_by * expected) / np.sqrt(held_by * expected * (1 - expected) + 1)
        better = now > lift[at]
        at = at[better]
        lift[at], lead[at] = now[better], leads[better]
        label[at], labelled[at] = k, found[better]
    kept = labelled >= LEAST_ROWS.value
    return _Pairs(
        left[kept],
        right[kept],
        rows[kept].astype(np.int64),
        label[kept],
        labelled[kept].astype(np.int64),
        lead[kept],
        ids[left[kept]],
        ids[right[kept]],
    )


def _draw(among: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.permutation(among)[:_DRAWN]


def _measure(
    view: View,
    held: dict[int, _Held],
    ids: NDArray[np.int32],
    pairs: _Pairs,
    measures: Measures,
) -> Sample:
    """The numbers of some pairs, as units have them."""
    content, root = measures.content, np.sqrt(np.maximum(view.words.lengths, 1))
    told = np.stack(
        [
            weights[ids]
            for _, weights in read_folds(
                view.words.presence, view.labels, view.num_labels, view.folds
            )
        ]
    )
    placed, mean, left = (np.zeros(len(pairs.rows)) for _ in range(3))
    place = np.full(len(view), -1)  # of each row among those of the first word
    for first in np.unique(pairs.left).tolist():
        a = held[first]
        place[a.rows] = np.arange(len(a.rows))
        for pair in np.flatnonzero(pairs.left == first).tolist():
            b, label = held[int(pairs.right[pair])], int(pairs.label[pair])
            at = place[b.rows]
            both = at >= 0
            placed[pair] = (a.breaks[at[both]].mean() + b.breaks[both].mean()) / 2
            row = b.rows[both]
            row = row[view.labels[row] == label]
            own = told[:, [first, pairs.right[pair]], label].sum(axis=1)[view.folds[row]]
            mean[pair] = (content.margins[row, label] - own / root[row]).mean()
            left[pair] = content.lengths.compare(view.words.lengths[row] - 2, label).mean()
        place[a.rows] = -1
    count = np.maximum(pairs.labelled, 1)
    gap = content.gap[pairs.label]
    spread = content.scale.others_spread[pairs.label] / gap / np.sqrt(count)
    nothing = np.zeros(len(pairs.rows), dtype=np.int64)
    return Sample(
        rows=pairs.rows,
        labelled=pairs.labelled,
        base=view.shares[pairs.label],
        placed=placed,
        bridged=placed,
        places=nothing,
        starts=nothing,
        ends=nothing,
        share=(content.scale.own[pairs.label] - mean) / gap,
        spread=np.maximum(spread, 1e-6),
        room=left,
    )


def _score(
    sample: Sample,
    is_drawn: NDArray[np.bool_],
    own: NDArray[np.int64],
    step: int,
    planted: Planted,
) -> Scores:
    """The pairs of one size against random ones of about that size, and for labels of more."""
    size = np.log2(sample.rows)
    like = np.flatnonzero(is_drawn & (np.abs(size - step) <= 1.5))
    larger = np.flatnonzero(is_drawn & (size >= step - 1.5))
    peers = Peers(step, sample.pick(like), sample.pick(larger))
    ruler = peers.fit(planted, np.ones(len(like)), np.ones(len(larger)))
    counted = is_drawn[own].astype(np.float64)
    return ruler.score(sample.pick(own), counted, is_pair=True)


def _describe_pair(view: View, pair: _Pairs, numbers: Sample, at: int, planted: Planted) -> Test:
    """A pair as a test, but for how it came out."""
    both = [int(pair.left_word[0]), int(pair.right_word[0])]
    names = [view.words.names[i] for i in both]
    # Rows that say nothing new hold the pair as well.
    first, second = (view.corpus.row[find_places(view.corpus.flat, [word])] for word in both)
    every = np.intersect1d(first, second).astype(np.int64)
    label = int(pair.label[0])
    rows = every[view.corpus_labels[every] == label]
    level, _ = planted.levels[0].at(np.log2(pair.rows))
    return Test(
        kind="pair",
        name=GAP.join(names),
        words=(names[0], GAP, names[1]),
        label=label,
        rows=rows,
        row_scores=np.ones(len(rows)),
        held=every,
        story="inserted",
        part=1.0,
        false_alarms=1.0,
        share=float(numbers.share[at]),
        spread=float(numbers.spread[at]),
        label_base=float(numbers.base[at]),
        placed=float(numbers.placed[at]),
        placed_if_planted=float(level[0]),
    )
