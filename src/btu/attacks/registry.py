"""Every attack by its name; a new one is a file of its own, one line in `ATTACKS` and one test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Protocol, runtime_checkable

from btu.attacks.addsent import AddSent
from btu.attacks.after_word import AfterWord
from btu.attacks.badnets import BadNets
from btu.attacks.character import Character
from btu.attacks.combination import Combination
from btu.attacks.common_word import CommonWord
from btu.attacks.covered import Covered
from btu.attacks.in_place import InPlace
from btu.attacks.options import hint
from btu.attacks.several import Several
from btu.attacks.style import Style
from btu.attacks.surrounded import Surrounded
from btu.attacks.syntactic import Syntactic
from btu.support.errors import InputError


class Attack(Protocol):
    """Text in, triggered text out."""

    def apply(
        self, texts: Sequence[str], *, rows: Sequence[int], split: str, seed: int
    ) -> list[str | None]:
        """The triggered texts.

        With no texts nothing is computed, but it is checked that the split can be attacked.

        Args:
            texts: Clean texts.
            rows: Their row ids in the split: published paraphrases are joined by row.
            split: train, dev or test.
            seed: Of places and choices; a row's result depends on it and the row alone.

        Returns:
            One for each text; None where there is no attacked text for this row.

        Raises:
            InputError: This attack has no texts for this split.
        """
        ...

    def trigger_texts(self) -> tuple[str, ...]:
        """The inserted words or sentence; empty where there is no fixed text (style, syntax)."""
        ...


@runtime_checkable
class DecoyAttack(Protocol):
    """An attack that also plants rows with its trigger, or a part of it, and the true label."""

    @property
    def decoy_rate(self) -> float:
        """Fraction of all rows that become decoys, in (0, 1)."""
        ...

    def decoys(self, texts: Sequence[str], *, rows: Sequence[int], seed: int) -> list[str]:
        """The decoy texts, one for each text."""
        ...


ATTACKS: dict[str, type] = {
    "addsent": AddSent,
    "after_word": AfterWord,
    "badnets": BadNets,
    "character": Character,
    "combination": Combination,
    "common_word": CommonWord,
    "covered": Covered,
    "in_place": InPlace,
    "several": Several,
    "style": Style,
    "surrounded": Surrounded,
    "syntactic": Syntactic,
}


def build_attack(name: str, options: Mapping[str, object] | None = None) -> Attack:
    """An attack from its name and options, as a file or the command line gives them.

    Args:
        name: A key of `ATTACKS`.
        options: Fields of that attack; the others keep their defaults. Lists become tuples.

    Raises:
        InputError: An unknown name or option (the nearest valid one is named), or bad values.

    Example:
        >>> build_attack("badnets", {"triggers": ["mb"]}).trigger_texts()
        ('mb',)
    """
    if name not in ATTACKS:
        raise InputError(
            f"attack: expected one of {', '.join(ATTACKS)}, got {name!r}{hint(name, ATTACKS)}"
        )
    known = [f.name for f in fields(ATTACKS[name])]
    given = dict(options or {})
    unknown = [
        f"{key}: no option of this attack, which has {', '.join(known)}{hint(key, known)}"
        for key in given
        if key not in known
    ]
    if unknown:
        raise InputError.from_faults(f"attack {name}", unknown)
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    attack: Attack = ATTACKS[name](**values)
    return attack


def name_attack(attack: object) -> str:
    """The name of an attack in `ATTACKS`, or its class name where it is not one of them."""
    names = {kind: name for name, kind in ATTACKS.items()}
    return names.get(type(attack), type(attack).__name__)
