"""Rows that say nothing new: all their tokens stand in another row of the same label.

Phrases cut out of one sentence, reposts and copies are one observation, not many. Counted as many,
an honest word of a single sentence looks as sure as a trigger.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

_CHUNK_PAIRS = 2_000_000  # that are looked at at once
_CHUNK_HELD = 20_000  # of those whose tokens are compared one by one
_BITS = 61  # of 64, a prime: tokens of one row rarely share one


def find_repeats(presence: csr_matrix, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows whose tokens all stand in one other row that bears the same label.

    Of rows with the same tokens the first is none. A row without tokens is none.

    Args:
        presence: Which row holds which token, shape (N, n), 0 or 1.
        labels: Label ids, shape (N,).

    Returns:
        Shape (N,), bool.

    Example:
        >>> held = csr_matrix([[1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 0, 1]])
        >>> find_repeats(held, np.array([0, 0, 0, 1])).tolist()
        [False, True, True, False]
    """
    rows, repeats = csr_matrix(presence), np.zeros(len(labels), dtype=bool)
    rows.sort_indices()
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        repeats[own] = _find_among(rows[own])
    return repeats


def _find_among(rows: csr_matrix) -> NDArray[np.bool_]:
    """Of rows of one label."""
    # The longest first, so that a row can only be part of one before it.
    order = np.argsort(-np.diff(rows.indptr), kind="stable")
    rows = rows[order]
    count, size = rows.shape
    sizes = np.diff(rows.indptr)
    spread = np.bincount(rows.indices, minlength=size)
    rarest = np.argsort(spread, kind="stable")
    rank = np.empty(size, dtype=np.int64)
    rank[rarest] = np.arange(size)
    # A bit for each token of a row, some of them the same: a row that holds it all has them all.
    bits = np.zeros(count, dtype=np.uint64)
    some = np.flatnonzero(sizes)
    starts = rows.indptr[some]
    own_bits = np.left_shift(np.uint64(1), (rows.indices % _BITS).astype(np.uint64))
    if len(some):
        bits[some] = np.bitwise_or.reduceat(own_bits, starts)
    del own_bits
    # Rows before each one that hold its rarest token, as places in a list by token: most rows have
    # one that no other row holds.
    columns = rows.tocsc()
    token = rarest[np.minimum.reduceat(rank[rows.indices], starts)] if len(some) else some
    first = columns.indptr[token].astype(np.int64)
    listed = np.repeat(np.arange(size, dtype=np.int64) * count, spread) + columns.indices
    last = np.searchsorted(listed, token * count + some)
    del listed
    repeats = np.zeros(count, dtype=bool)
    window = 1
    while len(some):
        kept = first < last
        some, first, last = some[kept], first[kept], last[kept]
        for part in np.array_split(np.arange(len(some)), len(some) * window // _CHUNK_PAIRS + 1):
            width = np.minimum(last[part] - first[part], window)
            inner = np.repeat(some[part], width)
            ahead = np.arange(len(inner)) - np.repeat(np.cumsum(width) - width, width)
            outer = columns.indices[np.repeat(first[part], width) + ahead].astype(np.int64)
            may_hold = (bits[inner] & ~bits[outer]) == 0
            inner, outer = inner[may_hold], outer[may_hold]
            # The first candidate mostly holds the row: the others are asked where it does not.
            is_first = np.diff(inner, prepend=-1) != 0
            for asked in (is_first, ~is_first):
                asked &= ~repeats[inner]
                repeats[_find_held(rows, inner[asked], outer[asked])] = True
        left = ~repeats[some]
        some, first, last = some[left], first[left] + window, last[left]
        window *= 2
    in_order = np.zeros(count, dtype=bool)
    in_order[order] = repeats
    return in_order


def _find_held(
    rows: csr_matrix, inner: NDArray[np.int64], outer: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Which rows of `inner` have all their tokens in the row of `outer` beside it."""
    found = [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(inner), _CHUNK_HELD):
        part = slice(start, start + _CHUNK_HELD)
        shared = rows[inner[part]].multiply(rows[outer[part]])
        told = np.diff(shared.indptr) == np.diff(rows.indptr)[inner[part]]
        found.append(inner[part][told])
    return np.concatenate(found)
