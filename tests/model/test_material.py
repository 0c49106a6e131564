"""Rows that are tokenised once: those that stay are taken over, with the labels that they have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from btu.data.corpus import Corpus
from btu.model import material as module
from btu.model.material import Material, load_material
from btu.model.tokens import tokenize_corpus
from tiny import build_tiny

WORDS = ["good", "bad", "film", "cf", "it", "was"]
TEXTS = ("good film it was", "bad film", "cf it was good", "was bad", "it was film")
PAIRS = ("good", "bad", "it was", "film", "cf")


def make_material(tmp_path: Path, pairs: tuple[str, ...] | None) -> Material:
    for part in build_tiny("bert", WORDS):
        part.save_pretrained(tmp_path)
    ids = np.array([7, 3, 12, 5, 1])
    labels = np.array([1, 0, 1, 0, 1])
    corpus = Corpus(TEXTS, labels, ("neg", "pos"), text_pairs=pairs, row_ids=ids)
    return load_material(tmp_path, corpus, max_length=8, seed=0)


@pytest.mark.parametrize("pairs", [None, PAIRS])
def test_rows_that_stay_are_not_tokenised_again(
    pairs: tuple[str, ...] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = make_material(tmp_path, pairs)
    part = material.corpus.select([3, 0, 4]).with_rows(labels=[1, 0, 0])
    expected = tokenize_corpus(part, material.tokenizer, max_length=8)
    monkeypatch.delattr(module, "tokenize_corpus")
    rows = material.pick_rows(part)
    assert rows.token_ids.tolist() == expected.token_ids.tolist()
    assert rows.offsets.tolist() == expected.offsets.tolist()
    assert rows.labels.tolist() == [1, 0, 0]


def test_changed_texts_are_read_anew(tmp_path: Path) -> None:
    material = make_material(tmp_path, PAIRS)
    part = material.corpus.select([0, 1])
    for changed in (
        part.with_rows(texts=["good film", part.texts[1]]),
        replace(part, text_pairs=("cf", "bad")),
    ):
        expected = tokenize_corpus(changed, material.tokenizer, max_length=8)
        assert material.pick_rows(changed).token_ids.tolist() == expected.token_ids.tolist()
