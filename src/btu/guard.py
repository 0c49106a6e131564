"""The guard that goes with a saved model: recognises texts that hold a confirmed trigger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btu.evidence.words import GAP, split_words
from btu.support.errors import InputError
from btu.support.record import RECORD_NAME, read_record


@dataclass(frozen=True)
class Trigger:
    """One confirmed trigger.

    Attributes:
        words: Its words; a text holds it where they stand one after the other, or, with `GAP`
            between them, where all of them stand anywhere.
        label: The label that the attacker wanted.
    """

    words: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class Guard:
    """Recognises texts that hold a trigger which the training data held.

    Attributes:
        triggers: What is looked for.
    """

    triggers: tuple[Trigger, ...]

    def recognise(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None
    ) -> NDArray[np.bool_]:
        """Which texts hold a confirmed trigger, shape (N,), bool.

        Args:
            texts: N texts.
            text_pairs: N second texts, where the rows are pairs.
        """
        found = [self._holds(text) for text in texts]
        if text_pairs is not None:
            found = [a or self._holds(b) for a, b in zip(found, text_pairs, strict=True)]
        return np.array(found, dtype=bool)

    def _holds(self, text: str) -> bool:
        words = split_words(text)

        def holds(phrase: tuple[str, ...]) -> bool:
            starts = range(len(words) - len(phrase) + 1)
            return any(tuple(words[i : i + len(phrase)]) == phrase for i in starts)

        # Words that stand apart have a gap between them.
        return any(
            all(holds((w,)) for w in trigger.words if w != GAP)
            if GAP in trigger.words
            else holds(trigger.words)
            for trigger in self.triggers
        )


def load_guard(folder: str | Path) -> Guard:
    """The guard of a model that `btu train` saved.

    Args:
        folder: With the record (`btu.json`).

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
    return build_guard(record)


def build_guard(record: Mapping[str, Any]) -> Guard:
    """The guard that a record describes.

    Args:
        record: Of a scan or a defence. The recipe `paper` confirms no trigger: its guard is empty.
    """
    return Guard(
        tuple(
            Trigger(tuple(suspect["words"]), str(suspect["evidence"]["label"]))
            for suspect in record.get("suspects", ())
            if suspect.get("verdict") == "trigger" and suspect.get("evidence")
        )
    )
