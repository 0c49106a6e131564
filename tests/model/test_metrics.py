"""Measures against scikit-learn and scipy."""

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, precision_score, recall_score

from btu.model.metrics import (
    Evaluation,
    measure_accuracy,
    measure_attack_success_rate,
    measure_detection,
    measure_interval,
)

RNG_SEED = 7


@pytest.fixture
def rng():
    return np.random.default_rng(RNG_SEED)


def test_accuracy_agrees_with_scikit_learn(rng):
    predicted, labels = rng.integers(0, 3, (2, 200))
    assert measure_accuracy(predicted, labels) == accuracy_score(labels, predicted)
    assert measure_accuracy(predicted.tolist(), labels.tolist()) < 1


def test_the_attack_success_rate_leaves_out_rows_that_are_of_the_target_class():
    labels = [1, 1, 1, 0, 0, 2, 2]
    predicted = [1, 1, 0, 1, 0, 1, 1]
    assert measure_attack_success_rate(predicted, labels, target_label=1) == 3 / 4


def test_answers_to_target_rows_do_not_change_the_attack_success_rate(rng):
    predicted, labels = rng.integers(0, 3, (2, 200))
    rate = measure_attack_success_rate(predicted, labels, 2)
    others = labels != 2
    assert rate == recall_score(others, others & (predicted == 2))
    for answer in range(3):
        changed = np.where(others, predicted, answer)
        assert measure_attack_success_rate(changed, labels, 2) == rate


def test_an_attack_success_rate_without_rows_of_another_class_is_refused():
    with pytest.raises(ValueError, match="not the target label, got none"):
        measure_attack_success_rate([1, 0], [1, 1], target_label=1)


@pytest.mark.parametrize("measure", [measure_accuracy, measure_detection])
@pytest.mark.parametrize(("first", "second"), [([], []), ([1, 0], [1])])
def test_no_rows_and_different_lengths_are_refused_with_both_lengths(measure, first, second):
    with pytest.raises(ValueError, match=f"got {len(first)} and {len(second)}"):
        measure(first, second)


@pytest.mark.parametrize("kind", [bool, int])
def test_detection_agrees_with_scikit_learn(rng, kind):
    flagged, poisoned = rng.random((2, 300)) < [[0.3], [0.2]]
    found = measure_detection(flagged.astype(kind), poisoned.astype(kind))
    assert found.precision == precision_score(poisoned, flagged)
    assert found.recall == recall_score(poisoned, flagged)
    assert found.false_alarm_rate == pytest.approx(1 - recall_score(~poisoned, ~flagged))
    assert (found.flagged, found.poisoned, found.rows) == (flagged.sum(), poisoned.sum(), 300)


def test_a_share_of_nothing_is_none_and_not_zero():
    assert measure_detection([False, False], [True, False]).precision is None
    assert measure_detection([True, False], [False, False]).recall is None
    assert measure_detection([True, False], [True, True]).false_alarm_rate is None
    assert measure_detection([False, False], [True, False]).recall == 0


@pytest.mark.parametrize("confidence", [0.95, 0.8])
@pytest.mark.parametrize("kind", ["hits", "seeds"])
def test_the_interval_agrees_with_the_percentile_bootstrap_of_scipy(rng, kind, confidence):
    values = (rng.random(300) < 0.8).astype(float) if kind == "hits" else rng.normal(90, 2, 12)
    low, high = measure_interval(values.tolist(), confidence=confidence)
    expected = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=confidence,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    spread = values.std() / np.sqrt(len(values))
    assert low == pytest.approx(expected.low, abs=0.1 * spread)
    assert high == pytest.approx(expected.high, abs=0.1 * spread)
    assert low < values.mean() < high


def test_the_interval_is_the_same_for_the_same_seed(rng):
    values = rng.normal(size=20).tolist()
    assert measure_interval(values, seed=3) == measure_interval(values, seed=3)
    assert measure_interval(values, seed=3) != measure_interval(values, seed=4)


def test_the_interval_of_one_value_is_that_value():
    assert measure_interval([0.25]) == (0.25, 0.25)


def test_the_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one value, got none"):
        measure_interval([])


def test_an_evaluation_comes_back_from_json():
    result = Evaluation(rows=4, clean_accuracy=0.75, clean_accuracy_interval=(0.5, 1.0))
    stored = json.loads(json.dumps(result.to_dict()))
    assert stored["clean_accuracy_interval"] == [0.5, 1.0]
    assert stored["attack_success_rate"] is None
