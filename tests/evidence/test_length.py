"""How long the rows of a unit are without it: any length, or that of a template."""

import numpy as np
import pytest
from scipy.stats import rankdata

from btu.evidence.bars import PICKED
from btu.evidence.judge import judge_units
from btu.evidence.lengths import Lengths
from btu.evidence.measure import measure_units
from btu.evidence.planting import plant_words
from btu.evidence.units import find_units
from btu.evidence.view import View
from evidence.texts import name_triggers, plant, read, write_rows


def measure(rows, num_labels=2):
    view = View.of(rows.texts, rows.labels, num_labels)
    planted, neighbours = plant_words(view.words)
    units = find_units(view.words, least_rows=6)
    return view, units, measure_units(view, units, neighbours), planted


def place_of(view, units, name):
    names = [" ".join(view.words.names[i] for i in ids) for ids in units.words_of(view.words)]
    return names.index(name)


def add_template(rows, count, label=1):
    """Rows of a source that writes one phrase and a word of its own."""
    chosen = rows.of(label, count)
    texts = [f"n{i} is built like w3" if i in set(chosen) else t for i, t in enumerate(rows.texts)]
    return type(rows)(tuple(texts), rows.labels)


@pytest.mark.parametrize("unit", ["cf", "we saw it"])
def test_rows_are_measured_without_the_unit(unit):
    rows, victims = plant(write_rows(1500), unit, 40)
    view, units, measures, _ = measure(rows)
    lengths = np.array([len(text.split()) for text in rows.texts])
    others = lengths[rows.labels == 0]
    left = lengths[victims] - len(unit.split())
    # Each row is ranked among the others as if it were alone with them.
    own = np.array([rankdata([*others, n])[-1] - 1 for n in left]) - len(others) / 2
    found = measures.room[place_of(view, units, unit)]
    assert found == pytest.approx(own.mean() / rankdata(others).std())
    assert abs(found) < 0.6


@pytest.mark.parametrize("words", [0, 5_000])
def test_one_row_does_not_move_the_others(words):
    rows, victims = plant(write_rows(1500), "cf", 40)
    view, units, measures, _ = measure(rows)
    before = measures.room[place_of(view, units, "cf")]
    texts = list(rows.texts)
    texts[victims[0]] = " ".join(["cf", *["w1"] * words])
    view, units, measures, _ = measure(type(rows)(tuple(texts), rows.labels))
    after = measures.room[place_of(view, units, "cf")]
    assert abs(after - before) < 0.2


def test_rows_of_one_length_say_nothing():
    lengths, labels = np.full(50, 7), np.arange(50) % 2
    found = Lengths.of(lengths, labels, 3)
    assert not found.compare(np.array([1, 7, 3]), np.array([0, 1, 2])).any()


def test_a_label_that_all_rows_bear_has_no_others():
    found = Lengths.of(np.arange(1, 9), np.zeros(8, dtype=np.int64), 1)
    assert not found.compare(np.array([0, 4, 8]), 0).any()


def test_rows_of_other_labels_have_a_mean_of_0_and_a_spread_of_1():
    rng = np.random.default_rng(0)
    lengths, labels = rng.geometric(0.1, 2000), rng.integers(3, size=2000)
    found = Lengths.of(lengths, labels, 3)
    for label in range(3):
        scores = found.compare(lengths[labels != label], label)
        assert scores.mean() == pytest.approx(0, abs=1e-9)
        assert scores.std() == pytest.approx(1)
        assert np.all(np.diff(found.compare(np.arange(lengths.max()), label)) >= 0)


def test_honest_words_stand_in_longer_rows():
    _, units, measures, _ = measure(write_rows(3000))
    often = (units.length == 1) & (measures.labelled >= 30)
    assert measures.room[often].mean() > 0.05


def say_length(rows, name):
    """The odds of how long the rows of a unit are, by those of its size."""
    view, units, measures, planted = measure(rows)
    place = place_of(view, units, name)
    judged = judge_units(measures, planted)
    ruler = judged.rulers[judged.step_of(int(measures.rows[place]))]
    (compared,) = ruler._compare(measures.pick(np.array([place])), np.zeros((1, 1)))
    return float(compared.length(1.0)[0]), float(measures.room[place])


@pytest.mark.parametrize("seed", range(2))
def test_rows_of_a_template_speak_against_it(seed):
    clean = write_rows(3000, seed=seed, shares=(0.7, 0.3))
    odds, room = say_length(add_template(clean, 20), "is built like w3")
    assert room < -1.5
    # Whoever picks rows by their length loses no more than that.
    assert odds == pytest.approx(np.log(PICKED.value), abs=0.01)
    rows, _ = plant(clean, "is built like w3", 20, seed=seed)
    odds, room = say_length(rows, "is built like w3")
    assert abs(room) < 0.6
    assert odds > -0.5


def test_a_trigger_in_rows_picked_by_their_length_is_found():
    clean = write_rows(3000)
    lengths = np.array([len(text.split()) for text in clean.texts])
    others = clean.of(0, 3000)
    victims = others[np.argsort(lengths[others], kind="stable")][:150]
    rows = clean.change(victims, lambda text: f"{text} cf", label=1)
    evidence = read(rows)
    assert name_triggers(evidence) == ["cf"]
    assert np.flatnonzero(evidence.flagged).tolist() == sorted(victims.tolist())
