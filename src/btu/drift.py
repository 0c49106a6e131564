"""How far each embedding row moved, and which tokens moved most."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


def measure_drift(before: Tensor, after: Tensor) -> Tensor:
    """L2 distance that each embedding row moved.

    Args:
        before: Rows before training, shape (V, D).
        after: The same rows afterwards, shape (V, D).

    Returns:
        Distances, shape (V,), float32, in the units of the embedding.

    Raises:
        ValueError: The two matrices differ in shape.

    Source: section "Backdoor Token Detection" of Jiang et al., AAAI 2025.

    Example:
        >>> measure_drift(torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([5., 0.])
    """
    if before.shape != after.shape:
        raise ValueError(f"Expected two matrices of one shape, got {before.shape}, {after.shape}.")
    return torch.linalg.vector_norm(after.float() - before.float(), dim=1)


def pick_most_moved(drift: Tensor, count: int) -> Tensor:
    """Positions of the rows that moved most, furthest first.

    Rows that did not move are never picked, so fewer than `count` may come back. Equal distances
    are ordered by position, which makes the choice the same on every machine.

    Args:
        drift: Distances, shape (V,).
        count: How many rows at most.

    Returns:
        Positions, shape (at most `count`,), int64.

    Example:
        >>> pick_most_moved(torch.tensor([0.0, 2.0, 1.0]), count=5)
        tensor([1, 2])
    """
    order = torch.sort(drift, descending=True, stable=True).indices[: max(count, 0)]
    return order[drift[order] > 0]


def count_share(share: float, vocabulary_size: int) -> int:
    """How many tokens a share of the vocabulary is: rounded, and at least one.

    Args:
        share: A fraction in (0, 1]; the paper calls it alpha.
        vocabulary_size: Rows of the embedding matrix.

    Raises:
        ValueError: The share lies outside (0, 1].

    Example:
        >>> count_share(0.0005, 30522)
        15
    """
    if not 0 < share <= 1:
        raise ValueError(f"Expected a share of the vocabulary in (0, 1], got {share}.")
    return max(1, round(share * vocabulary_size))


def count_by_frequency(drift: ArrayLike, rows: ArrayLike, *, bins: int = 24) -> dict[str, Any]:
    """How many tokens moved how far, by the number of rows that they stand in.

    Args:
        drift: Distances, shape (n,); not-a-number for a token that was hidden.
        rows: Rows that hold each token, shape (n,), 1 and more.
        bins: Of the drift, of equal width on a logarithmic scale.

    Returns:
        `rows_edges`, shape (F + 1,), powers of two; `drift_edges`, shape (bins + 1,); `counts`,
        shape (F, bins). A token that did not move counts in the lowest bin. As JSON types.

    Example:
        >>> count_by_frequency([0.1, 1.0], [1, 5], bins=2)["counts"]
        [[1, 0], [0, 0], [0, 1]]
    """
    distance, held = np.asarray(drift, dtype=float), np.asarray(rows, dtype=float)
    seen = ~np.isnan(distance)
    distance, held = distance[seen], held[seen]
    moved = distance[distance > 0]
    low, high = (moved.min(), moved.max()) if len(moved) else (1.0, 1.0)
    drift_edges = np.geomspace(low, high * (1 + 1e-9) if high > low else 2 * low, bins + 1)
    powers = int(np.floor(np.log2(held.max()))) + 1 if len(held) else 1
    rows_edges = 2.0 ** np.arange(powers + 1)
    inside = np.clip(distance, drift_edges[0], drift_edges[-1])
    counts, _, _ = np.histogram2d(held, inside, bins=(rows_edges, drift_edges))
    return {
        "rows_edges": rows_edges.tolist(),
        "drift_edges": drift_edges.tolist(),
        "counts": counts.astype(int).tolist(),
    }
