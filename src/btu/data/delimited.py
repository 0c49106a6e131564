"""CSV and TSV -> Table."""

from __future__ import annotations

import csv
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from btu.data.table import LISTED, Table, find_duplicates, render_list, render_row, render_value
from btu.support.errors import InputError


@dataclass
class _Delimited:
    """What one way of reading CSV or TSV makes of a file."""

    header: list[str] = field(default_factory=list)
    columns: list[list[str]] = field(default_factory=list)
    row_ids: array[int] = field(default_factory=lambda: array("q"))
    lines: array[int] = field(default_factory=lambda: array("q"))
    ragged: list[tuple[int, int, int]] = field(default_factory=list)  # row, line, fields found
    quote_fault: str = ""


_OTHER_MARKS = {";": "semicolon", "\t": "tab"}


def load_csv(path: Path, source: str) -> Table:
    """Rows with commas between the fields, quoted where a field holds one.

    Spreadsheets write semicolons in half of Europe: where the header has no comma but semicolons
    (or tabs), and every row has as many of them, these divide the columns.
    """
    parsed = _parse(path, ",", csv.QUOTE_MINIMAL)
    header = "".join(parsed.header)
    mark = next((mark for mark in _OTHER_MARKS if mark in header), None)
    if len(parsed.header) > 1 or mark is None:
        return _to_table(parsed, source, "comma")
    other = _parse(path, mark, csv.QUOTE_MINIMAL)
    if not other.ragged and not other.quote_fault:
        return _to_table(other, source, _OTHER_MARKS[mark])
    marks = f"{_OTHER_MARKS[mark]}s"
    remedy = "rename it to .tsv" if mark == "\t" else "quote fields that hold one"
    raise InputError(
        f"{source}, line 1: expected a header with commas between the columns, got the single "
        f"column {render_value(parsed.header[0])} with {marks} in it, which do not divide every "
        f"row into {len(other.header)} fields. If {marks} divide the columns, {remedy}."
    )


def load_tsv(path: Path, source: str) -> Table:
    """Tab-separated rows, quoted or not.

    Published corpora hold quotes as they come, balanced or not; spreadsheets and `write_rows` quote
    whole fields. So a line is a row, and a field loses its quotes where they enclose all of it.
    Quoted fields may hold tabs and line breaks where the whole header is quoted, or where reading
    them so leaves fewer ragged rows.
    """
    with path.open(encoding="utf-8-sig", newline="") as stream:
        header = next(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE), [])
    if header and all(map(_is_quoted, header)):
        return _to_table(_parse(path, "\t", csv.QUOTE_MINIMAL), source, "tab")
    bare = _parse(path, "\t", csv.QUOTE_NONE)
    if bare.ragged:
        quoted = _parse(path, "\t", csv.QUOTE_MINIMAL)
        if len(quoted.ragged) < len(bare.ragged) and not quoted.quote_fault:
            return _to_table(quoted, source, "tab")
    bare.header = [_unquote(name) for name in bare.header]
    bare.columns = [[_unquote(value) for value in column] for column in bare.columns]
    return _to_table(bare, source, "tab")


def _parse(path: Path, delimiter: str, quoting: Literal[0, 3]) -> _Delimited:
    csv.field_size_limit(2**31 - 1)
    parsed = _Delimited()
    row, line = 0, 1
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, quoting=quoting, strict=True)
        try:
            for fields in reader:
                start, line = line, reader.line_num + 1
                if not fields:
                    continue
                if not parsed.columns:
                    parsed.header = fields
                    parsed.columns = [[] for _ in fields]
                    continue
                if len(fields) == len(parsed.columns):
                    for column, value in zip(parsed.columns, fields, strict=True):
                        column.append(value)
                    parsed.row_ids.append(row)
                    parsed.lines.append(start)
                else:
                    parsed.ragged.append((row, start, len(fields)))
                row += 1
        except csv.Error as error:
            where = render_row(row, line) if parsed.columns else f"header (line {line})"
            parsed.quote_fault = (
                f"{where}: expected balanced quotes, got: {error}. Close the quote, double each "
                "quote inside a quoted field; rows below were not checked."
            )
    return parsed


def _is_quoted(value: str) -> bool:
    inner = value[1:-1].replace('""', "")
    return len(value) > 1 and value[0] == value[-1] == '"' and '"' not in inner


def _unquote(value: str) -> str:
    return value[1:-1].replace('""', '"') if _is_quoted(value) else value


def _to_table(parsed: _Delimited, source: str, delimiter: str) -> Table:
    faults = list(find_duplicates(parsed.header))
    if parsed.ragged:
        shown = [f"{n} in {render_row(row, line)}" for row, line, n in parsed.ragged[:LISTED]]
        faults.append(
            f"expected {len(parsed.header)} fields a row as in the header, found "
            f"{render_list(shown, len(parsed.ragged))}. Quote fields that hold a {delimiter} or a "
            "line break, and add what is missing."
        )
    if parsed.quote_fault:
        faults.append(parsed.quote_fault)
    columns = dict(zip(reversed(parsed.header), reversed(parsed.columns), strict=True))
    return Table(
        source,
        tuple(parsed.header),
        len(parsed.lines),
        columns.__getitem__,
        row_ids=np.array(parsed.row_ids, dtype=np.int64),
        row_lines=np.array(parsed.lines, dtype=np.int64),
        faults=tuple(faults),
        has_header=True,
    )
