"""Z-defence finds words that go with one label far more often than chance."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from btu.bench.defences.z_defence import ZDefence, measure_bounds, score_words, split_rows
from btu.data.corpus import Corpus
from btu.model.metrics import measure_detection
from planted import FINETUNE, LABELS, THREE_LABELS, TRIGGER, measure, poison_reviews, write_reviews
from workbench import build_bench

pytest_plugins = ["planted"]


def write_rare(count, *, seed):
    """Reviews that, like real text, hold many words that no other row has."""
    reviews = write_reviews(count, seed=seed)
    rare = [" ".join(f"rare{row}x{i}" for i in range(6)) for row in range(count)]
    return reviews.with_rows(
        texts=[f"{text} {words}" for text, words in zip(reviews.texts, rare, strict=True)]
    )


@pytest.fixture(scope="module")
def poisoned():
    return poison_reviews(write_rare(1600, seed=3), TRIGGER, poison_rate=0.3)


def test_the_trigger_is_an_outlier_and_its_rows_go(pretrained, poisoned, held_out):
    bench = build_bench(pretrained, poisoned.corpus, FINETUNE)
    before = measure(bench.undefended(), held_out, TRIGGER)
    outcome = ZDefence().run(poisoned.corpus, bench)
    after = measure(outcome.predictor, held_out, TRIGGER)

    assert outcome.flagged_tokens == (TRIGGER,)
    found = measure_detection(outcome.flagged_rows, poisoned.is_poisoned)
    assert (found.precision, found.recall) == (1, 1)
    assert before["attack_success_rate"] > 0.9
    assert after["attack_success_rate"] < 0.2
    assert after["clean_accuracy"] > before["clean_accuracy"] - 0.05
    first = json.loads(json.dumps(outcome.details))["scores"][0]
    assert first["word"] == TRIGGER
    assert first["label"] == "positive"
    assert first["z"] == pytest.approx(np.sqrt(480))


def test_clean_data_keeps_all_its_rows_and_the_undefended_model(pretrained):
    corpus = write_rare(200, seed=3)
    bench = build_bench(pretrained, corpus, replace(FINETUNE, epochs=0.5))
    outcome = ZDefence().run(corpus, bench)
    assert outcome.flagged_tokens == ()
    assert not outcome.flagged_rows.any()
    np.testing.assert_array_equal(
        outcome.predictor.predict_scores(corpus.texts),
        bench.undefended().predict_scores(corpus.texts),
    )


def test_a_score_is_the_standardised_count_of_a_binomial():
    corpus = write_reviews(90, seed=0, labels=THREE_LABELS)
    words, labels = split_rows(corpus), corpus.labels
    scores = score_words(corpus)
    for word, label in [("word07", 0), ("word11", 1), ("uns03", 2)]:
        bears = [given for row, given in zip(words, labels, strict=True) for w in row if w == word]
        expected = stats.binom(len(bears), 1 / 3)
        together = bears.count(label)
        assert scores.get((word, label)) == (
            pytest.approx((together - expected.mean()) / expected.std()) if together else None
        )


def test_shares_of_the_labels_can_be_what_is_expected():
    corpus = Corpus(("the",) * 9 + ("the cf",), labels=[0] * 8 + [1] * 2, label_names=LABELS)
    assert score_words(corpus)["the", 0] > 1.5
    shares = score_words(corpus, label_shares=True)
    assert shares["the", 0] == pytest.approx(0)
    assert shares["cf", 1] == pytest.approx((1 - 0.2) / np.sqrt(0.2 * 0.8))


def test_outliers_lie_on_either_side_of_the_mean():
    texts = ("the",) * 400 + tuple(f"x{i}" for i in range(4000))
    labels = [0] * 399 + [1] * 2001 + [0] * 2000
    scores = score_words(Corpus(texts, labels=labels, label_names=LABELS))
    low, high = measure_bounds(scores.values(), 18)
    assert [pair for pair, z in scores.items() if not low <= z <= high] == [("the", 0), ("the", 1)]
    z = stats.zscore([*scores.values()])
    assert ((abs(z) > 18).sum(), len(z)) == (2, len(scores))


def test_signs_are_words_and_both_texts_of_a_pair_count():
    corpus = Corpus(("It's  GOOD, ", "a\u200bb"), [0, 1], LABELS, text_pairs=("why?", "3d"))
    assert split_rows(corpus) == [
        ["it", "'", "s", "good", ",", "why", "?"],
        ["a", "\u200b", "b", "3d"],
    ]
