"""fastText's lines, `__label__x text` -> Table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from btu.data.table import LISTED, Table, render_list, render_row
from btu.support.errors import InputError

_MARK = "__label__"
_LINE = re.compile(rf"{_MARK}(\S+)\s+(.*)", re.DOTALL)


def load_fasttext(path: Path, source: str) -> Table:
    """One text a line, its label before it as `__label__x`.

    Raises:
        InputError: No line begins with a label.
    """
    texts: list[str] = []
    labels: list[str | None] = []
    lines: list[int] = []
    bare, several = [], []
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            matched = _LINE.fullmatch(line.strip())
            row = len(lines)
            lines.append(number)
            if matched is None:
                bare.append(render_row(row, number))
            elif matched[2].startswith(_MARK):
                several.append(render_row(row, number))
            texts.append(matched[2] if matched else line.strip())
            labels.append(matched[1] if matched else None)
    if len(bare) == len(lines):
        raise InputError(
            f"{source}: expected lines of fastText ({_MARK}positive a good film), got none that "
            f"begins with {_MARK}. Write the rows as CSV with a column of texts and one of labels."
        )
    faults = []
    for rows, said, remedy in (
        (bare, f"expected {_MARK} and a label at the start of each line", "Label these lines."),
        (several, "expected one label a row", "btu is for one label a row: keep one of them."),
    ):
        if rows:
            faults.append(
                f"{said}, got others in {render_list(rows[:LISTED], len(rows))}. {remedy}"
            )
    columns: dict[str, list[Any]] = {"text": texts, "label": labels}
    return Table(
        source,
        ("text", "label"),
        len(lines),
        columns.__getitem__,
        row_lines=np.array(lines, dtype=np.int64),
        faults=tuple(faults),
    )
