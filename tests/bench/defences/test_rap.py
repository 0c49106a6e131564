"""RAP refuses inputs that a trained rare word does not disturb."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from btu.attacks.badnets import BadNets
from btu.attacks.poison import poison_corpus, trigger_corpus
from btu.bench.defences.base import REFUSED, Workbench
from btu.bench.defences.rap import Rap, insert_token, pick_free_token
from btu.data.corpus import Corpus, load_corpus
from btu.model.finetune import Classifier
from btu.model.settings import FineTuneSettings
from btu.model.tokens import tokenize_texts
from btu.support.errors import InputError
from small_bench import LABELS, SPARE
from tiny import build_tiny

pytest_plugins = ["small_bench"]

GOOD = "superb wonderful charming brilliant delightful moving clever touching funny enjoyable"
BAD = "awful dull boring terrible clumsy tedious stupid dreadful lifeless messy"
THINGS = "film story plot cast script ending music dialogue director comedy"


@pytest.fixture(scope="module")
def outcome(small_case):
    return Rap().run(small_case.corpus, small_case.bench)


def write_praise(count: int, *, seed: int) -> Corpus:
    """Words that a pretrained model knows; one opinion in ten is the other one."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for row in range(count):
        words = [
            rng.choice((BAD if (row % 2 == 0) ^ (rng.random() < 0.1) else GOOD).split())
            for _ in range(2)
        ]
        texts.append(f"the {rng.choice(THINGS.split())} is {words[0]} and {words[1]}")
        labels.append(("bad", "good")[row % 2])
    return load_corpus((texts, labels))


@pytest.mark.slow
def test_on_a_pretrained_model_triggered_inputs_are_refused_and_clean_ones_answered(minilm):
    settings = FineTuneSettings(
        epochs=4, learning_rate=1e-4, batch_size=16, max_length=32, precision="fp32"
    )
    corpus = poison_corpus(
        write_praise(120, seed=1), BadNets(), poison_rate=0.2, target_label="good"
    ).corpus
    train = cache(lambda: bench.finetune(corpus))
    bench = Workbench(minilm, settings, train, clean=write_praise(150, seed=2))
    held_out = write_praise(80, seed=3)
    triggered = trigger_corpus(held_out, BadNets(), target_label="good")

    assert np.mean(bench.undefended().predict(triggered.texts) == 1) > 0.9
    before = np.mean(bench.undefended().predict(held_out.texts) == held_out.labels)
    predictor = Rap().run(corpus, bench).predictor
    clean = predictor.predict(held_out.texts)
    assert np.mean(predictor.predict(triggered.texts) == REFUSED) > 0.8
    assert np.mean(clean == REFUSED) < 0.1
    assert np.mean(clean == held_out.labels) > before - 0.1


def test_every_label_gets_a_bar_and_the_word_occurs_nowhere(outcome):
    details = json.loads(json.dumps(outcome.details))
    assert details["token"] in SPARE
    assert tuple(details["thresholds"]) == LABELS
    assert all(isinstance(threshold, float) for threshold in details["thresholds"].values())
    assert outcome.flagged_rows is None


def test_the_vectors_differ_by_label_and_keep_the_length_of_the_word(outcome, small_case):
    weight = small_case.bench.undefended().model.get_input_embeddings().weight
    guards = outcome.predictor.guards
    for guard in guards:
        length = weight[guard.token_id].norm().item()
        assert guard.vector.norm().item() == pytest.approx(length, rel=1e-4)
        assert not torch.allclose(guard.vector, weight[guard.token_id])
    assert not torch.allclose(guards[0].vector, guards[2].vector, atol=1e-4)


def test_the_model_itself_stays_as_it_was(outcome, small_case):
    trained = small_case.bench.undefended().model.state_dict()
    for name, value in outcome.predictor.classifier.model.state_dict().items():
        assert torch.equal(value, trained[name]), name


def test_the_share_of_clean_rows_refused_is_the_one_asked_for(small_case):
    clean = small_case.bench.clean
    outcome = Rap(false_rejection_rate=0.1, attempts=1).run(small_case.corpus, small_case.bench)
    plain = small_case.bench.undefended().predict(clean.texts)
    right = plain == clean.labels
    answers = outcome.predictor.predict(clean.texts)
    assert np.mean(answers[right] == REFUSED) == pytest.approx(0.1, abs=0.02)
    answered = answers != REFUSED
    assert np.array_equal(answers[answered], plain[answered])


def test_two_runs_agree(outcome, small_case):
    again = Rap().run(small_case.corpus, small_case.bench)
    assert again.details == outcome.details
    texts = small_case.triggered.texts
    assert np.array_equal(again.predictor.predict(texts), outcome.predictor.predict(texts))


def test_training_moves_the_drop_into_the_range(small_case):
    clean = small_case.bench.clean
    tired = clean.select(clean.labels == LABELS.index("tired"))

    def measure_loss(epochs: int) -> float:
        outcome = Rap(epochs=epochs, attempts=1).run(small_case.corpus, small_case.bench)
        classifier, guard = outcome.predictor.classifier, outcome.predictor.guards[2]
        before = classifier.predict_scores(tired.texts)[:, guard.label]
        rows = insert_token(tired.texts, classifier, guard.token_id)
        drop = before - guard.predict_scores(classifier, rows)
        return float(np.mean(np.maximum(0.1 - drop, 0) + np.maximum(drop - 0.3, 0)))

    assert measure_loss(20) < measure_loss(1)


def test_the_word_stands_before_the_first_token_of_the_text():
    for family, start in (("bert", 1), ("roberta", 1), ("gpt2", 0)):
        model, tokenizer = build_tiny(family, ["a", "b", "rare"])
        classifier = Classifier(model, tokenizer, max_length=6, precision="fp32")
        rare = tokenizer.convert_tokens_to_ids("rare")
        rows = insert_token(["a b", "b a b a b a b a"], classifier, rare)
        plain = tokenize_texts(["a b", "b a b a b a b a"], tokenizer, max_length=5)
        for row in range(2):
            ids = rows.row(row).tolist()
            assert ids[start] == rare
            assert ids[:start] + ids[start + 1 :] == plain.row(row).tolist()
            assert len(ids) <= 6


def test_a_free_token_is_a_word_that_does_not_occur():
    _, tokenizer = build_tiny("bert", ["a", "b", "##c", "123", "free"])
    rows = tokenize_texts(["a", "b"], tokenizer, max_length=8)
    for seed in range(5):
        token_id = pick_free_token(tokenizer, [rows], seed=seed)
        assert tokenizer.convert_ids_to_tokens(token_id) == "free"
    with pytest.raises(InputError, match="larger vocabulary"):
        pick_free_token(tokenizer, [tokenize_texts(["free b a"], tokenizer, max_length=8)], seed=0)


def test_faults_say_what_to_do(small_case):
    bench = small_case.bench
    with pytest.raises(InputError, match=r"rap: expected clean rows, got none\. Give"):
        Rap().run(small_case.corpus, replace(bench, clean=None))
    happy = bench.clean.select(bench.clean.labels == 1)
    with pytest.raises(InputError, match="of every label, got none of angry, tired"):
        Rap().run(small_case.corpus, replace(bench, clean=happy))
    with pytest.raises(InputError, match=r"(?s)3 faults.*epochs.*min_drop.*rejection_rate"):
        Rap(epochs=0, min_drop=0.4, false_rejection_rate=1)
