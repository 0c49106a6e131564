"""How a number varies over units: the estimate with its noise taken off, and one unit left out."""

import numpy as np
import pytest

from btu.evidence.population import fit_population

GRID = np.linspace(-4, 8, 25)


def draw_likelihood(seed, count=40, outlier=6.0):
    """Of values around 0, and one far off, as seen with a noise of 1."""
    found = np.random.default_rng(seed).normal(size=count)
    found[0] = outlier
    return np.exp(-((found[:, None] - GRID) ** 2) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_a_distribution(seed):
    population = fit_population(draw_likelihood(seed))
    assert population.weights.sum() == pytest.approx(1)
    assert (population.weights > 0).all()
    assert population.count == 40


def test_without_units_all_values_are_alike():
    population = fit_population(np.zeros((0, 4)))
    assert population.weights == pytest.approx(np.full(4, 0.25))
    assert population.count == 0


def test_weights_are_where_the_units_are():
    population = fit_population(draw_likelihood(0, count=400, outlier=0.0))
    assert population.weights[np.abs(GRID) <= 1.5].sum() > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_a_unit_taken_away_leaves_what_a_fit_without_it_gives(seed):
    likelihood = draw_likelihood(seed)
    every = fit_population(likelihood)
    left = every.density(likelihood, np.full(len(likelihood), -1.0))
    for unit in range(len(likelihood)):
        others = fit_population(np.delete(likelihood, unit, axis=0))
        assert left[unit] == pytest.approx(float(likelihood[unit] @ others.weights), rel=0.5)


@pytest.mark.parametrize("seed", range(3))
def test_an_outlier_is_far_less_likely_once_it_is_taken_away(seed):
    likelihood = draw_likelihood(seed)
    every = fit_population(likelihood)
    kept, left = (every.density(likelihood, np.full(len(likelihood), c))[0] for c in (0.0, -1.0))
    assert left < kept / 2


@pytest.mark.parametrize("seed", range(3))
def test_a_unit_that_counts_in_part_is_taken_away_in_part(seed):
    likelihood = draw_likelihood(seed)
    counts = np.ones(len(likelihood))
    counts[0] = 0.25
    part = fit_population(likelihood, counts)
    without = fit_population(likelihood[1:])
    assert part.count == pytest.approx(39.25)
    left = part.density(likelihood[:1], -counts[:1])[0]
    assert left == pytest.approx(float(likelihood[0] @ without.weights), rel=0.5)


@pytest.mark.parametrize("seed", range(3))
def test_a_twin_raises_the_density(seed):
    likelihood = draw_likelihood(seed)
    population = fit_population(likelihood)
    alone, twin, many = (population.density(likelihood, np.full(40, c)) for c in (0.0, 1.0, 5.0))
    assert alone == pytest.approx(likelihood @ population.weights)
    assert (twin > alone).all()
    assert (many > twin).all()


def test_a_value_that_no_unit_has_stays_possible():
    population = fit_population(draw_likelihood(1, outlier=0.0))
    unseen = np.exp(-((7.0 - GRID) ** 2) / 2)[None]
    assert population.density(unseen, np.zeros(1))[0] > 0
