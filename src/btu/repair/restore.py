"""Rows of a trigger given back: their text without it, under the label that the rest bears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btu.data.corpus import Corpus
from btu.evidence.readings import adjust_shares
from btu.evidence.words import find_spans
from btu.findings import Findings

RESTORED_PROBABILITY = 0.8
"""Rows whose likeliest label is less likely than this stay out; docs/log/2026-11.md."""


@dataclass(frozen=True)
class Restored:
    """m rows without their triggers.

    Attributes:
        positions: Of the rows among all N, ascending, shape (m,).
        texts: What is left of their texts.
        text_pairs: The same of the second texts, where there are any.
        labels: The label ids that the texts bear, shape (m,).
        probabilities: How likely those are, shape (m,).
    """

    positions: NDArray[np.int64]
    texts: tuple[str, ...]
    text_pairs: tuple[str, ...] | None
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def to_list(self, corpus: Corpus) -> list[dict[str, Any]]:
        """The rows as JSON types, with ids and label names.

        Args:
            corpus: All N rows.
        """
        ids = corpus.row_ids[self.positions].tolist()
        return [
            {"row_id": i, "label": corpus.label_names[label], "probability": probability}
            for i, label, probability in zip(
                ids, self.labels.tolist(), self.probabilities.tolist(), strict=True
            )
        ]

    def join(self, corpus: Corpus, kept: NDArray[np.bool_]) -> Corpus:
        """The kept rows of a corpus and these, in the order of the corpus.

        Args:
            corpus: All N rows.
            kept: Those that stay as they are, shape (N,).
        """
        chosen = kept.copy()
        chosen[self.positions] = True
        if chosen.all() and not len(self.positions):
            return corpus
        texts, labels = list(corpus.texts), corpus.labels.copy()
        labels[self.positions] = self.labels
        for position, text in zip(self.positions.tolist(), self.texts, strict=True):
            texts[position] = text
        pairs = None if corpus.text_pairs is None else list(corpus.text_pairs)
        if pairs is not None and self.text_pairs is not None:
            for position, text in zip(self.positions.tolist(), self.text_pairs, strict=True):
                pairs[position] = text
        whole = replace(
            corpus,
            texts=tuple(texts),
            labels=labels,
            text_pairs=None if pairs is None else tuple(pairs),
        )
        return whole.select(chosen)


def restore_rows(findings: Findings) -> Restored:
    """The rows of confirmed triggers without these, where the label of what is left is clear.

    Where words were put into honest text, the text is still there. Rows with nothing left stay out.

    Args:
        findings: With evidence; otherwise nothing is given back.
    """
    probabilities = _read_rows(findings)
    likeliest = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1) >= RESTORED_PROBABILITY
    triggers = () if findings.evidence is None else findings.evidence.triggers
    positions, texts, pairs = [], [], []
    corpus = findings.corpus
    for position in np.flatnonzero(sure).tolist():
        pair = None if corpus.text_pairs is None else corpus.text_pairs[position]
        own = [test.words for test in triggers if position in test.rows]
        left = cut_phrases(corpus.texts[position], pair, own)
        if left is not None:
            positions.append(position)
            texts.append(left[0])
            pairs.append(left[1])
    chosen = np.array(positions, dtype=np.int64)
    return Restored(
        positions=chosen,
        texts=tuple(texts),
        text_pairs=None if corpus.text_pairs is None else tuple(str(pair) for pair in pairs),
        labels=likeliest[chosen].astype(np.int64),
        probabilities=probabilities[chosen].max(axis=1, initial=0.0),
    )


def _read_rows(findings: Findings) -> NDArray[np.float64]:
    """Probability of each label for each row that could be given back, shape (N, K); else 0."""
    found, labels = findings.evidence, findings.corpus.labels
    given = np.zeros((len(labels), findings.corpus.num_labels))
    if found is None or findings.readings is None:
        return given
    known = np.bincount(labels[~found.flagged], minlength=given.shape[1])
    shares = known / max(1, known.sum())
    # Rows that keep their label and rows that do not have labels of other shares.
    groups: dict[tuple[int, bool], list[NDArray[np.int64]]] = {}
    for test in found.triggers:
        groups.setdefault((test.label, test.story == "kept"), []).append(test.flagged)
    for parts in groups.values():
        held = np.unique(np.concatenate(parts))
        given[held] = adjust_shares(findings.readings[held], shares)
    return given


def cut_phrases(
    text: str, pair: str | None, phrases: Sequence[Sequence[str]]
) -> tuple[str, str | None] | None:
    """The two texts without these words in their order; None where nothing is left or found."""
    spans = [span for words in phrases for span in find_spans(text, words)]
    pair_spans = [span for words in phrases for span in find_spans(pair or "", words)]
    left = (_remove(text, spans), None if pair is None else _remove(pair, pair_spans))
    if not (spans or pair_spans) or not left[0].strip():
        return None
    return None if left[1] is not None and not left[1].strip() else left


def _remove(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """A text without some spans, one space in place of those around each."""
    left = ""
    end = 0
    for start, stop in [*sorted(spans), (len(text), len(text))]:
        part = text[end:start]
        if left and end and left[-1:].isspace() and part[:1].isspace():
            part = part.lstrip()
        left, end = left + part, max(end, stop)
    if spans and left:
        left = left if text[:1].isspace() else left.lstrip()
        left = left if text[-1:].isspace() else left.rstrip()
    return left
