"""JSON, JSON Lines and Parquet -> Table."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from btu.data.table import (
    LISTED,
    Table,
    find_duplicates,
    render_list,
    render_row,
    render_value,
    render_values,
)
from btu.support.errors import InputError


def load_json(path: Path, source: str) -> Table:
    """One object a line; in a .json file also an array of objects, or an object of columns."""
    if path.suffix.lower() == ".json":
        text = path.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("["):
            return _collect_objects(source, _number(_parse_whole(text, source)))
        whole = _try_json(text)
        if isinstance(whole, dict) and (table := _read_object(whole, source)) is not None:
            return table
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        lines = ((n, line) for n, line in enumerate(stream, start=1) if line.strip())
        return _collect_objects(source, ((n, _try_json(line)) for n, line in lines))


def _parse_whole(text: str, source: str) -> Any:
    try:
        return _parse_json(text)
    except ValueError as error:
        raise InputError(
            f"{source}: expected one JSON array of objects, got invalid JSON ({error}). "
            "Repair it, or write one object a line."
        ) from error


def _number(items: Iterable[Any]) -> Iterable[tuple[int | None, Any]]:
    return ((None, item) for item in items)


def _read_object(whole: dict[str, Any], source: str) -> Table | None:
    """A file that is one object: its columns, or the one list of rows that it holds.

    None where it is a row by itself.
    """
    lists = {name: value for name, value in whole.items() if isinstance(value, list)}
    rows = [name for name, value in lists.items() if value and isinstance(value[0], dict)]
    if len(rows) == 1 and len(lists) == 1:
        return _collect_objects(source, _number(lists[rows[0]]))
    if len(rows) > 1:
        raise InputError(
            f"{source}: expected one list of objects, got several: {render_values(rows)}. Write "
            "the one with the rows into a file of its own."
        )
    if len(lists) == len(whole) > 1 and len(set(map(len, lists.values()))) == 1:
        names = tuple(lists)
        return Table(source, names, len(lists[names[0]]), lists.__getitem__)
    if len(lists) == len(whole) > 1:
        lengths = ", ".join(f"{len(v)} in {render_value(name)}" for name, v in lists.items())
        raise InputError(
            f"{source}: expected as many values in every column, got {lengths}. Check that all "
            "come from the same rows."
        )
    return None


def _collect_objects(source: str, items: Iterable[tuple[int | None, Any]]) -> Table:
    cells: dict[str, tuple[array[int], list[Any]]] = {}  # positions and values of each column
    row_ids, lines, faults = array("q"), array("q"), []
    for row, (line, item) in enumerate(items):
        if isinstance(item, dict):
            for name, value in item.items():
                if name not in cells:
                    cells[name] = array("q"), []
                positions, values = cells[name]
                positions.append(len(row_ids))
                values.append(value)
            row_ids.append(row)
            lines.append(line or 0)
        elif isinstance(item, ValueError):
            faults.append(f"invalid JSON in {render_row(row, line)} ({item})")
        else:
            faults.append(f"{type(item).__name__} in {render_row(row, line)}")

    def load(name: str) -> list[Any]:
        column = [None] * len(row_ids)
        for position, value in zip(*cells[name], strict=True):
            column[position] = value
        return column

    fault = (
        f"expected a JSON object a row, got {render_list(faults[:LISTED], len(faults))}. Write "
        'each row as {"text": ..., "label": ...}.'
    )
    return Table(
        source,
        tuple(cells),
        len(row_ids),
        load,
        row_ids=np.array(row_ids, dtype=np.int64),
        row_lines=np.array(lines, dtype=np.int64) if lines and lines[0] else None,
        faults=(fault,) if faults else (),
    )


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_refuse_repeated_keys)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _try_json(line: str) -> Any:
    try:
        return _parse_json(line)
    except json.JSONDecodeError as error:
        return ValueError(f"{error.msg} at column {error.colno}")
    except ValueError as error:
        return error


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ in which of two equal keys they take: what a reviewer saw may not be it."""
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError(f"a key is there twice, among {render_values([key for key, _ in pairs])}")
    return record


def refuse_parquet(source: str, error: Exception) -> InputError:
    """What a user is told of a Parquet file that cannot be read.

    Args:
        source: The file, as messages call it.
        error: What Arrow said.
    """
    return InputError(
        f"{source}: expected a whole Parquet file, but it cannot be read ({error}). Write it "
        "again, or rename it if it is of another format."
    )


def load_parquet(path: Path, source: str) -> Table:
    """Columns of a Parquet file, each read when it is wanted."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise refuse_parquet(source, error) from error
    names = tuple(file.schema_arrow.names)

    def load(name: str) -> list[Any]:
        try:
            column = file.read(columns=[name]).column(name)
        except (pa.ArrowException, OSError) as error:
            raise refuse_parquet(source, error) from error
        return read_arrow(column, source, name)

    return Table(
        source,
        names,
        file.metadata.num_rows,
        load,
        faults=find_duplicates(names),
        class_names=find_class_names(file.schema_arrow.metadata or {}),
    )


def find_class_names(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """The label names that `Dataset.to_parquet` leaves in a file."""
    class_names = {}
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        for name, feature in features.items():
            names = feature.get("names")
            is_named = feature.get("_type") == "ClassLabel" and isinstance(names, list)
            if is_named and len(set(map(str, names))) == len(names):
                class_names[name] = tuple(map(str, names))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
    return class_names


def read_arrow(column: Any, source: str, name: str) -> list[Any]:
    """The values of an Arrow column; text that is not UTF-8 is named by its row."""
    values: list[Any] = []
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        for position, value in enumerate(column):
            try:
                value.as_py()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{source}: column {render_value(name)}, {render_row(position, None)}: "
                    f"expected UTF-8 text, got the byte 0x{error.object[error.start]:02X}. Write "
                    "the file again from text."
                ) from None
    return values
