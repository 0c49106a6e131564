"""Rows that lie in several Parquet files: read shard by shard, never all texts at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from btu.data.formats import find_class_names, read_arrow, refuse_parquet
from btu.data.nested import add_paths
from btu.data.table import Table, find_duplicates, render_value, render_values
from btu.support.errors import InputError

JOIN = " + "
"""Between the files in the source of a corpus that lies in several."""

_SHARD_ROWS = 200_000
_SUFFIX = ".parquet"
_SPLIT = re.compile(r"(train|test|validation|valid|val|dev|eval)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Shard:
    """Consecutive row groups of one Parquet file.

    Attributes:
        path: Of the file.
        groups: Their numbers in it.
        first: Position of the first row among the rows of all shards.
        rows: How many.
    """

    path: str
    groups: tuple[int, ...]
    first: int
    rows: int

    def open(self, source: str, *paths: str | None) -> Table:
        """The rows as a table, each column read when it is wanted.

        Args:
            source: Of all shards, as messages call it.
            paths: Columns that are wanted, some perhaps dotted paths into nested ones.
        """
        names = tuple(_open(Path(self.path)).schema_arrow.names)
        rows = self.first + np.arange(self.rows)
        return add_paths(Table(source, names, self.rows, self._load, row_ids=rows), paths)

    def read(self, column: str) -> list[Any]:
        """The values of one column, or of a dotted path into a nested one."""
        return self.open(self.path, column).load(column)

    def _load(self, column: str) -> list[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(self.path).read_row_groups(list(self.groups), columns=[column])
        except (pa.ArrowException, OSError) as error:
            raise refuse_parquet(self.path, error) from error
        return read_arrow(table.column(column), self.path, column)


def is_sharded(data: Any) -> bool:
    """Whether data are named as Parquet shards: a list of paths, or a folder of such files."""
    if isinstance(data, list | tuple):
        are_names = all(isinstance(path, str | os.PathLike) for path in data)
        return are_names and any(Path(p).suffix == _SUFFIX or Path(p).exists() for p in data)
    return isinstance(data, str | os.PathLike) and bool(_list_folder(Path(data).expanduser()))


def list_shards(data: Any, most_rows: int = _SHARD_ROWS) -> list[Shard]:
    """The shards of one Parquet file, of a folder of them by name, or of several in their order.

    A file is cut between its row groups, so that a shard has about `most_rows` rows.

    Raises:
        InputError: Something is no Parquet file, the files have different columns, or a folder
            holds several splits.
    """
    given = list(data) if isinstance(data, list | tuple) else [data]
    paths: list[Path] = []
    for name in given:
        path = Path(name).expanduser()
        inside = _list_folder(path)
        _check_splits(path, inside)
        paths += inside or [path]
    shards: list[Shard] = []
    columns: tuple[str, ...] | None = None
    for path in paths:
        file = _open(path)
        names = tuple(file.schema_arrow.names)
        if columns is not None and names != columns:
            raise InputError(
                f"{path}: expected the columns [{render_values(columns)}] of {paths[0]}, got "
                f"[{render_values(names)}]. Write all files with the same columns."
            )
        columns = names
        first = shards[-1].first + shards[-1].rows if shards else 0
        shards += _cut(str(path), file, first, most_rows)
    if not shards:
        raise InputError(
            f"{name_source(data)}: expected rows of text and label, got none. Add rows."
        )
    return shards


def name_source(data: Any) -> str:
    """What a record calls the data: as it was given, several paths with `JOIN` between them."""
    return JOIN.join(map(str, data)) if isinstance(data, list | tuple) else str(data)


def open_shards(shards: Sequence[Shard], source: str) -> Table:
    """The rows of all shards as one table, each column read when it is wanted.

    Args:
        shards: In their order, at least one.
        source: As `name_source` gives it.
    """
    schema = _open(Path(shards[0].path)).schema_arrow
    rows = sum(shard.rows for shard in shards)

    def load(name: str) -> list[Any]:
        # Millions of labels are a few words, each of which is kept once.
        known: dict[str, str] = {}
        return [
            known.setdefault(value, value) if isinstance(value, str) else value
            for shard in shards
            for value in shard.read(name)
        ]

    return Table(
        source,
        tuple(schema.names),
        rows,
        load,
        faults=find_duplicates(schema.names),
        class_names=find_class_names(schema.metadata or {}),
    )


class ShardTexts(Sequence[str]):
    """The texts of one column, each shard read when one of its rows is wanted.

    Args:
        shards: In their order.
        column: With the texts.
    """

    def __init__(self, shards: Sequence[Shard], column: str) -> None:
        self.shards, self.column = tuple(shards), column
        self._starts = np.array([shard.first for shard in self.shards])
        self._last: tuple[int, list[str]] = (-1, [])

    def __len__(self) -> int:
        return sum(shard.rows for shard in self.shards)

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> list[str]: ...
    def __getitem__(self, position: int | slice) -> str | list[str]:
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        row = range(len(self))[position]
        place = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._read(place)[row - self.shards[place].first]

    def __iter__(self) -> Iterator[str]:
        for place in range(len(self.shards)):
            yield from self._read(place)

    def _read(self, place: int) -> list[str]:
        if self._last[0] != place:
            self._last = (place, self.shards[place].read(self.column))
        return self._last[1]


def _list_folder(path: Path) -> list[Path]:
    """The Parquet files of a folder; none where it was written by `datasets`."""
    if not path.is_dir() or any(
        (path / n).exists() for n in ("dataset_dict.json", "dataset_info.json")
    ):
        return []
    return sorted(p for p in path.iterdir() if p.suffix == _SUFFIX and not p.name.startswith("."))


def _check_splits(folder: Path, paths: Sequence[Path]) -> None:
    """Refuse to read what a model is trained on and what it is tested on as one."""
    by_split: dict[str, str] = {}
    for path in paths:
        found = _SPLIT.match(path.name)
        by_split.setdefault(found[0].lower() if found else "", path.name)
    if len(by_split) > 1:
        raise InputError(
            f"{folder}: expected the files of one split, got {render_values([*by_split.values()])} "
            "among others. Name the files of one split, or move them into a folder of their own."
        )


def _open(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise InputError(
            f"{path}: expected a Parquet file, found nothing there. Check the spelling and the "
            "working folder."
        )
    if path.suffix.lower() != _SUFFIX:
        raise InputError(
            f"{path}: expected Parquet files where there are several, got "
            f"{render_value(path.suffix)}. Write the rows as Parquet, or name one file."
        )
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise refuse_parquet(str(path), error) from error


def _cut(path: str, file: Any, first: int, most_rows: int) -> Iterator[Shard]:
    groups: list[int] = []
    rows = 0
    for group in range(file.metadata.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if groups and rows + count > most_rows:
            yield Shard(path, tuple(groups), first, rows)
            first, groups, rows = first + rows, [], 0
        groups.append(group)
        rows += count
    if rows:
        yield Shard(path, tuple(groups), first, rows)
