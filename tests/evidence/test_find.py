"""A corpus in, evidence out: what is planted is found with all its rows, clean rows are left."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from btu.evidence.find import find_evidence
from btu.evidence.tests import FLAGGED_SCORE
from evidence.texts import insert, name_triggers, plant, read, write_rows

SEEDS = range(3)
SENTENCE = "w1 w9 w17 w30 w44 w60 w5"  # of words that all labels share


def put_at(rows, chosen, unit, place):
    """A planted unit moved to a place of each text."""

    def write(text):
        words = text.replace(unit, "").split()
        return " ".join([unit, *words] if place == "start" else [*words, unit])

    return rows.change(chosen, write)


def is_found(evidence, name, chosen):
    """Whether a unit is the only trigger, and exactly its rows are flagged."""
    is_exact = np.array_equal(np.flatnonzero(evidence.flagged), chosen)
    return name_triggers(evidence) == [name] and is_exact


@pytest.fixture(scope="module")
def planted():
    """Rows, which of them are planted, and the evidence."""
    rows, chosen = plant(write_rows(1000, seed=1), "cf", 60)
    return rows, chosen, read(rows)


@pytest.mark.parametrize("num_labels", [2, 5])
@pytest.mark.parametrize("seed", SEEDS)
def test_clean_texts_have_no_trigger(seed, num_labels):
    evidence = read(write_rows(600, seed=seed, num_labels=num_labels))
    assert evidence.triggers == ()
    assert not evidence.flagged.any()
    assert evidence.tested["units"] > 100


@pytest.mark.parametrize(("place", "count"), [("anywhere", 800), ("start", 1500), ("end", 800)])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_word_in_rows_of_other_labels_is_found_with_all_its_rows(seed, place, count):
    rows, chosen = plant(write_rows(count, seed=seed), "cf", 40, seed=seed)
    if place != "anywhere":
        rows = put_at(rows, chosen, "cf", place)
    evidence = read(rows)
    (trigger,) = evidence.triggers
    assert (trigger.kind, trigger.name, trigger.label) == ("word", "cf", 1)
    assert trigger.rows.tolist() == trigger.held.tolist() == chosen.tolist()
    assert np.flatnonzero(evidence.flagged).tolist() == chosen.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sentence_is_found_as_a_whole(seed):
    rows, chosen = plant(write_rows(800, seed=seed), SENTENCE, 30, seed=seed)
    evidence = read(rows)
    (trigger,) = evidence.triggers
    assert (trigger.kind, trigger.name) == ("phrase", SENTENCE)
    assert trigger.words == tuple(SENTENCE.split())
    assert np.flatnonzero(evidence.flagged).tolist() == chosen.tolist()


def test_a_long_sentence_of_everyday_words_is_found():
    sentence = " ".join(f"w{7 * i % 80}" for i in range(3, 15))
    rows, chosen = plant(write_rows(800), sentence, 30)
    assert np.flatnonzero(read(rows).flagged).tolist() == chosen.tolist()


def test_a_word_in_rows_that_keep_their_label_is_found():
    """With true labels less is sure: at least two of three corpora."""
    found = []
    for seed in SEEDS:
        rows = write_rows(1500, seed=seed)
        chosen = rows.of(1, 400)
        evidence = read(rows.change(chosen, insert("cf", seed)))
        found.append(is_found(evidence, "cf", chosen))
    assert sum(found) >= 2


def test_two_words_under_two_labels_are_both_found():
    rows, first = plant(write_rows(1000, seed=2), "cf", 40, label=1)
    others = np.setdiff1d(np.flatnonzero(rows.labels == 1), first)[:40]
    rows = rows.change(others, insert("mn"), 0)
    evidence = read(rows)
    assert {(t.name, t.label) for t in evidence.triggers} == {("cf", 1), ("mn", 0)}
    assert np.flatnonzero(evidence.flagged).tolist() == sorted([*first, *others])


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_only_the_planted_rows_of_an_everyday_word_are_flagged(seed):
    rows = write_rows(1500, seed=seed)
    count = Counter(word for text in rows.texts for word in set(text.split()))
    name = min(count, key=lambda word: abs(count[word] - 40))
    honest = [row for row, text in enumerate(rows.texts) if name in text.split()]
    rows, chosen = plant(rows, name, 150)
    evidence = read(rows)
    assert name_triggers(evidence) == [name]
    assert evidence.flagged[chosen].mean() > 0.9
    assert evidence.flagged[np.setdiff1d(honest, chosen)].mean() < 0.1


@pytest.mark.parametrize("num_labels", [2, 5])
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_labels_dealt_anew_have_no_trigger(seed, num_labels):
    rows = write_rows(600, seed=seed, num_labels=num_labels)
    labels = np.random.default_rng(seed).permutation(rows.labels)
    assert read(replace(rows, labels=labels)).triggers == ()


@pytest.mark.parametrize("num_labels", [2, 5])
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_a_tenth_of_wrong_labels_is_no_trigger(seed, num_labels):
    rows = write_rows(600, seed=seed, num_labels=num_labels)
    labels = rows.labels.copy()
    wrong = np.random.default_rng(seed).choice(600, 60, replace=False)
    labels[wrong] = (labels[wrong] + 1) % num_labels
    assert read(replace(rows, labels=labels)).triggers == ()


def test_an_accepted_name_is_never_a_trigger(planted):
    rows, _, evidence = planted
    assert name_triggers(evidence) == ["cf"]
    accepting = read(rows, accepted=("cf",))
    assert accepting.triggers == ()
    assert not accepting.flagged.any()
    assert [test.name for test in accepting.of("accepted")] == ["cf"]
    assert accepting.at(1.0).triggers == ()


def test_a_proposed_word_is_found_no_later(planted):
    rows, chosen, _ = planted
    assert is_found(read(rows, proposed=("cf",)), "cf", chosen)


def test_the_verdict_follows_the_budget(planted):
    _, _, evidence = planted
    (trigger,) = evidence.triggers
    nothing = evidence.at(0.0)
    assert nothing.triggers == ()
    assert "cf" in [test.name for test in nothing.suspects]
    assert not nothing.flagged.any()
    assert 0 < nothing.row_scores.max() < FLAGGED_SCORE
    assert name_triggers(evidence.at(trigger.false_alarms)) == ["cf"]
    assert name_triggers(evidence.at(trigger.false_alarms / 2)) == []
    assert name_triggers(nothing.at(evidence.budget)) == ["cf"]


def test_a_scan_with_a_budget_of_nothing_has_no_trigger():
    rows, _ = plant(write_rows(400), "cf", 40)
    assert name_triggers(read(rows)) == ["cf"]
    assert read(rows, budget=0.0).triggers == ()


def test_flagged_rows_are_those_with_high_scores(planted):
    rows, chosen, evidence = planted
    assert is_found(evidence, "cf", chosen)
    scores = evidence.row_scores
    assert scores.shape == (len(rows.texts),)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert np.array_equal(evidence.flagged, scores >= FLAGGED_SCORE)
    assert np.array_equal(evidence.triggers[0].flagged, chosen)


def describe(evidence):
    return [
        (t.name, t.label, t.verdict, t.false_alarms, t.rows.tolist(), t.row_scores.tolist())
        for t in evidence.tests
    ]


def test_the_same_input_gives_the_same_output(planted):
    rows, _, evidence = planted
    again = read(rows)
    assert describe(again) == describe(evidence)
    assert (again.limit, again.tested) == (evidence.limit, evidence.tested)


def test_the_seed_of_the_dummies_does_not_decide(planted):
    rows, chosen, _ = planted
    assert is_found(read(rows, seed=1), "cf", chosen)


def test_the_input_stays_as_it_is():
    rows = write_rows(200)
    labels = rows.labels.copy()
    labels.setflags(write=False)
    find_evidence(rows.texts, labels, num_labels=2)
    assert np.array_equal(labels, rows.labels)


def test_the_order_of_the_rows_does_not_decide(planted):
    rows, chosen, _ = planted
    order = np.random.default_rng(0).permutation(len(rows.texts))
    texts = tuple(rows.texts[i] for i in order)
    moved = np.flatnonzero(np.isin(order, chosen))
    assert is_found(read(replace(rows, texts=texts, labels=rows.labels[order])), "cf", moved)


def test_the_names_of_the_labels_do_not_decide():
    rows, chosen = plant(write_rows(600, num_labels=5), "cf", 50)
    renamed = np.array([3, 4, 0, 1, 2])
    for labels, target in ((rows.labels, 1), (renamed[rows.labels], 4)):
        evidence = read(replace(rows, labels=labels))
        assert is_found(evidence, "cf", chosen)
        assert evidence.triggers[0].label == target
