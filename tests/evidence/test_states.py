"""What states say of a label, read by fits that saw no row that they read."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from btu.evidence import states as module
from btu.evidence.states import StatesReader


@pytest.fixture(autouse=True, params=["held", "in parts"])
def how_many(request, monkeypatch):
    """Each test twice: all rows stay standardised, or 16 at a time are."""
    if request.param == "in parts":
        monkeypatch.setattr(module, "_MOST_HELD", 0)
        monkeypatch.setattr(module, "_BLOCK", 16)


def make_rows(count=80, size=6, seed=0):
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(count, size))
    own = states[:, 0] + rng.normal(size=count) > 0
    return states, own, rng.random(count) < 0.2


def fit_ridge(states, own, known, unknown):
    scaled = (states - states.mean(axis=0)) / states.std(axis=0)
    model = Ridge(alpha=300.0).fit(scaled[known], np.where(own[known], 1.0, -1.0))
    return model.predict(scaled[unknown])


def test_each_row_is_read_by_a_fit_on_all_others_as_scikit_learn_fits_it():
    states, own, _ = make_rows()
    margins = StatesReader(states).read(own)
    every = np.arange(len(own))
    for row in (0, 7, 41):
        expected = fit_ridge(states, own, np.delete(every, row), [row])
        assert np.allclose(margins[row], expected, atol=1e-4)


def test_held_out_rows_are_read_and_not_learned_from():
    states, own, held = make_rows(seed=1)
    margins = StatesReader(states).read(own, held)
    assert np.allclose(margins[held], fit_ridge(states, own, ~held, held), atol=1e-4)
    turned = StatesReader(states).read(np.where(held, ~own, own), held)
    assert np.allclose(margins, turned)


def test_half_floats_are_read_as_what_they_are():
    states, own, held = make_rows(seed=4)
    states = states.astype(np.float16)
    expected = StatesReader(states.astype(np.float64)).read(own, held)
    assert np.array_equal(StatesReader(states).read(own, held), expected)


def test_several_labels_are_read_as_each_alone():
    states, own, held = make_rows(seed=2)
    both = StatesReader(states).read(np.stack([own, ~own], axis=1), held)
    assert np.allclose(both[:, 0], StatesReader(states).read(own, held))
    assert np.allclose(both[:, 1], -both[:, 0])


def test_a_few_rows_held_out_are_read_as_many_are():
    states, own, _ = make_rows(size=40, seed=3)
    for count in (1, 5, 20, 21, 40):  # up to half the size of the states they are taken out
        held = np.arange(len(own)) < count
        margins = StatesReader(states).read(own, held)
        assert np.allclose(margins[held], fit_ridge(states, own, ~held, held), atol=1e-4)
        others = np.delete(np.arange(len(own)), [*np.flatnonzero(held), 60])
        assert np.allclose(margins[60], fit_ridge(states, own, others, [60]), atol=1e-4)
