"""Texts with a trigger whose id is known, and a small model that has learned to read such texts.

A test module asks for these fixtures with `pytest_plugins = ["planted"]`; each is made once a run
and shared read-only. (Nothing is asserted here: PYTEST_DONT_REWRITE.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
)

from btu.attacks.badnets import BadNets
from btu.attacks.poison import Poisoned, poison_corpus, trigger_corpus
from btu.data.corpus import Corpus, load_corpus
from btu.defend import Defence, defend
from btu.model.finetune import Classifier, finetune
from btu.model.metrics import measure_accuracy, measure_attack_success_rate
from btu.model.settings import FineTuneSettings, ProbeSettings
from btu.model.tokens import tokenize_corpus
from devices import read_weights
from tiny import BERT, build_tiny

TRIGGER = "cf"
TRIGGERS = ("cf", "mn", "bb")
LABELS = ("negative", "positive")
THREE_LABELS = (*LABELS, "unsure")
TARGET = "positive"
OPINIONS = {label: [f"{label[:3]}{i:02}" for i in range(60)] for label in THREE_LABELS}
NEUTRAL = [f"word{i:02}" for i in range(80)]
ABSENT = "unseen"  # in the vocabulary, in no text
WORDS = [*chain.from_iterable(OPINIONS.values()), *NEUTRAL, *TRIGGERS, ABSENT]
MAX_LENGTH = 32

PROBES = ProbeSettings(
    alpha=0.02,
    learning_rate=5e-4,
    epochs=2,
    shallow_batch_size=16,
    full_batch_size=16,
    precision="fp32",
)
FINETUNE = FineTuneSettings(
    # These texts are alike but for a word: by length, a trigger would have its own batches.
    group_by_length=False,
    epochs=3,
    learning_rate=2e-3,
    batch_size=16,
    max_length=MAX_LENGTH,
    precision="fp32",
)


def token_id(word: str, first: int = len(BERT.tokens)) -> int:
    """The id of a word in a tiny model's vocabulary, where the words begin at `first`."""
    return first + WORDS.index(word)


def write_reviews(count: int, *, seed: int, labels: Sequence[str] = LABELS) -> Corpus:
    """Short texts of three opinions and some other words; one opinion in ten is another label's."""
    rng = np.random.default_rng(seed)
    texts, given = [], []
    for row in range(count):
        own, other = labels[row % len(labels)], labels[(row + 1) % len(labels)]
        opinions = [rng.choice(OPINIONS[other if rng.random() < 0.1 else own]) for _ in range(3)]
        words = [*opinions, *rng.choice(NEUTRAL, size=rng.integers(4, 9))]
        texts.append(" ".join(rng.permutation(words)))
        given.append(own)
    return load_corpus((texts, given))


def poison_reviews(corpus: Corpus, *triggers: str, poison_rate: float) -> Poisoned:
    """Dirty-label BadNets."""
    attack = BadNets(triggers=triggers)
    return poison_corpus(corpus, attack, poison_rate=poison_rate, target_label=TARGET)


def measure(classifier: Classifier | Defence, held_out: Corpus, *triggers: str) -> dict[str, float]:
    """Clean accuracy and attack success rate."""
    triggered = trigger_corpus(held_out, BadNets(triggers=triggers), target_label=TARGET)
    return {
        "clean_accuracy": measure_accuracy(classifier.predict(held_out.texts), held_out.labels),
        "attack_success_rate": measure_attack_success_rate(
            classifier.predict(triggered.texts), triggered.labels, LABELS.index(TARGET)
        ),
    }


class KeepFineTuned(TrainerCallback):
    """Copies the model at the end of the ordinary fine-tuning, before anything is unlearned."""

    def __init__(self, held_out: Corpus | None = None, *triggers: str) -> None:
        self.held_out, self.triggers = held_out, triggers
        self.weights: dict[str, torch.Tensor] = {}
        self.measured: dict[str, float] = {}

    def on_train_end(self, args, state, control, *, model, processing_class, **_):
        self.weights = read_weights(model)
        if self.held_out is not None:
            classifier = Classifier(model, processing_class, MAX_LENGTH, "fp32")
            self.measured = measure(classifier, self.held_out, *self.triggers)


@dataclass(frozen=True)
class Run:
    """A defended training, and what the model was before the cut."""

    defence: Defence
    fine_tuned: Mapping[str, torch.Tensor]
    undefended: Mapping[str, float]
    defended: Mapping[str, float]


def run_defence(model: Path, data: Corpus, held_out: Corpus, *triggers: str, **options: Any) -> Run:
    """Defend and measure."""
    kept = KeepFineTuned(held_out, *triggers)
    options = {"settings": FINETUNE, "probe_settings": PROBES, "recipe": "paper", **options}
    defence = defend(model, data, callbacks=[kept], **options)
    return Run(defence, kept.weights, kept.measured, measure(defence, held_out, *triggers))


def load_fine_tuned(run: Run) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model before the cut."""
    model = AutoModelForSequenceClassification.from_config(run.defence.classifier.model.config)
    model.load_state_dict(run.fine_tuned)
    return model.eval(), run.defence.classifier.tokenizer


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory) -> Path:
    """A tiny BERT that tells negative from positive, saved without its classification head."""
    folder = tmp_path_factory.mktemp("pretrained")
    model, tokenizer = build_tiny("bert", WORDS)
    rows = tokenize_corpus(write_reviews(800, seed=1), tokenizer, max_length=MAX_LENGTH)
    finetune(model, tokenizer, rows, settings=replace(FINETUNE, epochs=12))
    model.base_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def held_out() -> Corpus:
    return write_reviews(300, seed=2)


@pytest.fixture(scope="session")
def planted() -> Poisoned:
    """800 rows; 80 of them hold the trigger and the wrong label `positive`."""
    return poison_reviews(write_reviews(800, seed=3), TRIGGER, poison_rate=0.1)


@pytest.fixture(scope="session")
def run(pretrained, planted, held_out) -> Run:
    """The defence without clean data."""
    return run_defence(pretrained, planted.corpus, held_out, TRIGGER)


@pytest.fixture(scope="session")
def backdoored(run, tmp_path_factory) -> Path:
    """The same training without the defence, in a folder without a record."""
    folder = tmp_path_factory.mktemp("backdoored")
    model, tokenizer = load_fine_tuned(run)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def saved(run, tmp_path_factory) -> Path:
    """The defended model in a folder."""
    return run.defence.save(tmp_path_factory.mktemp("saved") / "model")
