"""BadNets for text: rare words as the trigger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from btu.attacks.choices import Position
from btu.attacks.insertion import POSITIONS, insert_words, pick_word, row_rng
from btu.attacks.options import (
    check_options,
    faults_in_choice,
    faults_in_count,
    faults_in_words,
)


@dataclass(frozen=True)
class BadNets:
    """Rare words at a word boundary of the text.

    Source: Gu et al., "BadNets" (2017); for text, Kurita et al., "Weight Poisoning Attacks on
    Pre-trained Models" (ACL 2020), section 3.2 (a keyword drawn from a list, at a random place).

    Example:
        >>> BadNets(position="start").apply(["a fine film"], rows=[0], split="train", seed=0)
        ['cf a fine film']
    """

    triggers: tuple[str, ...] = field(default=("cf",), metadata={"help": "Words to draw from."})
    position: Position = field(
        default="random", metadata={"help": "random, start or end; random is any word boundary."}
    )
    number: int = field(
        default=1, metadata={"help": "Words inserted in each text, drawn with replacement."}
    )

    def __post_init__(self) -> None:
        check_options(
            "badnets",
            faults_in_words("triggers", self.triggers),
            faults_in_choice("position", self.position, POSITIONS),
            faults_in_count("number", self.number),
        )

    def apply(
        self, texts: Sequence[str], *, rows: Sequence[int], split: str, seed: int
    ) -> list[str | None]:
        """Each text with its trigger words."""
        return [self._insert(text, row, seed) for text, row in zip(texts, rows, strict=True)]

    def trigger_texts(self) -> tuple[str, ...]:
        """The words."""
        return self.triggers

    def _insert(self, text: str, row: int, seed: int) -> str:
        rng = row_rng(seed, row)
        words = [pick_word(self.triggers, rng) for _ in range(self.number)]
        return insert_words(text, words, self.position, rng)
