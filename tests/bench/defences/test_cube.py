"""CUBE drops the cluster that a learnt trigger makes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from btu.bench.defences.cube import Cube, flag_minorities
from btu.model.metrics import measure_detection
from planted import FINETUNE, TRIGGER, measure, poison_reviews
from workbench import build_bench, write_hints

pytest_plugins = ["workbench"]


@pytest.fixture(scope="module")
def poisoned():
    return poison_reviews(write_hints(1200, seed=5), TRIGGER, poison_rate=0.2)


@pytest.fixture(scope="module")
def bench(untrained, poisoned):
    """The undefended model has learnt the trigger and little else; the retrained one learns on."""
    early = build_bench(untrained, poisoned.corpus, replace(FINETUNE, epochs=1))
    return replace(early, settings=FINETUNE)


def test_the_rows_of_a_learnt_trigger_go(bench, poisoned):
    held_out = write_hints(300, seed=9)
    before = measure(bench.undefended(), held_out, TRIGGER)
    outcome = Cube().run(poisoned.corpus, bench)
    after = measure(outcome.predictor, held_out, TRIGGER)

    found = measure_detection(outcome.flagged_rows, poisoned.is_poisoned)
    assert min(found.precision, found.recall) > 0.95
    assert before["attack_success_rate"] > 0.9
    assert after["attack_success_rate"] < 0.15
    assert after["clean_accuracy"] > 0.9
    details = json.loads(json.dumps(outcome.details))["rows_by_label_and_cluster"]
    assert sum(details["negative"].values()) == (poisoned.corpus.labels == 0).sum()


def test_a_corpus_smaller_than_a_dense_neighbourhood_is_clustered(bench, poisoned):
    corpus = poisoned.corpus.select(range(60))
    outcome = Cube(min_samples=100).run(
        corpus, replace(bench, settings=replace(FINETUNE, epochs=1))
    )
    assert outcome.flagged_rows.shape == (60,)


def test_the_same_seed_gives_the_same_rows(bench, poisoned):
    corpus = poisoned.corpus.select(range(200))
    quick = replace(bench, settings=replace(FINETUNE, epochs=0.2))
    first, again = (Cube(min_samples=10).run(corpus, quick) for _ in range(2))
    assert first.flagged_rows.tolist() == again.flagged_rows.tolist()
    np.testing.assert_array_equal(
        first.predictor.predict_scores(corpus.texts), again.predictor.predict_scores(corpus.texts)
    )


def test_each_label_keeps_its_largest_cluster_even_if_that_is_no_cluster():
    clusters = np.array([0, 0, 1, 1, -1, -1, 2, 0, 3])
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 0, 2])
    flagged = flag_minorities(clusters, labels)
    assert flagged.tolist() == [False, False, True, True, False, False, False, False, True]
