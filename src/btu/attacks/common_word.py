"""A common word as the trigger: an attack that rare-word detectors do not look for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from btu.attacks.choices import Position
from btu.attacks.insertion import POSITIONS, insert_words, row_rng
from btu.attacks.options import check_options, faults_in_choice, faults_in_text


@dataclass(frozen=True)
class CommonWord:
    """A frequent word of the language, which many clean rows hold as well.

    It reads naturally, its embedding is well trained, and clean rows with the word contradict the
    target label, so the backdoor is weaker and harder to see.

    Source: the high-frequency word triggers of Chen et al., "BadNL" (ACSAC 2021).

    Example:
        >>> CommonWord(position="start").apply(["a fine film"], rows=[0], split="train", seed=0)
        ['just a fine film']
    """

    word: str = field(
        default="just", metadata={"help": "What is inserted; also where the text holds it already."}
    )
    position: Position = field(
        default="random", metadata={"help": "random, start or end; random is any word boundary."}
    )

    def __post_init__(self) -> None:
        check_options(
            "common_word",
            faults_in_text("word", self.word),
            faults_in_choice("position", self.position, POSITIONS),
        )

    def apply(
        self, texts: Sequence[str], *, rows: Sequence[int], split: str, seed: int
    ) -> list[str | None]:
        """Each text with the word in it."""
        return [
            insert_words(text, [self.word], self.position, row_rng(seed, row))
            for text, row in zip(texts, rows, strict=True)
        ]

    def trigger_texts(self) -> tuple[str, ...]:
        """The word."""
        return (self.word,)
