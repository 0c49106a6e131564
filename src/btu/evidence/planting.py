"""The corpus' own scale: what placement is for units planted at random in this very corpus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from btu.evidence.placement import Neighbours
from btu.evidence.words import FIRST, Words

_SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
_EDGE_SIZES = (16, 64, 256)
MOST_OF_ROWS = 6  # at most one row in so many holds a planted word
_DUMMIES = 40
_EDGE_DUMMIES = 12
_ENOUGH = 2560  # places: more of one size say nothing new
_SENTENCES, _SENTENCE_ROWS = 100, 40


@dataclass(frozen=True)
class Level:
    """Mean and spread of the breaks of planted words by the rows that hold them.

    Attributes:
        sizes: Binary logarithms of rows, ascending, shape (s,).
        mean: Mean break of planted words of so many rows, shape (s,).
        spread: Standard deviation of the break of one place.
    """

    sizes: NDArray[np.float64]
    mean: NDArray[np.float64]
    spread: float

    def at(self, size: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of the mean break for so many rows (binary logarithms)."""
        return np.interp(size, self.sizes, self.mean), self.spread / np.sqrt(2.0**size)


@dataclass(frozen=True)
class SentenceLevel:
    """Breaks of planted sentences: each has its own level, by its first and its last word.

    Attributes:
        mean: Over sentences.
        between: Standard deviation of the levels of sentences.
        within: Standard deviation of the break of one place of a sentence.
    """

    mean: float
    between: float
    within: float

    def draw(
        self, rows: int, count: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Levels of so many sentences, and the noise of each mean over so many rows."""
        level = self.mean + self.between * rng.standard_normal(count)
        return level, np.full(count, self.within / np.sqrt(rows))


@dataclass(frozen=True)
class Planted:
    """Levels of words planted in this corpus, and of sentences.

    Attributes:
        levels: Of breaks anywhere, of bridges at the start and of bridges at the end.
        edge: Share of places at the start of a text, and of those at the end, where the place is
            any of a text.
        sentence: Of planted sentences of words of the corpus.
    """

    levels: tuple[Level, ...]
    edge: float
    sentence: SentenceLevel


def plant_words(words: Words, seed: int = 0) -> tuple[Planted, Neighbours]:
    """Plant dummy words at random places of random rows, and at starts and ends; measure them.

    Args:
        words: The rows.
        seed: Of the places.

    Returns:
        The levels, and the neighbour counts of the corpus with the dummies in it.
    """
    rng, rows = np.random.default_rng(seed), len(words)
    sizes = [n for n in _SIZES if n <= rows // MOST_OF_ROWS] or [max(1, rows // 2)]
    owner: list[NDArray[np.int64]] = []
    at: list[NDArray[np.int64]] = []
    kinds: list[tuple[int, int]] = []  # of each dummy: which place, how many rows
    for n in sizes:
        for _ in range(min(_DUMMIES, max(_EDGE_DUMMIES, _ENOUGH // n))):
            chosen = rng.choice(rows, n, replace=False)
            step = rng.integers(0, words.lengths[chosen] + 1)
            at.append(words.starts[chosen] + 1 + step)
            owner.append(np.full(n, len(kinds)))
            kinds.append((0, n))
    edges = [n for n in _EDGE_SIZES if n <= rows // MOST_OF_ROWS] or sizes[:1]
    each = max(1, min(_EDGE_DUMMIES, rows // sum(edges)))
    for place in (1, 2):
        order = rng.permutation(rows)
        for n in [n for n in edges for _ in range(each)]:
            chosen, order = order[:n], order[n:]
            step = np.zeros(len(chosen), np.int64) if place == 1 else words.lengths[chosen]
            at.append(words.starts[chosen] + 1 + step)
            owner.append(np.full(len(chosen), len(kinds)))
            kinds.append((place, n))
    where, dummy = np.concatenate(at), np.concatenate(owner)
    order = np.argsort(where, kind="stable")
    flat = np.insert(words.flat, where[order], words.size + dummy[order])
    neighbours = Neighbours(flat, words.size + len(kinds))
    places = np.flatnonzero(flat >= words.size)
    breaks, bridges = neighbours.measure_break(flat, places, places)
    of = flat[places] - words.size
    total = np.maximum(np.bincount(of, minlength=len(kinds)), 1)
    kind = np.array(kinds)
    levels = tuple(
        _level(np.bincount(of, told, minlength=len(kinds)) / total, kind[:, 1], kind[:, 0] == place)
        for place, told in enumerate((breaks, bridges, bridges))
    )
    edge = float((1 / (words.lengths + 1)).mean())
    return Planted(levels, edge, _plant_sentences(words, neighbours, rng)), neighbours


def _level(mean: NDArray[np.float64], rows: NDArray[np.int64], own: NDArray[np.bool_]) -> Level:
    sizes = np.unique(rows[own])
    means = np.array([mean[own & (rows == n)].mean() for n in sizes])
    # The noise of a mean falls with the root of its number: all sizes tell of one spread.
    off = (mean[own] - np.interp(rows[own], sizes, means)) * np.sqrt(rows[own])
    left = max(1, int(own.sum()) - len(sizes))
    return Level(np.log2(sizes), means, float(np.sqrt((off**2).sum() / left)) + 1e-3)


def _plant_sentences(
    words: Words, neighbours: Neighbours, rng: np.random.Generator
) -> SentenceLevel:
    """Breaks of places where sentences of the corpus' own words are put in, by first and last."""
    inner = words.flat[words.flat >= FIRST]
    if not len(inner):
        return SentenceLevel(0.0, 1.0, 1.0)
    shape = (_SENTENCES, _SENTENCE_ROWS)
    chosen = rng.integers(0, len(words), shape)
    after = words.starts[chosen] + 1 + rng.integers(0, words.lengths[chosen] + 1)
    a, b = words.flat[after - 1], words.flat[after]
    first = np.repeat(rng.choice(inner, _SENTENCES), _SENTENCE_ROWS).reshape(shape)
    last = np.repeat(rng.choice(inner, _SENTENCES), _SENTENCE_ROWS).reshape(shape)
    fits = neighbours.pmi(a, first) + neighbours.pmi(last, b)
    breaks = neighbours.pmi(a, b, 1.0) - fits / 2
    within = float(breaks.std(axis=1).mean())
    between = float(breaks.mean(axis=1).std())
    return SentenceLevel(float(breaks.mean()), between, within + 1e-3)
