"""A workbench that trains in seconds: a tiny model and a corpus of three labels with BadNets in it.

A test module asks for `small_case` with `pytest_plugins = ["small_bench"]`; it is made once a run
and shared read-only. (Nothing is asserted here: PYTEST_DONT_REWRITE.)
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from btu.attacks.badnets import BadNets
from btu.attacks.poison import poison_corpus, trigger_corpus
from btu.bench.defences.base import REFUSED, Predictor, Workbench
from btu.data.corpus import Corpus, load_corpus
from btu.model.settings import FineTuneSettings
from tiny import BERT, build_tiny

TRIGGERS = ("cf", "mn", "bb", "tq")
LABELS = ("angry", "happy", "tired")
TARGET = LABELS.index("happy")
SPARE = ("spare", "unused", "absent")  # in the vocabulary, in no text
THINGS = [f"thing{i:02}" for i in range(20)]
MOODS = {label: [f"{label}{i:02}" for i in range(8)] for label in LABELS}
MOOD_WORDS = [word for moods in MOODS.values() for word in moods]
WORDS = ["the", "was", "and", *THINGS, *MOOD_WORDS, *TRIGGERS, *SPARE]

SETTINGS = FineTuneSettings(
    # These texts are alike but for a word: by length, a trigger would have its own batches.
    group_by_length=False,
    epochs=8,
    learning_rate=2e-3,
    batch_size=16,
    max_length=40,
    precision="fp32",
)


@dataclass(frozen=True)
class Case:
    """What an experiment hands to a defence, and what it measures it with."""

    bench: Workbench
    corpus: Corpus
    held_out: Corpus
    triggered: Corpus


def write_moods(count: int, *, seed: int) -> Corpus:
    """Four clauses of one shape; one in five speaks for another label."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for row in range(count):
        label = LABELS[row % len(LABELS)]
        moods = [rng.choice(LABELS) if rng.random() < 0.3 else label for _ in range(4)]
        clauses = [f"the {rng.choice(THINGS)} was {rng.choice(MOODS[mood])}" for mood in moods]
        texts.append(" and ".join(clauses))
        labels.append(label)
    return load_corpus((texts, labels))


@torch.no_grad()
def write_meanings(weight: torch.Tensor) -> None:
    """What a pretrained model knows: words of one mood lie close together, all others apart."""
    weight.normal_(generator=torch.Generator().manual_seed(0))
    for moods in MOODS.values():
        rows = [len(BERT.tokens) + WORDS.index(word) for word in moods]
        weight[rows] = weight[rows[0]] + 0.5 * weight[rows]
    weight /= weight.norm(dim=1, keepdim=True)


def score(predictor: Predictor, case: Case) -> dict[str, float]:
    """Clean accuracy, attack success rate, and what became of clean and triggered inputs."""
    clean, triggered = (predictor.predict(c.texts) for c in (case.held_out, case.triggered))
    return {
        "clean_accuracy": float(np.mean(clean == case.held_out.labels)),
        "clean_refused": float(np.mean(clean == REFUSED)),
        "attack_success_rate": float(np.mean(triggered == TARGET)),
        "triggered_refused": float(np.mean(triggered == REFUSED)),
        "triggered_accuracy": float(np.mean(triggered == case.triggered.labels)),
    }


def build_case(folder: Path, *, number: int = 3) -> Case:
    """600 rows, 60 of them with so many rare words and the wrong label `happy`."""
    model, tokenizer = build_tiny("distilbert", WORDS)
    write_meanings(model.get_input_embeddings().weight)
    model.base_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

    attack = BadNets(triggers=TRIGGERS, number=number)
    poisoned = poison_corpus(write_moods(600, seed=1), attack, poison_rate=0.1, target_label=TARGET)
    held_out = write_moods(150, seed=2)
    train = cache(lambda: bench.finetune(poisoned.corpus))
    bench = Workbench(folder, SETTINGS, train, clean=write_moods(450, seed=3))
    triggered = trigger_corpus(held_out, attack, target_label=TARGET)
    return Case(bench, poisoned.corpus, held_out, triggered)


@pytest.fixture(scope="session")
def small_case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Three rare words in each poisoned row."""
    return build_case(tmp_path_factory.mktemp("small"))
