"""Values inside values: dotted paths into objects and lists, and what could be named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from btu.data.table import Table, render_values

_LOOKED_AT = 20  # rows in which paths are looked for
_MOST_PATHS = 12


def add_paths(table: Table, names: Sequence[str | None]) -> Table:
    """The table with a column for each dotted path among these names.

    `data.text` is the key `text` of the objects in column `data`; `choices.0` the first of a list.
    A row that has nothing there has no value.

    Args:
        table: N rows.
        names: Columns that were asked for; those that the table has are left alone.
    """
    paths = []
    for name in dict.fromkeys(names):
        if name is None or name in table.names or "." not in name:
            continue
        root = find_root(table, name)
        if root is not None and any(v is not None for v in _follow(table, root, name)):
            paths.append((name, root))
    if not paths:
        return table
    roots = dict(paths)

    def load(name: str) -> list[Any]:
        return _follow(table, roots[name], name) if name in roots else table.load(name)

    return replace(table, names=(*table.names, *roots), load=load)


def find_root(table: Table, path: str) -> str | None:
    """The column that a dotted path begins with; column names may hold dots themselves."""
    fitting = [name for name in table.names if path.startswith(f"{name}.")]
    return max(fitting, key=len, default=None)


def _follow(table: Table, root: str, path: str) -> list[Any]:
    steps = path[len(root) + 1 :].split(".")
    return [_reach(value, steps) for value in table.load(root)]


def _reach(value: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def suggest_paths(table: Table) -> str:
    """` Columns hold objects: name a path into them, such as 'data.text'.`, or nothing."""
    paths: dict[str, None] = {}
    for name in table.names:
        for value in table.load(name)[:_LOOKED_AT]:
            if isinstance(value, Mapping | list):
                paths |= dict.fromkeys(_list_paths(value, name))
    if not paths:
        return ""
    return (
        " Columns hold objects or lists: name a path into them, one of "
        f"{render_values(list(paths)[:_MOST_PATHS])}."
    )


def _list_paths(value: Any, path: str) -> Iterator[str]:
    """Paths to the texts and numbers inside; of a list, to its first value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _list_paths(inner, f"{path}.{key}")
    elif isinstance(value, list):
        if value:
            yield from _list_paths(value[0], f"{path}.0")
    elif value is not None:
        yield path
