"""A cell of a table: one corpus, one attack, one defence, one seed, and the settings all share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from btu.attacks.choices import LabelMode
from btu.attacks.options import hint
from btu.bench.corpora import CorpusRule
from btu.bench.defences import DEFENCES, DefenceMethod
from btu.model.settings import FineTuneSettings, Precision
from btu.support.errors import InputError

NO_ATTACK = "none"
"""The attack of the clean control: nothing is poisoned."""

UNDEFENDED = "none"
ORACLE = "oracle"

ALL = "all"
"""In an experiment file: every defence that there is."""


@dataclass(frozen=True)
class Case:
    """An attack or a defence with its options.

    Attributes:
        name: What results and tables call it.
        kind: Key of `ATTACKS` or `DEFENCES`.
        options: Fields of that kind; the others keep their defaults.
    """

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CellSettings:
    """Model, budget and sizes: the same for every defence of an experiment."""

    model: str
    epochs: float
    learning_rate: float
    batch_size: int
    group_by_length: bool
    max_length: int
    precision: Precision
    max_train_rows: int
    max_test_rows: int
    max_clean_rows: int

    def finetuning(self, seed: int) -> FineTuneSettings:
        """The part that a fine-tuning needs."""
        names = {f.name for f in fields(FineTuneSettings)}
        shared = {name: value for name, value in asdict(self).items() if name in names}
        return FineTuneSettings(**shared, seed=seed)


@dataclass(frozen=True)
class Cell:
    """One training run to measure.

    Attributes:
        experiment: Folder of its result.
        rule: Where the corpus's texts come from.
        attack: What poisons it; of the kind `NO_ATTACK` in the clean control.
        poison_rate: As `poison_corpus` reads it; 0 in the clean control.
        label_mode: dirty, mixed or clean.
        target_label: Name or id of the attacker's label.
        defence: What is measured.
        seed: Of the sample, the poison, the training and the defence.
        settings: The same for all defences.
        source: The experiment file that asks for it; no part of what is measured.
    """

    experiment: str
    rule: CorpusRule
    attack: Case
    poison_rate: float
    label_mode: LabelMode
    target_label: str | int
    defence: Case
    seed: int
    settings: CellSettings
    source: str = field(default="", compare=False)

    @property
    def id(self) -> str:
        """Its name: unique within the experiment, and the name of its result."""
        rate = f"{self.poison_rate:g}"
        return f"{self.rule.name}-{self.attack.name}-{rate}-{self.defence.name}-s{self.seed}"

    @property
    def key(self) -> str:
        """Its name among all experiments."""
        return f"{self.experiment}/{self.id}"

    @property
    def missing(self) -> str | None:
        """Why nobody can run it, where that is known: no text was ever published."""
        return self.rule.missing.get(self.attack.kind)

    @property
    def is_control(self) -> bool:
        """Whether nothing is poisoned."""
        return self.attack.kind == NO_ATTACK

    @property
    def title(self) -> str:
        """Attack, poison rate and label mode, as tables call them."""
        if self.is_control:
            return "no attack"
        mode = "" if self.label_mode == "dirty" else f", {self.label_mode} label"
        return f"{self.attack.name} {100 * self.poison_rate:g} %{mode}"

    def group(self) -> str:
        """Equal for cells that differ in nothing but the defence: they share data and models."""
        shared = self.to_dict()
        del shared["defence"], shared["experiment"]
        return json.dumps(shared, sort_keys=True)

    def to_dict(self) -> dict[str, Any]:
        """Everything that decides the result, JSON types."""
        return {
            "experiment": self.experiment,
            "corpus": self.rule.to_dict(self.attack.kind),
            "attack": _plain(self.attack),
            "poison_rate": self.poison_rate,
            "label_mode": self.label_mode,
            "target_label": None if self.is_control else self.target_label,
            "defence": _plain(self.defence),
            "seed": self.seed,
            "settings": asdict(self.settings),
        }


def group_cells(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Cells that share data and models together; groups, and cells in them, keep their order."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.group(), []).append(cell)
    return list(groups.values())


def build_defence(name: str, options: Mapping[str, Any] | None = None) -> DefenceMethod:
    """A defence from its name and options, as a file gives them.

    Args:
        name: A key of `DEFENCES`.
        options: Fields of that defence; the others keep their defaults. Lists become tuples.

    Raises:
        InputError: An unknown name or option (the nearest valid one is named), or bad values.

    Example:
        >>> build_defence("clean-finetuning", {"epochs": 2})
        CleanFineTuning(epochs=2)
    """
    if name not in DEFENCES:
        raise InputError(
            f"defence: expected one of {', '.join(DEFENCES)}, got {name!r}{hint(name, DEFENCES)}"
        )
    known = [f.name for f in fields(DEFENCES[name])]  # type: ignore[arg-type]
    unknown = [
        f"{key}: no option of this defence, which has {', '.join(known) or 'none'}"
        f"{hint(key, known)}"
        for key in options or {}
        if key not in known
    ]
    if unknown:
        raise InputError.from_faults(f"defence {name}", unknown)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in (options or {}).items()}
    return DEFENCES[name](**values)


def read_case_tables(values: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The attacks or defences of a file; a name stands for a table with nothing but the name.

    Args:
        values: Of the file.
        key: attack or defence.
    """
    entries = values.get(f"{key}s", ())
    return [{key: entry} if isinstance(entry, str) else dict(entry) for entry in entries]


def read_case(table: Mapping[str, Any], key: str) -> Case:
    """The attack or defence in a table."""
    kind = str(table.get(key))
    return Case(table.get("name", kind), kind, table.get("options", {}))


def list_defences(values: Mapping[str, Any]) -> list[Case]:
    """The defences of a file in the order of running, the shared models' owners first."""
    cases: dict[str, Case] = {}
    for table in read_case_tables(values, "defence"):
        every = table.get("defence") == ALL
        for case in [Case(d, d) for d in DEFENCES] if every else [read_case(table, "defence")]:
            cases.setdefault(case.name, case)
    first = {UNDEFENDED: 0, ORACLE: 1}
    return sorted(cases.values(), key=lambda case: first.get(case.kind, 2))


def _plain(case: Case) -> dict[str, Any]:
    return {"name": case.name, "kind": case.kind, "options": dict(case.options)}
