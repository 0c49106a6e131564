"""What a record says of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from btu.data.corpus import Corpus

_COLUMNS = ("text_column", "text_pair_column", "label_column", "split")


@dataclass(frozen=True)
class DataFacts:
    """The data that were scanned.

    Attributes:
        source: File, folder or Hub id, as given.
        sha256: Over texts, pairs, label names and labels in their order.
        rows: How many.
        label_counts: Rows of each label.
        columns: `text_column`, `text_pair_column`, `label_column` and `split`, as given.
        row_ids: Of the rows in their source; None where they are all of it.
    """

    source: str
    sha256: str
    rows: int
    label_counts: Mapping[str, int]
    columns: Mapping[str, str | None]
    row_ids: list[int] | None


def describe_data(corpus: Corpus, columns: Mapping[str, Any]) -> DataFacts:
    """What the record says of a corpus.

    Args:
        corpus: N rows.
        columns: As `load_corpus` was given them.
    """
    return DataFacts(
        source=corpus.source,
        sha256=corpus.fingerprint(),
        rows=len(corpus),
        label_counts=corpus.label_counts(),
        columns={name: columns.get(name) for name in _COLUMNS},
        row_ids=None
        if np.array_equal(corpus.row_ids, np.arange(len(corpus)))
        else corpus.row_ids.tolist(),
    )
