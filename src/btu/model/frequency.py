"""How far tokens moved by how often they occur."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


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
