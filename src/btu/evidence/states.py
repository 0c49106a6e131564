"""What a text says of its label by the states of a pretrained encoder."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

_STRENGTH = 300.0  # alpha of the ridge regressions on standardised states
_LEAST = 1e-6


class StatesReader:
    """Ridge regressions on states that never saw the row they read."""

    def __init__(self, states: NDArray[np.floating]) -> None:
        """Take the states of M rows, shape (M, D)."""
        known = np.asarray(states, dtype=np.float64)
        known = (known - known.mean(axis=0)) / (known.std(axis=0) + _LEAST)
        self._states = np.hstack([known, np.ones((len(known), 1))])
        self._penalty = np.diag([*[_STRENGTH] * known.shape[1], _LEAST])

    def read(
        self, is_own: NDArray[np.bool_], held_out: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Margins towards one or more labels, of the shape of `is_own`.

        A row that is not held out is read by a fit on all others but itself, in closed form.

        Args:
            is_own: Whether rows bear the label, shape (M,) or, for K labels, (M, K).
            held_out: Rows that are read and not learned from, shape (M,).
        """
        states = self._states
        usable = np.ones(len(states), bool) if held_out is None else ~held_out
        targets = np.where(is_own, 1.0, -1.0)
        known = states[usable]
        gram = known.T @ known + self._penalty
        solved = scipy.linalg.solve(
            gram, np.column_stack([known.T @ targets[usable], np.eye(len(gram))]), assume_a="pos"
        )
        split = solved.shape[1] - len(gram)
        fitted = (states @ solved[:, :split]).reshape(targets.shape)
        weight = np.where(usable, ((states @ solved[:, split:]) * states).sum(axis=1), 0.0)
        weight = np.minimum(weight, 1 - _LEAST).reshape(-1, *[1] * (targets.ndim - 1))
        margins: NDArray[np.float64] = (fitted - weight * targets) / (1 - weight)
        return margins
