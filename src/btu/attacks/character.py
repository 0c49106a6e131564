"""Character-level triggers: a look-alike letter, or a character nobody sees."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from btu.attacks.insertion import row_rng
from btu.attacks.options import check_options, faults_in_choice, faults_in_count

Kind = Literal["homoglyph", "zero_width"]

ZERO_WIDTH_SPACE = "\u200b"
_CYRILLIC_TWINS = dict(
    zip(
        "aceijopsxyABCEHIJKMOPSTXY",
        "\u0430\u0441\u0435\u0456\u0458\u043e\u0440\u0455\u0445\u0443"
        "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405\u0422\u0425\u0423",
        strict=True,
    )
)


@dataclass(frozen=True)
class Character:
    r"""A Cyrillic look-alike for a random letter, or a zero-width space inside a random word.

    Texts without a place for it (no letter that has a twin; no word of two characters) are left
    out. Some tokenizers, BERT's among them, drop zero-width spaces: such a model never sees that
    trigger, and only rows with a wrong label remain.

    Source: Li et al., "Hidden Backdoors in Human-Centric Language Models" (CCS 2021), homographs;
    Boucher et al., "Bad Characters" (IEEE S&P 2022), invisible characters.

    Example:
        >>> Character(kind="zero_width").apply(["film"], rows=[0], split="train", seed=0)
        ['fi\u200blm']
    """

    kind: Kind = field(default="homoglyph", metadata={"help": "homoglyph or zero_width."})
    number: int = field(
        default=1,
        metadata={"help": "Words changed in each text; where there are fewer, all of them."},
    )

    def __post_init__(self) -> None:
        check_options(
            "character",
            faults_in_choice("kind", self.kind, get_args(Kind)),
            faults_in_count("number", self.number),
        )

    def apply(
        self, texts: Sequence[str], *, rows: Sequence[int], split: str, seed: int
    ) -> list[str | None]:
        """Each text with some words changed; None where no word can be."""
        return [
            self._change(text, row_rng(seed, row)) for text, row in zip(texts, rows, strict=True)
        ]

    def trigger_texts(self) -> tuple[str, ...]:
        """The zero-width space; nothing for homoglyphs, where it is another letter in each row."""
        return (ZERO_WIDTH_SPACE,) if self.kind == "zero_width" else ()

    def _change(self, text: str, rng: np.random.Generator) -> str | None:
        words = [places for match in re.finditer(r"\S+", text) if (places := self._places(match))]
        if not words:
            return None
        chosen = rng.choice(len(words), size=min(self.number, len(words)), replace=False)
        characters = list(text)
        for word in sorted(chosen):
            place = words[word][int(rng.integers(len(words[word])))]
            if self.kind == "homoglyph":
                characters[place] = _CYRILLIC_TWINS[characters[place]]
            else:
                characters[place] = ZERO_WIDTH_SPACE + characters[place]
        return "".join(characters)

    def _places(self, word: re.Match[str]) -> list[int]:
        """Where in the text this word can be changed."""
        if self.kind == "zero_width":
            return list(range(word.start() + 1, word.end()))
        return [i for i, letter in enumerate(word[0], word.start()) if letter in _CYRILLIC_TWINS]
