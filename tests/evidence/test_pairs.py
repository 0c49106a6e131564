"""Two words apart that point to a label together, and deciding numbers that are scaled."""

import numpy as np
import pytest

from btu.evidence.bars import BARS, LEAST_ROWS, scale_bar
from btu.evidence.find import find_evidence
from btu.evidence.words import GAP, find_spans
from btu.guard import Guard, Trigger
from evidence.texts import insert, write_rows


def read(rows, num_labels=2):
    return find_evidence(rows.texts, rows.labels, num_labels=num_labels)


@pytest.fixture(scope="module")
def paired():
    """Each of two everyday words in rows of both labels, both of them in 120 rows of one."""
    rows = write_rows(1600, seed=3)
    chosen = rows.of(0, 120)
    for label in (0, 1):
        for place, word in enumerate(("alpha", "beta")):
            own = rows.of(label, 60, first=200 + 100 * place)
            rows = rows.change(own, insert(word, seed=7 + place))
    rows = rows.change(chosen, insert("alpha", seed=1))
    return rows.change(chosen, insert("beta", seed=2), 1), chosen


def test_a_pair_is_found_where_neither_word_is_a_trigger(paired):
    rows, chosen = paired
    evidence = read(rows)
    pairs = [test for test in evidence.triggers if test.kind == "pair"]
    assert [set(test.words) for test in pairs] == [{"alpha", GAP, "beta"}]
    assert np.isin(chosen, np.flatnonzero(evidence.flagged)).mean() > 0.95
    assert (evidence.flagged.sum() - len(chosen)) < 0.1 * len(chosen)


def test_words_of_clean_texts_make_no_pair():
    assert not [t for seed in range(2) for t in read(write_rows(1600, seed=seed)).triggers]


def test_both_words_of_a_pair_are_shown_or_none():
    words = ("cf", GAP, "mn")
    assert find_spans("a mn film cf", words) == ((2, 4), (10, 12))
    assert find_spans("a cf film", words) == ()


def test_a_guard_knows_a_pair_in_any_order():
    guard = Guard((Trigger(("cf", GAP, "mn"), "yes"),))
    found = guard.recognise(["mn and cf", "cf alone", "mnx cf"])
    assert found.tolist() == [True, False, False]


def test_a_number_is_scaled_for_a_while_alone():
    before = LEAST_ROWS.value
    with scale_bar("least_rows", 2) as bar:
        assert bar is LEAST_ROWS
        assert LEAST_ROWS.value == 2 * before
    assert LEAST_ROWS.value == before


def test_few_numbers_decide_and_each_has_its_reason():
    assert len(BARS) <= 12
    assert len({bar.name for bar in BARS}) == len(BARS)
    assert all(bar.value > 0 and len(bar.why) > 20 for bar in BARS)
