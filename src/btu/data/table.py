"""Columns as they were found, not yet checked for what they mean; how messages show values."""

from __future__ import annotations

import difflib
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

LISTED = 5  # rows that a message names before it says "and N more"

_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Table:
    """N rows in named columns, not yet checked for what they mean.

    Attributes:
        source: As the user gave it.
        names: Column names in the source's order.
        num_rows: N, without the rows that `faults` speak of.
        load: Gives the N values of one column; a missing value is None or NaN.
        row_ids: 0-based position of each row in the source; None if no row was left out.
        row_lines: 1-based line on which each row starts; None where the source has no lines.
        faults: What is wrong with the source, one sentence each.
        class_names: Label names of the columns that carry their own.
        has_header: Whether the names come from a header line.
    """

    source: str
    names: tuple[str, ...]
    num_rows: int
    load: Callable[[str], list[Any]]
    row_ids: NDArray[np.int64] | None = None
    row_lines: NDArray[np.int64] | None = None
    faults: tuple[str, ...] = ()
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_header: bool = False

    def render_row(self, position: int) -> str:
        """`row 3 (line 4)`: the 1-based data row, and its line where there are lines."""
        row = position if self.row_ids is None else int(self.row_ids[position])
        return render_row(row, None if self.row_lines is None else int(self.row_lines[position]))

    def render_rows(self, positions: Sequence[int]) -> str:
        """The first rows by name, the others by number."""
        return render_list([self.render_row(p) for p in positions[:LISTED]], len(positions))


def render_list(shown: Sequence[str], total: int) -> str:
    """`a, b and 3 more`."""
    more = f" and {total - len(shown)} more" if total > len(shown) else ""
    return ", ".join(shown) + more


def render_value(value: object) -> str:
    """A value from the user's data, short and with invisible characters as escapes."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def render_values(values: Sequence[object]) -> str:
    """Up to 30 values, see `render_value`."""
    return render_list([render_value(value) for value in values[:30]], len(values))


def render_nearest(name: str, known: Sequence[str]) -> str:
    """` Did you mean 'label'?`, or nothing where no known name is near."""
    by_key = {other.casefold(): other for other in reversed(known)}
    near = difflib.get_close_matches(name.casefold(), list(by_key), n=1)
    return f" Did you mean {render_value(by_key[near[0]])}?" if near else ""


def render_row(row: int, line: int | None) -> str:
    """`row 3 (line 4)`, from a 0-based row and its 1-based line, where there are lines."""
    return f"row {row + 1}" if line is None else f"row {row + 1} (line {line})"


def find_duplicates(names: Sequence[str]) -> tuple[str, ...]:
    """What is wrong with columns of the same name: one sentence, or none."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if not repeated:
        return ()
    return (
        f"expected each column name once, got {render_values(repeated)} more than once. Rename or "
        "remove the others.",
    )


def replace_surrogates(values: list[Any], subject: str, render_row: Callable[[int], str]) -> None:
    """Put U+FFFD in place of lone surrogates, which UTF-8 cannot hold, and warn of it.

    Args:
        values: Changed in place; what is not text is left alone.
        subject: What holds the values, for the warning.
        render_row: Names a row by its position.
    """
    broken = [
        position
        for position, text in enumerate(values)
        if isinstance(text, str) and not text.isascii() and _SURROGATE.search(text)
    ]
    for position in broken:
        values[position] = _SURROGATE.sub("\ufffd", values[position])
    if broken:
        rows = render_list([render_row(p) for p in broken[:LISTED]], len(broken))
        warnings.warn(
            f"{subject}: lone surrogates, which are no characters, replaced by U+FFFD in {rows}. "
            "Repair the text at its source to keep what was meant.",
            stacklevel=4,
        )
