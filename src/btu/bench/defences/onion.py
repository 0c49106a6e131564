"""ONION: words that do not belong leave each input before the model reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from btu.bench.defences.base import Outcome, Workbench
from btu.bench.defences.language_models import BigramModel, LanguageModel, load_causal_model
from btu.data.corpus import Corpus
from btu.model.finetune import Classifier
from btu.support.errors import InputError
from btu.support.progress import track

_FOLDS = 5
_CHUNK_TEXTS = 200


@dataclass(frozen=True)
class Onion:
    """At inference, every word goes without which the text is less surprising by more than a bar.

    The suspicion score of a word is the perplexity of the text minus its perplexity without the
    word. The bar is tuned on clean rows, as the paper advises; without clean rows it is 0, the
    paper's value for that case.

    Source: Qi et al., "ONION: A Simple and Effective Defense Against Textual Backdoor Attacks"
    (EMNLP 2021), section 3.

    Where this differs: the paper's language model is GPT-2; name it (`openai-community/gpt2`) where
    it is at hand. With none named, counts of word pairs in the clean rows stand in, and the result
    is "ONION with a bigram model", weaker than the paper's. They are not counted in the training
    corpus, which would have seen the trigger. The paper lets accuracy fall hardly at all and names
    no number; it may fall by one point here. The bars tried are the percentiles of the scores of
    clean words, because the scores of two language models are on two scales.
    """

    language_model: str | None = field(
        default=None,
        metadata={
            "help": "Folder or Hub id of a causal language model; the paper's is "
            "openai-community/gpt2. Left out: counts of word pairs in the clean rows."
        },
    )
    max_accuracy_drop: float = field(
        default=0.01,
        metadata={"help": "Accuracy on clean rows that the bar may cost, a fraction."},
    )

    def __post_init__(self) -> None:
        if not 0 <= self.max_accuracy_drop < 1:
            raise InputError(
                "onion: max_accuracy_drop: expected a fraction in [0, 1) (0.01 is one point), got "
                f"{self.max_accuracy_drop!r}."
            )

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        """Tune the bar and put the filter before the undefended model.

        Raises:
            InputError: There is neither a language model nor clean rows.
        """
        if self.language_model is None and bench.clean is None:
            raise InputError(
                "onion: expected a language model or clean rows, got neither. Name a language "
                "model, or give a clean split."
            )
        classifier = bench.undefended()
        model: LanguageModel
        if self.language_model is not None:
            name = self.language_model
            model = load_causal_model(name, max_length=bench.settings.max_length)
        else:
            name = f"bigrams of {len(bench.clean or ())} clean rows"
            model = BigramModel(bench.clean.texts if bench.clean else ())
        if bench.clean is None:
            return Outcome(
                OnionPredictor(classifier, model, bar=0.0),
                details={"language_model": name, "bar": 0.0},
            )
        scores = (
            _measure_held_out(bench.clean.texts)
            if self.language_model is None
            else measure_suspicion(bench.clean.texts, model)
        )
        bar, before, after = tune_bar(
            classifier, bench.clean, scores, max_accuracy_drop=self.max_accuracy_drop
        )
        return Outcome(
            OnionPredictor(classifier, model, bar),
            details={
                "language_model": name,
                "bar": bar,
                "clean_accuracy_before": before,
                "clean_accuracy_after": after,
            },
        )


@dataclass(frozen=True)
class OnionPredictor:
    """A model that reads what ONION leaves of a text.

    Attributes:
        classifier: The undefended model.
        language_model: Measures the suspicion.
        bar: Words with a higher score go.
    """

    classifier: Classifier
    language_model: LanguageModel
    bar: float

    def clean(self, texts: Sequence[str]) -> list[str]:
        """The texts without their suspicious words."""
        scores = measure_suspicion(texts, self.language_model)
        return [remove_words(text, s, self.bar) for text, s in zip(texts, scores, strict=True)]

    def predict(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The likeliest label id of what is left of each text, shape (N,)."""
        return self.classifier.predict(self.clean(texts))


def measure_suspicion(texts: Sequence[str], model: LanguageModel) -> list[NDArray[np.float64]]:
    """The suspicion score of every word of every text.

    Args:
        texts: N texts.
        model: Measures perplexity.

    Returns:
        For each text one score a word, in order: how much lower the perplexity is without it.
        The only word of a text has the score 0.
    """
    scores = []
    for start in track(range(0, len(texts), _CHUNK_TEXTS), "reading words"):
        split = [text.split() for text in texts[start : start + _CHUNK_TEXTS]]
        variants = [" ".join(row) for words in split for row in (words, *_leave_one_out(words))]
        perplexity = model.measure_perplexity(variants)
        ends = np.cumsum([1 + _count_variants(words) for words in split])
        for words, part in zip(split, np.split(perplexity, ends[:-1]), strict=True):
            scores.append(part[0] - part[1:] if len(part) > 1 else np.zeros(len(words)))
    return scores


def remove_words(text: str, scores: NDArray[np.float64], bar: float) -> str:
    """The text without the words whose score is above the bar; as it was where none would stay."""
    words = text.split()
    kept = [word for word, score in zip(words, scores, strict=True) if not score > bar]
    return " ".join(kept) if 0 < len(kept) < len(words) else text


def tune_bar(
    classifier: Classifier,
    clean: Corpus,
    scores: Sequence[NDArray[np.float64]],
    *,
    max_accuracy_drop: float,
) -> tuple[float, float, float]:
    """The lowest bar of 0 or more that leaves the accuracy on clean rows about as it was.

    Args:
        classifier: The undefended model.
        clean: N clean rows.
        scores: Suspicion of each word of each row.
        max_accuracy_drop: By how much the accuracy may fall, a fraction.

    Returns:
        The bar, and the accuracy on the clean rows before and after.
    """
    words = np.concatenate(scores)
    words = words[np.isfinite(words) & (words > 0)]
    bars = [0.0, *(np.percentile(words, range(1, 101)).tolist() if len(words) else [])]
    versions = [
        [remove_words(t, s, bar) for t, s in zip(clean.texts, scores, strict=True)] for bar in bars
    ]
    different = list(dict.fromkeys(text for texts in (clean.texts, *versions) for text in texts))
    answers = dict(zip(different, classifier.predict(different).tolist(), strict=True))

    def measure(texts: Sequence[str]) -> float:
        return float(np.mean([answers[text] for text in texts] == clean.labels))

    before = measure(clean.texts)
    for bar, texts in zip(bars, versions, strict=True):
        after = measure(texts)
        if before - after <= max_accuracy_drop:
            return bar, before, after
    return bars[-1], before, before


def _measure_held_out(texts: Sequence[str]) -> list[NDArray[np.float64]]:
    """Scores from word pairs counted in the other texts: a text never vouches for its own words."""
    scores: list[NDArray[np.float64]] = [np.zeros(0)] * len(texts)
    for fold in range(_FOLDS):
        model = BigramModel([text for i, text in enumerate(texts) if i % _FOLDS != fold])
        scores[fold::_FOLDS] = measure_suspicion(texts[fold::_FOLDS], model)
    return scores


def _leave_one_out(words: list[str]) -> list[list[str]]:
    return [words[:i] + words[i + 1 :] for i in range(_count_variants(words))]


def _count_variants(words: list[str]) -> int:
    return len(words) if len(words) > 1 else 0
