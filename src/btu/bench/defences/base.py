"""What every defence of the benchmark is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from btu.data.corpus import Corpus
from btu.model.embeddings import load_classifier, load_tokenizer
from btu.model.finetune import Classifier, finetune
from btu.model.settings import FineTuneSettings
from btu.model.tokens import TokenRows, tokenize_corpus

REFUSED = -1
"""The answer of a defence that refuses an input: neither the target label nor a right answer."""


class Predictor(Protocol):
    """Whatever answers texts."""

    def predict(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Label ids, shape (N,); `REFUSED` where the input was turned away."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What a defence gives back.

    Attributes:
        predictor: Answers texts.
        flagged_rows: Training rows that it calls poisoned, shape (N,), bool; None where it judges
            no rows.
        flagged_tokens: Tokens or words that it calls triggers; None where it judges none.
        details: Scores and decisions worth keeping, JSON types.
    """

    predictor: Predictor
    flagged_rows: NDArray[np.bool_] | None = None
    flagged_tokens: tuple[str, ...] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Workbench:
    """The same pretrained model, settings and undefended model for every defence of a cell.

    Attributes:
        model: Folder of the pretrained model.
        settings: Of the fine-tuning, the same for all.
        train_undefended: Gives the model fine-tuned on the whole training corpus; trained once a
            cell, whoever asks first.
        train_shared: Gives the model fine-tuned on some rows with the settings as they are, trained
            once for all cells that ask for the same rows; without it each training is a new one.
        clean: Held-out clean rows, for the defences whose papers ask for some; the others must not
            touch them.
    """

    model: Path
    settings: FineTuneSettings
    train_undefended: Callable[[], Classifier]
    clean: Corpus | None = None
    train_shared: Callable[[Corpus], Classifier] | None = None

    @property
    def seed(self) -> int:
        """Of everything that a defence draws."""
        return self.settings.seed

    def undefended(self) -> Classifier:
        """The undefended model, a copy that may be changed."""
        return _copy(self.train_undefended())

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Of the model."""
        return load_tokenizer(self.model)

    def tokenize(self, corpus: Corpus) -> TokenRows:
        """As the fine-tuning sees the corpus."""
        return tokenize_corpus(corpus, self.tokenizer(), max_length=self.settings.max_length)

    def start(self, corpus: Corpus) -> Classifier:
        """The pretrained model with a new head for the corpus's labels."""
        tokenizer = self.tokenizer()
        model = load_classifier(
            self.model, label_names=corpus.label_names, tokenizer=tokenizer, seed=self.seed
        )
        return Classifier(model, tokenizer, self.settings.max_length, self.settings.precision)

    def finetune(self, corpus: Corpus, **changes: Any) -> Classifier:
        """The pretrained model fine-tuned on these rows, a copy that may be changed.

        Args:
            corpus: What to train on.
            **changes: Fields of the settings that this defence's paper asks to change.
        """
        if self.train_shared is not None and not changes:
            return _copy(self.train_shared(corpus))
        classifier = self.start(corpus)
        self.continue_finetuning(classifier, corpus, **changes)
        return classifier

    def continue_finetuning(self, classifier: Classifier, corpus: Corpus, **changes: Any) -> None:
        """Train a model further on these rows, in place."""
        finetune(
            classifier.model,
            classifier.tokenizer,
            self.tokenize(corpus),
            settings=replace(self.settings, **changes),
        )


class DefenceMethod(Protocol):
    """A frozen dataclass whose fields are the options of its paper, with the paper's defaults."""

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        """Defend: from the possibly poisoned corpus alone to something that predicts.

        Args:
            corpus: N training rows, some of them perhaps poisoned.
            bench: Model, settings, undefended model, clean rows.
        """
        ...


def _copy(trained: Classifier) -> Classifier:
    return replace(trained, model=deepcopy(trained.model))
