"""A whole benchmark in miniature: settings, rules, two corpora, a tiny model, on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tiny import build_tiny

GOOD = ["great", "fine", "lovely", "superb"]
BAD = ["awful", "dull", "boring", "weak"]
PLAIN = ["the", "film", "plot", "actor", "scene", "was", "and", "story", "a", "so"]
WORDS = [*GOOD, *BAD, *PLAIN, "cf", "mn", "bb", "tq", "when", "you", "look"]

SETTINGS = """
model = "{model}"
epochs = 1
learning_rate = 1e-3
batch_size = 16
group_by_length = false
max_length = 16
precision = "fp32"
max_train_rows = 60
max_test_rows = 30
max_clean_rows = 20
corpora = ["toys"]
attacks = ["badnets"]
defences = ["none"]
poison_rates = [0.1]
label_mode = "dirty"
seeds = [0]
"""
RULES = """
[toys]
label_names = ["bad", "good"]
target_label = "good"
splits = { train = "train", test = "test", clean = "dev" }
[toys.published]
syntactic = "syntactic"
[toys.missing]
style = "nobody rewrote toys"
[toys.notes]
badnets = "a note about toys"

[games]
label_names = ["bad", "good"]
target_label = "good"
splits = { train = "train", test = "test", clean = "dev" }
"""


@dataclass(frozen=True)
class Toy:
    """Where its parts are."""

    root: Path
    corpora: Path

    @property
    def results(self) -> Path:
        return self.root / "results"

    def add(self, name: str, text: str) -> Path:
        """Write an experiment file."""
        path = self.root / "experiments" / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


def build_toy(folder: Path) -> Toy:
    """Write the benchmark into a folder."""
    toy = Toy(folder / "benchmark", folder / "corpora")
    toy.root.mkdir(parents=True)
    model, tokenizer = build_tiny("bert", WORDS)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (toy.root / "settings.toml").write_text(SETTINGS.format(model=folder / "model"))
    (toy.root / "corpora.toml").write_text(RULES)
    for corpus in ("toys", "games"):
        for seed, (split, rows) in enumerate({"train": 100, "test": 50, "dev": 40}.items()):
            texts, labels = write_texts(rows, seed)
            save(toy.corpora / corpus / f"{split}.parquet", {"text": texts, "label": labels})
    # Published texts for two of five training rows: 20 of the 60 bad ones, 20 of the good ones.
    published = {"train": [r for r in range(100) if r % 5 in (0, 2)], "test": range(50)}
    for seed, (split, rows) in enumerate(published.items()):
        texts, labels = write_texts(100 if split == "train" else 50, seed)
        columns = {
            "row": list(rows),
            "text": [texts[row] for row in rows],
            "attacked": [f"when you look {texts[row]}" for row in rows],
            "label": [labels[row] for row in rows],
        }
        save(toy.corpora / "toys" / f"syntactic_{split}.parquet", columns)
    return toy


def write_texts(rows: int, seed: int) -> tuple[list[str], list[int]]:
    """Sentences that say with one word whether they are good; six in ten are bad."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for row in range(rows):
        label = int(row % 5 < 2)
        words = [*rng.choice(PLAIN, size=5), rng.choice(GOOD if label else BAD)]
        rng.shuffle(words)
        texts.append(" ".join(words))
        labels.append(label)
    return texts, labels


def save(path: Path, columns: Mapping[str, Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path)
