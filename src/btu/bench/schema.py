"""What an experiment file may say: every key, what it must be, and what is wrong with a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from btu.attacks.options import faults_in_choice, faults_in_rate, hint
from btu.attacks.poison import LABEL_MODES
from btu.attacks.registry import ATTACKS
from btu.bench.cells import ALL, NO_ATTACK, build_defence, list_defences, read_case_tables
from btu.bench.corpora import CorpusRule
from btu.model.settings import Precision
from btu.support.errors import InputError

Check = tuple[str, Callable[[Any], bool]]


def _is_number(value: Any, kinds: Any = (int, float)) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and bool(value > 0)


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_list_of(kinds: type | tuple[type, ...]) -> Callable[[Any], bool]:
    """Whether a value is a list of these kinds, with something in it."""
    return lambda value: (
        isinstance(value, list) and bool(value) and all(isinstance(v, kinds) for v in value)
    )


TEXT: Check = ("a text", lambda v: isinstance(v, str) and bool(v.strip()))
TABLE: Check = ("a table", lambda v: isinstance(v, dict))
COUNT: Check = ("a whole number of at least 1", lambda v: _is_number(v, int))
_NUMBER: Check = ("a number above 0", _is_number)
NAMES: Check = ("a list of names", is_list_of(str))
_CASES: Check = ("a list of names or tables", is_list_of((str, dict)))
RATES: Check = ("a list of fractions", is_list_of((int, float)))
SEEDS: Check = (
    "a list of whole numbers from 0",
    lambda v: is_list_of(int)(v) and all(map(_is_seed, v)),
)
_LABEL: Check = ("the name or id of a label", lambda v: isinstance(v, str) or _is_seed(v))


def one_of(names: tuple[str, ...]) -> Check:
    """A name out of a few."""
    return f"one of {', '.join(names)}", lambda v: v in names


KEYS: dict[str, Check] = {
    "about": TEXT,
    "corpora": NAMES,
    "attacks": _CASES,
    "defences": _CASES,
    "poison_rates": RATES,
    "label_mode": one_of(LABEL_MODES),
    "target_label": _LABEL,
    "seeds": SEEDS,
    "seeds_of": ("a list of seeds for each defence", TABLE[1]),
    "model": TEXT,
    "epochs": _NUMBER,
    "learning_rate": _NUMBER,
    "batch_size": COUNT,
    "group_by_length": ("true or false", lambda v: isinstance(v, bool)),
    "max_length": COUNT,
    "precision": one_of(get_args(Precision)),
    "max_train_rows": COUNT,
    "max_test_rows": COUNT,
    "max_clean_rows": COUNT,
}
OPTIONAL = ("about", "target_label", "seeds_of")

_CASE_KEYS: dict[str, Check] = {"name": TEXT, "options": TABLE}
_ATTACK_KEYS: dict[str, Check] = {
    **_CASE_KEYS,
    "attack": TEXT,
    **{key: KEYS[key] for key in ("poison_rates", "label_mode", "target_label", "defences")},
}
_DEFENCE_KEYS: dict[str, Check] = {**_CASE_KEYS, "defence": TEXT}


def find_file_faults(values: Mapping[str, Any], rules: Mapping[str, CorpusRule]) -> list[str]:
    """What is wrong with an experiment's values, the settings file's among them.

    The options of attacks are checked where their texts are at hand.
    """
    faults = find_key_faults(values, KEYS)
    faults += [
        f"{key}: expected {expected} here or in the settings file, got none"
        for key, (expected, _) in KEYS.items()
        if key not in values and key not in OPTIONAL
    ]
    # A value of the wrong kind is named already; the others are looked into.
    sound = {key: value for key, value in values.items() if key in KEYS and KEYS[key][1](value)}
    for corpus in sound.get("corpora", ()):
        faults += faults_in_choice("corpora", corpus, rules)
    for rate in sound.get("poison_rates", ()):
        faults += faults_in_rate("poison_rates", rate)
    for table in read_case_tables(sound, "attack"):
        faults += [f"attacks: {fault}" for fault in _find_attack_faults(table)]
        own = table if KEYS["defences"][1](table.get("defences")) else {}
        for defence in read_case_tables(own, "defence"):
            faults += [f"attacks: defences: {fault}" for fault in _find_defence_faults(defence)]
    for table in read_case_tables(sound, "defence"):
        faults += [f"defences: {fault}" for fault in _find_defence_faults(table)]
    return faults + _find_seed_faults(sound)


def find_key_faults(values: Mapping[str, Any], keys: Mapping[str, Check]) -> list[str]:
    """Unknown keys, and values of the wrong kind."""
    faults = []
    for key, value in values.items():
        if key not in keys:
            faults.append(f"{key}: expected one of {', '.join(keys)}{hint(key, keys)}")
        elif not keys[key][1](value):
            faults.append(f"{key}: expected {keys[key][0]}, got {value!r}")
    return faults


def _find_attack_faults(table: Mapping[str, Any]) -> list[str]:
    faults = find_key_faults(table, _ATTACK_KEYS)
    faults += faults_in_choice("attack", table.get("attack"), [*ATTACKS, NO_ATTACK])
    rates = table.get("poison_rates", ())
    for rate in rates if isinstance(rates, list) else ():
        faults += faults_in_rate("poison_rates", rate)
    return faults


def _find_defence_faults(table: Mapping[str, Any]) -> list[str]:
    faults = find_key_faults(table, _DEFENCE_KEYS)
    if faults or table.get("defence") == ALL:
        return faults
    try:
        build_defence(str(table.get("defence")), table.get("options"))
    except (InputError, TypeError) as error:
        faults.append(str(error))
    return faults


def _find_seed_faults(values: Mapping[str, Any]) -> list[str]:
    tables = [values, *read_case_tables(values, "attack")]
    names = [case.name for table in tables for case in list_defences(table)]
    faults = []
    for name, seeds in values.get("seeds_of", {}).items():
        faults += faults_in_choice("seeds_of", name, names) if names else []
        if not SEEDS[1](seeds):
            faults.append(f"seeds_of: {name}: expected {SEEDS[0]}, got {seeds!r}")
    return faults
