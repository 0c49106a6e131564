"""Census files (TOML), read into cases. All faults of all files come in one error."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from btu.attacks.options import faults_in_choice, faults_in_rate
from btu.attacks.poison import LABEL_MODES
from btu.attacks.registry import ATTACKS, build_attack
from btu.bench.census.plan import LIMITS, PIECES, TARGETS, Census, CensusCase, Planting, Source
from btu.bench.census.variants import CLEAN, VARIANTS
from btu.bench.census.words import list_ranks, pick_options
from btu.bench.schema import NAMES, SEEDS, TABLE, TEXT, Check, find_key_faults, is_list_of, one_of
from btu.support.errors import InputError

_SIZES: Check = (
    f"a list of {', '.join(PIECES)} or numbers of rows",
    lambda v: is_list_of((str, int))(v) and all(s in PIECES or _is_count(s) for s in v),
)
_ROWS: Check = (
    "a list of numbers of rows",
    lambda v: isinstance(v, list) and all(map(_is_count, v)),
)
_AMOUNTS: dict[str, Check] = {
    "sizes": _SIZES,
    "rows": _ROWS,
    "poison_rates": (
        "a list of fractions above 0 and below 1",
        lambda v: isinstance(v, list) and not any(faults_in_rate("", rate) for rate in v),
    ),
    "targets": (
        f"a list of {', '.join(TARGETS)}",
        lambda v: is_list_of(str)(v) and set(v) <= {*TARGETS},
    ),
}
_FILE_KEYS: dict[str, Check] = {
    "about": TEXT,
    "development": NAMES,
    "seeds": SEEDS,
    "sizes": _SIZES,
    "variants": (
        f"a list of {', '.join(VARIANTS)}",
        lambda v: is_list_of(str)(v) and set(v) <= {*VARIANTS},
    ),
    "attack_sizes": _SIZES,
    **{key: check for key, check in _AMOUNTS.items() if key != "sizes"},
    "corpora": TABLE,
    "attacks": ("a list of tables", is_list_of(dict)),
}
_REQUIRED = ("seeds", "sizes", "variants", "corpora")
_CORPUS_KEYS: dict[str, Check] = {
    "family": TEXT,
    "files": NAMES,
    "text_column": TEXT,
    "label_column": TEXT,
    "attacks": NAMES,
    "attack_sizes": _SIZES,
    **_AMOUNTS,
}
_ATTACK_KEYS: dict[str, Check] = {
    "name": TEXT,
    "attack": one_of(tuple(ATTACKS)),
    "options": TABLE,
    "ranks": TABLE,
    "published": TABLE,
    "label_mode": one_of(LABEL_MODES),
    "limit": one_of(LIMITS),
    **_AMOUNTS,
}


def load_census(paths: Sequence[str | Path]) -> Census:
    """Read census files, or all in a folder.

    Raises:
        InputError: All faults of all files at once.
    """
    faults: list[str] = []
    files = list(dict.fromkeys(file for path in paths for file in _list_files(Path(path), faults)))
    abouts, cases = [], []
    for file in files:
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            faults.append(f"{file}: expected TOML, got {error}")
            continue
        found = _find_faults(values)
        faults += [f"{file}: {fault}" for fault in found]
        if not found:
            abouts.append(str(values.get("about", "")))
            cases += list(_expand(values))
    ids = [case.id for case in cases]
    faults += [
        f"the case {name} is asked for twice: give a corpus or an attack another name"
        for name in dict.fromkeys(name for name in ids if ids.count(name) > 1)
    ]
    if faults:
        raise InputError.from_faults("census", faults)
    results = files[0].absolute().parent.parent / "results" / files[0].absolute().parent.name
    return Census(" ".join(filter(None, dict.fromkeys(abouts))), tuple(cases), results)


def _list_files(path: Path, faults: list[str]) -> list[Path]:
    found = sorted(path.glob("*.toml")) if path.is_dir() else [path] if path.is_file() else []
    if not found:
        faults.append(f"{path}: expected a census file (.toml) or a folder of them, found none")
    return found


def _find_faults(values: Mapping[str, Any]) -> list[str]:
    faults = find_key_faults(values, _FILE_KEYS)
    faults += [
        f"{key}: expected {_FILE_KEYS[key][0]}, got none" for key in _REQUIRED if key not in values
    ]
    if faults:
        return faults
    attacks, corpora = values.get("attacks", []), values["corpora"]
    names = [str(table.get("name", table.get("attack"))) for table in attacks]
    for name, table in zip(names, attacks, strict=True):
        found = find_key_faults(table, _ATTACK_KEYS)
        found += [] if "attack" in table else ["attack: expected one, got none"]
        faults += [f"attacks: {name}: {fault}" for fault in found or _find_option_faults(table)]
    for name, table in corpora.items():
        is_table = isinstance(table, dict)
        found = find_key_faults(table, _CORPUS_KEYS) if is_table else ["expected a table"]
        found += [] if is_table and "files" in table else ["files: expected some, got none"]
        if not found:
            for attack in table.get("attacks", ()):
                found += faults_in_choice("attacks", attack, names)
        faults += [f"corpora: {name}: {fault}" for fault in found]
    if not faults:
        families = [table.get("family", name) for name, table in corpora.items()]
        for family in values.get("development", ()):
            faults += faults_in_choice("development", family, families)
    return faults


def _find_option_faults(table: Mapping[str, Any]) -> list[str]:
    """Bad options, with any words in the place of the corpus's own."""
    ranks = table.get("ranks", {})
    if not all(_is_count(rank) for rank in list_ranks(ranks)):
        return [f"ranks: expected a whole number of at least 1, or a list, of each, got {ranks!r}"]
    words = pick_options(ranks, [f"word{i}" for i in range(max(list_ranks(ranks), default=0))])
    texts = {"attacked": "folder", "version": "v"} if "published" in table else {}
    try:
        build_attack(table["attack"], {**table.get("options", {}), **words, **texts})
    except InputError as error:
        return [str(error)]
    return []


def _expand(values: Mapping[str, Any]) -> Iterator[CensusCase]:
    """The cases of one file."""
    plantings = {}
    for table in values.get("attacks", []):
        named = {
            k: table[k]
            for k in ("options", "ranks", "published", "label_mode", "limit")
            if k in table
        }
        planting = Planting(table.get("name", table["attack"]), table["attack"], **named)
        plantings[planting.name] = (planting, table)
    for name, own in values["corpora"].items():
        family = own.get("family", name)
        source = Source(
            name=name,
            family=family,
            files=tuple(own["files"]),
            text_column=own.get("text_column"),
            label_column=own.get("label_column"),
            held_out=family not in values.get("development", ()),
        )
        for seed in values["seeds"]:
            for size, part in _cut(own.get("sizes", values["sizes"])):
                for variant in values["variants"]:
                    yield CensusCase(source, size, part, variant, seed)
            for planting, table in plantings.values():
                is_asked = planting.name in own.get("attacks", plantings)
                if is_asked and (not planting.published or name in planting.published):
                    yield from _plant(source, planting, seed, [own, table, values])


def _plant(
    source: Source, planting: Planting, seed: int, tables: Sequence[Mapping[str, Any]]
) -> Iterator[CensusCase]:
    """The cases of one attack on one corpus; what the first table says counts."""

    def ask(key: str, default: Any) -> Any:
        return next((table[key] for table in tables if key in table), default)

    corpus, table, values = tables
    sizes = corpus.get("attack_sizes", table.get("sizes", values.get("attack_sizes", ["whole"])))
    amounts = [*ask("rows", []), *map(float, ask("poison_rates", []))]
    for size, part in _cut(sizes):
        for target in ask("targets", ["first"]):
            for amount in amounts:
                yield CensusCase(source, size, part, CLEAN, seed, planting, amount, target)


def _cut(sizes: Sequence[str | int]) -> list[tuple[str, int]]:
    """Size and number of each piece."""
    return [
        (str(size), part + 1)
        for size in sizes
        for part in range(PIECES.get(size, 1) if isinstance(size, str) else 1)
    ]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
