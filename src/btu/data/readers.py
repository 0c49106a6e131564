"""Files, folders and objects in memory -> Table, by what they are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from btu.data.compressed import ENDINGS, unpack
from btu.data.delimited import load_csv, load_tsv
from btu.data.fasttext import load_fasttext
from btu.data.formats import load_json, load_parquet, read_arrow
from btu.data.shards import is_sharded, list_shards, name_source, open_shards
from btu.data.table import Table, find_duplicates, render_nearest, render_value, render_values
from btu.support.errors import InputError

_FILE_NAME = re.compile(
    r".*\.(csv|tsv|jsonl?|parquet|txt|ft|xlsx?|gz|bz2|xz|zst|zip|arrow|feather)", re.I
)
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")


def load_table(data: Any, *, split: str | None = None) -> Table:
    """Read data of any accepted kind; `btu.data.corpus.load_corpus` lists them.

    Raises:
        InputError: There is nothing to read, or not in a form that can be read. Faults of single
            rows do not raise: they are in the table.
    """
    if is_sharded(data):
        _refuse_split(name_source(data), split)
        return open_shards(list_shards(data), name_source(data))
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
        return load_columns({"text": data[0], "label": data[1]})
    if isinstance(data, Mapping):
        return load_columns(data)
    raise InputError(
        "memory: expected a path, a Hub id, a datasets.Dataset, a pandas DataFrame, a pair "
        f"(texts, labels) or a dict of columns, got {type(data).__name__} "
        f"{render_value(data)}. Pass one of these."
    )


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
    if path.suffix.lower() in ENDINGS and path.stat().st_size:
        with unpack(path, source) as inside:
            try:
                return _keep(_load_file(inside, source))
            except UnicodeDecodeError:
                raise InputError(f"{source}: {_describe_encoding(inside)}") from None
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{source}: expected a file that ends in {', '.join(_READERS)} (or one of these "
            f"compressed: {', '.join(ENDINGS)}), got {render_value(path.suffix)}. Convert it, "
            "or rename it if only the name is wrong."
        )
    if path.stat().st_size == 0:
        raise InputError(f"{source}: expected rows of text and label, got an empty file (0 bytes).")
    return reader(path, source)


def _keep(table: Table) -> Table:
    """The table with all its columns in memory, for a file that goes away."""
    columns = {name: table.load(name) for name in dict.fromkeys(table.names)}
    return replace(table, load=columns.__getitem__)


def _load_folder(path: Path, source: str, split: str | None) -> Table:
    if not any((path / name).exists() for name in ("dataset_dict.json", "dataset_info.json")):
        raise InputError(
            f"{source}: expected a folder of Parquet files, or one written by "
            "datasets.save_to_disk, got a folder without dataset_info.json or dataset_dict.json "
            "and without .parquet files. Name one file in it, or save the data set with "
            "save_to_disk."
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
        return read_arrow(arrow.column(0), source, name)

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

    return Table("memory", names, len(frame), load, faults=find_duplicates(names))


def load_columns(columns: Mapping[Any, Any], source: str = "memory") -> Table:
    """Columns in memory; those that are no sequences or not of equal length are faults."""
    names = tuple(map(str, columns))
    lists, faults = [], list(find_duplicates(names))
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


_READERS: dict[str, Callable[[Path, str], Table]] = {
    ".csv": load_csv,
    ".tsv": load_tsv,
    ".jsonl": load_json,
    ".json": load_json,
    ".parquet": load_parquet,
    ".txt": load_fasttext,
    ".ft": load_fasttext,
}
