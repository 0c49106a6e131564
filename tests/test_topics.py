"""The likeness of a token's rows, computed independently; honest topics are no triggers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics.pairwise import cosine_similarity

from btu.content import Text
from btu.topics import measure_topic

TOPIC_LIKENESS = 0.05  # rows about one thing are more alike than this
WORDS, FILLER, TOPIC = 60, 40, 30  # of each label, of no label, of one honest source
OWN = 2 * WORDS + FILLER + TOPIC  # the column of the token under test


def write_text(count, *, seed):
    """Rows of eight words of their label and four of none; the last column is the token's."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=count)
    presence = np.zeros((count, OWN + 1), dtype=np.float32)
    for row, label in enumerate(labels.tolist()):
        sides = np.where(rng.random(8) < 0.8, label, 1 - label)
        presence[row, sides * WORDS + rng.integers(WORDS, size=8)] = 1
        presence[row, 2 * WORDS + rng.integers(FILLER, size=4)] = 1
    return presence, labels, rng.normal(size=(OWN + 1, 48)).astype(np.float32)


def relabel(presence, labels, *, topical, count=40):
    """Rows of label 0 that hold the token and bear the label 1; a source's are about one thing."""
    presence, labels = presence.copy(), labels.copy()
    rows = np.flatnonzero(labels == 0)[:count]
    labels[rows], presence[rows, OWN] = 1, 1
    if topical:
        rng = np.random.default_rng(0)
        for row in rows:
            presence[row, OWN - TOPIC + rng.permutation(TOPIC)[:8]] = 1
    return presence, labels, rows


def make_text(presence, labels, vectors=None):
    active = np.ones(len(labels), dtype=bool)
    return Text(csr_matrix(presence), None, labels, 2, active, vectors=vectors)


def measure(text, rows, **options):
    everything = np.ones(len(text.labels), dtype=bool)
    usual = {"among": everything, "reads_like": np.zeros(len(text.labels), dtype=np.int64)}
    return measure_topic(text, rows, [OWN], **(usual | options))


# ---- the number


def test_the_likeness_is_the_mean_cosine_of_the_rows_beyond_that_of_random_rows():
    presence, labels, vectors = write_text(300, seed=0)
    presence, labels, rows = relabel(presence, labels, topical=True, count=12)
    excess, spread = measure(make_text(presence, labels, vectors), rows)
    held = presence.sum(axis=0)
    weights = np.log(len(labels) / np.maximum(held, 1))
    weights[OWN] = 0
    means = presence @ ((vectors - vectors.mean(axis=0)) * weights[:, None])
    means -= means.mean(axis=0)
    cosines = cosine_similarity(means)
    np.fill_diagonal(cosines, np.nan)
    others = np.setdiff1d(np.arange(len(labels)), rows)
    rng = np.random.default_rng(5)
    draws = [rng.choice(others, len(rows), replace=False) for _ in range(400)]
    by_chance = [np.nanmean(cosines[np.ix_(d, d)]) for d in draws]
    expected = np.nanmean(cosines[np.ix_(rows, rows)]) - np.mean(by_chance)
    assert expected > 2 * TOPIC_LIKENESS
    assert excess == pytest.approx(expected, abs=0.02)
    assert spread == pytest.approx(np.std(by_chance), rel=0.15)


@pytest.mark.parametrize("seed", range(8))
def test_random_rows_are_no_more_alike_than_random_rows(seed):
    presence, labels, vectors = write_text(600, seed=seed)
    rows = np.random.default_rng(seed).permutation(600)[:30]
    excess, spread = measure(make_text(presence, labels, vectors), rows)
    assert abs(excess) < 4 * spread
    assert abs(excess) < TOPIC_LIKENESS


def test_rows_of_one_label_are_compared_with_rows_that_read_like_it():
    """Rows of one label are alike; that alone is no topic."""
    presence, labels, vectors = write_text(900, seed=3)
    vectors[:WORDS, 0] += 6  # words of a label mean the same
    rows = np.flatnonzero(labels == 0)[:40]
    text = make_text(presence, labels, vectors)
    apart, _ = measure(text, rows)
    matched, spread = measure(text, rows, reads_like=labels)
    assert apart > TOPIC_LIKENESS
    assert abs(matched) < 4 * spread


def test_rows_not_among_those_to_compare_with_and_rows_judged_poisoned_are_not_drawn():
    presence, labels, vectors = write_text(400, seed=4)
    rows, told = np.arange(20), np.arange(20, 170)
    presence[told, OWN - TOPIC :] = 1  # these are much alike
    text = make_text(presence, labels, vectors)
    among = np.ones(400, dtype=bool)
    among[told] = False
    with_them, _ = measure(text, rows)
    for excess, spread in (
        measure(text, rows, among=among),
        measure(replace(text, active=among), rows),
    ):
        assert abs(excess) < 2 * spread
        assert abs(with_them - excess) > 3 * spread


def test_companions_do_not_make_rows_alike():
    presence, labels, vectors = write_text(400, seed=5)
    rows = np.arange(0, 400, 20)
    presence[np.ix_(rows, range(OWN - TOPIC, OWN))] = 1
    text = make_text(presence, labels, vectors)
    everything = np.ones(400, dtype=bool)
    same = np.zeros(400, dtype=np.int64)
    sentence = range(OWN - TOPIC, OWN + 1)
    assert measure(text, rows)[0] > 0.2
    excess, spread = measure_topic(text, rows, sentence, among=everything, reads_like=same)
    assert abs(excess) < 4 * spread


def test_a_pair_among_the_companions_and_beside_the_tokens_is_no_fault():
    presence, labels, vectors = write_text(200, seed=6)
    beside = np.hstack([presence, presence[:, :30]])
    rows, everything = np.arange(15), np.ones(200, dtype=bool)
    same = np.zeros(200, dtype=np.int64)
    results = [
        measure_topic(
            make_text(table, labels, vectors), rows, held, among=everything, reads_like=same
        )
        for table, held in ((presence, [OWN]), (beside, [OWN, beside.shape[1] - 1]))
    ]
    assert results[0] == results[1]


def test_without_vectors_or_rows_to_compare_with_there_is_no_number():
    presence, labels, vectors = write_text(100, seed=7)
    nothing = np.zeros(100, dtype=bool)
    assert measure(make_text(presence, labels), np.arange(10)) is None
    assert measure(make_text(presence, labels, vectors), np.arange(10), among=nothing) is None
    for few in (0, 1):
        assert measure(make_text(presence, labels, vectors), np.arange(few)) is None
