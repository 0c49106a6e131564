"""Hidden states of rows, and training on the rows that are left."""

import numpy as np
import pytest
import torch

from btu.bench.defences.base import Workbench
from btu.bench.defences.filtering import finetune_without, measure_states
from btu.model.finetune import Classifier
from btu.model.tokens import tokenize_texts
from btu.support.errors import InputError
from planted import FINETUNE, write_reviews
from tiny import FAMILIES, HIDDEN, build_tiny

WORDS = ["good", "bad", "film", "the", "was"]
TEXTS = ["the film was good", "bad", "good good film", "the bad film was the bad film"]


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_the_token_that_the_family_classifies_by(family):
    model, tokenizer = build_tiny(family, WORDS)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    rows = tokenize_texts(TEXTS, tokenizer, max_length=32)
    states = measure_states(Classifier(model, tokenizer, 32, "fp32"), rows, batch_size=3)
    assert states.shape == (4, HIDDEN)
    place = -1 if family in ("gpt2", "llama", "qwen3", "gemma3_text") else 0
    for text, state in zip(TEXTS, states, strict=True):
        with torch.no_grad():
            inputs = tokenizer(text, return_tensors="pt").to(model.device)
            hidden = model(**inputs, output_hidden_states=True)
        expected = hidden.hidden_states[-1][0, place].cpu().numpy()
        np.testing.assert_allclose(state, expected, rtol=1e-4, atol=1e-5)


def test_with_no_row_flagged_the_undefended_model_is_the_answer(tmp_path):
    corpus, undefended = write_reviews(10, seed=0), Classifier(*build_tiny("bert", WORDS))
    bench = Workbench(tmp_path / "no such model", FINETUNE, lambda: undefended)
    given = finetune_without(np.zeros(10, dtype=bool), corpus, bench)
    assert given.predict(TEXTS).tolist() == undefended.predict(TEXTS).tolist()
    assert given.model is not undefended.model


def test_with_every_row_flagged_there_is_nothing_to_train_on(tmp_path):
    bench = Workbench(tmp_path, FINETUNE, lambda: pytest.fail("asked for the undefended model"))
    with pytest.raises(InputError, match="expected rows to train on, got none: all 10 are flagged"):
        finetune_without(np.ones(10, dtype=bool), write_reviews(10, seed=0), bench)
