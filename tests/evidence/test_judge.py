"""Units judged: planted ones stand out from all honest units of the same corpus."""

import numpy as np
import pytest
from scipy.stats import norm

from btu.evidence.bars import BUDGET, LEAST_ROWS
from btu.evidence.judge import STORIES, _cell_likelihood
from btu.evidence.planting import plant_words
from btu.evidence.search import Round
from btu.evidence.view import View
from evidence.texts import insert, plant, write_rows


def judge(rows):
    view = View.of(rows.texts, rows.labels, int(rows.labels.max()) + 1)
    planted, neighbours = plant_words(view.words)
    return Round.of(view, neighbours, planted)


def name_tested(now):
    names = now.view.words.names
    ids = now.units.words_of(now.view.words)
    return [" ".join(names[i] for i in ids[unit]) for unit in now.judged.tested.tolist()]


@pytest.fixture(scope="module")
def planted():
    return judge(plant(write_rows(600, seed=1), "cf", 40)[0])


@pytest.mark.parametrize("num_labels", [2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_no_honest_unit_passes_the_budget(seed, num_labels):
    judged = judge(write_rows(400, seed=seed, num_labels=num_labels)).judged
    assert len(judged.tested) > 50
    assert judged.false_alarms.min() > BUDGET.value


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_word_scores_far_above_all_others(seed):
    now = judge(plant(write_rows(600, seed=seed), "cf", 40, seed=seed)[0])
    names, scores = name_tested(now), now.judged.scores.score
    place = names.index("cf")
    assert scores[place] > np.delete(scores, place).max() + 2
    assert now.judged.false_alarms[place] < BUDGET.value / 5


def test_a_word_put_into_rows_of_other_labels_is_told_as_that(planted):
    place = name_tested(planted).index("cf")
    scores = planted.judged.scores
    assert STORIES[scores.story[place]] == "inserted"
    assert scores.part[place] == 1
    assert scores.placement[place] > 1
    assert scores.content[place] > 1


@pytest.mark.parametrize("seed", range(3))
def test_a_word_in_rows_that_keep_their_label_reads_like_its_label(seed):
    rows = write_rows(600, seed=seed)
    now = judge(rows.change(rows.of(1, 120), insert("cf", seed)))
    place = name_tested(now).index("cf")
    unit = now.judged.tested[place]
    assert STORIES[now.judged.scores.story[place]] == "kept"
    assert now.measures.share[unit] == pytest.approx(0, abs=0.25)


def test_rows_of_other_labels_read_like_them_without_the_planted_word(planted):
    unit = planted.judged.tested[name_tested(planted).index("cf")]
    measures = planted.measures
    assert (measures.rows[unit], measures.labelled[unit], measures.label[unit]) == (40, 40, 1)
    assert measures.share[unit] == pytest.approx(1, abs=0.25)
    assert measures.base[unit] == pytest.approx(planted.view.shares[1])


def test_only_units_in_enough_rows_of_their_label_are_tested(planted):
    labelled = planted.measures.labelled
    enough = np.flatnonzero(labelled >= LEAST_ROWS.value)
    assert planted.judged.tested.tolist() == enough.tolist()
    assert len(enough) < len(labelled)


def test_more_score_is_fewer_false_alarms(planted):
    judged = planted.judged
    for step in judged.rulers:
        bound = judged.bound_false_alarms(np.array([-1e9, -5.0, 0.0, 5.0, 1e9]), step)
        assert (np.diff(bound) < 0).all()
        assert np.isfinite(bound).all()


def test_a_size_is_the_nearest_that_there_is(planted):
    judged = planted.judged
    for step in judged.rulers:
        assert judged.step_of(2**step) == step
    assert judged.step_of(10**6) == max(judged.rulers)
    assert judged.step_of(0) == min(judged.rulers)
    assert set(judged.steps.tolist()) == set(judged.rulers)


def test_a_corpus_without_units_is_judged_as_empty():
    now = judge(write_rows(8))
    assert len(now.judged.tested) == len(now.judged.false_alarms) == 0


@pytest.mark.parametrize("noise", [0.01, 0.3, 40.0])
def test_cells_out_of_reach_are_told_as_nothing_and_the_others_as_they_are(noise):
    edges = np.linspace(-3.0, 5.0, 41)
    found = np.array([-9.0, -3.0, 0.07, 4.99, 5.0, 11.0])
    told = _cell_likelihood(found, edges, np.full(len(found), noise))
    every = np.diff(norm.cdf((edges - found[:, None]) / noise), axis=1) / 0.2
    np.testing.assert_allclose(told, every, rtol=1e-6, atol=1e-15)
    inside = (found >= edges[0]) & (found <= edges[-1])
    assert (told[inside].max(axis=1) > 0).all()
