"""How a number varies over the honest units of a corpus, its noise taken off.

Each unit's number is its own true value plus noise of known size. The distribution of the true
values is estimated on a grid, without any assumption of its form.

Source: Kiefer and Wolfowitz, "Consistency of the maximum likelihood estimator in the presence of
infinitely many incidental parameters", Annals of Mathematical Statistics 27 (1956).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PASSES = 60
_TINY = 1e-300
_LEAST = np.float32(1e-30)


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
    counts = np.ones(len(likelihood)) if counts is None else counts
    return fit_parts([Part(slice(0, likelihood.shape[1]), likelihood, counts)], likelihood.shape[1])


@dataclass(frozen=True)
class Part:
    """Some units of a population, and the values that they may have.

    Attributes:
        values: Which of the g values; the units cannot have another.
        likelihood: Of each of m units under each of these values.
        counts: How much each unit counts, at least 0, shape (m,).
    """

    values: slice
    likelihood: NDArray[np.floating]
    counts: NDArray[np.float64]


def fit_parts(parts: Sequence[Part], values: int) -> Population:
    """As `fit_population`, of units that are given in parts: few together are in a fast memory.

    Args:
        parts: All units.
        values: g.
    """
    # 32 bits take a third of the time, where none of them is too small for a full number.
    read = [np.ascontiguousarray(part.likelihood, dtype=np.float32) for part in parts]
    read = [np.where(likelihood < _LEAST, np.float32(0), likelihood) for likelihood in read]
    often = [part.counts.astype(np.float32) for part in parts]
    least = weights = np.full(values, 1 / values, dtype=np.float32)
    for _ in range(_PASSES):
        total = np.zeros(values, dtype=np.float32)
        for part, likelihood, count in zip(parts, read, often, strict=True):
            told = count / (likelihood @ weights[part.values] + _LEAST)
            total[part.values] += told @ likelihood
        weights = np.asarray(weights * total + least, dtype=np.float32)
        weights /= weights.sum()
    return Population(weights.astype(np.float64), float(sum(part.counts.sum() for part in parts)))
