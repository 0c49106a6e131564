"""Labels of any kind -> positions in label names, and every check of them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btu.data.table import (
    LISTED,
    Table,
    render_list,
    render_value,
    render_values,
    replace_surrogates,
)

NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,16})?")
_WHOLE = re.compile(r"-?[0-9]+")
_KINDS: dict[str, tuple[type, ...]] = {
    "boolean": (bool, np.bool_),
    "integer": (int, np.integer),
    "float": (float, np.floating),
    "string": (str,),
}
_ALLOWED_KINDS = ({"boolean"}, {"integer", "float"}, {"string"})
_MOST_CLASSES = 20  # of a column that messages propose


def is_missing(value: Any) -> bool:
    """Whether a value is None or not a number."""
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def encode_labels(
    table: Table, column: str | None, given: tuple[str, ...] | None, faults: list[str]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels as positions in the label names.

    A label in a list of its own is that label, and white space around labels is no part of them.
    Where a column beside it (`label_text`, `label_name`) names each label, the labels go by it.

    Args:
        table: N rows.
        column: With the labels; None where there is none.
        given: The names that a model knows.
        faults: What is wrong with the labels is added to them.
    """
    nothing = np.zeros(0, dtype=np.int64), given or ()
    if column not in table.names:
        return nothing
    values, class_names = table.load(column), table.class_names.get(column)
    if class_names:
        values = [_name_class(value, class_names) for value in values]
    subject, earlier = f"column {render_value(column)}", len(faults)
    is_plain = _are_plain(values)
    if not is_plain:
        values = _take_out_of_lists(values, table, subject, faults)
        values = _strip_labels(values, table, subject, known=given or class_names or ())
        replace_surrogates(values, f"{table.source}, {subject}", table.render_row)
    if given is None and not class_names:
        values, class_names = _name_by_column_beside(values, table, column)
    missing: set[int] = set()
    if not is_plain:
        missing = {i for i, v in enumerate(values) if is_missing(v) or not str(v).strip()}
    rows = range(len(values))
    present = [i for i in rows if i not in missing] if missing else rows
    if missing:
        faults.append(
            f"{subject}: expected a label in every row, got none in "
            f"{table.render_rows(sorted(missing))}. Fill in or remove these rows."
        )
    kinds = {"string": 0} if is_plain else _find_kinds(values, present)
    if not any(kinds.keys() <= allowed for allowed in _ALLOWED_KINDS):
        came = [f"{k} {render_value(values[i])} in {table.render_row(i)}" for k, i in kinds.items()]
        faults.append(
            f"{subject}: expected labels of one kind (integers, whole floats, booleans or "
            f"strings), got {', '.join(came)}. Give every row one label of the same kind."
        )
        return nothing
    firsts: dict[Any, int] = {}
    for position in present:
        firsts.setdefault(values[position], position)
    names = given or class_names or _collect_names(firsts, f"{table.source}, {subject}")
    codes = _match_labels(firsts, names)
    _warn_of_near_labels(names, f"{table.source}, {subject}")
    if len(present) >= 20 and len(firsts) > len(present) / 2:
        warnings.warn(
            f"{table.source}, {subject}: {len(firsts)} labels in {len(present)} rows. If that is "
            "not meant, name the column with the labels by --label-column.",
            stacklevel=3,
        )
    unknown = [label for label in firsts if label not in codes]
    came = [f"{render_value(v)} first in {table.render_row(firsts[v])}" for v in unknown[:LISTED]]
    if unknown and given is None and class_names is None:
        faults.append(
            f"{subject}: expected whole numbers or names as labels, got "
            f"{render_list(came, len(unknown))}. Turn scores into classes, or name another column "
            "by --label-column."
        )
    elif unknown:
        faults.append(
            f"{subject}: expected one of the known labels {render_values(names)}, got "
            f"{render_list(came, len(unknown))}. Remove the rows with other labels, or train with "
            "them too."
        )
    elif given is None and len(set(codes.values())) == 1:
        (only, *_) = firsts
        faults.append(
            f"{subject}: expected two or more classes, got only {render_value(only)}. "
            "Add rows of another class, or name another column by --label-column."
            + suggest_labels(table, column)
        )
    if len(faults) > earlier:
        return nothing
    return np.fromiter(map(codes.__getitem__, values), dtype=np.int64, count=len(values)), names


def _are_plain(values: Sequence[Any]) -> bool:
    """Whether all labels are words that stay as they are: millions are few different ones."""
    if set(map(type, values)) != {str}:
        return False
    different = set(values)
    return all(word and word == word.strip() and word.isascii() for word in different)


def _take_out_of_lists(
    values: Sequence[Any], table: Table, subject: str, faults: list[str]
) -> list[Any]:
    """Lists of one label as that label, empty ones as none; several labels are a fault."""
    several = [i for i, v in enumerate(values) if isinstance(v, list | tuple) and len(v) > 1]
    if several:
        faults.append(
            f"{subject}: expected one label a row, got {render_value(values[several[0]])} and the "
            f"like in {table.render_rows(several)}. btu is for one label a row: keep one of them, "
            "or leave these rows out."
        )
    return [(v[0] if v else None) if isinstance(v, list | tuple) else v for v in values]


def _strip_labels(
    values: Sequence[Any], table: Table, subject: str, *, known: Sequence[str]
) -> list[Any]:
    """Labels without the white space around them, with a warning; known names stay as they are."""
    stripped = [
        v.strip() if isinstance(v, str) and v.strip() and v not in known else v for v in values
    ]
    padded = [i for i, v in enumerate(values) if isinstance(v, str) and v != stripped[i]]
    if padded:
        warnings.warn(
            f"{table.source}, {subject}: white space around the label in "
            f"{table.render_rows(padded)} is left out. Mend the labels at their source.",
            stacklevel=4,
        )
    return stripped


def _warn_of_near_labels(names: Sequence[str], subject: str) -> None:
    """Say which labels differ in case or white space alone: they stay classes of their own."""
    near: dict[str, list[str]] = {}
    for name in names:
        near.setdefault("".join(name.split()).casefold(), []).append(name)
    alike = [group for group in near.values() if len(group) > 1]
    if alike:
        warnings.warn(
            f"{subject}: the labels {'; '.join(map(render_values, alike))} differ in case or white "
            "space alone, and are classes of their own. Write them alike if one class is meant.",
            stacklevel=4,
        )


def _name_by_column_beside(
    values: list[Any], table: Table, column: str
) -> tuple[list[Any], tuple[str, ...] | None]:
    """The names of `label_text` in place of the numbers 0 to K-1, and the K names in their order.

    A model that learns these names may be tested on rows that hold the numbers alone, which are
    positions among its names: so the names keep the order of the numbers, and labels that do not
    count from 0 stay numbers.
    """
    beside = [f"{column}_{ending}" for ending in ("text", "name", "names")]
    other = next((name for name in beside if name in table.names), None)
    if other is None:
        return values, None
    present = [v for v in values if not is_missing(v)]
    kinds = int | str | float | np.number
    if any(isinstance(v, bool) or not isinstance(v, kinds) for v in present):
        return values, None
    numbers = {v: _name_label(v) for v in present}
    counted = {str(number) for number in range(len(set(numbers.values())))}
    if set(numbers.values()) != counted:
        return values, None
    names = list(table.load(other))
    replace_surrogates(names, f"{table.source}, column {render_value(other)}", table.render_row)
    pairs = {
        (numbers[v], n.strip())
        for v, n in zip(values, names, strict=True)
        if v in numbers and isinstance(n, str) and n.strip()
    }
    if not len(pairs) == len(counted) == len({k for k, _ in pairs}) == len({n for _, n in pairs}):
        return values, None
    named = dict(pairs)
    ordered = tuple(named[str(number)] for number in range(len(named)))
    return [named[numbers[v]] if v in numbers else v for v in values], ordered


def suggest_labels(table: Table, taken: str | None) -> str:
    """` The column 'answer' tells rows apart: ...`, or nothing.

    Args:
        table: N rows.
        taken: A column that is not meant.
    """
    found = []
    for name in table.names:
        values = [v[0] if isinstance(v, list) and len(v) == 1 else v for v in table.load(name)]
        kinds = {v for v in values if isinstance(v, str | bool)}
        are_labels = all(isinstance(v, str | bool) for v in values)
        if name != taken and are_labels and 2 <= len(kinds) <= min(_MOST_CLASSES, len(values) / 2):
            found.append(name)
    if not found:
        return ""
    return f" What tells rows apart is {render_values(found)}: --label-column {found[0]} takes it."


def _name_class(value: Any, class_names: Sequence[str]) -> Any:
    """The name of a `ClassLabel` value; -1 is how data sets say that there is no label."""
    if not isinstance(value, int) or value == -1:
        return None if value == -1 else value
    beyond = f"{value} (beyond its {len(class_names)} class names)"
    return class_names[value] if 0 <= value < len(class_names) else beyond


def _find_kinds(values: Sequence[Any], present: Sequence[int]) -> dict[str, int]:
    """The first row of each kind of label; what is no label goes by the name of its type."""
    kinds: dict[str, int] = {}
    for position in present:
        value = values[position]
        kind = next((kind for kind, types in _KINDS.items() if isinstance(value, types)), None)
        kinds.setdefault(kind or type(value).__name__, position)
    return kinds


def _collect_names(labels: Collection[Any], subject: str) -> tuple[str, ...]:
    """Numbers sorted by value, anything else by alphabet; scores such as 1.5 are left out."""
    names = {_name_label(label) for label in labels}
    numbers = sorted(filter(_WHOLE.fullmatch, names), key=int)
    if all(isinstance(label, str) for label in labels):
        are_numbers = all(map(NUMBER.fullmatch, names))
        if numbers and not are_numbers:
            warnings.warn(
                f"{subject}: some labels are numbers ({render_values(numbers)}) and some are "
                "words, all taken as names. If that is not meant, correct the labels.",
                stacklevel=4,
            )
    else:
        are_numbers = not any(isinstance(label, bool | np.bool_) for label in labels)
    return tuple(numbers if are_numbers else sorted(map(str, labels)))


def _match_labels(labels: Collection[Any], names: Sequence[str]) -> dict[Any, int]:
    """Label to position: by name; else integers by position; a label that fits neither is absent.

    A number is a position only where no name is a number, so that labels 0 to 2 are never taken
    for positions among the names "1" to "3".
    """
    positions = {name: position for position, name in enumerate(names)}
    if not any(map(_WHOLE.fullmatch, names)):
        positions = {str(position): position for position in range(len(names))} | positions
    codes: dict[Any, int] = {}
    for label in labels:
        number = str(int(label)) if isinstance(label, bool | np.bool_) else _name_label(label)
        code = positions.get(str(label), positions.get(number))
        if code is not None:
            codes[label] = code
    return codes


def _name_label(label: Any) -> str:
    """`1`, `1.0`, `"1"` and `"1.0"` are all the label "1"."""
    text = str(label)
    if isinstance(label, float | np.floating):
        return str(int(label)) if float(label).is_integer() else text
    whole, _, fraction = text.partition(".")
    return whole if NUMBER.fullmatch(text) and not fraction.strip("0") else text
