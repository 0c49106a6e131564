"""The corpora of the benchmark: which file is which split, and what was published for which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from btu.attacks.options import hint
from btu.data.corpus import Corpus, load_corpus
from btu.support.errors import InputError

RULES_NAME = "corpora.toml"
ROLES = ("train", "test", "clean")

_SHAPES: dict[str, tuple[str, type]] = {
    "label_names": ("a list of names, in the order of the label ids", list),
    "target_label": ("the attacker's label, a name or an id", object),
    "splits": (f"a file for each of {', '.join(ROLES)}", dict),
    "published": ("a version for each attack", dict),
    "missing": ("a reason for each attack without texts", dict),
    "notes": ("a remark for each attack", dict),
    "hub": (f"id, and a split for each of {', '.join(ROLES)}", dict),
}


@dataclass(frozen=True)
class CorpusRule:
    """Where the texts of a corpus come from.

    Attributes:
        name: Its folder among the corpora.
        label_names: In the order of the label ids.
        target_label: The attacker's label unless an experiment names another.
        splits: Clean file of each role, without suffix: train, test, and clean (held-out rows for
            the defences that ask for some).
        published: Version of the published attacked texts, by attack; see `Paraphrase.version`.
        missing: Why an attack has no texts here, by attack: its cells are marked, not run.
        notes: What a reader of the table must know, by attack.
        hub: Hub id and split names of the same corpus, where it is there.
    """

    name: str
    label_names: tuple[str, ...]
    target_label: str | int
    splits: Mapping[str, str]
    published: Mapping[str, Any] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    hub: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self, attack: str) -> dict[str, Any]:
        """What of it decides a result with this attack, JSON types."""
        return {
            "name": self.name,
            "splits": dict(self.splits),
            "published": self.published.get(attack),
        }


def read_rules(tables: Mapping[str, Any], path: Path, faults: list[str]) -> dict[str, CorpusRule]:
    """The rules in the tables of a rules file; what is wrong with them is added to `faults`."""
    rules = {}
    for name, table in tables.items():
        found = _find_faults(table)
        faults += [f"{path}: {name}: {fault}" for fault in found]
        if not found:
            values = {**table, "label_names": tuple(map(str, table["label_names"]))}
            rules[name] = CorpusRule(name=name, **values)
    return rules


def load_split(rule: CorpusRule, role: str, folder: Path | None) -> Corpus:
    """The clean rows of one role, from a folder of corpora or, without one, from the Hub.

    Args:
        rule: Of the corpus.
        role: train, test or clean.
        folder: Holds a folder for each corpus; None for the Hub.

    Raises:
        InputError: The split is not there, or cannot be used.
    """
    if folder is None:
        if not rule.hub:
            raise InputError(
                f"{rule.name}: expected a folder of corpora, got none, and no Hub id is known. "
                "Name the folder with --corpora."
            )
        return _load(rule.hub["id"], rule.hub[role], rule.label_names)
    path = folder / rule.name / f"{rule.splits[role]}.parquet"
    if not path.is_file():
        there = sorted(file.stem for file in path.parent.glob("*.parquet"))
        raise InputError(
            f"{path}: expected the {role} split of {rule.name}, found no such file; the folder "
            f"has {', '.join(there) or 'no Parquet file, or is not there'}."
        )
    return _load(str(path), None, rule.label_names)


@lru_cache(maxsize=6)
def _load(data: str, split: str | None, label_names: tuple[str, ...]) -> Corpus:
    return load_corpus(data, split=split, label_names=label_names)


def _find_faults(table: Any) -> list[str]:
    if not isinstance(table, dict):
        return [f"expected a table, got {table!r}"]
    faults = [
        f"{key}: expected one of {', '.join(_SHAPES)}{hint(key, _SHAPES)}"
        for key in table
        if key not in _SHAPES
    ]
    required = [f.name for f in fields(CorpusRule)][1:4]
    faults += [f"{key}: expected {_SHAPES[key][0]}" for key in required if key not in table]
    faults += [
        f"{key}: expected {_SHAPES[key][0]}, got {value!r}"
        for key, value in table.items()
        if key in _SHAPES and not isinstance(value, _SHAPES[key][1])
    ]
    if faults:
        return faults
    wanted = {"splits": ROLES, "hub": ("id", *ROLES)}
    return [
        f"{key}: expected {_SHAPES[key][0]}, got none for {role}"
        for key, roles in wanted.items()
        for role in roles
        if key in table and role not in table[key]
    ]
