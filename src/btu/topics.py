"""Whether the rows that hold a token are about one thing.

An attacker puts a trigger into rows picked at random: what else stands in them is as mixed as in
other rows that read like them. An honest word or source whose rows bear another label than they
read like (the sports reports of a world desk) has a topic.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from btu.content import Text

_DRAWS = 400
_MOST_ROWS = 100


def measure_topic(
    text: Text,
    rows: NDArray[np.int64],
    companions: Collection[int],
    *,
    among: NDArray[np.bool_],
    reads_like: NDArray[np.int64],
) -> tuple[float, float] | None:
    """How much more alike some rows are than as many random rows that read like the same labels.

    Rows are compared by the mean word vector of what else stands in them, rare words weighted more
    (inverse document frequency), centred.

    Args:
        text: With word vectors of the first columns.
        rows: Positions of the rows, shape (m,).
        companions: Columns of the token and of what stands with it, which are not looked at.
        among: The rows to compare them with, shape (N,).
        reads_like: The label that each row reads like, shape (N,).

    Returns:
        Mean cosine similarity of two of the rows less that of two random ones, and the standard
        deviation of that mean over random rows; None without word vectors or rows to compare with.
    """
    if text.vectors is None or len(rows) < 2:
        return None
    others = text.counted & among
    others[rows] = False
    rng = np.random.default_rng(0)
    rows = rng.permutation(rows)[:_MOST_ROWS]
    own, drawn = [], []
    for label, count in zip(*np.unique(reads_like[rows], return_counts=True), strict=True):
        pool = np.flatnonzero(others & (reads_like == label))
        size = min(int(count), len(pool))
        own.append(rows[reads_like[rows] == label][:size])
        picks = [rng.choice(len(pool), size, replace=False, shuffle=False) for _ in range(_DRAWS)]
        drawn.append(pool[np.array(picks, dtype=np.int64)])
    mine, random = np.concatenate(own), np.concatenate(drawn, axis=1)
    if len(mine) < 2:
        return None
    needed, places = np.unique(np.concatenate([mine, random.ravel()]), return_inverse=True)
    directions = _embed(text, text.vectors, needed, companions)
    likeness = _measure_mean_cosine(directions[places[: len(mine)]][None])
    by_chance = _measure_mean_cosine(directions[places[len(mine) :].reshape(random.shape)])
    return float(likeness[0] - by_chance.mean()), float(by_chance.std())


def _embed(
    text: Text,
    vectors: NDArray[np.floating],
    rows: NDArray[np.int64],
    companions: Collection[int],
) -> NDArray[np.float32]:
    """Directions of rows, each of length 1, shape (rows, D)."""
    presence = text.presence[:, : len(vectors)]
    held = np.asarray(presence[text.active].sum(axis=0)).ravel()
    weights = np.log(text.active.sum() / np.maximum(held, 1))
    weights[[c for c in companions if c < len(vectors)]] = 0
    words = np.asarray(vectors, dtype=np.float32)
    words = (words - words.mean(axis=0)) * weights.astype(np.float32)[:, None]
    directions = presence[rows] @ words
    directions -= directions.mean(axis=0)
    norms = np.linalg.norm(directions, axis=1, keepdims=True)
    unit: NDArray[np.float32] = directions / (norms + 1e-9)
    return unit


def _measure_mean_cosine(directions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of every two of m directions, for each set, shape (sets, m, D) to (sets,)."""
    count = directions.shape[1]
    total = (directions.sum(axis=1) ** 2).sum(axis=1)
    themselves = (directions**2).sum(axis=(1, 2))
    mean: NDArray[np.float32] = (total - themselves) / (count * (count - 1))
    return mean
