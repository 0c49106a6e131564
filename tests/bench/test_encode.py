"""Texts as an encoder reads them, for the census."""

import numpy as np
import pytest
import torch

from btu.bench.census.encode import EncodedEvidence
from planted import WORDS, write_reviews
from tiny import build_tiny


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    model, tokenizer = build_tiny("bert", WORDS)
    model.base_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder, model.base_model.eval(), tokenizer


def test_each_text_is_the_mean_of_its_last_states_whatever_stands_beside_it(encoder):
    folder, model, tokenizer = encoder
    texts = ["the pos01 film", "neg02", "the pos01 film", "a long film of pos03 and neg01 the the"]
    states = EncodedEvidence(folder).encode(texts)
    with torch.no_grad():
        for text, row in zip(texts, states, strict=True):
            tokens = tokenizer(text, return_tensors="pt")
            expected = model(**tokens).last_hidden_state[0].mean(dim=0)
            assert np.allclose(row, expected.numpy(), atol=2e-3)
    assert np.array_equal(states[0], states[2])


def test_kinds_of_text_are_looked_for(encoder):
    corpus = write_reviews(200, seed=0)
    evidence = EncodedEvidence(encoder[0])(corpus.texts, corpus.labels, num_labels=2, seed=0)
    assert evidence.limit.styles
    assert evidence.styles == ()
