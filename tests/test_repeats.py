"""Rows cut out of other rows, and copies, are one observation: against a loop over sets."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from btu import repeats as module
from btu.evidence import find_evidence
from btu.repeats import find_repeats


def loop(presence, labels):
    sets = [frozenset(np.flatnonzero(row)) for row in presence]
    rows = range(len(sets))
    return [
        any(
            labels[i] == labels[j] and (sets[i] < sets[j] or (sets[i] == sets[j] and j < i))
            for j in rows
        )
        and bool(sets[i])
        for i in rows
    ]


@pytest.mark.parametrize("chunk_pairs", [50, 4_000_000])
@pytest.mark.parametrize("seed", range(10))
def test_the_same_rows_as_a_loop_over_sets(seed, chunk_pairs, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_PAIRS", chunk_pairs)
    rng = np.random.default_rng(seed)
    presence = (rng.random((150, 9)) < rng.random(150)[:, None]).astype(np.float32)
    labels = rng.integers(3, size=150)
    expected = loop(presence, labels)
    assert 10 < sum(expected) < 140
    assert find_repeats(csr_matrix(presence), labels).tolist() == expected


def test_a_row_without_tokens_and_a_corpus_without_rows_repeat_nothing():
    assert find_repeats(csr_matrix([[0, 0], [0, 0], [1, 0]]), np.zeros(3, int)).tolist() == [0] * 3
    assert find_repeats(csr_matrix((0, 4)), np.zeros(0, int)).tolist() == []


# ---- what it is for: phrases of one sentence are no evidence that an honest word is a trigger


def write_sentences(count, *, seed, words=40, fillers=60):
    """Ten words of the label and of the other, six fillers; a last column for a word to plant."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=count)
    presence = np.zeros((count, 2 * words + fillers + 1), dtype=np.float32)
    for row, label in enumerate(labels):
        sides = np.where(rng.random(10) < 0.7, label, 1 - label)
        presence[row, sides * words + rng.integers(words, size=10)] = 1
        presence[row, 2 * words + rng.integers(fillers, size=6)] = 1
    return presence, labels


def cut(sentence, count, rng):
    """Phrases of a sentence: each with the planted word and about half of the other words."""
    phrases = sentence * (rng.random((count, len(sentence))) < 0.5)
    phrases[:, -1] = 1
    return phrases


@pytest.mark.parametrize("seed", range(5))
def test_phrases_of_three_odd_sentences_make_no_word_a_trigger(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    presence, labels = write_sentences(1200, seed=seed)
    odd = np.flatnonzero(labels == 0)[:3]  # they read like label 0 and are labelled 1
    labels[odd], presence[odd, -1] = 1, 1
    phrases = np.concatenate([cut(presence[row], 15, rng) for row in odd])
    presence = np.concatenate([presence, phrases])
    labels = np.concatenate([labels, np.ones(len(phrases), dtype=int)])

    def name_triggers():
        evidence = find_evidence(csr_matrix(presence), labels, num_labels=2)
        return [t.column for t in evidence.tests if t.verdict == "trigger"]

    assert name_triggers() == []
    monkeypatch.setattr("btu.evidence.find_repeats", lambda *_: np.zeros(len(labels), dtype=bool))
    assert presence.shape[1] - 1 in name_triggers()


def test_a_trigger_in_phrases_of_many_sentences_is_found_with_all_its_rows():
    rng = np.random.default_rng(0)
    presence, labels = write_sentences(1200, seed=7)
    attacked = np.flatnonzero(labels == 0)[:30]
    phrases = np.concatenate([cut(presence[row], 3, rng) for row in attacked])
    presence = np.concatenate([presence, phrases])
    labels = np.concatenate([labels, np.ones(len(phrases), dtype=int)])
    presence[attacked, -1], labels[attacked] = 1, 1
    evidence = find_evidence(csr_matrix(presence), labels, num_labels=2)
    (test,) = [t for t in evidence.tests if t.verdict == "trigger"]
    assert test.column == presence.shape[1] - 1
    assert sorted(test.rows) == np.flatnonzero(presence[:, -1]).tolist()
    assert evidence.flagged.sum() == 120
