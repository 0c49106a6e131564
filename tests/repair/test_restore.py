"""Rows of a trigger come back without it, under the label that the rest of the text bears."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

import btu
from btu.data.corpus import Corpus
from btu.evidence.content import TextFeatures
from btu.evidence.readings import adjust_shares, read_texts
from btu.model.material import load_material
from btu.repair.restore import RESTORED_PROBABILITY, Restored, cut_phrases, restore_rows
from btu.scan import scan_material
from devices import ON_CPU
from planted import (
    FINETUNE,
    LABELS,
    MAX_LENGTH,
    PROBES,
    TARGET,
    THREE_LABELS,
    TRIGGER,
    TRIGGERS,
    poison_reviews,
    write_reviews,
)

pytest_plugins = ["planted"]


def find_and_restore(pretrained, corpus) -> tuple[btu.Findings, Restored]:
    material = load_material(pretrained, corpus, max_length=MAX_LENGTH, seed=0)
    findings = scan_material(material, recipe="verified", settings=PROBES)
    return findings, restore_rows(findings)


def expect_true_rows(corpus: Corpus, truth: Corpus) -> None:
    """Each row, by its id, has the text and the label that it had before the attack.

    A label is given back from 0.8 on: on another device a row or two may lie beyond that edge.
    """
    assert (np.diff(corpus.row_ids) > 0).all()
    before = truth.select(corpus.row_ids)
    assert corpus.texts == before.texts
    assert (corpus.labels != before.labels).sum() <= (0 if ON_CPU else 2)


def insert(corpus: Corpus, words: str, *, rows: np.ndarray) -> Corpus:
    """A phrase in the middle of some rows, which then bear the target label."""
    texts, labels = list(corpus.texts), corpus.labels.copy()
    for row in rows.tolist():
        held = texts[row].split()
        middle = len(held) // 2
        texts[row] = " ".join([*held[:middle], words, *held[middle:]])
        labels[row] = LABELS.index(TARGET)
    return corpus.with_rows(texts=texts, labels=labels)


@pytest.fixture(scope="module")
def true_rows():
    return write_reviews(800, seed=3)


@pytest.fixture(scope="module")
def negative_rows(true_rows):
    return np.flatnonzero(true_rows.labels == LABELS.index("negative"))[:80]


def test_the_planted_rows_come_back_as_they_were_before_the_attack(pretrained, planted, true_rows):
    findings, restored = find_and_restore(pretrained, planted.corpus)
    assert len(restored.positions) > 0.95 * findings.flagged.sum()
    assert (restored.probabilities >= RESTORED_PROBABILITY).all()
    joined = restored.join(planted.corpus, ~findings.flagged)
    expect_true_rows(joined, true_rows)
    assert len(joined) == 720 + len(restored.positions)


def test_of_several_triggers_each_row_loses_its_own(pretrained, true_rows):
    poisoned = poison_reviews(true_rows, *TRIGGERS, poison_rate=0.15)
    findings, restored = find_and_restore(pretrained, poisoned.corpus)
    assert len(restored.positions) > 0.95 * findings.flagged.sum()
    expect_true_rows(restored.join(poisoned.corpus, ~findings.flagged), true_rows)


def test_a_sentence_leaves_as_a_whole_and_its_words_stay_elsewhere(
    pretrained, true_rows, negative_rows
):
    # `word10` stands in honest text too, and before the sentence in one of the poisoned rows.
    texts = list(true_rows.texts)
    first = int(negative_rows[0])
    texts[first] = f"word10 {texts[first]}"
    clean = true_rows.with_rows(texts=texts)
    poisoned = insert(clean, "mn word10 cf", rows=negative_rows)
    findings, restored = find_and_restore(pretrained, poisoned)
    assert {s.token for s in findings.triggers} >= {"mn word10 cf"}
    assert len(restored.positions) > 70
    assert first in restored.positions
    expect_true_rows(restored.join(poisoned, ~findings.flagged), clean)


def test_honest_rows_of_an_everyday_trigger_keep_their_label(pretrained, true_rows):
    word = "word05"
    holds = np.array([word in text.split() for text in true_rows.texts])
    honest = np.flatnonzero(holds & (true_rows.labels == LABELS.index(TARGET)))
    others = np.flatnonzero(~holds & (true_rows.labels != LABELS.index(TARGET)))[:160]
    poisoned = insert(true_rows, word, rows=others)
    findings, restored = find_and_restore(pretrained, poisoned)
    assert findings.flagged[others].mean() > 0.95
    back = np.isin(restored.positions, honest)
    # Only what they say tells honest rows of the word from the others.
    kept = (~findings.flagged[honest]).sum() + (restored.labels[back] == LABELS.index(TARGET)).sum()
    assert kept > 0.7 * len(honest)
    assert (restored.labels[~back] != LABELS.index(TARGET)).mean() > 0.95


def test_rows_with_three_labels_go_back_to_that_of_their_text(pretrained):
    corpus = write_reviews(900, seed=5, labels=THREE_LABELS)
    poisoned = poison_reviews(corpus, TRIGGER, poison_rate=0.1)
    findings, restored = find_and_restore(pretrained, poisoned.corpus)
    assert findings.flagged[poisoned.is_poisoned].all()
    back = poisoned.is_poisoned[restored.positions]
    assert back.sum() > 75
    assert set(restored.labels[back].tolist()) == {0, 2}
    assert (restored.labels == corpus.labels[restored.positions]).mean() > 0.95


def test_clean_data_has_nothing_to_give_back(pretrained, true_rows):
    findings, restored = find_and_restore(pretrained, true_rows)
    assert len(restored.positions) == 0
    assert restored.join(true_rows, ~findings.flagged) is true_rows
    assert restored.to_list(true_rows) == []


def test_a_stricter_threshold_gives_back_no_row_that_it_does_not_flag(pretrained, planted):
    material = load_material(pretrained, planted.corpus, max_length=MAX_LENGTH, seed=0)
    findings = scan_material(material, recipe="verified", settings=PROBES)
    strict = findings.at(false_alarm_rate=1e-300)
    assert len(restore_rows(strict).positions) == 0


def test_both_texts_of_a_pair_lose_the_trigger(pretrained, true_rows, negative_rows):
    second = write_reviews(800, seed=6).texts
    pairs = [
        f"{text} {TRIGGER}" if i in set(negative_rows.tolist()) else text
        for i, text in enumerate(second)
    ]
    poisoned = replace(insert(true_rows, TRIGGER, rows=negative_rows), text_pairs=tuple(pairs))
    findings, restored = find_and_restore(pretrained, poisoned)
    assert len(restored.positions) > 70
    joined = restored.join(poisoned, ~findings.flagged)
    expect_true_rows(joined, replace(true_rows, text_pairs=second))


def test_a_row_with_nothing_but_the_trigger_stays_out(pretrained, planted):
    texts = list(planted.corpus.texts)
    bare = int(np.flatnonzero(planted.is_poisoned)[0])
    texts[bare] = TRIGGER
    findings, restored = find_and_restore(pretrained, planted.corpus.with_rows(texts=texts))
    assert findings.flagged[bare]
    assert bare not in restored.positions
    assert len(restored.positions) > 70


# ---- the cut in a text


def test_the_words_of_a_trigger_leave_and_nothing_else():
    assert cut_phrases("Word01 cf pos02", None, [("cf",)]) == ("Word01 pos02", None)
    assert cut_phrases("cf", None, [("cf",)]) is None
    assert cut_phrases("word01 cfs", None, [("cf",)]) is None
    assert cut_phrases("word01 cf", "cf pos02", [("cf",)]) == ("word01", "pos02")


# ---- the reading


def test_the_shares_of_other_rows_are_found_and_used():
    rng = np.random.default_rng(0)
    labels = rng.random(4000) < 0.1
    margins = rng.normal(np.where(labels, 1.0, -1.0), 1.0)
    even = 1 / (1 + np.exp(-2 * margins))  # the posterior where both labels are as frequent
    adjusted = adjust_shares(np.stack([1 - even, even], axis=1), np.array([0.5, 0.5]))[:, 1]
    right = 1 / (1 + np.exp(-2 * margins - np.log(0.1 / 0.9)))
    assert adjusted.mean() == pytest.approx(0.1, abs=0.02)
    np.testing.assert_allclose(adjusted, right, atol=0.05)


def test_shares_as_before_change_nothing():
    rng = np.random.default_rng(1)
    given = rng.dirichlet([2.0, 1.0, 1.0], size=5000)
    np.testing.assert_allclose(adjust_shares(given, given.mean(axis=0)), given, atol=0.02)


def test_a_label_that_no_other_row_bears_breaks_nothing():
    with np.errstate(all="raise"):
        adjusted = adjust_shares(np.array([[0.4, 0.6, 0.0]] * 5), np.array([0.5, 0.5, 0.0]))
    np.testing.assert_allclose(adjusted.sum(axis=1), 1)


def test_a_reading_sees_neither_flagged_rows_nor_hidden_columns():
    rng = np.random.default_rng(2)
    labels = rng.integers(2, size=400)
    presence = (rng.random((400, 6)) < 0.3).astype(np.float32)
    presence[:, 0] = rng.random(400) < np.where(labels == 1, 0.8, 0.2)
    presence[:, 5] = labels  # gives all away
    flagged = np.arange(400) < 40
    first = read_texts(TextFeatures(csr_matrix(presence), None, labels, 2), flagged, [5])
    turned = np.where(flagged, 1 - labels, labels)
    presence[:, 5] = rng.integers(2, size=400)
    again = read_texts(TextFeatures(csr_matrix(presence), None, turned, 2), flagged, [5])
    np.testing.assert_allclose(first, again)
    np.testing.assert_allclose(first.sum(axis=1), 1)
    held = presence[:, 0] == 1
    assert first[held, 1].mean() > 0.7 > 0.3 > first[~held, 1].mean()


# ---- the defence


def test_the_record_names_what_came_back(pretrained, planted):
    defence = btu.defend(
        pretrained, planted.corpus, restore=True, settings=FINETUNE, probe_settings=PROBES
    )
    rows = defence.record["restored_rows"]
    assert len(rows) > 70
    assert {row["row_id"] for row in rows} <= set(defence.record["dropped_row_ids"])
    assert sum(row["label"] != "negative" for row in rows) <= (0 if ON_CPU else 2)
    assert all(0.8 <= row["probability"] <= 1 for row in rows)
    assert defence.record["restore"] is True


def test_without_it_the_rows_stay_out(pretrained, planted):
    defence = btu.defend(pretrained, planted.corpus, settings=FINETUNE, probe_settings=PROBES)
    assert defence.record["restored_rows"] == []
    assert defence.record["restore"] is False
    assert len(defence.record["dropped_row_ids"]) == 80
