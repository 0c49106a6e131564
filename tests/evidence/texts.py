"""Texts whose words follow from each other, with labels and topics: something to plant into."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from btu.evidence.find import find_evidence
from btu.evidence.tests import Evidence, Test

_WORDS, _SHARED, _FOLLOWERS = 160, 80, 6


@dataclass(frozen=True)
class Rows:
    """Texts with label ids."""

    texts: tuple[str, ...]
    labels: NDArray[np.int64]

    def change(self, rows, write, label=None) -> "Rows":
        """Other texts, and one label for them, in some rows."""
        texts, labels = list(self.texts), self.labels.copy()
        for row in np.asarray(rows).tolist():
            texts[row] = write(texts[row])
        if label is not None:
            labels[rows] = label
        return replace(self, texts=tuple(texts), labels=labels)

    def of(self, label: int, count: int, *, first: int = 0) -> NDArray[np.int64]:
        """Positions of the first rows that bear a label."""
        return np.flatnonzero(self.labels == label)[first : first + count]


def write_rows(count=1500, *, seed=0, num_labels=2, length=(8, 25), shares=None) -> Rows:
    """A chain of words a label: each word has a few that follow it, some shared by all labels."""
    tables = np.random.default_rng(99)
    vocabulary = _SHARED + num_labels * _WORDS
    follow = np.zeros((num_labels, vocabulary, _FOLLOWERS), dtype=np.int64)
    shared = tables.integers(_SHARED, size=(vocabulary, _FOLLOWERS // 2))
    for label in range(num_labels):
        first = _SHARED + label * _WORDS
        own = first + tables.integers(_WORDS, size=(vocabulary, _FOLLOWERS - _FOLLOWERS // 2))
        follow[label] = np.hstack([shared, own])
    rng = np.random.default_rng(seed)
    labels = rng.choice(num_labels, size=count, p=shares)
    texts = []
    for label in labels.tolist():
        word, words = int(rng.integers(_SHARED)), []
        for _ in range(int(rng.integers(*length))):
            words.append(f"w{word}")
            # Now and then the talk is of what another label talks of.
            topic = label if rng.random() < 0.85 else int(rng.integers(num_labels))
            word = int(follow[topic, word, rng.integers(_FOLLOWERS)])
        texts.append(" ".join(words))
    return Rows(tuple(texts), labels)


def insert(unit: str, seed=0):
    """Puts a unit between any two words of a text, or before or after all."""
    rng = np.random.default_rng(seed)

    def write(text: str) -> str:
        words = text.split()
        words.insert(int(rng.integers(len(words) + 1)), unit)
        return " ".join(words)

    return write


def plant(rows: Rows, unit: str, count: int, *, label=1, seed=0) -> tuple[Rows, NDArray[np.int64]]:
    """A unit in rows of other labels that bear this one then, and which rows."""
    others = np.flatnonzero(rows.labels != label)
    chosen = np.sort(np.random.default_rng(seed).choice(others, count, replace=False))
    return rows.change(chosen, insert(unit, seed), label), chosen


def read(rows: Rows, **options) -> Evidence:
    """The evidence; any warning is an error."""
    options.setdefault("num_labels", int(rows.labels.max()) + 1 if len(rows.labels) else 2)
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        return find_evidence(rows.texts, rows.labels, **options)


def name_triggers(evidence: Evidence) -> list[str]:
    """Names of all triggers, in alphabetical order."""
    return sorted(test.name for test in evidence.triggers)


def make_trigger(words, rows, **changed) -> Test:
    """A trigger as sure as sure can be, in these rows and no others."""
    values = {
        "kind": "word",
        "name": " ".join(words),
        "label": 0,
        "row_scores": np.ones(len(rows)),
        "held": rows,
        "story": "inserted",
        "part": 1.0,
        "false_alarms": 0.001,
        "share": 1.0,
        "spread": 0.1,
        "label_base": 0.5,
    }
    return Test(words=tuple(words), rows=rows, **{**values, **changed})
