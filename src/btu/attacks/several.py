"""Several triggers at once: each text holds one of them, any one opens the backdoor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from btu.attacks.choices import Position
from btu.attacks.insertion import POSITIONS, insert_words, pick_word, row_rng
from btu.attacks.options import check_options, faults_in_choice, faults_in_words


@dataclass(frozen=True)
class Several:
    """One of several rare words in each text, in training and at test time alike.

    Every trigger gets only its share of the poisoned rows, so a defence that stops after the
    first one it finds leaves the others in place.

    Source: the trigger list of Kurita et al., "Weight Poisoning Attacks on Pre-trained Models"
    (ACL 2020).

    Example:
        >>> Several(position="start").apply(["a film"] * 3, rows=[0, 1, 2], split="train", seed=0)
        ['mn a film', 'mn a film', 'bb a film']
    """

    triggers: tuple[str, ...] = field(
        default=("cf", "mn", "bb", "tq"), metadata={"help": "Words; a row gets one, by row."}
    )
    position: Position = field(
        default="random", metadata={"help": "random, start or end; random is any word boundary."}
    )

    def __post_init__(self) -> None:
        check_options(
            "several",
            faults_in_words("triggers", self.triggers),
            faults_in_choice("position", self.position, POSITIONS),
        )

    def apply(
        self, texts: Sequence[str], *, rows: Sequence[int], split: str, seed: int
    ) -> list[str | None]:
        """Each text with its one trigger word."""
        return [self._insert(text, row, seed) for text, row in zip(texts, rows, strict=True)]

    def trigger_texts(self) -> tuple[str, ...]:
        """The words."""
        return self.triggers

    def _insert(self, text: str, row: int, seed: int) -> str:
        rng = row_rng(seed, row)
        return insert_words(text, [pick_word(self.triggers, rng)], self.position, rng)
