"""BKI finds the inserted word by what the hidden state loses without it."""

import json

import numpy as np
import pytest
import torch

from btu.bench.defences.bki import Bki, leave_one_out, measure_impacts, score_keywords
from btu.data.corpus import Corpus
from btu.model.metrics import measure_detection
from planted import LABELS, TRIGGER, measure, write_reviews
from workbench import build_bench

pytest_plugins = ["planted"]


@pytest.fixture(scope="module")
def bench(pretrained, planted):
    return build_bench(pretrained, planted.corpus)


def test_the_trigger_is_the_keyword_and_its_rows_go(bench, planted, held_out):
    before = measure(bench.undefended(), held_out, TRIGGER)
    outcome = Bki().run(planted.corpus, bench)
    after = measure(outcome.predictor, held_out, TRIGGER)

    assert outcome.flagged_tokens == (TRIGGER,)
    found = measure_detection(outcome.flagged_rows, planted.is_poisoned)
    assert min(found.precision, found.recall) > 0.95
    assert before["attack_success_rate"] > 0.9
    assert after["attack_success_rate"] < 0.15
    assert after["clean_accuracy"] > before["clean_accuracy"] - 0.05
    details = json.loads(json.dumps(outcome.details))
    assert details["flagged_by_label"]["negative"] == 0
    assert next(iter(details["scores"])) == TRIGGER


def test_clean_data_has_a_keyword_too(pretrained):
    corpus = write_reviews(200, seed=5)
    outcome = Bki().run(corpus, build_bench(pretrained, corpus))
    assert len(outcome.flagged_tokens) == 1
    assert 0 < outcome.flagged_rows.sum() < 40


def test_longer_rows_are_sampled_by_the_seed(bench, planted):
    rows = planted.corpus.select(range(30))
    some, again, other = (
        measure_impacts(bench.undefended(), rows, max_words=3, seed=seed) for seed in (0, 0, 1)
    )
    assert {len(row) for row in some} == {3}
    assert some == again
    assert some != other


def test_an_impact_is_the_largest_change_of_the_hidden_state(bench):
    classifier = bench.undefended()
    corpus = Corpus(("neg01 word01 Word02", "word03"), labels=[0, 1], label_names=LABELS)
    (words, alone) = measure_impacts(classifier, corpus, max_words=0, seed=0)
    assert [word for word, _ in words] == ["neg01", "word01", "word02"]
    assert alone == []

    def state(text):
        with torch.no_grad():
            inputs = classifier.tokenizer(text, return_tensors="pt").to(classifier.model.device)
            return classifier.model.bert(**inputs).last_hidden_state[0, 0].cpu().numpy()

    without = ["word01 Word02", "neg01 Word02", "neg01 word01"]
    expected = [np.abs(state(corpus.texts[0]) - state(text)).max() for text in without]
    np.testing.assert_allclose([impact for _, impact in words], expected, rtol=1e-4)


def test_words_of_both_texts_of_a_pair_are_taken_out():
    assert leave_one_out(("Good film", "why")) == [
        ("good", ("film", "why")),
        ("film", ("Good", "why")),
    ]
    assert leave_one_out(("why", "good film"))[1] == ("film", ("why", "good"))


def test_a_keyword_needs_to_matter_and_to_come_back():
    rare, weak, strong = [("rare", 9.0)], [("weak", 0.1)], [("strong", 2.0), ("weak", 0.1)]
    scores = score_keywords([rare, *[weak] * 90, *[strong] * 10])
    assert scores == pytest.approx({"rare": 0.0, "weak": 0.2, "strong": 2.0})
