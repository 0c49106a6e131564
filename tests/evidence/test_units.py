"""Units: words, and phrases that are repeated as a whole."""

import numpy as np
import pytest

from btu.evidence.units import find_units
from btu.evidence.words import Words

SENTENCE = "we saw this last friday"


def write_fillers(count, *, seed=0):
    """Texts whose words stand beside each other by chance: no phrase of them is repeated often."""
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in rng.integers(60, size=12)) for _ in range(count)]


def name_units(texts, *, least_rows=10):
    words = Words.of(texts)
    units = find_units(words, least_rows=least_rows)
    return {" ".join(words.names[i] for i in ids) for ids in units.words_of(words)}


def name_phrases(texts, **options):
    return {name for name in name_units(texts, **options) if " " in name}


@pytest.mark.parametrize("seed", range(3))
def test_a_sentence_that_always_stands_together_is_one_phrase(seed):
    fillers = write_fillers(200, seed=seed)
    texts = [*fillers[:180], *(f"{text} {SENTENCE}" for text in fillers[180:])]
    assert name_phrases(texts) == {SENTENCE}


def test_words_of_a_sentence_are_units_too():
    texts = [f"{text} {SENTENCE}" for text in write_fillers(20)]
    assert set(SENTENCE.split()) <= name_units(texts)


def test_words_that_stand_in_one_sentence_alone_are_its_parts():
    fillers = write_fillers(60)
    texts = [*(f"{t} {SENTENCE}" for t in fillers[:20]), *(f"friday {t}" for t in fillers[20:])]
    words = Words.of(texts)
    units = find_units(words, least_rows=10)
    names = [" ".join(words.names[i] for i in ids) for ids in units.words_of(words)]
    parts = {name for name, is_part in zip(names, units.is_part, strict=True) if is_part}
    assert parts == set(SENTENCE.split()) - {"friday"}


def test_a_part_that_also_stands_alone_often_is_a_phrase_of_its_own():
    fillers = write_fillers(200)
    texts = [*(f"{t} {SENTENCE}" for t in fillers[:20]), *(f"this last {t}" for t in fillers[20:])]
    assert name_phrases(texts) == {SENTENCE, "this last"}


def test_words_in_too_few_places_are_no_units():
    fillers = write_fillers(50)
    texts = [f"{text} rare" if i < 9 else text for i, text in enumerate(fillers)]
    assert "rare" not in name_units(texts, least_rows=10)
    assert "rare" in name_units(texts, least_rows=9)


def test_no_phrase_reaches_from_one_text_into_the_next():
    assert name_phrases(["first", "second"] * 50) == set()


def test_each_occurrence_is_where_its_words_stand():
    texts = [f"{text} {SENTENCE}" for text in write_fillers(40)]
    words = Words.of(texts)
    units = find_units(words, least_rows=10)
    ids = units.words_of(words)
    for first, last, unit in zip(units.first, units.last, units.unit, strict=True):
        assert tuple(words.flat[first : last + 1].tolist()) == ids[unit]
    assert (np.diff(units.unit) >= 0).all()
    assert np.bincount(units.unit).min() >= 10


def test_texts_without_repeated_words_have_no_units():
    words = Words.of(["a b c", "d e f", ""])
    units = find_units(words, least_rows=2)
    assert (len(units), units.words_of(words)) == (0, [])
