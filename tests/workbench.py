"""A workbench for the defences that retrain: a tiny model, trained undefended once.

A test module asks for `untrained` with `pytest_plugins = ["workbench"]`. (Nothing is asserted here:
PYTEST_DONT_REWRITE.)
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from btu.bench.defences.base import Workbench
from btu.data.corpus import Corpus, load_corpus
from btu.model.finetune import Classifier
from btu.model.settings import FineTuneSettings
from planted import FINETUNE, LABELS, NEUTRAL, OPINIONS, WORDS
from tiny import build_tiny


def build_bench(model: Path, corpus: Corpus, settings: FineTuneSettings = FINETUNE) -> Workbench:
    """What the benchmark gives a defence, for this corpus."""

    @cache
    def train_undefended() -> Classifier:
        return bench.finetune(corpus)

    bench = Workbench(model, settings, train_undefended)
    return bench


def write_hints(count: int, *, seed: int) -> Corpus:
    """Texts with one opinion among eight other words.

    A model without any training learns a trigger long before it has met every opinion.
    """
    rng = np.random.default_rng(seed)
    labels = [LABELS[row % 2] for row in range(count)]
    words = [[rng.choice(OPINIONS[label]), *rng.choice(NEUTRAL, size=8)] for label in labels]
    return load_corpus(([" ".join(rng.permutation(row)) for row in words], labels))


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT that knows nothing, saved without its classification head."""
    folder = tmp_path_factory.mktemp("untrained")
    model, tokenizer = build_tiny("bert", WORDS)
    model.base_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
