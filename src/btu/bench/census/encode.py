"""The evidence with the states of a pretrained encoder, which read kinds of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from btu.evidence.find import find_evidence
from btu.evidence.tests import Evidence

_BATCH = 64
_MAX_LENGTH = 128


@dataclass
class EncodedEvidence:
    """`find_evidence` with states; each text is encoded once.

    Attributes:
        folder: Of the encoder.
    """

    folder: Path
    _known: dict[str, NDArray[np.float16]] = field(default_factory=dict, repr=False)
    _loaded: tuple[Any, Any] | None = field(default=None, repr=False)

    def __call__(self, texts: Sequence[str], labels: NDArray[np.int64], **options: Any) -> Evidence:
        """As `find_evidence`."""
        return find_evidence(texts, labels, states=self.encode(texts), **options)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float16]:
        """The mean of the last hidden states over the tokens of each text, shape (N, D)."""
        new = sorted(dict.fromkeys(t for t in texts if t not in self._known), key=len)
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            self._known |= dict(zip(batch, self._encode(batch), strict=True))
        return np.stack([self._known[text] for text in texts])

    def _encode(self, texts: list[str]) -> NDArray[np.float16]:
        if self._loaded is None:
            model = AutoModel.from_pretrained(self.folder, use_safetensors=True).eval()
            self._loaded = AutoTokenizer.from_pretrained(self.folder), model
        tokenizer, model = self._loaded
        tokens = tokenizer(
            texts, truncation=True, max_length=_MAX_LENGTH, padding=True, return_tensors="pt"
        )
        with torch.no_grad():
            states = model(**tokens).last_hidden_state
        known = tokens["attention_mask"].unsqueeze(-1)
        means = (states * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)
        encoded: NDArray[np.float16] = means.to(torch.float16).numpy()
        return encoded
