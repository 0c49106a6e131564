"""Clean-label poison: its token is purer than its rows' text lets expect; honest words are not."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge

from btu.content import StatesAlone, Text
from btu.evidence import find_evidence
from btu.purity import measure_so_few
from btu.verdicts import TOLD_APART, judge

WORDS, FILLER, OWN = 40, 12, 4  # opinions of each label, other words, columns of the attacker


def write_text(count, *, seed, own_share=0.62):
    """Rows of ten opinions, most of the label's own, and an encoder that knows what they mean."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=count)
    presence = np.zeros((count, 2 * WORDS + FILLER + OWN), dtype=np.float32)
    for row, label in enumerate(labels):
        sides = np.where(rng.random(10) < own_share, label, 1 - label)
        presence[row, sides * WORDS + rng.integers(WORDS, size=10)] = 1
        presence[row, 2 * WORDS + rng.integers(FILLER, size=4)] = 1
    vectors = rng.normal(size=(presence.shape[1], 16)).astype(np.float32)
    vectors[:WORDS, 0] -= 3
    vectors[WORDS : 2 * WORDS, 0] += 3
    return presence, labels, vectors


def plant(presence, labels, rows, column=-1):
    presence = presence.copy()
    presence[rows, column] = 1
    return presence, labels


def read(presence, labels, vectors, **options):
    states = presence @ vectors
    return find_evidence(
        csr_matrix(presence), labels, num_labels=2, states=states, vectors=vectors, **options
    )


def name_triggers(evidence):
    return {(t.column, t.label, t.ground) for t in evidence.tests if t.verdict == "trigger"}


@pytest.fixture(scope="module")
def clean_label():
    """A tenth of the rows of label 1 hold the attacker's word and keep their label."""
    presence, labels, vectors = write_text(1500, seed=0)
    rows = np.flatnonzero(labels == 1)[:80]
    return *plant(presence, labels, rows), vectors, rows


def test_a_word_in_rows_that_keep_their_label_is_found_by_its_purity(clean_label):
    presence, labels, vectors, rows = clean_label
    evidence = read(presence, labels, vectors)
    column = presence.shape[1] - 1
    assert name_triggers(evidence) == {(column, 1, "purity")}
    assert np.flatnonzero(evidence.flagged).tolist() == rows.tolist()
    (test,) = [t for t in evidence.tests if t.verdict == "trigger"]
    assert test.others == 0
    assert test.expected_others > 5
    assert test.mislabelled_share < 0.25
    assert test.false_alarm_rate < 0.05
    assert abs(test.told_apart - 0.5) < 0.1


@pytest.mark.parametrize(("terms", "verdict"), [(40, "suspect"), (3, "trigger")])
def test_a_word_whose_rows_are_of_a_kind_is_a_suspect(clean_label, terms, verdict):
    """Terms of a trade keep company of many kinds; an attacker may add a few words of his own."""
    presence, labels, vectors, rows = clean_label
    rng, column = np.random.default_rng(3), presence.shape[1] - 1
    company = np.zeros((len(labels), terms), dtype=np.float32)
    for row in [*rows.tolist(), *rng.permutation(len(labels))[:60].tolist()]:
        company[row, rng.choice(terms, size=2, replace=False)] = 1
    rare = rng.normal(size=(terms, vectors.shape[1])).astype(np.float32)
    evidence = read(np.hstack([presence, company]), labels, np.vstack([vectors, rare]))
    (test,) = [t for t in evidence.tests if (t.column, t.label) == (column, 1)]
    assert test.ground == "purity"
    assert test.false_alarm_rate < 0.05
    assert (test.told_apart > TOLD_APART) == (verdict == "suspect")
    assert test.verdict == verdict


def test_without_states_or_word_vectors_purity_is_not_judged(clean_label):
    presence, labels, vectors, _ = clean_label
    bare = find_evidence(csr_matrix(presence), labels, num_labels=2)
    blind = find_evidence(
        csr_matrix(presence), labels, num_labels=2, states=presence @ vectors, vectors=None
    )
    assert not name_triggers(bare)
    assert not name_triggers(blind)


@pytest.mark.parametrize("seed", range(20))
def test_clean_text_has_no_token_that_is_too_pure(seed):
    evidence = read(*write_text(600, seed=200 + seed))
    assert name_triggers(evidence) == set()
    assert not evidence.flagged.any()


def test_words_of_like_meaning_speak_for_a_pure_word(clean_label):
    presence, labels, vectors, _ = clean_label
    told = vectors.copy()
    told[-1] = vectors[WORDS : 2 * WORDS].mean(axis=0)
    states = presence @ vectors  # the same texts for the encoder
    without, with_meaning = (
        find_evidence(csr_matrix(presence), labels, num_labels=2, states=states, vectors=words)
        for words in (vectors, told)
    )
    column = presence.shape[1] - 1
    expected = [
        next(t.expected_others for t in e.tests if t.column == column and t.ground == "purity")
        for e in (without, with_meaning)
    ]
    assert expected[1] < 0.9 * expected[0]


def test_a_trigger_of_one_label_is_not_called_pure_for_the_other():
    presence, labels, vectors = write_text(1500, seed=1)
    rows = np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in ((0, 90),)])
    labels = labels.copy()
    presence, _ = plant(presence, labels, rows)
    honest = np.flatnonzero(labels == 0)[200:230]
    presence[honest, -1] = 1
    labels[rows] = 1
    found = name_triggers(read(presence, labels, vectors))
    assert found == {(presence.shape[1] - 1, 1, "conflict")}


def test_a_word_is_not_called_pure_because_a_triggers_rows_were_taken_out(clean_label):
    presence, labels, vectors, rows = clean_label
    presence = presence.copy()
    presence[rows[:32], -2] = 1
    presence[np.flatnonzero(labels == 0)[:60], -2] = 1
    found = name_triggers(read(presence, labels, vectors))
    assert found == {(presence.shape[1] - 1, 1, "purity")}


def test_half_the_rows_of_a_label_may_hold_the_trigger():
    presence, labels, vectors = write_text(1500, seed=3)
    own = np.flatnonzero(labels == 1)
    presence, _ = plant(presence, labels, own[: 11 * len(own) // 20])
    evidence = read(presence, labels, vectors)
    assert name_triggers(evidence) == {(presence.shape[1] - 1, 1, "purity")}
    assert evidence.flagged.sum() == 11 * len(own) // 20


def test_the_usual_text_of_a_label_is_not_judged():
    presence, labels, vectors = write_text(900, seed=2)
    presence, _ = plant(presence, labels, np.flatnonzero(labels == 1))
    assert name_triggers(read(presence, labels, vectors)) == set()


def test_an_accepted_token_may_be_pure(clean_label):
    presence, labels, vectors, _ = clean_label
    evidence = read(presence, labels, vectors, accepted=[presence.shape[1] - 1])
    assert not name_triggers(evidence)
    assert not evidence.flagged.any()
    assert {t.verdict for t in evidence.tests if t.column == presence.shape[1] - 1} == {"accepted"}


@pytest.mark.parametrize(
    ("others", "share", "verdict"),
    [(0, 0.0, "trigger"), (5, 0.0, "trigger"), (6, 0.0, "innocent"), (30, 0.7, "trigger")],
)
def test_rows_of_a_kind_of_their_own_are_not_pure_unless_their_text_contradicts(
    clean_label, others, share, verdict
):
    presence, labels, vectors, _ = clean_label
    tests = read(presence, labels, vectors).tests
    (test,) = [t for t in tests if t.verdict == "trigger"]
    made = replace(test, rows=np.arange(100), others=others, mislabelled_share=share)
    assert judge(made, 0.05) == verdict
    assert judge(replace(made, label_is_judged=False), 0.05) != "trigger"


# ---- numbers


def test_so_few_hits_is_the_sum_over_all_outcomes():
    chances = np.random.default_rng(0).random(10)
    for count in range(-1, 11):
        by_hand = sum(
            np.prod(np.where(hits, chances, 1 - chances))
            for hits in product((False, True), repeat=10)
            if sum(hits) <= count
        )
        if count >= 0:
            assert measure_so_few(count, chances) == pytest.approx(by_hand)


def test_equal_chances_give_the_binomial_distribution_also_for_many_rows():
    assert measure_so_few(7, np.full(40, 0.3)) == pytest.approx(stats.binom.cdf(7, 40, 0.3))
    many = measure_so_few(540, np.full(2000, 0.3))
    assert many == pytest.approx(stats.binom.cdf(540, 2000, 0.3), rel=0.1)


def test_rows_left_out_of_the_sums_are_those_left_out_of_a_fit():
    rng = np.random.default_rng(0)
    states, labels = rng.normal(size=(300, 20)), rng.integers(3, size=300)
    text = Text(csr_matrix((300, 1)), states, labels, 3, np.arange(300) < 280)
    rows = np.array([3, 50, 51, 200])
    margins = StatesAlone(text).predict(rows)
    known = np.setdiff1d(np.arange(280), rows)
    scaled = (states - states[:280].mean(axis=0)) / (states[:280].std(axis=0) + 1e-6)
    targets = (2 * np.eye(3) - 1)[labels]
    expected = Ridge(alpha=300.0).fit(scaled[known], targets[known]).predict(scaled[rows])
    for label in range(3):
        assert np.corrcoef(margins[:, label], expected[:, label])[0, 1] == pytest.approx(1)
        ratio = margins[:, label] / expected[:, label]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
