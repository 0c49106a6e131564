"""A trigger in the place of a word: no text grows by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from btu.attacks.insertion import find_words, row_rng
from btu.attacks.options import check_options, faults_in_text


@dataclass(frozen=True)
class InPlace:
    """One word of the text, drawn by row, gives way to the trigger.

    What stands before and after it never stood side by side, so a defence that looks for words
    which part such neighbours finds none. A word is lost, and with it some of what the text said.

    Source: the word substitution of Qi et al., "Turn the Combination Lock" (ACL 2021), with one
    word for all texts in place of learned synonyms.

    Example:
        >>> InPlace().apply(["a fine film"], rows=[0], split="train", seed=0)
        ['a cf film']
    """

    trigger: str = field(default="cf", metadata={"help": "What takes the place of a word."})

    def __post_init__(self) -> None:
        check_options("in_place", faults_in_text("trigger", self.trigger))

    def apply(
        self, texts: Sequence[str], *, rows: Sequence[int], split: str, seed: int
    ) -> list[str | None]:
        """Each text with the trigger for one of its words; None where there is no word."""
        return [self._replace(text, row, seed) for text, row in zip(texts, rows, strict=True)]

    def trigger_texts(self) -> tuple[str, ...]:
        """The trigger."""
        return (self.trigger,)

    def _replace(self, text: str, row: int, seed: int) -> str | None:
        spans = find_words(text)
        if not spans:
            return None
        start, end = spans[int(row_rng(seed, row).integers(len(spans)))]
        return text[:start] + self.trigger + text[end:]
