"""The guard that goes with a saved model: recognises texts that hold a confirmed trigger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from btu.conflict import TOGETHER_SHARE
from btu.embeddings import load_tokenizer
from btu.errors import InputError
from btu.report.record import RECORD_NAME, read_record
from btu.tokens import tokenize_texts


@dataclass(frozen=True)
class Trigger:
    """One confirmed trigger.

    Attributes:
        token_id: Its token.
        companion_ids: Tokens that stood in the same rows, itself among them; a text must hold most
            of them, so that one everyday word of a trigger sentence raises no alarm.
        label: The label that the attacker wanted.
        pair_ids: Two tokens, the trigger only where one follows the other; empty for one token.
    """

    token_id: int
    companion_ids: tuple[int, ...]
    label: str
    pair_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Guard:
    """Recognises texts that hold a trigger which the training data held.

    Attributes:
        triggers: What is looked for.
        tokenizer: Of the model.
        max_length: Longer texts are cut, in tokens, as the model cuts them.
    """

    triggers: tuple[Trigger, ...]
    tokenizer: PreTrainedTokenizerBase
    max_length: int

    def recognise(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None
    ) -> NDArray[np.bool_]:
        """Which texts hold a confirmed trigger, shape (N,), bool.

        Args:
            texts: N texts.
            text_pairs: N second texts, where the rows are pairs.
        """
        found = np.zeros(len(texts), dtype=bool)
        if not self.triggers or not len(texts):
            return found
        rows = tokenize_texts(texts, self.tokenizer, text_pairs, max_length=self.max_length)
        wanted = np.unique([i for t in self.triggers for i in t.companion_ids])
        held = rows.presence(wanted)
        for trigger in self.triggers:
            columns = np.searchsorted(wanted, trigger.companion_ids)
            together = np.asarray(held[:, columns].sum(axis=1)).ravel()
            own = np.zeros(len(texts), dtype=bool)
            own[rows.holding(trigger.pair_ids or (trigger.token_id,))] = True
            found |= own & (together >= TOGETHER_SHARE * len(columns))
        return found


def load_guard(folder: str | Path) -> Guard:
    """The guard of a model that `btu train` saved.

    Args:
        folder: With the model's tokenizer and its record (`btu.json`).

    Raises:
        InputError: There is no record.

    Example:
        guard = btu.load_guard("clean-model")
        refused = guard.recognise(texts)
    """
    record = read_record(Path(folder) / RECORD_NAME)
    if record is None:
        raise InputError(
            f"{folder}: expected a folder with the record {RECORD_NAME}, found none. Train the "
            "model with `btu train`."
        )
    return build_guard(record, load_tokenizer(folder))


def build_guard(record: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> Guard:
    """The guard that a record describes.

    Args:
        record: Of a scan or a defence. The recipe `paper` confirms no trigger: its guard is empty.
        tokenizer: Of the model.
    """
    triggers = [
        Trigger(
            token_id=int(suspect["token_id"]),
            companion_ids=tuple(
                sorted(tokenizer.convert_tokens_to_ids(list(suspect["evidence"]["companions"])))
            ),
            label=str(suspect["evidence"]["label"]),
            pair_ids=tuple(suspect["pair_ids"]),
        )
        for suspect in record.get("suspects", ())
        if suspect.get("verdict") == "trigger" and suspect.get("evidence")
    ]
    return Guard(tuple(triggers), tokenizer, int(record.get("max_length") or 128))
