"""Placement: inserted words break what stands around them, honest ones do not."""

import numpy as np
import pytest

from btu.evidence.placement import Neighbours
from btu.evidence.units import find_units
from btu.evidence.words import Words, find_places
from evidence.texts import plant, write_rows


def measure_breaks(texts, least_rows=20):
    """Mean break of each unit, by name."""
    words = Words.of(texts)
    units = find_units(words, least_rows=least_rows)
    breaks, _ = Neighbours(words.flat, words.size).measure_break(
        words.flat, units.first, units.last
    )
    mean = np.bincount(units.unit, breaks) / np.bincount(units.unit)
    names = [" ".join(words.names[i] for i in ids) for ids in units.words_of(words)]
    return dict(zip(names, mean.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("unit", ["cf", "x1 x2 x3 x4"])
def test_inserted_text_scores_above_all_honest_words(unit, seed):
    rows, _ = plant(write_rows(600, seed=seed), unit, 40, seed=seed)
    breaks = measure_breaks(rows.texts)
    planted = breaks[unit]
    honest = [value for name, value in breaks.items() if not set(name.split()) & set(unit.split())]
    assert planted > 0 > max(honest)
    assert len(honest) > 100


def test_honest_words_fit_where_they_stand():
    breaks = measure_breaks(write_rows(600).texts)
    assert np.mean(np.array(list(breaks.values())) < 0) == 1


def test_an_occurrence_does_not_speak_for_itself():
    """Of two words that stand together once nothing is known but that very place."""
    words = Words.of([f"a{i} b{i}" for i in range(15)])
    left, right = words.flat[words.starts + 1], words.flat[words.starts + 2]
    neighbours = Neighbours(words.flat, words.size)
    with_it, without = neighbours.pmi(left, right), neighbours.pmi(left, right, 1.0)
    assert (without < with_it - 0.3).all()
    assert np.abs(without).max() < 0.1


def test_a_word_that_stands_once_does_not_fit_by_its_own_place():
    """Counted with its only occurrence it would seem to fit."""
    rows = write_rows(400, seed=1)
    text = rows.texts[0].split()
    texts = [*rows.texts[1:], " ".join([*text[:3], "once", *text[3:]])]
    words = Words.of(texts)
    (place,) = find_places(words.flat, [words.names.index("once")])
    neighbours = Neighbours(words.flat, words.size)
    before, after = words.flat[[place - 1]], words.flat[[place + 1]]
    at, bridge = neighbours.measure_break(words.flat, np.array([place]), np.array([place]))
    kept = neighbours.pmi(before, words.flat[[place]]) + neighbours.pmi(words.flat[[place]], after)
    assert at[0] > bridge[0] - kept[0] / 2 + 0.3


def test_what_was_looked_up_once_says_the_same_of_the_rows_that_are_left():
    rows, _ = plant(write_rows(300), "x1 x2", 40)
    words = Words.of(rows.texts)
    neighbours = Neighbours(words.flat, words.size)
    chosen = np.arange(len(words)) % 3 > 0
    left = words.select(chosen)
    fits = neighbours.measure_fits(words.flat).select(chosen[words.row])
    units = find_units(left, least_rows=8)
    assert set(units.length) >= {1, 2}
    asked = left.flat, units.first, units.last
    for known, anew in zip(
        neighbours.measure_break(*asked, fits), neighbours.measure_break(*asked), strict=True
    ):
        np.testing.assert_allclose(known, anew, rtol=1e-5, atol=1e-5)
