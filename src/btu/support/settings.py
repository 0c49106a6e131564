"""The machinery of settings: help of a field, and what is wrong with a value."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, get_args


def option_help(settings: type, name: str) -> str:
    """The sentence that explains a field.

    Example:
        >>> @dataclass
        ... class Settings:
        ...     epochs: int = field(default=1, metadata={"help": "Passes over the rows."})
        >>> option_help(Settings, "epochs")
        'Passes over the rows.'
    """
    return next(str(f.metadata["help"]) for f in fields(settings) if f.name == name)


def faults_in_kinds(settings: Any) -> list[str]:
    """Fields that are no whole number, number or yes-or-no where one is wanted."""
    return [
        f"{f.name}: expected {_KINDS[str(f.type)][0]}, got {getattr(settings, f.name)!r}"
        for f in fields(settings)
        if not fits(settings, f.name)
    ]


def option_flag(settings: type, name: str) -> str:
    """The option of the command line that sets a field; `--yes/--no` where it is a switch.

    Example:
        >>> @dataclass
        ... class Settings:
        ...     epochs: int = field(default=1, metadata={"flag": "--epochs"})
        >>> option_flag(Settings, "epochs")
        '--epochs'
    """
    return next(str(f.metadata["flag"]) for f in fields(settings) if f.name == name)


def has_option(settings: type, name: str) -> bool:
    """Whether an option of the command line sets a field."""
    return any("flag" in f.metadata for f in fields(settings) if f.name == name)


def write_options(settings: type, values: Mapping[str, Any]) -> list[str]:
    """The words of a command line that set these fields, in their order.

    Args:
        settings: The class that describes them.
        values: Field to value, JSON types; fields that are left out, null or have no option,
            and switches that stand as usual, are not written.

    Example:
        >>> @dataclass
        ... class Settings:
        ...     epochs: int = field(default=1, metadata={"flag": "--epochs"})
        ...     quiet: bool = field(default=False, metadata={"flag": "--quiet/--no-quiet"})
        >>> write_options(Settings, {"epochs": 3, "quiet": True})
        ['--epochs', '3', '--quiet']
    """
    words: list[str] = []
    for f in fields(settings):
        if values.get(f.name) is None or "flag" not in f.metadata:
            continue
        flag, value = str(f.metadata["flag"]), values[f.name]
        if isinstance(value, bool):
            words += [flag.split("/")[not value]] if value != f.default else []
        elif isinstance(value, Mapping):
            for name, item in value.items():
                words += [flag, f"{name}={json.dumps(item)}"]
        else:
            words += [flag, str(value)]
    return words


def fits(settings: Any, name: str) -> bool:
    """Whether the value of a field is of the kind that the field says."""
    kind = next(str(f.type) for f in fields(settings) if f.name == name)
    return kind not in _KINDS or _KINDS[kind][1](getattr(settings, name))


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("a whole number", lambda value: _is_number(value, Integral)),
    "int | None": (
        "a whole number or nothing",
        lambda value: value is None or _is_number(value, Integral),
    ),
    "float": ("a number", lambda value: _is_number(value, Real)),
    "bool": ("True or False", lambda value: isinstance(value, bool)),
}


def faults_in_numbers(settings: Any, positive: tuple[str, ...]) -> list[str]:
    """What is wrong with the numbers of settings; those named must be above 0."""
    faults = faults_in_kinds(settings) + [
        f"{name}: expected more than 0, got {getattr(settings, name)}"
        for name in positive
        if fits(settings, name) and not getattr(settings, name) > 0
    ]
    if hasattr(settings, "seed") and fits(settings, "seed"):
        faults += faults_in_seed(settings.seed)
    return faults


def faults_in_seed(seed: int) -> list[str]:
    """What is wrong with a seed; empty where nothing is."""
    # The recovery takes seed + 1, and numpy's generator ends at 2**32 - 1.
    return [] if 0 <= seed < 2**32 - 1 else [f"seed: expected 0 to {2**32 - 2}, got {seed}"]


def either(kind: Any) -> str:
    """The choices of a `Literal` as a sentence lists them."""
    *most, last = map(str, get_args(kind))
    return f"{', '.join(most)} or {last}" if most else last
