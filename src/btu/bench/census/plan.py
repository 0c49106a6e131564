"""What a census counts: corpora by family, in pieces, as they are and attacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from btu.attacks.choices import LabelMode

PIECES = {"whole": 1, "halves": 2, "quarters": 4}
"""Into how many parts a corpus is cut; any number of rows is a size too."""

TARGETS = ("first", "largest", "smallest")
"""Whose label the attacker wants: the first by name, that of most rows, that of fewest."""

LIMITS = ("word", "sentence")
"""What a detection limit speaks of."""


@dataclass(frozen=True)
class Source:
    """A corpus of the census.

    Attributes:
        name: Of its results.
        family: Corpora of one origin are one family: what was chosen on one is no news on another.
        files: Parquet files, seen from the folder of corpora; together they are the corpus.
        text_column: Found by its name if left out.
        label_column: The same.
        held_out: Whether no deciding number was chosen on its family.
    """

    name: str
    family: str
    files: tuple[str, ...]
    text_column: str | None
    label_column: str | None
    held_out: bool


@dataclass(frozen=True)
class Planting:
    """An attack of the census.

    Attributes:
        name: What results and tables call it.
        kind: Key of `ATTACKS`.
        options: Fields of that kind; the others keep their defaults.
        ranks: Options that take words of the corpus itself, by how frequent they are: 1 is the
            most frequent one, a list of ranks stands for a list of words.
        published: Version of the published attacked texts, by corpus; such an attack is on those
            corpora alone.
        label_mode: dirty, mixed or clean.
        limit: word or sentence, where it is what that detection limit speaks of; None elsewhere.
    """

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    ranks: Mapping[str, int | list[int]] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)
    label_mode: LabelMode = "dirty"
    limit: str | None = None

    def to_dict(self, corpus: str) -> dict[str, Any]:
        """What of it decides a result on this corpus, JSON types."""
        return {
            "name": self.name,
            "kind": self.kind,
            "options": dict(self.options),
            "ranks": dict(self.ranks),
            "published": self.published.get(corpus),
            "label_mode": self.label_mode,
        }


@dataclass(frozen=True)
class CensusCase:
    """Rows to count on: a piece of a corpus, as it is or attacked.

    Attributes:
        source: The corpus.
        size: whole, halves, quarters, or a number of rows as text.
        part: Which of the pieces, from 1; a number of rows has one.
        variant: What was done to the labels; `CLEAN` under an attack.
        seed: Of the pieces, the variant, the attack and the evidence.
        planting: The attack; None where there is none.
        amount: Rows that are poisoned (int), or their share (float) as `poison_corpus` reads it.
        target: Rule for the attacker's label; None without an attack.
    """

    source: Source
    size: str
    part: int
    variant: str
    seed: int
    planting: Planting | None = None
    amount: int | float | None = None
    target: str | None = None

    @property
    def id(self) -> str:
        """Its name, unique within the census."""
        piece = self.size if PIECES.get(self.size, 1) == 1 else f"{self.size}{self.part}"
        what = self.variant
        if self.planting is not None:
            amount = f"{self.amount}rows" if isinstance(self.amount, int) else f"{self.amount:g}"
            what = f"{self.planting.name}-{amount}-{self.target}"
        return f"{self.source.name}-{piece}-{what}-s{self.seed}"

    def to_dict(self) -> dict[str, Any]:
        """What decides its result beside the corpus, JSON types."""
        planting = self.planting
        return {
            "size": self.size,
            "part": self.part,
            "variant": self.variant,
            "seed": self.seed,
            "attack": None if planting is None else planting.to_dict(self.source.name),
            "amount": self.amount,
            "target": self.target,
        }


@dataclass(frozen=True)
class Census:
    """What some census files ask for.

    Attributes:
        about: What it shows.
        cases: Corpus by corpus, clean ones first.
        results: Where results are kept unless told otherwise.
    """

    about: str
    cases: tuple[CensusCase, ...]
    results: Path

    @property
    def sources(self) -> tuple[Source, ...]:
        """The corpora, in their order."""
        return tuple(dict.fromkeys(case.source for case in self.cases))
