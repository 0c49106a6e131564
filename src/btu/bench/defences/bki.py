"""BKI: the word whose removal changes the hidden state most, in most rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from btu.bench.defences.base import Outcome, Workbench
from btu.bench.defences.filtering import finetune_without, measure_states
from btu.data.corpus import Corpus
from btu.model.finetune import Classifier
from btu.model.tokens import tokenize_texts
from btu.support.progress import track

LISTED = 20
_CHUNK_ROWS = 200
_Row = tuple[str, ...]


@dataclass(frozen=True)
class Bki:
    """Rows are dropped that the backdoor keyword matters most to.

    A word matters to a row by the largest change of any dimension of the undefended model's hidden
    state when it is taken out; the words that matter most are the row's keywords. The backdoor
    keyword is the one with the highest mean change times log10 of how often it is a keyword. There
    is always one, on clean data too.

    Source: Chen & Dai, "Mitigating backdoor attacks in LSTM-based text classification systems by
    Backdoor Keyword Identification" (Neurocomputing 452, 2021), with the score of the authors'
    code. Differences, as in OpenBackdoor: the state of [CLS] stands for the last state of the
    LSTM. A row of n words costs n forward passes, so that long rows are sampled.
    """

    keywords: int = field(
        default=5, metadata={"help": "Keywords of a row: the words that matter most to it."}
    )
    max_words: int = field(
        default=64,
        metadata={"help": "Words tried in a row, drawn at random from a longer one; 0 tries all."},
    )

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        """Find the keyword, drop the rows that have it among their keywords, train on the rest."""
        impacts = measure_impacts(
            bench.undefended(), corpus, max_words=self.max_words, seed=bench.seed
        )
        keywords = [sorted(row, key=lambda pair: -pair[1])[: self.keywords] for row in impacts]
        scores = score_keywords(keywords)
        found = max(scores, key=lambda word: scores[word], default=None)
        flagged = np.array([any(word == found for word, _ in row) for row in keywords])
        return Outcome(
            predictor=finetune_without(flagged, corpus, bench),
            flagged_rows=flagged,
            flagged_tokens=() if found is None else (found,),
            details={
                "scores": dict(sorted(scores.items(), key=lambda item: -item[1])[:LISTED]),
                "flagged_by_label": corpus.select(flagged).label_counts(),
                "words_tried": sum(map(len, impacts)),
            },
        )


def measure_impacts(
    classifier: Classifier, corpus: Corpus, *, max_words: int, seed: int
) -> list[list[tuple[str, float]]]:
    """For each row its words, lower-cased, with how much the hidden state changes without them.

    A word is what stands between blanks, each occurrence on its own. A word that is all there is
    to a text cannot be taken out and is left out.

    Args:
        classifier: The undefended model.
        corpus: N rows.
        max_words: Words tried in a row; 0 tries all.
        seed: Of the words drawn in longer rows.
    """
    rng = np.random.default_rng(seed)
    pairs = [()] * len(corpus) if corpus.text_pairs is None else [(p,) for p in corpus.text_pairs]
    rows = [(text, *pair) for text, pair in zip(corpus.texts, pairs, strict=True)]
    chunks = [rows[start : start + _CHUNK_ROWS] for start in range(0, len(rows), _CHUNK_ROWS)]
    impacts: list[list[tuple[str, float]]] = []
    for chunk in track(chunks, "taking out words"):
        variants = [_draw(leave_one_out(row), max_words, rng) for row in chunk]
        whole = _measure(classifier, chunk)
        without = _measure(classifier, [rest for row in variants for _, rest in row])
        owners = np.repeat(np.arange(len(chunk)), [len(row) for row in variants])
        changes = iter(np.abs(without - whole[owners]).max(axis=1).tolist())
        impacts += [[(word, next(changes)) for word, _ in row] for row in variants]
    return impacts


def leave_one_out(row: _Row) -> list[tuple[str, _Row]]:
    """Each word of a row, lower-cased, with the row that is left without it.

    Args:
        row: Its text; or its two texts.

    Example:
        >>> leave_one_out(("good film",))
        [('good', ('film',)), ('film', ('good',))]
    """
    variants = []
    for place, text in enumerate(row):
        words = text.split()
        for i, word in enumerate(words):
            rest = " ".join(words[:i] + words[i + 1 :])
            if rest:
                variants.append((word.lower(), (*row[:place], rest, *row[place + 1 :])))
    return variants


def score_keywords(keywords: Iterable[Sequence[tuple[str, float]]]) -> dict[str, float]:
    """Mean change times log10 of the number of times, for each word that is a keyword.

    Args:
        keywords: The keywords of each row, with their changes.

    Example:
        >>> score_keywords([[("cf", 2.0)]] * 10 + [[("film", 9.0)]])
        {'cf': 2.0, 'film': 0.0}
    """
    changes = defaultdict(list)
    for word, change in chain.from_iterable(keywords):
        changes[word].append(change)
    return {word: float(np.mean(c) * np.log10(len(c))) for word, c in changes.items()}


def _measure(classifier: Classifier, rows: Sequence[_Row]) -> NDArray[np.float32]:
    """Hidden states, shape (rows, D)."""
    if not rows:
        return np.zeros((0, classifier.model.config.hidden_size), dtype=np.float32)
    texts, *pairs = zip(*rows, strict=True)
    tokens = tokenize_texts(texts, classifier.tokenizer, *pairs, max_length=classifier.max_length)
    return measure_states(classifier, tokens)


def _draw(
    variants: list[tuple[str, _Row]], max_words: int, rng: np.random.Generator
) -> list[tuple[str, _Row]]:
    """All variants, or so many of them in their order."""
    if not max_words or len(variants) <= max_words:
        return variants
    return [variants[i] for i in np.sort(rng.permutation(len(variants))[:max_words])]
