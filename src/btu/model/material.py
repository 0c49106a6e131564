"""What every conductor starts from: checked data, tokenised once, and a pretrained model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from btu.data.corpus import Corpus, load_corpus
from btu.data.facts import DataFacts, describe_data
from btu.model.embeddings import (
    embedding_weight,
    hash_weights,
    load_classifier,
    load_tokenizer,
    longest_text,
)
from btu.model.facts import ModelFacts
from btu.model.kept_tokens import load_tokens
from btu.model.processes import check_alike, join_processes
from btu.model.tokens import TokenRows, tokenize_corpus

_MOST = 0.5


@dataclass(frozen=True)
class Material:
    """What every conductor starts from: checked data and a pretrained model.

    Attributes:
        corpus: The training data.
        tokenizer: Of the model.
        rows: The tokenised corpus.
        model: Pretrained, with a classification head for the corpus's labels.
        max_length: Of a row in tokens; longer ones were cut.
        data_facts: What the record says of the data.
        model_facts: What it says of the model.
        eval_corpus: Rows to evaluate on during the training, where there are any.
    """

    corpus: Corpus
    tokenizer: PreTrainedTokenizerBase
    rows: TokenRows
    model: PreTrainedModel
    max_length: int
    data_facts: DataFacts
    model_facts: ModelFacts
    eval_corpus: Corpus | None = None

    def pick_rows(self, corpus: Corpus) -> TokenRows:
        """Some of the rows, as they stand in another corpus: its labels, and its texts.

        What is tokenised already is taken over where no text was changed.

        Args:
            corpus: Rows of `corpus`, known by their ids.
        """
        whole = self.corpus
        order = np.argsort(whole.row_ids, kind="stable")
        places = order[np.searchsorted(whole.row_ids[order], corpus.row_ids)]
        columns = ((corpus.texts, whole.texts), (corpus.text_pairs, whole.text_pairs))
        if all(_are_those(mine, known, places) for mine, known in columns):
            return replace(self.rows.select(places), labels=corpus.labels)
        return tokenize_corpus(corpus, self.tokenizer, max_length=self.max_length)


def _are_those(
    texts: Sequence[str] | None, known: Sequence[str] | None, places: NDArray[np.int64]
) -> bool:
    """Whether texts are those at some places among the known ones."""
    if texts is None or known is None:
        return texts is known
    return all(text is known[i] for text, i in zip(texts, places.tolist(), strict=True))


def load_material(
    model: str | Path, data: Any, *, max_length: int, seed: int, **columns: Any
) -> Material:
    """Load and check data and model, tokenise once.

    Raises:
        InputError: Data or model cannot be used; several processes cannot meet, or read other data.
    """
    join_processes()
    corpus = load_corpus(data, **columns)
    tokenizer = load_tokenizer(model)
    classifier = load_classifier(
        model, label_names=corpus.label_names, tokenizer=tokenizer, seed=seed
    )
    max_length = min(max_length, longest_text(classifier, tokenizer))
    rows = load_tokens(corpus, tokenizer, max_length=max_length)
    _warn_of_unknown_text(rows, tokenizer, f"{corpus.source}: the tokenizer of {model}")
    sha256 = hash_weights(classifier)
    check_alike({"data": corpus.fingerprint(), "model": sha256})
    return Material(
        corpus=corpus,
        tokenizer=tokenizer,
        rows=rows,
        model=classifier,
        max_length=max_length,
        data_facts=describe_data(corpus, columns),
        model_facts=ModelFacts(
            name=str(model),
            revision=getattr(classifier.config, "_commit_hash", None),
            architecture=type(classifier).__name__,
            sha256=sha256,
            vocabulary_size=len(embedding_weight(classifier)),
        ),
    )


def _warn_of_unknown_text(
    rows: TokenRows, tokenizer: PreTrainedTokenizerBase, subject: str
) -> None:
    marks = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    words = rows.token_ids[~np.isin(rows.token_ids, list(marks))]
    unknown = np.mean(words == tokenizer.unk_token_id) if len(words) else 0.0
    if unknown > _MOST:
        warnings.warn(
            f"{subject} does not know {unknown:.0%} of the text. Take a model that was trained on "
            "this language.",
            stacklevel=4,
        )
