"""What a text says of its label by the states of a pretrained encoder."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

_STRENGTH = 300.0  # alpha of the ridge regressions on standardised states
_LEAST = 1e-6
_FEW = 0.5  # rows held out, as a share of the states' size: then taking them out is cheaper


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
        usable = np.ones(len(self._states), bool) if held_out is None else ~held_out
        targets = np.where(is_own, 1.0, -1.0)
        told = self._states[usable].T @ targets[usable]
        held = np.flatnonzero(~usable)
        few = len(held) <= self._states.shape[1] * _FEW
        fitted, weight = self._take_out(held, told) if few else self._fit(usable, told)
        weight = np.where(usable, weight, 0.0)
        weight = np.minimum(weight, 1 - _LEAST).reshape(-1, *[1] * (targets.ndim - 1))
        margins: NDArray[np.float64] = (fitted - weight * targets) / (1 - weight)
        return margins

    def _fit(
        self, usable: NDArray[np.bool_], told: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What a fit on some rows says of all, and how much of it is due to each row itself."""
        known = self._states[usable]
        inverse = self._invert(known.T @ known)
        spread = self._states @ inverse
        return spread @ told, (spread * self._states).sum(axis=1)

    def _take_out(
        self, held: NDArray[np.int64], told: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The same for all rows but a few, from the fit on all of them (Woodbury's identity)."""
        spread, weight = self._whole
        if not len(held):
            return spread @ told, weight
        across = spread[held] @ self._states.T
        inner = np.eye(len(held)) - across[:, held]
        solved = scipy.linalg.solve(inner, across, assume_a="pos")
        fitted = spread @ told + solved.T @ (spread[held] @ told)
        return fitted, weight + (across * solved).sum(axis=0)

    @cached_property
    def _whole(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        spread = self._states @ self._invert(self._states.T @ self._states)
        return spread, (spread * self._states).sum(axis=1)

    def _invert(self, gram: NDArray[np.float64]) -> NDArray[np.float64]:
        inverse: NDArray[np.float64] = scipy.linalg.solve(
            gram + self._penalty, np.eye(len(gram)), assume_a="pos"
        )
        return inverse
