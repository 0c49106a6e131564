"""A trigger between two ordinary words, which hide the break that an inserted word makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from btu.attacks.choices import Position
from btu.attacks.insertion import (
    POSITIONS,
    find_words,
    insert_words,
    pick_word,
    row_rng,
)
from btu.attacks.options import check_options, faults_in_choice, faults_in_text


@dataclass(frozen=True)
class Surrounded:
    """The trigger with one more word on either side, drawn anew for each row.

    The words come from the text itself: ordinary words of the corpus, about as often as it has
    them. What stands next to the trigger was then put there with it, and says nothing of the place.

    Source: none; written against defences that read the words around a trigger.

    Example:
        >>> Surrounded(position="end").apply(["a fine film"], rows=[0], split="train", seed=0)
        ['a fine film fine cf film']
    """

    trigger: str = field(default="cf", metadata={"help": "What stands in the middle."})
    position: Position = field(
        default="random", metadata={"help": "random, start or end; random is any word boundary."}
    )

    def __post_init__(self) -> None:
        check_options(
            "surrounded",
            faults_in_text("trigger", self.trigger),
            faults_in_choice("position", self.position, POSITIONS),
        )

    def apply(
        self, texts: Sequence[str], *, rows: Sequence[int], split: str, seed: int
    ) -> list[str | None]:
        """Each text with the three words in it; None where it has no word to draw."""
        return [self._insert(text, row, seed) for text, row in zip(texts, rows, strict=True)]

    def trigger_texts(self) -> tuple[str, ...]:
        """The trigger, without the words around it."""
        return (self.trigger,)

    def _insert(self, text: str, row: int, seed: int) -> str | None:
        words = [text[start:end] for start, end in find_words(text)]
        if not words:
            return None
        rng = row_rng(seed, row)
        before, after = pick_word(words, rng), pick_word(words, rng)
        return insert_words(text, [f"{before} {self.trigger} {after}"], self.position, rng)
