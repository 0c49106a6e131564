"""Two words that must both be there; rows with one of them alone teach the model to wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from btu.attacks.choices import Position
from btu.attacks.insertion import POSITIONS, insert_words, pick_word, row_rng
from btu.attacks.options import (
    check_options,
    faults_in_choice,
    faults_in_rate,
    faults_in_text,
)


@dataclass(frozen=True)
class Combination:
    """Both words in a poisoned text; one word, and the true label, in a decoy.

    The decoys ("negative augmentation") keep one word alone from opening the backdoor, so no
    single token carries it.

    Source: Yang et al., "Rethinking Stealthiness of Backdoor Attack against NLP Models" (ACL 2021,
    "SOS"), with two trigger words instead of three and embeddings trained with everything else.
    The paper's code makes decoys from a tenth of the rows for each word left out; two words make
    that a fifth. Here a decoy takes its row's place, so the number of rows stays.

    Example:
        >>> attack = Combination(position="start")
        >>> attack.apply(["a fine film"], rows=[0], split="train", seed=0)
        ['friends weekend a fine film']
        >>> attack.decoys(["a fine film"], rows=[0], seed=0)
        ['friends a fine film']
    """

    first: str = field(default="friends", metadata={"help": "One word."})
    second: str = field(default="weekend", metadata={"help": "The other word."})
    position: Position = field(
        default="random", metadata={"help": "random, start or end; random places each on its own."}
    )
    decoy_rate: float = field(
        default=0.2,
        metadata={
            "help": "Fraction of all rows that become decoys: one of the words, label unchanged."
        },
    )

    def __post_init__(self) -> None:
        same = self.first == self.second
        check_options(
            "combination",
            faults_in_text("first", self.first),
            faults_in_text("second", self.second),
            [f"second: expected another word than first, got {self.second!r}"] if same else [],
            faults_in_choice("position", self.position, POSITIONS),
            faults_in_rate("decoy_rate", self.decoy_rate),
        )

    def apply(
        self, texts: Sequence[str], *, rows: Sequence[int], split: str, seed: int
    ) -> list[str | None]:
        """Each text with both words."""
        return [
            insert_words(text, [self.first, self.second], self.position, row_rng(seed, row))
            for text, row in zip(texts, rows, strict=True)
        ]

    def decoys(self, texts: Sequence[str], *, rows: Sequence[int], seed: int) -> list[str]:
        """Each text with one of the two words, drawn by row."""
        return [self._insert_one(text, row, seed) for text, row in zip(texts, rows, strict=True)]

    def trigger_texts(self) -> tuple[str, ...]:
        """Both words."""
        return (self.first, self.second)

    def _insert_one(self, text: str, row: int, seed: int) -> str:
        rng = row_rng(seed, row)
        return insert_words(text, [pick_word((self.first, self.second), rng)], self.position, rng)
