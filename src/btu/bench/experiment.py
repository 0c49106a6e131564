"""Experiments: small TOML files of differences from one settings file, read into cells.

All faults of all files come in one error, before anything trains.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from btu.bench.cells import (
    NO_ATTACK,
    Cell,
    CellSettings,
    list_defences,
    read_case,
    read_case_tables,
)
from btu.bench.corpora import RULES_NAME, CorpusRule, read_rules
from btu.bench.schema import find_file_faults
from btu.support.errors import InputError

SETTINGS_NAME = "settings.toml"
EXPERIMENTS_NAME = "experiments"


@dataclass(frozen=True)
class Experiment:
    """Cells that belong in one table.

    Attributes:
        name: Its folder or file among the experiments, and the folder of its results.
        about: What it shows, in a sentence or two.
        cells: In the order of running: corpus by corpus, seed by seed, undefended first.
    """

    name: str
    about: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark folder holds: settings, rules and the experiments asked for.

    Attributes:
        root: The folder.
        experiments: Those asked for.
    """

    root: Path
    experiments: tuple[Experiment, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Of all the experiments, in their order."""
        return tuple(cell for experiment in self.experiments for cell in experiment.cells)

    @property
    def results(self) -> Path:
        """Where results are kept unless told otherwise."""
        return self.root / "results"


def load_benchmark(paths: Sequence[str | Path]) -> Benchmark:
    """Read experiment files, or all below a folder, with the settings and rules above them.

    Args:
        paths: TOML files or folders of one benchmark; the benchmark folder stands for all of it.

    Raises:
        InputError: All faults of all files at once.
    """
    files, root = _find_files([Path(path) for path in paths])
    faults: list[str] = []
    defaults = _read_toml(root / SETTINGS_NAME, faults)
    rules = read_rules(_read_toml(root / RULES_NAME, faults), root / RULES_NAME, faults)
    parts: dict[str, list[_Part]] = {}
    for file in files:
        values = defaults | _read_toml(file, faults)
        found = find_file_faults(values, rules)
        faults += [f"{file}: {fault}" for fault in found]
        name = _name_experiment(file, root)
        cells = () if found else tuple(_expand(values, rules, name, str(file)))
        parts.setdefault(name, []).append(_Part(str(values.get("about", "")), cells))
    experiments = [_join(name, listed, list(rules)) for name, listed in parts.items()]
    for experiment in experiments:
        faults += _find_twins(experiment.cells)
    if faults:
        raise InputError.from_faults("benchmark", faults)
    return Benchmark(root, tuple(experiments))


@dataclass(frozen=True)
class _Part:
    """What one file adds to its experiment."""

    about: str
    cells: tuple[Cell, ...]


def _find_files(paths: Sequence[Path]) -> tuple[list[Path], Path]:
    """The experiment files, and the benchmark folder that all of them belong to."""
    faults, files, roots = [], [], []
    for path in paths:
        root = next((p for p in (path, *path.absolute().parents) if _is_root(p)), None)
        if not path.exists():
            faults.append(f"{path}: expected an experiment file or a folder of them, found none")
        elif root is None:
            faults.append(f"{path}: expected a folder above it with {SETTINGS_NAME}, found none")
        else:
            folder = path / EXPERIMENTS_NAME if _is_root(path) else path
            listed = sorted(folder.rglob("*.toml")) if folder.is_dir() else [path]
            files += listed
            roots.append(root.absolute())
            if not listed:
                faults.append(f"{path}: expected experiment files (.toml) in it, found none")
    if len(set(roots)) > 1:
        faults.append(f"expected experiments of one benchmark, got {', '.join(map(str, roots))}")
    if faults:
        raise InputError.from_faults("benchmark", faults)
    return list(dict.fromkeys(files)), roots[0]


def _is_root(path: Path) -> bool:
    return (path / SETTINGS_NAME).is_file()


def _name_experiment(file: Path, root: Path) -> str:
    """The first folder below `experiments` on the way to the file, or the file's own name."""
    try:
        return file.absolute().relative_to(root / EXPERIMENTS_NAME).with_suffix("").parts[0]
    except ValueError:
        return file.stem


def _read_toml(path: Path, faults: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        faults.append(f"{path}: expected this file, found none")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{path}: expected TOML, got {error}")
    return {}


def _expand(
    values: Mapping[str, Any], rules: Mapping[str, CorpusRule], name: str, source: str
) -> Iterator[Cell]:
    """The cells of one file, in the order of running."""
    settings = CellSettings(**{f.name: values[f.name] for f in fields(CellSettings)})
    seeds_of = values.get("seeds_of", {})
    for corpus in values["corpora"]:
        for seed in sorted({*values["seeds"], *(s for seeds in seeds_of.values() for s in seeds)}):
            for table in read_case_tables(values, "attack"):
                asked = {"target_label": rules[corpus].target_label, **values, **table}
                attack = read_case(table, "attack")
                for rate in [0.0] if attack.kind == NO_ATTACK else asked["poison_rates"]:
                    for defence in list_defences(asked):
                        if seed in seeds_of.get(defence.name, values["seeds"]):
                            yield Cell(
                                experiment=name,
                                rule=rules[corpus],
                                attack=attack,
                                poison_rate=float(rate),
                                label_mode=asked["label_mode"],
                                target_label=asked["target_label"],
                                defence=defence,
                                seed=seed,
                                settings=settings,
                                source=source,
                            )


def _join(name: str, parts: Sequence[_Part], corpora: Sequence[str]) -> Experiment:
    """One experiment from its files, corpus by corpus in the order of the rules."""
    cells = [cell for part in parts for cell in part.cells]
    return Experiment(
        name=name,
        about=" ".join(dict.fromkeys(part.about for part in parts if part.about)),
        cells=tuple(sorted(cells, key=lambda cell: corpora.index(cell.rule.name))),
    )


def _find_twins(cells: Sequence[Cell]) -> list[str]:
    """Cells that would write the same result."""
    seen: dict[str, Cell] = {}
    faults = []
    for cell in cells:
        if cell.id in seen:
            faults.append(
                f"{cell.source}: the cell {cell.id} is asked for twice (also in "
                f"{seen[cell.id].source}). Give one of its attacks or defences another name."
            )
        seen.setdefault(cell.id, cell)
    return faults
