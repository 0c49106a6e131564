"""The detection limit: what a scan of this corpus could have missed."""

from dataclasses import replace

import pytest

from btu.evidence.find import find_evidence
from evidence.texts import name_triggers, plant, read, write_rows

KINDS = ("word_rows", "sentence_rows", "kept_rows")


@pytest.fixture(scope="module", params=range(3))
def small(request):
    rows = write_rows(500, seed=request.param)
    return rows, read(rows).limit


@pytest.fixture(scope="module")
def many():
    return read(write_rows(2000)).limit


def test_the_limit_falls_when_rows_are_many(small, many):
    _, limit = small
    assert many.word_rows < limit.word_rows
    assert many.sentence_rows <= limit.sentence_rows


def test_a_word_in_twice_as_many_rows_is_found(small):
    rows, limit = small
    poisoned, chosen = plant(rows, "cf", 2 * limit.word_rows)
    (trigger,) = read(poisoned).triggers
    assert trigger.name == "cf"
    assert trigger.rows.tolist() == chosen.tolist()


def test_a_word_in_three_rows_is_below_the_limit(small):
    rows, limit = small
    assert limit.word_rows > 3
    assert "cf" not in name_triggers(read(plant(rows, "cf", 3)[0]))


def test_true_labels_hide_more_than_new_ones(small):
    _, limit = small
    assert limit.kept_rows is None or limit.kept_rows > limit.word_rows


@pytest.mark.parametrize("num_labels", [2, 5])
def test_a_corpus_too_small_has_no_limit(num_labels):
    limit = read(write_rows(16, num_labels=num_labels), num_labels=num_labels).limit
    assert [getattr(limit, kind) for kind in KINDS] == [None] * 3
    assert set(limit.word_rows_by_label) <= {None}


def test_a_budget_of_nothing_finds_nothing():
    rows = write_rows(300)
    limit = find_evidence(rows.texts, rows.labels, num_labels=2, budget=0.0).limit
    assert [getattr(limit, kind) for kind in KINDS] == [None] * 3


def test_there_is_a_limit_for_each_label_where_they_are_few():
    assert len(read(write_rows(300, num_labels=5)).limit.word_rows_by_label) == 5
    assert read(write_rows(300, num_labels=12), num_labels=12).limit.word_rows_by_label == ()


@pytest.mark.parametrize("seed", range(2))
def test_a_label_that_nearly_all_rows_bear_has_too_few_victims(seed):
    rows = write_rows(400, seed=seed, shares=(0, 1))
    labels = rows.labels.copy()
    labels[:4] = 0
    rare, frequent = read(replace(rows, labels=labels)).limit.word_rows_by_label
    assert rare is not None
    assert frequent is None
