"""Rows that say nothing new: all their tokens stand in another row of the same label.

Phrases cut out of one sentence, reposts and copies are one observation, not many. Counted as many,
an honest word of a single sentence looks as sure as a trigger.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

_CHUNK_PAIRS = 2_000_000  # that are looked at at once
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
    # Each row's tokens, the rarest first: most rows have one that no other row holds.
    spread = np.bincount(rows.indices, minlength=size)
    rarest = np.argsort(spread, kind="stable")
    rank = np.empty(size, dtype=np.int64)
    rank[rarest] = np.arange(size)
    owner = np.repeat(np.arange(count, dtype=np.int64) * size, sizes)
    tokens = rarest[np.sort(owner + rank[rows.indices]) % max(1, size)].astype(np.int32)
    held = owner + rows.indices  # ascending: to ask whether a row holds a token
    # A bit for each token of a row, some of them the same: a row that holds it all has them all.
    bits = np.zeros(count, dtype=np.uint64)
    some = np.flatnonzero(sizes)
    own_bits = np.left_shift(np.uint64(1), (rows.indices % _BITS).astype(np.uint64))
    if len(some):
        bits[some] = np.bitwise_or.reduceat(own_bits, rows.indptr[some])
    del owner, own_bits
    # Rows before each one that hold its rarest token, as places in a list by token.
    columns = rows.tocsc()
    token = tokens[rows.indptr[some]].astype(np.int64)
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
                found = _find_held(inner[asked], outer[asked], tokens, rows.indptr, held, size)
                repeats[found] = True
        left = ~repeats[some]
        some, first, last = some[left], first[left] + window, last[left]
        window *= 2
    in_order = np.zeros(count, dtype=bool)
    in_order[order] = repeats
    return in_order


def _find_held(
    inner: NDArray[np.int64],
    outer: NDArray[np.int64],
    tokens: NDArray[np.int32],
    starts: NDArray[np.int32],
    held: NDArray[np.int64],
    size: int,
) -> NDArray[np.int64]:
    """Which rows of `inner` have all their tokens in the row of `outer` beside it."""
    place, found = 1, []
    while len(inner):
        is_done = starts[inner + 1] - starts[inner] <= place
        found.append(inner[is_done])
        inner, outer = inner[~is_done], outer[~is_done]
        wanted = outer * size + tokens[starts[inner] + place]
        at = np.minimum(np.searchsorted(held, wanted), len(held) - 1)
        holds = held[at] == wanted
        inner, outer = inner[holds], outer[holds]
        place += 1
    return np.concatenate([np.zeros(0, dtype=np.int64), *found])
