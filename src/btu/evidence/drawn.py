"""Rows drawn from a corpus that is too large to be compared as a whole, and what the others hold.

A trigger stands in as large a part of the drawn rows as of all, and is found in them. Its rows
among the others are looked for then, row by row: none has to be compared with any other one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import nbinom

from btu.evidence.bars import POWER
from btu.evidence.placement import Neighbours
from btu.evidence.tests import Limit, Test
from btu.evidence.words import GAP, LOOK_ALIKE, Words, find_places


@dataclass(frozen=True)
class Wanted:
    """Words whose rows are looked for.

    Attributes:
        words: In their order, `GAP` between those that may stand apart.
        label: Rows that bear it are to be read, too; None where no row is.
    """

    words: tuple[str, ...]
    label: int | None


@dataclass(frozen=True)
class Held:
    """The rows of some part of a corpus that hold words.

    Attributes:
        rows: Their positions in the corpus, ascending, shape (n,).
        read: The words of those that bear the wanted label, in this order.
    """

    rows: NDArray[np.int64]
    read: Words


@dataclass(frozen=True)
class Drawn:
    """Which rows of a corpus of N were drawn, and a way to ask the others.

    Attributes:
        rows: Positions of the n rows that were drawn, ascending, shape (n,).
        labels: Label ids of all rows, shape (N,).
        find: The rows that hold what is wanted, for each part of the corpus that is read at once,
            in any order.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    find: Callable[[Sequence[Wanted]], Iterator[Sequence[Held]]]


def draw_rows(count: int, most: int | None, seed: int) -> NDArray[np.int64] | None:
    """Positions of rows drawn from all, ascending; None where all are looked at.

    Args:
        count: N.
        most: Rows to draw; all of them without it.
        seed: Of the draw.
    """
    if most is None or most >= count:
        return None
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(count, most, replace=False)).astype(np.int64)


def find_held(
    texts: Sequence[str], labels: NDArray[np.int64], first: int, wanted: Sequence[Wanted]
) -> list[Held]:
    """The rows of one part of a corpus that hold words, for each of what is wanted.

    Args:
        texts: Of n rows.
        labels: Theirs, shape (n,).
        first: Position of the first row in the corpus.
        wanted: What is looked for.
    """
    lower = [text.lower() for text in texts]
    found = []
    for one in wanted:
        words = [word for word in one.words if word != GAP]
        # Only what may hold the words is split.
        seen = [word for word in words if word != LOOK_ALIKE]
        some = [i for i, text in enumerate(lower) if all(word in text for word in seen)]
        told = Words.of([texts[i] for i in some])
        holds = np.zeros(len(some), dtype=bool)
        place = {name: i for i, name in enumerate(told.names)}
        if all(word in place for word in words):
            ids = [place[word] for word in words]
            each = [[i] for i in ids] if GAP in one.words else [ids]
            rows = [told.row[find_places(told.flat, part)] for part in each]
            holds = np.logical_and.reduce([np.isin(np.arange(len(some)), row) for row in rows])
        at = np.array(some, dtype=np.int64)
        is_read = holds & (labels[at] == (-1 if one.label is None else one.label))
        read = told.select(is_read)
        found.append(Held(first + at[holds], read.trim()))
    return found


def extend_tests(
    tests: Sequence[Test], drawn: Drawn, words: Words, neighbours: Neighbours
) -> tuple[Test, ...]:
    """Tests of drawn rows as tests of all rows.

    Args:
        tests: Their rows are positions among the drawn ones.
        drawn: Which these are.
        words: Theirs, with `UNKNOWN` as the last one.
        neighbours: Counts of them.
    """
    wanted = [Wanted(test.words, test.label if test.scorer else None) for test in tests]
    known = {name: i for i, name in enumerate(words.names)}
    held: list[list[NDArray[np.int64]]] = [[drawn.rows[test.held]] for test in tests]
    scored = [[(drawn.rows[test.rows], test.row_scores)] for test in tests]
    for part in drawn.find(wanted) if tests else ():
        for place, (test, own) in enumerate(zip(tests, part, strict=True)):
            labelled = own.rows[drawn.labels[own.rows] == test.label]
            scores = np.ones(len(labelled))
            if test.scorer is not None:
                read = own.read.rename(known, words.names)
                breaks = test.scorer.place(read, neighbours, own=0.0)
                scores = test.scorer.score(test.scorer.read(read), breaks)
            # Rows that were drawn are scored by fits that never saw them.
            is_new = ~np.isin(labelled, drawn.rows)
            held[place].append(own.rows)
            scored[place].append((labelled[is_new], scores[is_new]))
    return tuple(
        _renew(test, np.unique(np.concatenate(every)), parts)
        for test, every, parts in zip(tests, held, scored, strict=True)
    )


def _renew(
    test: Test,
    held: NDArray[np.int64],
    parts: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]],
) -> Test:
    rows, scores = (np.concatenate(told) for told in zip(*parts, strict=True))
    order = np.argsort(rows)
    return replace(test, held=held, rows=rows[order], row_scores=scores[order])


def extend_limit(limit: Limit, drawn: Drawn) -> Limit:
    """What could be missed of all rows, where so much could be missed of the drawn ones.

    So many rows that enough of them are drawn, with the chance of `POWER`.

    Args:
        limit: Of the drawn rows.
        drawn: Which these are.
    """
    rate = len(drawn.rows) / len(drawn.labels)

    def extend(rows: int | None) -> int | None:
        return None if rows is None else int(rows + nbinom.ppf(POWER.value, rows, rate))

    return replace(
        limit,
        word_rows=extend(limit.word_rows),
        sentence_rows=extend(limit.sentence_rows),
        kept_rows=extend(limit.kept_rows),
        word_rows_by_label=tuple(map(extend, limit.word_rows_by_label)),
    )
