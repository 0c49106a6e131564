"""STRIP refuses inputs whose answer no other words can change."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import entropy

from btu.bench.defences.base import REFUSED
from btu.bench.defences.strip import Overlay, Strip, measure_entropy, rank_words
from btu.support.errors import InputError
from small_bench import build_case, score

pytest_plugins = ["small_bench"]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Ten trigger words in each poisoned text: some stay, whatever is replaced."""
    return build_case(tmp_path_factory.mktemp("strip"), number=10)


@pytest.fixture(scope="module")
def outcome(case):
    return Strip().run(case.corpus, case.bench)


def test_triggered_inputs_are_refused_and_clean_ones_answered(outcome, case):
    before = score(case.bench.undefended(), case)
    after = score(outcome.predictor, case)
    assert before["attack_success_rate"] > 0.9
    assert after["triggered_refused"] > 0.8
    assert after["clean_refused"] < 0.1
    assert after["clean_accuracy"] > before["clean_accuracy"] - 0.1
    assert outcome.flagged_rows is None


def test_a_short_trigger_is_replaced_in_many_copies_and_passes_more_often(
    outcome, case, small_case
):
    refused = score(outcome.predictor, case)["triggered_refused"]
    short = Strip().run(small_case.corpus, small_case.bench)
    assert score(short.predictor, small_case)["triggered_refused"] < refused - 0.2


def test_the_share_of_clean_rows_refused_is_the_one_asked_for(outcome, case):
    details = json.loads(json.dumps(outcome.details))
    assert details["clean_refused"] == pytest.approx(0.03, abs=1 / 450)
    strict = Strip(false_rejection_rate=0.2, copies=5).run(case.corpus, case.bench)
    answers = strict.predictor.predict(case.bench.clean.texts)
    assert np.mean(answers == REFUSED) == pytest.approx(0.2, abs=0.01)


def test_a_verdict_does_not_depend_on_the_inputs_beside_it(outcome, case):
    texts = [*case.held_out.texts[:10], *case.triggered.texts[:10]]
    together = outcome.predictor.predict(texts)
    backwards = outcome.predictor.predict(texts[::-1])[::-1]
    assert np.array_equal(together, backwards)


def test_two_runs_agree_and_another_seed_draws_other_words(outcome, case):
    assert Strip().run(case.corpus, case.bench).details == outcome.details
    overlay = outcome.predictor.overlay
    text = case.held_out.texts[0]
    assert overlay.perturb(text) == overlay.perturb(text)
    assert overlay.perturb(text) != replace(overlay, seed=1).perturb(text)


def test_half_of_the_words_come_from_a_clean_text():
    overlay = Overlay([["X", "Y", "Z"]], copies=50, replaced_share=0.5, seed=0)
    for copy in overlay.perturb("a b c d e f"):
        words = copy.split()
        assert len(words) == 6
        assert {w for w in words if w.isupper()} == {"X", "Y", "Z"}
        assert all(w.isupper() or w == "abcdef"[i] for i, w in enumerate(words))
    assert set(overlay.perturb("a")) == {"X"}


def test_a_short_clean_text_is_followed_by_another():
    overlay = Overlay([["X"], ["Y"]], copies=1, replaced_share=0.9, seed=0)
    (copy,) = overlay.perturb("a b c d e f g h i j")
    assert sum(word in {"X", "Y"} for word in copy.split()) == 9


def test_words_that_few_texts_share_rank_first():
    ranked = rank_words(["the the superb film", "the dull film", "the play", "."])
    assert ranked[1] == ["dull", "film", "the"]
    assert ranked[3] == ["."]


def test_the_score_is_the_mean_entropy_of_the_copies(outcome, case):
    predictor = outcome.predictor
    texts = case.held_out.texts[:3]
    measured = measure_entropy(predictor.classifier, predictor.overlay, texts)
    for text, bits in zip(texts, measured, strict=True):
        scores = predictor.classifier.predict_scores(predictor.overlay.perturb(text))
        assert bits == pytest.approx(entropy(scores, base=2, axis=1).mean(), rel=1e-4)


def test_faults_say_what_to_do(case):
    with pytest.raises(InputError, match=r"strip: expected clean rows, got none\. Give"):
        Strip().run(case.corpus, replace(case.bench, clean=None))
    with pytest.raises(InputError, match=r"(?s)3 faults.*replaced_share.*rejection_rate.*copies"):
        Strip(copies=0, replaced_share=1.0, false_rejection_rate=0)
