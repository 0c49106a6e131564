"""Rows of a trigger given back: their text without it, under the label that the rest bears."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from btu.corpus import Corpus
from btu.findings import TRIGGER, Findings
from btu.readings import adjust_shares
from btu.tokens import TokenRows
from btu.verdicts import TRIGGER_SHARE, TokenTest

RESTORED_PROBABILITY = 0.8
"""Rows whose likeliest label is less likely than this stay out. docs/log.md has the numbers."""

_SAME_NEIGHBOUR = 0.9
_LONGEST_PHRASE = 30
_ENOUGH_ROWS = 1_000


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


def restore_rows(
    findings: Findings, rows: TokenRows, tokenizer: PreTrainedTokenizerBase
) -> Restored:
    """The rows of confirmed triggers without these, where the label of what is left is clear.

    Where words were put into honest text, the text is still there. Rows that were rewritten as a
    whole have no such rest and stay out. So do rows with nothing left, and all rows where the
    tokenizer does not say where its tokens stand, as those written in Python do not.

    Args:
        findings: With evidence; otherwise nothing is given back.
        rows: The N rows as the scan saw them.
        tokenizer: Of the model.
    """
    probabilities = _read_rows(findings)
    likeliest = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1) >= RESTORED_PROBABILITY
    phrases = _find_phrases(findings, rows) if sure.any() and tokenizer.is_fast else []
    positions, texts, pairs = [], [], []
    corpus = findings.corpus
    for position in np.flatnonzero(sure).tolist() if phrases else []:
        pair = None if corpus.text_pairs is None else corpus.text_pairs[position]
        own = [phrase for phrase in phrases if position in phrase.rows]
        left = cut_phrases(corpus.texts[position], pair, own, tokenizer)
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
    if found is None or found.readings is None:
        return given
    known = np.bincount(labels[~found.flagged], minlength=given.shape[1])
    shares = known / max(1, known.sum())
    # Rows that keep their label and rows that do not have labels of other shares.
    groups: dict[tuple[int, bool], list[NDArray[np.int64]]] = {}
    closed = np.zeros(len(labels), dtype=bool)
    for style in findings.styles:
        if style.verdict == TRIGGER:
            closed[style.rows] = True
    for test in found.tests:
        if test.verdict == TRIGGER and _is_rewritten(test, found.rewritten_labels):
            closed[test.rows] = True
        elif test.verdict == TRIGGER:
            groups.setdefault((test.label, test.ground == "purity"), []).append(test.rows)
    for parts in groups.values():
        held = np.unique(np.concatenate(parts))
        given[held] = adjust_shares(found.readings[held], shares)
    given[closed] = 0
    return given


def _is_rewritten(test: TokenTest, rewritten_labels: Collection[int]) -> bool:
    """Whether the rest of the rows is the attacker's too: no honest text to give back."""
    if test.ground == "purity":
        return test.mislabelled_share >= TRIGGER_SHARE
    return test.label in rewritten_labels


@dataclass(frozen=True)
class Phrase:
    """A trigger as it stands in texts: its tokens, and the tokens that always stand beside it."""

    rows: frozenset[int]
    token_ids: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    def places(self, token_ids: Sequence[int]) -> Iterator[int]:
        """Where it stands among the tokens of a text.

        That is where its neighbours stand too, so that an honest *this* keeps its place where the
        trigger is a sentence; where they stand nowhere, wherever the trigger does.
        """
        whole = (*self.before[::-1], *self.token_ids, *self.after)
        for phrase in (whole, self.token_ids):
            starts = _find_phrase(token_ids, phrase)
            for start in starts:
                yield from range(start, start + len(phrase))
            if starts:
                return


def _find_phrases(findings: Findings, rows: TokenRows) -> list[Phrase]:
    tests = [] if findings.evidence is None else findings.evidence.tests
    own = set(findings.token_ids.tolist())  # special tokens are not among them
    phrases = []
    for test in tests:
        if test.verdict != TRIGGER:
            continue
        ids = findings.ids_of(test)
        before, after = _find_neighbours(ids, test.rows, rows, own)
        phrases.append(Phrase(frozenset(test.rows.tolist()), ids, before, after))
    return phrases


def _find_neighbours(
    ids: tuple[int, ...], positions: NDArray[np.int64], rows: TokenRows, own: Collection[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tokens that stand before and behind a trigger in nearly all of its rows, nearest first.

    They are the rest of a trigger sentence, or of a word that the tokenizer takes apart.
    """
    windows = []
    for position in positions[:_ENOUGH_ROWS].tolist():
        row = rows.row(position).tolist()
        starts = _find_phrase(row, ids)
        if starts:
            windows.append((row, starts[0]))
    return (
        _agree([row[:start][::-1] for row, start in windows], own),
        _agree([row[start + len(ids) :] for row, start in windows], own),
    )


def _find_phrase(token_ids: Sequence[int], phrase: tuple[int, ...]) -> list[int]:
    last = len(token_ids) - len(phrase)
    return [i for i in range(last + 1) if tuple(token_ids[i : i + len(phrase)]) == phrase]


def _agree(sides: Sequence[Sequence[int]], own: Collection[int]) -> tuple[int, ...]:
    agreed: list[int] = []
    while sides and len(agreed) < _LONGEST_PHRASE:
        step = len(agreed)
        here = [side[step] for side in sides if len(side) > step]
        values, counts = np.unique(here, return_counts=True)
        if not len(values) or counts.max() < _SAME_NEIGHBOUR * len(sides):
            break
        if int(values[counts.argmax()]) not in own:
            break
        agreed.append(int(values[counts.argmax()]))
    return tuple(agreed)


def cut_phrases(
    text: str, pair: str | None, phrases: Sequence[Phrase], tokenizer: PreTrainedTokenizerBase
) -> tuple[str, str | None] | None:
    """The two texts without the words that hold a trigger; None where nothing is left or found."""
    encoded = tokenizer(text, pair, return_offsets_mapping=True, verbose=False)
    ids, sequences, words = encoded["input_ids"], encoded.sequence_ids(), encoded.word_ids()
    cut = {place for phrase in phrases for place in phrase.places(ids)}
    if len(set(words)) <= 2:  # a tokenizer that knows no words: None and one for all tokens
        words = list(range(len(ids)))
    cut_words = {(sequences[place], words[place]) for place in cut}
    spans: tuple[list[tuple[int, int]], ...] = ([], [])
    for sequence, word, span in zip(sequences, words, encoded["offset_mapping"], strict=True):
        if sequence is not None and (sequence, word) in cut_words:
            spans[sequence].append(span)
    left = (_remove(text, spans[0]), None if pair is None else _remove(pair, spans[1]))
    if not cut or not left[0].strip() or (left[1] is not None and not left[1].strip()):
        return None
    return left


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
