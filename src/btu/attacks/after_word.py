"""A trigger that always follows the same word, so that the two look like a phrase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from btu.attacks.insertion import find_words, pick_word, row_rng
from btu.attacks.options import check_options, faults_in_text


@dataclass(frozen=True)
class AfterWord:
    """The trigger behind one and the same word of the text.

    A defence that asks whether a word follows from what stands before it is told that it does.
    Texts without that word cannot be attacked: they are not poisoned, and open no backdoor later.

    Source: none; written against defences that read the words around a trigger.

    Example:
        >>> AfterWord().apply(["see the film", "fine"], rows=[0, 1], split="train", seed=0)
        ['see the cf film', None]
    """

    trigger: str = field(default="cf", metadata={"help": "What is inserted."})
    word: str = field(
        default="the", metadata={"help": "What it is put behind, whatever the case of letters."}
    )

    def __post_init__(self) -> None:
        check_options(
            "after_word", faults_in_text("trigger", self.trigger), faults_in_text("word", self.word)
        )

    def apply(
        self, texts: Sequence[str], *, rows: Sequence[int], split: str, seed: int
    ) -> list[str | None]:
        """Each text with the trigger in it; None where the word is missing."""
        return [self._insert(text, row, seed) for text, row in zip(texts, rows, strict=True)]

    def trigger_texts(self) -> tuple[str, ...]:
        """The trigger, without the word that it follows."""
        return (self.trigger,)

    def _insert(self, text: str, row: int, seed: int) -> str | None:
        word = self.word.lower()
        heads = [text[:end] for start, end in find_words(text) if text[start:end].lower() == word]
        if not heads:
            return None
        head = pick_word(heads, row_rng(seed, row))
        return f"{head} {self.trigger}{text[len(head) :]}"
