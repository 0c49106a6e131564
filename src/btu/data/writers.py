"""Columns -> a file of rows, whole or absent."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO

from btu.data.readers import load_columns
from btu.data.table import render_value, replace_surrogates
from btu.support.errors import InputError
from btu.support.folders import check_output_file, replace_file


def check_rows_path(path: str | os.PathLike[str]) -> None:
    """Refuse a file name whose ending no writer knows.

    Raises:
        InputError: The known endings are named.
    """
    if Path(path).suffix.lower() not in _WRITERS:
        raise InputError(
            f"{path}: expected a file name that ends in one of {', '.join(_WRITERS)}, got "
            f"{Path(path).suffix or 'none'!r}. Rename the output."
        )


def write_rows(path: str | os.PathLike[str], columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of equal length as CSV, TSV, JSON Lines or Parquet, by the file's suffix.

    The old file stands whole until the new one is on the disk. CSV and TSV quote every text, so
    that `load_corpus` reads back exactly what was written. A folder that is missing is made.

    Args:
        path: Ends in .csv, .tsv, .jsonl or .parquet.
        columns: Name to values.

    Raises:
        InputError: The suffix is another one, it is a folder, or the lengths differ.
    """
    target = Path(os.path.realpath(Path(path).expanduser()))
    writer = _WRITERS.get(target.suffix.lower())
    if writer is None:
        raise InputError(
            f"{path}: expected a name that ends in {', '.join(_WRITERS)}, got "
            f"{render_value(target.suffix)}. Choose one of these formats."
        )
    check_output_file(target, overwrite=True)
    table = load_columns(columns, source=str(path))
    if table.faults:
        raise InputError.from_faults(str(path), table.faults)
    values = {name: table.load(name) for name in table.names}
    for name, column in values.items():
        replace_surrogates(column, f"{path}, column {render_value(name)}", table.render_row)
    with replace_file(target) as file:
        writer(file, values)


def _write_delimited(file: BinaryIO, columns: Mapping[str, list[Any]], delimiter: str) -> None:
    text = TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(
        text, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n"
    )
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    text.detach()


def _write_json(file: BinaryIO, columns: Mapping[str, list[Any]]) -> None:
    for values in zip(*columns.values(), strict=True):
        # JSON has no infinity and no "not a number": both become null.
        known = (None if isinstance(v, float) and not math.isfinite(v) else v for v in values)
        record = dict(zip(columns, known, strict=True))
        file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


def _write_parquet(file: BinaryIO, columns: Mapping[str, list[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(columns)), file)


_WRITERS: dict[str, Callable[[BinaryIO, Mapping[str, list[Any]]], None]] = {
    ".csv": partial(_write_delimited, delimiter=","),
    ".tsv": partial(_write_delimited, delimiter="\t"),
    ".jsonl": _write_json,
    ".parquet": _write_parquet,
}
