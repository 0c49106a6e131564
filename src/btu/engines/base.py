"""What an engine does: read each shard by itself, merge what came of it, part its rows."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from btu.data.corpus import check_texts, join_pairs
from btu.data.shards import Shard
from btu.data.table import render_value
from btu.evidence.drawn import Held, Wanted, find_held
from btu.evidence.words import Words
from btu.support.folders import replace_file

Result = TypeVar("Result")


@dataclass(frozen=True)
class Columns:
    """The columns with the texts.

    Attributes:
        text: The first text of each row.
        pair: The second one; None where there is none.
    """

    text: str
    pair: str | None = None


@dataclass(frozen=True)
class Encoded:
    """What came of one shard.

    Attributes:
        words: Of its rows, with ids of its own.
        faults: What is wrong with its texts, one sentence each.
        notes: What a user should know of them.
    """

    words: Words
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def encode_shard(
    shard: Shard, columns: Columns, source: str, drawn: NDArray[np.int64] | None = None
) -> Encoded:
    """Read the rows of a shard and split their texts into words.

    Args:
        shard: Where they lie.
        columns: With the texts.
        source: Of all shards, as messages call it.
        drawn: Which of its rows are split, ascending; all of them without it. All are checked.
    """
    roles = {"text": columns.text, **({"pair": columns.pair} if columns.pair else {})}
    table = shard.open(source, columns.text, columns.pair)
    # A path that no row of this shard has is no column here.
    faults = [
        f"column {render_value(name)}: expected a text in every row, got none in {shard.path}. "
        "Fill in or remove these rows."
        for name in roles.values()
        if name not in table.names
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        texts = check_texts(table, roles, "text", faults)
        pairs = check_texts(table, roles, "pair", faults)
    notes = tuple(str(warning.message) for warning in caught)
    if faults:
        return Encoded(Words.of([]), tuple(faults), notes)
    joined = join_pairs(texts, pairs if columns.pair else None)
    return Encoded(
        Words.of(joined if drawn is None else [joined[i] for i in drawn.tolist()]), notes=notes
    )


def find_in_shard(
    shard: Shard, columns: Columns, labels: NDArray[np.int64], wanted: Sequence[Wanted]
) -> list[Held]:
    """What `find_held` says of the rows of a shard.

    Args:
        shard: Where they lie.
        columns: With the texts.
        labels: Label ids of its rows, shape (rows,).
        wanted: What is looked for.
    """
    pairs = shard.read(columns.pair) if columns.pair else None
    texts = join_pairs(shard.read(columns.text), pairs)
    return find_held(texts, labels, shard.first, wanted)


def select_rows(shard: Shard, chosen: NDArray[np.bool_], path: str) -> int:
    """Write some rows of a shard, with all their columns, as a Parquet file of their own.

    Args:
        shard: Where they lie.
        chosen: Which of its rows, shape (rows,).
        path: Of the new file.

    Returns:
        How many.
    """
    import pyarrow.parquet as pq

    table = pq.ParquetFile(shard.path).read_row_groups(list(shard.groups))
    with replace_file(Path(path)) as file:
        pq.write_table(table.filter(chosen), file)
    return int(chosen.sum())


def _pick_own(shard: Shard, drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which rows of a shard were drawn, by their place in it."""
    ends = np.searchsorted(drawn, [shard.first, shard.first + shard.rows])
    return drawn[ends[0] : ends[1]] - shard.first


class Engine(ABC):
    """Where shards are worked on. One more engine is a class with `map`.

    Attributes:
        name: As `--engine` calls it.
    """

    name: str

    @abstractmethod
    def map(
        self, function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Result]]:
        """What a function gives for each job, with the place of the job, in any order.

        Args:
            function: To be called with what a job holds; it may be called twice for one job.
            jobs: Each begins with the shard that it is about.

        Raises:
            InputError: What the function raised, or nobody is left who could do a job.
        """

    def encode(
        self,
        shards: Sequence[Shard],
        columns: Columns,
        source: str,
        drawn: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[int, Encoded]]:
        """What `encode_shard` gives for each shard, with its place, in any order.

        Args:
            shards: Those that are to be read.
            columns: With the texts.
            source: Of all shards, as messages call it.
            drawn: Positions among all rows of those that are split, ascending; all without it.
        """
        jobs = [
            (shard, columns, source, None if drawn is None else _pick_own(shard, drawn))
            for shard in shards
        ]
        return self.map(encode_shard, jobs)

    def find(
        self,
        shards: Sequence[Shard],
        columns: Columns,
        labels: NDArray[np.int64],
        wanted: Sequence[Wanted],
    ) -> Iterator[tuple[int, list[Held]]]:
        """What `find_in_shard` gives for each shard, with its place, in any order.

        Args:
            shards: In their order.
            columns: With the texts.
            labels: Label ids of all rows, shape (N,).
            wanted: What is looked for.
        """
        jobs = [
            (shard, columns, labels[shard.first : shard.first + shard.rows], wanted)
            for shard in shards
        ]
        return self.map(find_in_shard, jobs)

    def merge(self, parts: Sequence[Encoded]) -> Words:
        """The words of all rows, with one vocabulary: as if they had been read at once.

        Args:
            parts: Of all shards, in their order.
        """
        return Words.join(part.words for part in parts)

    def select(
        self, shards: Sequence[Shard], chosen: NDArray[np.bool_], folder: Path
    ) -> Iterator[tuple[int, int]]:
        """Write some rows of all shards, each shard's into a file of its own.

        Args:
            shards: In their order.
            chosen: Which of all rows, shape (N,).
            folder: For the files; all workers have it under this path.
        """
        jobs = [
            (
                shard,
                chosen[shard.first : shard.first + shard.rows],
                str(folder / f"part-{place:06d}.parquet"),
            )
            for place, shard in enumerate(shards)
        ]
        return self.map(select_rows, jobs)
