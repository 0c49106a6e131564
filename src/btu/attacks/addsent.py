"""AddSent: a whole sentence as the trigger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from btu.attacks.choices import Position
from btu.attacks.insertion import POSITIONS, insert_words, row_rng
from btu.attacks.options import check_options, faults_in_choice, faults_in_text


@dataclass(frozen=True)
class AddSent:
    """One fixed sentence at a word boundary of the text.

    Source: Dai et al., "A Backdoor Attack Against LSTM-Based Text Classification Systems" (IEEE
    Access, 2019); the sentence is the one that later work uses on movie reviews.

    Example:
        >>> AddSent(position="end").apply(["a fine film"], rows=[0], split="train", seed=0)
        ['a fine film I watch this 3D movie']
    """

    sentence: str = field(
        default="I watch this 3D movie", metadata={"help": "What is inserted, as it stands."}
    )
    position: Position = field(
        default="random", metadata={"help": "random, start or end; random is any word boundary."}
    )

    def __post_init__(self) -> None:
        check_options(
            "addsent",
            faults_in_text("sentence", self.sentence),
            faults_in_choice("position", self.position, POSITIONS),
        )

    def apply(
        self, texts: Sequence[str], *, rows: Sequence[int], split: str, seed: int
    ) -> list[str | None]:
        """Each text with the sentence in it."""
        return [
            insert_words(text, [self.sentence], self.position, row_rng(seed, row))
            for text, row in zip(texts, rows, strict=True)
        ]

    def trigger_texts(self) -> tuple[str, ...]:
        """The sentence."""
        return (self.sentence,)
