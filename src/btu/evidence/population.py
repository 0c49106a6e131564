"""How a number varies over the honest units of a corpus, its noise taken off.

Each unit's number is its own true value plus noise of known size. The distribution of the true
values is estimated on a grid, without any assumption of its form.

Source: Kiefer and Wolfowitz, "Consistency of the maximum likelihood estimator in the presence of
infinitely many incidental parameters", Annals of Mathematical Statistics 27 (1956).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PASSES = 60
_TINY = 1e-300
_LEAST = np.float32(1e-30)
_AT_ONCE = 2_000  # units


@dataclass(frozen=True)
class Population:
    """Weights of g values among the units of a corpus.

    Attributes:
        weights: Above 0, with a sum of 1, shape (g,).
        count: Of how many units, the one that may have any value left out.
    """

    weights: NDArray[np.float64]
    count: float

    def density(
        self,
        likelihood: NDArray[np.float64],
        change: NDArray[np.float64],
        place: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """How likely each of u units is among the units, some of itself added or taken away.

        Args:
            likelihood: Of each unit under each value, shape (u, g); with `place` of d that differ.
            change: How often each unit is counted more than it was in the fit, shape (..., u):
                minus what it counted there leaves the others, above 0 adds units that are just
                like it.
            place: Which of the different ones each unit is like, shape (u,).

        Returns:
            Shape (..., u).
        """
        place = np.arange(len(likelihood)) if place is None else place
        mixed = likelihood @ self.weights
        own = (likelihood**2 @ self.weights) / (mixed + _TINY)
        total = (self.count + 1) * mixed[place] + change * own[place]
        # Weights are from one pass before: what is taken away may be a little too much.
        least = likelihood.mean(axis=1)[place]
        found: NDArray[np.float64] = np.maximum(total, least) / (self.count + 1 + change)
        return found


def fit_population(
    likelihood: NDArray[np.float64], counts: NDArray[np.float64] | None = None
) -> Population:
    """Weights of the values of a grid, by expectation and maximisation.

    One more unit that may have any value of the grid counts too: what no unit of the corpus is,
    the next one still may be.

    Args:
        likelihood: Of each of m units under each of g values, shape (m, g).
        counts: How much each unit counts, at least 0, shape (m,); all of them wholly without it.

    Example:
        >>> fit_population(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])).weights.round(3)
        array([0.875, 0.125])
    """
    values = likelihood.shape[1]
    counts = np.ones(len(likelihood)) if counts is None else counts
    # 32 bits take a third of the time, where none of them is too small for a full number.
    read, often = likelihood.astype(np.float32), counts.astype(np.float32)
    read[read < _LEAST] = 0
    parts = _cut(read, often)
    least = weights = np.full(values, 1 / values, dtype=np.float32)
    for _ in range(_PASSES):
        total = np.zeros(values, dtype=np.float32)
        for within, part, told in parts:
            total[within] += (told / (part @ weights[within] + _LEAST)) @ part
        weights = np.asarray(weights * total + least, dtype=np.float32)
        weights /= weights.sum()
    return Population(weights.astype(np.float64), float(counts.sum()))


def _cut(
    read: NDArray[np.float32], often: NDArray[np.float32]
) -> list[tuple[slice, NDArray[np.float32], NDArray[np.float32]]]:
    """Units of like values together, so that a fast memory holds them, each with their values only.

    Args:
        read: Likelihood of m units, shape (m, g).
        often: How much each counts, shape (m,).

    Returns:
        Of some units each: which of the g values, their likelihood, how much they count.
    """
    if len(read) <= _AT_ONCE:
        return [(slice(0, read.shape[1]), read, often)]
    order = np.argsort(read.argmax(axis=1), kind="stable")
    parts = []
    for start in range(0, len(order), _AT_ONCE):
        chosen = order[start : start + _AT_ONCE]
        some = read[chosen]
        told = np.flatnonzero(some.any(axis=0))
        within = slice(int(told[0]), int(told[-1]) + 1) if len(told) else slice(0, 1)
        parts.append((within, np.ascontiguousarray(some[:, within]), often[chosen]))
    return parts
