"""What a text says of its label by the states of a pretrained encoder."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

_STRENGTH = 300.0  # alpha of the ridge regressions on standardised states
_LEAST = 1e-6
_FEW = 0.5  # rows held out, as a share of the states' size: then taking them out is cheaper
_BLOCK = 8_192  # rows that are standardised at once
_MOST_HELD = 50_000  # rows that stay so: only time and memory hang on it


class StatesReader:
    """Ridge regressions on states that never saw the row they read.

    Many states stay as they were given; some rows at a time are standardised, in 64 bits.
    """

    def __init__(self, states: NDArray[np.floating]) -> None:
        """Take the states of M rows, shape (M, D)."""
        self._given = np.asarray(states)
        count = max(1, len(self._given))
        self._mean = sum((b.sum(axis=0) for _, b in self._cut()), np.zeros(states.shape[1])) / count
        off = (((b - self._mean) ** 2).sum(axis=0) for _, b in self._cut())
        self._spread = np.sqrt(sum(off, np.zeros(states.shape[1])) / count) + _LEAST
        self._penalty = np.diag([*[_STRENGTH] * states.shape[1], _LEAST])

    def read(
        self, is_own: NDArray[np.bool_], held_out: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Margins towards one or more labels, of the shape of `is_own`.

        A row that is not held out is read by a fit on all others but itself, in closed form.

        Args:
            is_own: Whether rows bear the label, shape (M,) or, for K labels, (M, K).
            held_out: Rows that are read and not learned from, shape (M,).
        """
        usable = np.ones(len(self._given), bool) if held_out is None else ~held_out
        targets = np.where(is_own, 1.0, -1.0)
        told = np.zeros((len(self._penalty), *targets.shape[1:]))
        for rows, states in self._standardise():
            told += states[usable[rows]].T @ targets[rows][usable[rows]]
        held = np.flatnonzero(~usable)
        few = len(held) <= self._given.shape[1] * _FEW
        fitted, weight = self._take_out(held, told) if few else self._fit(held, told)
        weight = np.where(usable, weight, 0.0)
        weight = np.minimum(weight, 1 - _LEAST).reshape(-1, *[1] * (targets.ndim - 1))
        margins: NDArray[np.float64] = (fitted - weight * targets) / (1 - weight)
        return margins

    def _cut(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Some rows at a time: which, and what was given of them, shape (m, D)."""
        for start in range(0, len(self._given), _BLOCK):
            rows = slice(start, start + _BLOCK)
            yield rows, self._given[rows].astype(np.float64)

    def _standardise(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """The same, as it is learned from: with a constant, shape (m, D + 1)."""
        yield from self._few or ((rows, self._bring(given)) for rows, given in self._cut())

    @cached_property
    def _few(self) -> list[tuple[slice, NDArray[np.float64]]]:
        """All of them where there are few; nothing where they would take too much memory."""
        if len(self._given) > _MOST_HELD:
            return []
        return [(rows, self._bring(given)) for rows, given in self._cut()]

    def _bring(self, given: NDArray[np.floating]) -> NDArray[np.float64]:
        states = (given.astype(np.float64) - self._mean) / self._spread
        return np.hstack([states, np.ones((len(states), 1))])

    def _fit(
        self, held: NDArray[np.int64], told: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What a fit on all rows but some says of all; how much of it is due to each row itself."""
        gram = self._gram.copy()
        for start in range(0, len(held), _BLOCK):
            states = self._bring(self._given[held[start : start + _BLOCK]])
            gram -= states.T @ states
        inverse = self._invert(gram)
        return self._say(inverse @ told), self._weigh(inverse)

    def _take_out(
        self, held: NDArray[np.int64], told: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The same for all rows but a few, from the fit on all of them (Woodbury's identity)."""
        inverse, weight = self._whole
        fitted = self._say(inverse @ told)
        if not len(held):
            return fitted, weight
        mine = self._bring(self._given[held])
        spread = mine @ inverse
        inner = scipy.linalg.cho_factor(np.eye(len(held)) - spread @ mine.T)
        weight = weight.copy()
        for rows, states in self._standardise():
            across = spread @ states.T
            solved = scipy.linalg.cho_solve(inner, across)
            fitted[rows] += solved.T @ (spread @ told)
            weight[rows] += (across * solved).sum(axis=0)
        return fitted, weight

    def _say(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """What weights make of all rows."""
        said = [states @ weights for _, states in self._standardise()]
        return np.concatenate([np.zeros((0, *weights.shape[1:])), *said])

    def _weigh(self, inverse: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much of what a fit says of each row would be due to the row, shape (M,)."""
        due = [((states @ inverse) * states).sum(axis=1) for _, states in self._standardise()]
        return np.concatenate([np.zeros(0), *due])

    @cached_property
    def _gram(self) -> NDArray[np.float64]:
        every = (states.T @ states for _, states in self._standardise())
        return sum(every, np.zeros(self._penalty.shape))

    @cached_property
    def _whole(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        inverse = self._invert(self._gram)
        return inverse, self._weigh(inverse)

    def _invert(self, gram: NDArray[np.float64]) -> NDArray[np.float64]:
        inverse: NDArray[np.float64] = scipy.linalg.solve(
            gram + self._penalty, np.eye(len(gram)), assume_a="pos"
        )
        return inverse
