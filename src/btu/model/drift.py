"""How far each embedding row moved, and which tokens moved most."""

from __future__ import annotations

import torch
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
