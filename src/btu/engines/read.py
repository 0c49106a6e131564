"""Conductor: shards in, a corpus and its words out; what is done is kept, shard by shard."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from btu.data.corpus import Corpus, pick_columns
from btu.data.labels import encode_labels
from btu.data.nested import add_paths
from btu.data.shards import Shard, ShardTexts, open_shards
from btu.engines.base import Columns, Encoded, Engine
from btu.evidence.drawn import Drawn, Held, Wanted
from btu.evidence.words import Words
from btu.support.errors import InputError
from btu.support.progress import step_bar
from btu.support.unfinished import Unfinished

Part = TypeVar("Part")

_MOST_WORDS = 2**31 - 1  # places of words are numbers of 32 bits


def describe_shards(shards: Sequence[Shard]) -> dict[str, Any]:
    """What an unfinished scan says of its shards, JSON types: other files are another scan.

    Args:
        shards: In their order.
    """
    files = {
        path: [Path(path).stat().st_size, Path(path).stat().st_mtime_ns]
        for path in dict.fromkeys(shard.path for shard in shards)
    }
    return {"files": files, "shards": [[s.path, s.first, s.rows] for s in shards]}


def read_shards(
    shards: Sequence[Shard],
    engine: Engine,
    source: str,
    *,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | None = None,
    drawn: NDArray[np.int64] | None = None,
    unfinished: Unfinished | None = None,
) -> tuple[Corpus, Words]:
    """The rows of all shards, as `load_corpus` would give them, and their words.

    The texts stay where they are: of the corpus only labels and words are in memory.

    Args:
        shards: In their order.
        engine: That reads them.
        source: As `name_source` gives it.
        text_column: As in `load_corpus`.
        text_pair_column: As in `load_corpus`.
        label_column: As in `load_corpus`.
        drawn: Positions of the rows whose words are wanted, ascending; all without it.
        unfinished: Where words of shards that were read are kept.

    Raises:
        InputError: As `load_corpus`.
    """
    given = (text_column, text_pair_column, label_column)
    table = add_paths(open_shards(shards, source), given)
    asked = {"text": text_column, "pair": text_pair_column, "label": label_column}
    found, faults = pick_columns(table, asked)
    faults = [*table.faults, *faults]
    parts: list[Encoded] = []
    if "text" in found and found["text"] in table.names:
        columns = Columns(found["text"], found.get("pair"))
        parts = _encode(shards, engine, columns, table.source, drawn, unfinished)
        faults += [fault for part in parts for fault in part.faults]
        for note in dict.fromkeys(note for part in parts for note in part.notes):
            warnings.warn(note, stacklevel=2)
    labels, names = encode_labels(table, found.get("label"), None, faults)
    count = sum(len(part.words.flat) for part in parts)
    if count > _MOST_WORDS:
        faults.append(
            f"expected at most {_MOST_WORDS:,} words and ends of texts in one scan, got {count:,}. "
            "Look at some of the rows by --sample-rows, or scan some of the files at a time."
        )
    if faults:
        raise InputError.from_faults(table.source, faults)
    corpus = Corpus(
        texts=ShardTexts(shards, columns.text),
        labels=labels,
        label_names=names,
        text_pairs=None if columns.pair is None else ShardTexts(shards, columns.pair),
        source=table.source,
    )
    return corpus, engine.merge(parts)


def draw_from_shards(
    corpus: Corpus,
    rows: NDArray[np.int64],
    shards: Sequence[Shard],
    engine: Engine,
    unfinished: Unfinished | None = None,
) -> Drawn:
    """Some rows of a corpus that `read_shards` gave, and how the others are asked.

    Args:
        corpus: N rows.
        rows: Positions of those that were drawn, ascending.
        shards: That they lie in.
        engine: That reads them.
        unfinished: Where it is kept what was found in shards that were looked through.
    """
    texts, pairs = corpus.texts, corpus.text_pairs
    assert isinstance(texts, ShardTexts)
    columns = Columns(texts.column, pairs.column if isinstance(pairs, ShardTexts) else None)

    def find(wanted: Sequence[Wanted]) -> Iterator[Sequence[Held]]:
        def ask(places: Sequence[int]) -> Iterator[tuple[int, list[Held]]]:
            return engine.find([shards[place] for place in places], columns, corpus.labels, wanted)

        for _, held in _work_through(shards, _LOOK_THROUGH, ask, unfinished):
            yield held

    return Drawn(rows, corpus.labels, find)


def _encode(
    shards: Sequence[Shard],
    engine: Engine,
    columns: Columns,
    source: str,
    drawn: NDArray[np.int64] | None,
    unfinished: Unfinished | None,
) -> list[Encoded]:
    """Of all shards in their order."""

    def ask(places: Sequence[int]) -> Iterator[tuple[int, Encoded]]:
        return engine.encode([shards[place] for place in places], columns, source, drawn)

    parts = dict(_work_through(shards, _READ, ask, unfinished))
    return [parts[place] for place in range(len(shards))]


@dataclass(frozen=True)
class _Step(Generic[Part]):
    """One way through all shards, and how what came of a shard is kept.

    Attributes:
        title: For the progress bar.
        file: Begins the names of the files.
        resumed: What was taken over, after how many.
        save: Writes what came of a shard.
        load: Reads it.
        is_whole: Whether it may be taken over.
    """

    title: str
    file: str
    resumed: str
    save: Callable[[Part, BinaryIO], None]
    load: Callable[[Path], Part]
    is_whole: Callable[[Part], bool] = lambda part: True

    def name(self, place: int) -> str:
        return f"{self.file}-{place:06d}.npz"


def _work_through(
    shards: Sequence[Shard],
    step: _Step[Part],
    ask: Callable[[Sequence[int]], Iterator[tuple[int, Part]]],
    unfinished: Unfinished | None,
) -> Iterator[tuple[int, Part]]:
    """What comes of each shard, with its place; those that an earlier run has done come first.

    Args:
        shards: In their order.
        step: What is done with them.
        ask: Does it for the shards in some places.
        unfinished: Where it is kept.
    """
    paths: dict[int, Path] = {}
    if unfinished is not None:
        found = {place: unfinished.find(step.name(place)) for place in range(len(shards))}
        paths = {place: path for place, path in found.items() if path is not None}
        if paths:
            unfinished.resumed.append(f"{len(paths)} of {len(shards)} {step.resumed}")
    for place, path in paths.items():
        yield place, step.load(path)
    left = [place for place in range(len(shards)) if place not in paths]
    with step_bar(step.title, len(left)) as bar:
        for at, part in ask(left) if left else ():
            if unfinished is not None and step.is_whole(part):
                unfinished.keep(step.name(left[at]), partial(step.save, part))
            yield left[at], part
            bar.advance()


def _save_encoded(part: Encoded, file: BinaryIO) -> None:
    np.savez(file, allow_pickle=False, notes=_pack(part.notes), **_spread(part.words))


def _load_encoded(path: Path) -> Encoded:
    with np.load(path) as kept:
        return Encoded(_gather(kept), notes=tuple(_unpack(kept["notes"])))


def _save_held(part: list[Held], file: BinaryIO) -> None:
    told = {f"rows_{i}": held.rows for i, held in enumerate(part)}
    for i, held in enumerate(part):
        told |= _spread(held.read, f"_{i}")
    np.savez(file, allow_pickle=False, **told)


def _load_held(path: Path) -> list[Held]:
    with np.load(path) as kept:
        count = sum(name.startswith("rows_") for name in kept.files)
        return [Held(kept[f"rows_{i}"], _gather(kept, f"_{i}")) for i in range(count)]


def _spread(words: Words, ending: str = "") -> dict[str, NDArray[Any]]:
    told: dict[str, NDArray[Any]] = {
        "flat": words.flat,
        "row": words.row,
        "names": _pack(words.names),
    }
    return {f"{name}{ending}": values for name, values in told.items()}


def _gather(kept: Mapping[str, NDArray[Any]], ending: str = "") -> Words:
    flat, row, names = (kept[f"{name}{ending}"] for name in ("flat", "row", "names"))
    return Words(flat, row, tuple(_unpack(names)))


def _pack(strings: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(strings).encode(), dtype=np.uint8)


def _unpack(packed: NDArray[np.uint8]) -> list[str]:
    strings: list[str] = json.loads(packed.tobytes())
    return strings


_READ: _Step[Encoded] = _Step(
    "reading shards",
    "shard",
    "shards",
    _save_encoded,
    _load_encoded,
    is_whole=lambda part: not part.faults,
)
_LOOK_THROUGH: _Step[list[Held]] = _Step(
    "looking for their rows", "held", "shards looked through", _save_held, _load_held
)
