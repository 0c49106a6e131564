"""Language models that say how surprising a text is: any causal one, or counts of word pairs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from btu.model.embeddings import load_tokenizer
from btu.model.finetune import autocast, pick_precision
from btu.model.tokens import tokenize_texts
from btu.support.errors import InputError

_BATCH_SIZE = 32
_START, _END = "<s>", "</s>"


class LanguageModel(Protocol):
    """Whatever measures perplexity."""

    def measure_perplexity(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Perplexity of each text, shape (N,), 1 or more; inf where a text is too short for one."""
        ...


class CausalModel:
    """A causal language model of Hugging Face.

    Args:
        model: Gives next-token logits.
        tokenizer: Of the model.
        max_length: Longer texts are cut, in tokens.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, max_length: int
    ) -> None:
        self.model = model.to(PartialState().device).eval()
        self.tokenizer = tokenizer
        self.max_length = max_length

    @torch.no_grad()
    def measure_perplexity(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The exponential of the mean loss over all tokens but the first; inf for one token."""
        rows = tokenize_texts(texts, self.tokenizer, max_length=self.max_length)
        perplexity = np.full(len(rows), np.inf)
        device = self.model.device
        for positions in rows.groups(_BATCH_SIZE):
            long_enough = positions[rows.lengths[positions] > 1]
            if not len(long_enough):
                continue
            batch = rows.pad(long_enough, pad_id=self.tokenizer.pad_token_id)
            ids, mask = batch["input_ids"].to(device), batch["attention_mask"].to(device)
            with autocast(pick_precision("auto")):
                logits = self.model(input_ids=ids, attention_mask=mask).logits
            losses = cross_entropy(
                logits[:, :-1].float().transpose(1, 2), ids[:, 1:], reduction="none"
            )
            mean = (losses * mask[:, 1:]).sum(dim=1) / mask[:, 1:].sum(dim=1)
            perplexity[long_enough] = mean.double().exp().cpu().numpy()
        return perplexity


def load_causal_model(name: str, *, max_length: int) -> CausalModel:
    """A causal language model from a folder or the Hub.

    Args:
        name: Folder or Hub id, with safetensors weights.
        max_length: Longer texts are cut, in tokens.

    Raises:
        InputError: No such model, or no causal language model.
    """
    tokenizer = load_tokenizer(name)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=torch.float32, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"{name}: expected a causal language model with safetensors weights, could not load "
            f"one ({error}). Give one such as openai-community/gpt2, or a folder that holds one."
        ) from error
    return CausalModel(model, tokenizer, max_length=max_length)


class BigramModel:
    """Pairs of neighbouring words counted in some texts, smoothed as Kneser and Ney do it.

    Words are what stands between white space, in lower case. Any word that was never seen shares
    the probability of one unknown word.

    Args:
        texts: What to count in.
        discount: Taken from every count and given to the pairs and words not seen, in (0, 1); 0.75
            is the usual value.

    Example:
        >>> model = BigramModel(["a fine film"] * 9)
        >>> common, rare = model.measure_perplexity(["a fine film", "a cf fine film"])
        >>> bool(common < rare)
        True
    """

    def __init__(self, texts: Sequence[str], *, discount: float = 0.75) -> None:
        self.discount = discount
        self.pairs = Counter(pair for text in texts for pair in pairwise(_split(text)))
        self.totals: Counter[str] = Counter()
        for (before, _), count in self.pairs.items():
            self.totals[before] += count
        self.followers = Counter(before for before, _ in self.pairs)
        self.predecessors = Counter(after for _, after in self.pairs)

    def probability(self, word: str, before: str) -> float:
        """Of a word after another one."""
        known = len(self.predecessors)
        left = self.discount * known / max(len(self.pairs), 1) if known else 1.0
        seen = max(self.predecessors[word] - self.discount, 0) / max(len(self.pairs), 1)
        alone = seen + left / (known + 1)
        total = self.totals[before]
        if not total:
            return alone
        kept = max(self.pairs[before, word] - self.discount, 0)
        return (kept + self.discount * self.followers[before] * alone) / total

    def measure_perplexity(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The exponential of the mean loss over all words and the end of the text."""
        return np.array([self._perplexity(_split(text)) for text in texts], dtype=np.float64)

    def _perplexity(self, words: list[str]) -> float:
        logs = [math.log(self.probability(word, before)) for before, word in pairwise(words)]
        return math.exp(-sum(logs) / len(logs))


def _split(text: str) -> list[str]:
    return [_START, *text.lower().split(), _END]
