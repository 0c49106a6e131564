"""Rows that say nothing new: all their tokens stand in another row of the same label.

Phrases cut out of one sentence, reposts and copies are one observation, not many. Counted as many,
an honest word of a single sentence looks as sure as a trigger.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

_CHUNK_PAIRS = 4_000_000


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
    rows = csr_matrix(presence)
    columns = rows.tocsc()
    count, sizes = rows.shape[0], np.diff(rows.indptr)
    spread = np.diff(columns.indptr)
    # Each row's tokens, the rarest first: most rows have one that no other row holds.
    owner = np.repeat(np.arange(count), sizes)
    rarest_first = np.lexsort((rows.indices, spread[rows.indices], owner))
    tokens = rows.indices[rarest_first].astype(np.int64)
    held = np.sort(owner * rows.shape[1] + rows.indices)  # to ask whether a row holds a token
    repeats = np.zeros(count, dtype=bool)
    some = np.flatnonzero(sizes)
    reach = spread[tokens[rows.indptr[some]]]
    chunks = np.cumsum(reach) // _CHUNK_PAIRS
    for chunk in np.unique(chunks):
        own = some[chunks == chunk]
        inner, outer = _pair_up(own, tokens[rows.indptr[own]], columns)
        longer = (sizes[outer] > sizes[inner]) | ((sizes[outer] == sizes[inner]) & (outer < inner))
        kept = longer & (labels[outer] == labels[inner])
        inner, outer = inner[kept], outer[kept]
        place = 1
        while len(inner):
            done = sizes[inner] <= place
            repeats[inner[done]] = True
            left = ~repeats[inner]
            inner, outer = inner[left], outer[left]
            wanted = outer * rows.shape[1] + tokens[rows.indptr[inner] + place]
            at = np.minimum(np.searchsorted(held, wanted), len(held) - 1)
            holds = held[at] == wanted
            inner, outer = inner[holds], outer[holds]
            place += 1
    return repeats


def _pair_up(
    rows: NDArray[np.int64], tokens: NDArray[np.int64], columns: csr_matrix
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each row with every row that holds its token, as two arrays of positions."""
    starts, lengths = columns.indptr[tokens], np.diff(columns.indptr)[tokens]
    inner = np.repeat(rows, lengths)
    first = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    outer = columns.indices[first + np.arange(len(inner))]
    return inner, outer.astype(np.int64)
