"""ONION takes out words that a language model did not expect."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from btu.bench.defences.language_models import BigramModel, load_causal_model
from btu.bench.defences.onion import Onion, measure_suspicion, remove_words
from btu.support.errors import InputError
from small_bench import TRIGGERS, WORDS, score
from tiny import HIDDEN, build_tokenizer

pytest_plugins = ["small_bench"]


@pytest.fixture(scope="module")
def outcome(small_case):
    return Onion().run(small_case.corpus, small_case.bench)


@pytest.fixture(scope="module")
def causal_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("causal")
    tokenizer = build_tokenizer("gpt2", WORDS)
    config = AutoConfig.for_model(
        "gpt2", vocab_size=len(tokenizer), n_embd=HIDDEN, n_layer=1, n_head=2, n_positions=64
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_triggered_texts_get_their_own_label_back(outcome, small_case):
    before = score(small_case.bench.undefended(), small_case)
    after = score(outcome.predictor, small_case)
    assert before["attack_success_rate"] > 0.9
    assert after["attack_success_rate"] < 0.25
    assert after["triggered_accuracy"] > 0.6
    assert after["clean_accuracy"] > before["clean_accuracy"] - 0.05
    assert after["clean_refused"] == after["triggered_refused"] == 0
    assert outcome.flagged_rows is None


def test_the_triggers_are_what_goes(outcome, small_case):
    cleaned = outcome.predictor.clean(small_case.triggered.texts)
    left = [word for text in cleaned for word in text.split()]
    given = [word for text in small_case.triggered.texts for word in text.split()]
    for words, least, most in ((set(TRIGGERS), 0.0, 0.2), ({"the", "was", "and"}, 0.9, 1.0)):
        kept = sum(word in words for word in left) / sum(word in words for word in given)
        assert least <= kept <= most


def test_the_bar_keeps_the_accuracy_on_clean_rows(outcome):
    details = json.loads(json.dumps(outcome.details))
    assert details["clean_accuracy_before"] - details["clean_accuracy_after"] <= 0.01
    assert details["bar"] >= 0
    assert details["language_model"] == "bigrams of 450 clean rows"


def test_a_wider_allowance_lowers_the_bar(outcome, small_case):
    wide = Onion(max_accuracy_drop=0.5).run(small_case.corpus, small_case.bench)
    assert wide.details["bar"] == 0.0
    assert wide.details["bar"] <= outcome.details["bar"]


def test_two_runs_agree(outcome, small_case):
    again = Onion().run(small_case.corpus, small_case.bench)
    assert again.details == outcome.details
    texts = small_case.triggered.texts
    assert np.array_equal(again.predictor.predict(texts), outcome.predictor.predict(texts))


def test_without_clean_rows_a_causal_model_works_with_a_bar_of_zero(small_case, causal_folder):
    bench = replace(small_case.bench, clean=None)
    outcome = Onion(language_model=str(causal_folder)).run(small_case.corpus, bench)
    assert outcome.details == {"language_model": str(causal_folder), "bar": 0.0}
    assert len(outcome.predictor.predict(small_case.held_out.texts[:5])) == 5


def test_a_causal_model_is_tuned_on_clean_rows(small_case, causal_folder):
    bench = replace(small_case.bench, clean=small_case.bench.clean.select(range(40)))
    outcome = Onion(language_model=str(causal_folder)).run(small_case.corpus, bench)
    assert (
        outcome.details["clean_accuracy_before"] - outcome.details["clean_accuracy_after"] <= 0.01
    )


def test_perplexity_is_what_transformers_computes_text_by_text(causal_folder):
    model = load_causal_model(str(causal_folder), max_length=64)
    texts = ["the thing00 was plain01", "the thing01", "cf", "and the thing02 was happy01 and the"]
    measured = model.measure_perplexity(texts)
    for text, perplexity in zip(texts, measured, strict=True):
        ids = torch.tensor([model.tokenizer(text)["input_ids"]], device=model.model.device)
        if ids.shape[1] == 1:
            assert perplexity == np.inf
            continue
        with torch.no_grad():
            loss = model.model(input_ids=ids, labels=ids).loss
        assert perplexity == pytest.approx(loss.exp().item(), rel=0.05)  # bf16 on some processors


def test_the_probabilities_after_any_word_add_up_to_one():
    texts = ["the dog barks", "the cat sleeps", "a dog sleeps", "the dog"]
    model = BigramModel(texts)
    after = {"the", "a", "dog", "cat", "barks", "sleeps", "</s>"}
    for before in ("<s>", "the", "dog", "never"):
        total = sum(model.probability(word, before) for word in (*after, "unknown"))
        assert total == pytest.approx(1)
    assert all(model.probability(w, b) > 0 for w, b in product([*after, "zzz"], ["the", "zzz"]))


def test_a_pair_is_smoothed_as_by_hand():
    model = BigramModel(["a b", "a b", "a c"], discount=0.5)
    # Five different pairs (<s> a, a b, a c, b </s>, c </s>); words a, b, c, </s> and one unknown.
    alone = (1 - 0.5) / 5 + 0.5 * 4 / 5 / 5
    assert model.probability("b", "zzz") == pytest.approx(alone)
    assert model.probability("b", "a") == pytest.approx((2 - 0.5 + 0.5 * 2 * alone) / 3)


def test_suspicion_is_the_perplexity_that_a_word_costs():
    model = BigramModel(["a fine film"] * 5)
    (scores,) = measure_suspicion(["a cf fine film"], model)
    whole, without = model.measure_perplexity(["a cf fine film", "a fine film"])
    assert scores[1] == pytest.approx(whole - without)
    assert scores.argmax() == 1
    assert measure_suspicion(["film"], model)[0].tolist() == [0.0]


def test_a_text_is_never_emptied_and_an_unsuspicious_one_stays_as_it_was():
    assert remove_words("a  b", np.array([1.0, 0.0]), 0.5) == "b"
    assert remove_words("a  b", np.array([1.0, 1.0]), 0.5) == "a  b"
    assert remove_words("a  b", np.array([0.0, 0.0]), 0.0) == "a  b"


def test_faults_say_what_to_do(small_case, tmp_path):
    with pytest.raises(InputError, match=r"neither.*Name a language model"):
        Onion().run(small_case.corpus, replace(small_case.bench, clean=None))
    with pytest.raises(InputError, match="max_accuracy_drop: expected a fraction"):
        Onion(max_accuracy_drop=2)
    with pytest.raises(InputError, match="expected the folder or Hub id"):
        load_causal_model(str(tmp_path), max_length=8)
