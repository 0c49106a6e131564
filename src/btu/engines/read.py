"""Conductor: shards in, a corpus and its words out; what is done is kept, shard by shard."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from btu.data.corpus import Corpus, pick_columns
from btu.data.labels import encode_labels
from btu.data.nested import add_paths
from btu.data.shards import Shard, ShardTexts, open_shards
from btu.engines.base import Columns, Encoded, Engine
from btu.evidence.words import Words
from btu.support.errors import InputError
from btu.support.progress import step_bar
from btu.support.unfinished import Unfinished

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
        parts = _encode(shards, engine, columns, table.source, unfinished)
        faults += [fault for part in parts for fault in part.faults]
        for note in dict.fromkeys(note for part in parts for note in part.notes):
            warnings.warn(note, stacklevel=2)
    labels, names = encode_labels(table, found.get("label"), None, faults)
    count = sum(len(part.words.flat) for part in parts)
    if count > _MOST_WORDS:
        faults.append(
            f"expected at most {_MOST_WORDS:,} words and ends of texts in one scan, got {count:,}. "
            "Scan some of the files at a time."
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


def _encode(
    shards: Sequence[Shard],
    engine: Engine,
    columns: Columns,
    source: str,
    unfinished: Unfinished | None,
) -> list[Encoded]:
    """Of all shards in their order; those that an earlier run has read are taken over."""
    parts: dict[int, Encoded] = {}
    if unfinished is not None:
        for place in range(len(shards)):
            path = unfinished.find(_name(place))
            if path is not None:
                parts[place] = _load(path)
        if parts:
            unfinished.resumed.append(f"{len(parts)} of {len(shards)} shards")
    left = [place for place in range(len(shards)) if place not in parts]
    with step_bar("reading shards", len(left)) as bar:
        for at, part in engine.encode([shards[place] for place in left], columns, source):
            place = left[at]
            parts[place] = part
            if unfinished is not None and not part.faults:
                unfinished.keep(_name(place), partial(_save, part))
            bar.advance()
    return [parts[place] for place in range(len(shards))]


def _name(place: int) -> str:
    return f"shard-{place:06d}.npz"


def _save(part: Encoded, file: BinaryIO) -> None:
    told = json.dumps({"names": part.words.names, "notes": part.notes}).encode()
    np.savez(
        file, flat=part.words.flat, row=part.words.row, told=np.frombuffer(told, dtype=np.uint8)
    )


def _load(path: Path) -> Encoded:
    with np.load(path) as kept:
        told = json.loads(kept["told"].tobytes())
        words = Words(kept["flat"], kept["row"], tuple(told["names"]))
    return Encoded(words, notes=tuple(told["notes"]))
