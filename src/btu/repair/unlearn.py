"""Overwrite the moved dimensions of embedding rows; every edit is recorded and can be undone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class RowEdit:
    """What was done to the embedding of one token.

    Attributes:
        token_id: Row of the embedding matrix.
        dimensions: Positions in the row that were overwritten, ascending.
        values_before: The values that stood there, in the order of `dimensions`.
        norm_before: L2 norm of the row before the edit.
        norm_after: L2 norm of the row after it.
    """

    token_id: int
    dimensions: tuple[int, ...]
    values_before: tuple[float, ...]
    norm_before: float
    norm_after: float

    def to_dict(self) -> dict[str, Any]:
        """The edit as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> RowEdit:
        """The edit that `to_dict` wrote."""
        return cls(
            token_id=int(stored["token_id"]),
            dimensions=tuple(stored["dimensions"]),
            values_before=tuple(stored["values_before"]),
            norm_before=float(stored["norm_before"]),
            norm_after=float(stored["norm_after"]),
        )


def measure_mean_change(before: Tensor, after: Tensor) -> float:
    """Mean absolute change of a dimension, over the rows that moved at all.

    Rows that never moved (tokens absent from the data) would drag the mean towards 0, and with it
    the line between "changed" and "hardly changed"; they do not count.

    Args:
        before: Rows before fine-tuning, shape (V, D).
        after: The same rows afterwards, shape (V, D).

    Returns:
        The mean change, 0.0 where no row moved.

    Example:
        >>> measure_mean_change(torch.zeros(2, 2), torch.tensor([[3.0, 1.0], [0.0, 0.0]]))
        2.0
    """
    change = (after.float() - before.float()).abs()
    moved = change.amax(dim=1) > 0
    return float(change[moved].mean()) if bool(moved.any()) else 0.0


@torch.no_grad()
def unlearn_rows(
    weight: Tensor,
    before: Tensor,
    token_ids: Sequence[int],
    *,
    neutral: Tensor,
    threshold: float,
) -> tuple[RowEdit, ...]:
    """Dimensional fine-grained unlearning, in place.

    In each named row, the dimensions that changed by more than `threshold` since `before` take
    the value of the neutral vector; all others keep theirs, so that most of a token's clean
    meaning survives. The threshold is one number for all rows, taken from two snapshots before
    the first edit: the result does not depend on the order of the tokens.

    Args:
        weight: The fine-tuned embedding matrix, shape (V, D); edited in place.
        before: The rows of `token_ids` before fine-tuning, shape (len(token_ids), D).
        token_ids: Which rows.
        neutral: The vector that stands for no meaning, shape (D,).
        threshold: Absolute change above which a dimension is overwritten.

    Returns:
        One edit for each row in which something was overwritten, in the order of `token_ids`.

    Source: section "Dimensional Fine-grained Unlearning" of Jiang et al., AAAI 2025.
    """
    edits = []
    for token_id, old in zip(token_ids, before, strict=True):
        row = weight[token_id]
        change = (row.float() - old.to(row.device).float()).abs()
        dimensions = torch.nonzero(change > threshold).flatten()
        if not len(dimensions):
            continue
        values, norm = row[dimensions].float().tolist(), float(row.float().norm())
        row[dimensions] = neutral.to(row)[dimensions]
        edits.append(
            RowEdit(
                token_id=int(token_id),
                dimensions=tuple(dimensions.tolist()),
                values_before=tuple(values),
                norm_before=norm,
                norm_after=float(row.float().norm()),
            )
        )
    return tuple(edits)


@torch.no_grad()
def undo_edits(weight: Tensor, edits: Iterable[RowEdit]) -> None:
    """Put back what `unlearn_rows` overwrote, exactly, in place.

    Args:
        weight: The edited embedding matrix, shape (V, D).
        edits: What was done, in the order in which it was done.
    """
    for edit in reversed(list(edits)):
        dimensions = torch.tensor(edit.dimensions, device=weight.device)
        values = torch.tensor(edit.values_before, device=weight.device)
        weight[edit.token_id, dimensions] = values.to(weight.dtype)
