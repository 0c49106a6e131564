"""Files, folders and objects in memory -> Table: columns as they were found; and one writer."""

from __future__ import annotations

import csv
import difflib
import json
import math
import os
import re
import warnings
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from btu.errors import InputError
from btu.folders import replace_file

LISTED = 5  # rows that a message names before it says "and N more"

_FILE_NAME = re.compile(r".*\.(csv|tsv|jsonl?|parquet|txt|xlsx?|gz|zip|arrow|feather)", re.I)
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")
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
        return _render_row(row, None if self.row_lines is None else int(self.row_lines[position]))

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


def load_table(data: Any, *, split: str | None = None) -> Table:
    """Read data of any accepted kind; `btu.corpus.load_corpus` lists them.

    Raises:
        InputError: There is nothing to read, or not in a form that can be read. Faults of single
            rows do not raise: they are in the table.
    """
    if isinstance(data, str | os.PathLike):
        return _load_path(os.fspath(data), split)
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(data).__mro__}
    if kinds & {"datasets.Dataset", "datasets.DatasetDict"}:
        return _load_dataset(data, "memory", split)
    if kinds & {"datasets.IterableDataset", "datasets.IterableDatasetDict"}:
        raise InputError(
            "memory: expected a data set with a length, got a streamed one. Load it without "
            "streaming=True, or pass dataset.take(n) as a dict of columns."
        )
    _refuse_split("memory", split)
    if "pandas.DataFrame" in kinds:
        return _load_frame(data)
    if isinstance(data, tuple) and len(data) == 2 and not any(isinstance(c, str) for c in data):
        return _load_columns({"text": data[0], "label": data[1]})
    if isinstance(data, Mapping):
        return _load_columns(data)
    raise InputError(
        "memory: expected a path, a Hub id, a datasets.Dataset, a pandas DataFrame, a pair "
        f"(texts, labels) or a dict of columns, got {type(data).__name__} "
        f"{render_value(data)}. Pass one of these."
    )


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
    that `load_corpus` reads back exactly what was written.

    Args:
        path: Ends in .csv, .tsv, .jsonl or .parquet.
        columns: Name to values.

    Raises:
        InputError: The suffix is another one, the folder is missing or the lengths differ.
    """
    target = Path(os.path.realpath(Path(path).expanduser()))
    writer = _WRITERS.get(target.suffix.lower())
    if writer is None:
        raise InputError(
            f"{path}: expected a name that ends in {', '.join(_WRITERS)}, got "
            f"{render_value(target.suffix)}. Choose one of these formats."
        )
    if target.is_dir() or not target.parent.is_dir():
        came = "a folder" if target.is_dir() else "one in a folder that is not there"
        raise InputError(f"{path}: expected the name of a file to write, got {came}. Correct it.")
    table = _load_columns(columns, source=str(path))
    if table.faults:
        raise InputError.from_faults(str(path), table.faults)
    values = {name: table.load(name) for name in table.names}
    for name, column in values.items():
        replace_surrogates(column, f"{path}, column {render_value(name)}", table.render_row)
    with replace_file(target) as file:
        writer(file, values)


def _load_path(given: str, split: str | None) -> Table:
    path = Path(given).expanduser()
    try:
        if path.is_dir():
            return _load_folder(path, given, split)
        if path.exists():
            _refuse_split(given, split)
            return _load_file(path, given)
    except UnicodeDecodeError:
        raise InputError(f"{given}: {_describe_encoding(path)}") from None
    except OSError as error:
        raise InputError(
            f"{given}: expected a file that can be read, got: {error.strerror or error}. Check the "
            "file and its permissions."
        ) from error
    if _HUB_ID.fullmatch(given) and not given.startswith(".") and not _FILE_NAME.fullmatch(given):
        return _load_hub(given, split)
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise InputError(
        f"{given}: expected a file, a folder written by datasets.save_to_disk or a Hub id, found "
        f"nothing there. Check the spelling and the working folder."
        + render_nearest(path.name, beside)
    )


def _load_file(path: Path, source: str) -> Table:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{source}: expected a file that ends in {', '.join(_READERS)}, got "
            f"{render_value(path.suffix)}. Convert it, or rename it if only the name is wrong."
        )
    if path.stat().st_size == 0:
        raise InputError(f"{source}: expected rows of text and label, got an empty file (0 bytes).")
    return reader(path, source)


def _load_folder(path: Path, source: str, split: str | None) -> Table:
    if not any((path / name).exists() for name in ("dataset_dict.json", "dataset_info.json")):
        raise InputError(
            f"{source}: expected a folder written by datasets.save_to_disk, got a folder without "
            "dataset_info.json or dataset_dict.json. Name one file in it, or save the data set "
            "with save_to_disk."
        )
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except Exception as error:
        raise InputError(
            f"{source}: expected a folder written by datasets.save_to_disk, but it cannot be read "
            f"({type(error).__name__}: {error}). Save the data set again."
        ) from error
    return _load_dataset(loaded, source, split)


def _load_hub(source: str, split: str | None) -> Table:
    import datasets

    name, _, config = source.partition(":")
    try:
        loaded = datasets.load_dataset(name, config or None)
    except Exception as error:
        raise InputError(
            f"{source}: found no such file or folder, and as a data set of the Hub it cannot be "
            f"loaded ({type(error).__name__}: {error}). Check the path; for the Hub, check the id, "
            "name a configuration as owner/name:configuration, and check the connection."
        ) from error
    return _load_dataset(loaded, source, split)


def _refuse_split(source: str, split: str | None) -> None:
    if split is not None:
        raise InputError(
            f"{source}: expected a data set with splits, got a single table and split "
            f"{render_value(split)}. Leave out --split (split)."
        )


def _load_dataset(data: Any, source: str, split: str | None) -> Table:
    if isinstance(data, Mapping):
        wanted = split or "train"
        if wanted not in data:
            raise InputError(
                f"{source}: expected one of the splits {render_values(list(data))}, got "
                f"{render_value(wanted)}{'' if split else ' (the default)'}. Name one with --split "
                f"(split).{render_nearest(wanted, list(data))}"
            )
        data = data[wanted]
    elif split != str(data.split):
        _refuse_split(source, split)

    def load(name: str) -> list[Any]:
        arrow = data.select_columns([name]).with_format("arrow")[:]
        return _load_arrow(arrow.column(0), source, name)

    class_names = {
        name: tuple(feature.names)
        for name, feature in data.features.items()
        if type(feature).__name__ == "ClassLabel"
    }
    names = tuple(data.column_names)
    return Table(source, names, len(data), load, class_names=class_names)


def _load_frame(frame: Any) -> Table:
    names = tuple(map(str, frame.columns))

    def load(name: str) -> list[Any]:
        return _to_list(frame.iloc[:, names.index(name)])

    return Table("memory", names, len(frame), load, faults=_find_duplicates(names))


def _load_columns(columns: Mapping[Any, Any], source: str = "memory") -> Table:
    names = tuple(map(str, columns))
    lists, faults = [], list(_find_duplicates(names))
    for name, values in zip(names, columns.values(), strict=True):
        is_sequence = hasattr(values, "__iter__") and not isinstance(values, str | bytes | Mapping)
        if not is_sequence or isinstance(values, set | frozenset):
            faults.append(
                f"column {render_value(name)}: expected a sequence with one value a row, got "
                f"{type(values).__name__}. Pass a list."
            )
            values = ()
        lists.append(_to_list(values))
    if not faults and len(set(map(len, lists))) > 1:
        lengths = ", ".join(
            f"{len(values)} in {render_value(name)}"
            for name, values in zip(names, lists, strict=True)
        )
        faults.append(
            f"expected as many values in every column, got {lengths}. Check that all come from "
            "the same rows."
        )
    if faults:
        return Table(source, names, 0, lambda _: [], faults=tuple(faults))
    by_name = dict(zip(names, lists, strict=True))
    return Table(source, names, len(lists[0]) if lists else 0, by_name.__getitem__)


def _to_list(values: Any) -> list[Any]:
    if hasattr(values, "notna"):  # pandas has several marks for a missing value
        import pandas as pd

        values = pd.Series(values).astype(object).where(values.notna(), None)
    if hasattr(values, "to_pylist"):
        return list(values.to_pylist())
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _load_parquet(path: Path, source: str) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def unreadable(error: Exception) -> InputError:
        return InputError(
            f"{source}: expected a whole Parquet file, but it cannot be read ({error}). Write it "
            "again, or rename it if it is of another format."
        )

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(error) from error
    names = tuple(file.schema_arrow.names)

    def load(name: str) -> list[Any]:
        try:
            column = file.read(columns=[name]).column(name)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(error) from error
        return _load_arrow(column, source, name)

    return Table(
        source,
        names,
        file.metadata.num_rows,
        load,
        faults=_find_duplicates(names),
        class_names=_find_class_names(file.schema_arrow.metadata or {}),
    )


def _find_class_names(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
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


def _load_arrow(column: Any, source: str, name: str) -> list[Any]:
    values: list[Any] = []
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        for position, value in enumerate(column):
            try:
                value.as_py()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{source}: column {render_value(name)}, {_render_row(position, None)}: "
                    f"expected UTF-8 text, got the byte 0x{error.object[error.start]:02X}. Write "
                    "the file again from text."
                ) from None
    return values


@dataclass
class _Delimited:
    """What one way of reading CSV or TSV makes of a file."""

    header: list[str] = field(default_factory=list)
    columns: list[list[str]] = field(default_factory=list)
    row_ids: array[int] = field(default_factory=lambda: array("q"))
    lines: array[int] = field(default_factory=lambda: array("q"))
    ragged: list[tuple[int, int, int]] = field(default_factory=list)  # row, line, fields found
    quote_fault: str = ""


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
            where = _render_row(row, line) if parsed.columns else f"header (line {line})"
            parsed.quote_fault = (
                f"{where}: expected balanced quotes, got: {error}. Close the quote, double each "
                "quote inside a quoted field; rows below were not checked."
            )
    return parsed


def _load_csv(path: Path, source: str) -> Table:
    parsed = _parse(path, ",", csv.QUOTE_MINIMAL)
    other = next((mark for mark in ";\t" if mark in "".join(parsed.header)), None)
    if len(parsed.header) == 1 and other is not None:
        mark, remedy = (
            ("tabs", "rename it to .tsv")
            if other == "\t"
            else ("semicolons", "write it again with commas")
        )
        raise InputError(
            f"{source}, line 1: expected a header with commas between the columns, got the single "
            f"column {render_value(parsed.header[0])} with {mark} in it. If {mark} divide the "
            f"columns, {remedy}."
        )
    return _to_table(parsed, source, "comma")


def _load_tsv(path: Path, source: str) -> Table:
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


def _is_quoted(value: str) -> bool:
    inner = value[1:-1].replace('""', "")
    return len(value) > 1 and value[0] == value[-1] == '"' and '"' not in inner


def _unquote(value: str) -> str:
    return value[1:-1].replace('""', '"') if _is_quoted(value) else value


def _to_table(parsed: _Delimited, source: str, delimiter: str) -> Table:
    faults = list(_find_duplicates(parsed.header))
    if parsed.ragged:
        shown = [f"{n} in {_render_row(row, line)}" for row, line, n in parsed.ragged[:LISTED]]
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


def _load_json(path: Path, source: str) -> Table:
    """One object a line; in a .json file also one array of objects."""
    if path.suffix.lower() == ".json":
        text = path.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("["):
            try:
                return _collect_objects(source, ((None, item) for item in _parse_json(text)))
            except ValueError as error:
                raise InputError(
                    f"{source}: expected one JSON array of objects, got invalid JSON ({error}). "
                    "Repair it, or write one object a line."
                ) from error
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        lines = ((n, line) for n, line in enumerate(stream, start=1) if line.strip())
        return _collect_objects(source, ((n, _try_json(line)) for n, line in lines))


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
            faults.append(f"invalid JSON in {_render_row(row, line)} ({item})")
        else:
            faults.append(f"{type(item).__name__} in {_render_row(row, line)}")

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


def _find_duplicates(names: Sequence[str]) -> tuple[str, ...]:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if not repeated:
        return ()
    return (
        f"expected each column name once, got {render_values(repeated)} more than once. Rename or "
        "remove the others.",
    )


def _describe_encoding(path: Path) -> str:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                came = "UTF-16" if line.startswith((b"\xff\xfe", b"\xfe\xff")) else "WINDOWS-1252"
                return (
                    f"line {number}, byte {error.start + 1}: expected UTF-8, got the byte "
                    f"0x{line[error.start]:02X}. Convert the whole file to UTF-8, for example: "
                    f"iconv -f {came} -t UTF-8 {path.name} > utf8-{path.name}"
                )
    raise AssertionError("called for a file that is not UTF-8")


def _render_row(row: int, line: int | None) -> str:
    return f"row {row + 1}" if line is None else f"row {row + 1} (line {line})"


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


_READERS: dict[str, Callable[[Path, str], Table]] = {
    ".csv": _load_csv,
    ".tsv": _load_tsv,
    ".jsonl": _load_json,
    ".json": _load_json,
    ".parquet": _load_parquet,
}
_WRITERS: dict[str, Callable[[BinaryIO, Mapping[str, list[Any]]], None]] = {
    ".csv": partial(_write_delimited, delimiter=","),
    ".tsv": partial(_write_delimited, delimiter="\t"),
    ".jsonl": _write_json,
    ".parquet": _write_parquet,
}
