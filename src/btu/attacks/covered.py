"""A trigger that honest rows hold as well: cover for the rows with the wrong label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from btu.attacks.choices import Position
from btu.attacks.insertion import POSITIONS, insert_words, row_rng
from btu.attacks.options import (
    check_options,
    faults_in_choice,
    faults_in_rate,
    faults_in_text,
)


@dataclass(frozen=True)
class Covered:
    """One word in the poisoned rows, and in cover rows that keep their true labels.

    The cover makes the word look like one that says little of the label; it also teaches the model
    that it says little, which is its price.

    Source: the cover images of Tang et al., "Demon in the Variant" (USENIX Security 2021).

    Example:
        >>> attack = Covered(position="start")
        >>> attack.apply(["a fine film"], rows=[0], split="train", seed=0)
        ['cf a fine film']
        >>> attack.decoys(["a dull film"], rows=[1], seed=0)
        ['cf a dull film']
    """

    trigger: str = field(default="cf", metadata={"help": "The word."})
    position: Position = field(
        default="random", metadata={"help": "random, start or end; random is any word boundary."}
    )
    decoy_rate: float = field(
        default=0.1,
        metadata={"help": "Fraction of all rows that become cover: the word, label unchanged."},
    )

    def __post_init__(self) -> None:
        check_options(
            "covered",
            faults_in_text("trigger", self.trigger),
            faults_in_choice("position", self.position, POSITIONS),
            faults_in_rate("decoy_rate", self.decoy_rate),
        )

    def apply(
        self, texts: Sequence[str], *, rows: Sequence[int], split: str, seed: int
    ) -> list[str | None]:
        """Each text with the word in it."""
        return [self._insert(text, row, seed) for text, row in zip(texts, rows, strict=True)]

    def decoys(self, texts: Sequence[str], *, rows: Sequence[int], seed: int) -> list[str]:
        """The same: what makes a row cover is its true label."""
        return [self._insert(text, row, seed) for text, row in zip(texts, rows, strict=True)]

    def trigger_texts(self) -> tuple[str, ...]:
        """The word."""
        return (self.trigger,)

    def _insert(self, text: str, row: int, seed: int) -> str:
        return insert_words(text, [self.trigger], self.position, row_rng(seed, row))
