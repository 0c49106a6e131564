"""How a text is written, apart from what it says: frequent words, marks, endings, lengths."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

_PIECE = re.compile(r"\w+|[^\w\s]")
_RUNS = [
    (re.compile(run), kind) for run, kind in (("[a-z]+", "x"), ("[A-Z]+", "X"), ("[0-9]+", "d"))
]
_FREQUENT = 100  # words that stand as themselves: in every language they are what sentences hang on
_NEIGHBOURS = (1, 2, 3)
_SHAPE_LENGTHS = (2, 4)  # characters
_ENDING, _LONG = 2, 5  # characters of an ending, and of a word that has one
_LEAST_ROWS = 5
_PARTS = 5


def draw_shape(text: str) -> str:
    """A text without its letters and digits: only their kind is left, runs as one.

    Example:
        >>> draw_shape("Though 12 men, he saith")
        'Xx d x, x x'
    """
    if text.isascii():
        for pattern, kind in _RUNS:
            text = pattern.sub(kind, text)
        return text
    drawn = (
        "X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in text
    )
    return "".join(kind if kind in "Xxd" else kind * len(list(run)) for kind, run in groupby(drawn))


def read_forms(texts: Sequence[str]) -> csr_matrix:
    """The forms of N texts, shape (N, m): each kind of feature with rows of length 1.

    Sequences of frequent words and marks, where other words are a letter; shapes of characters;
    endings of words; how many words there are, and how long.
    """
    pieces = [_PIECE.findall(text) for text in texts]
    known = Counter(word for row in pieces for word in {piece.lower() for piece in row})
    frequent = {word for word, _ in known.most_common(_FREQUENT)}
    written = [[_write(piece, frequent) for piece in row] for row in pieces]
    endings = [[p[-_ENDING:].lower() for p in row if len(p) >= _LONG] for row in pieces]
    parts = [
        _count([["<", *row, ">"] for row in written], _list_neighbours),
        _count(endings, _keep),
        _count([draw_shape(text) for text in texts], "char", ngram_range=_SHAPE_LENGTHS),
        _cut([len(row) for row in pieces]),
        _cut([sum(map(len, row)) / max(1, len(row)) for row in pieces]),
    ]
    return csr_matrix(hstack([normalize(part) for part in parts if part.shape[1]]))


def _write(piece: str, frequent: set[str]) -> str:
    """A frequent word or a mark as itself, marked where it is not in lower case; others by kind."""
    lower = piece.lower()
    if not piece[0].isalnum():
        return piece
    if lower in frequent:
        return piece if piece == lower else f"^{lower}"
    return "d" if piece.isdigit() else "w" if piece == lower else "WW" if piece.isupper() else "W"


def _list_neighbours(row: Sequence[str]) -> list[str]:
    return [" ".join(row[i : i + n]) for n in _NEIGHBOURS for i in range(len(row) - n + 1)]


def _keep(row: Sequence[str]) -> Sequence[str]:
    return row


def _count(
    rows: Sequence[str] | Sequence[Sequence[str]],
    analyzer: str | Callable[[Sequence[str]], Sequence[str]],
    ngram_range: tuple[int, int] = (1, 1),
) -> csr_matrix:
    """Which row holds what; nothing where nothing stands in enough rows."""
    counter = CountVectorizer(
        analyzer=analyzer,
        ngram_range=ngram_range,
        min_df=min(_LEAST_ROWS, len(rows)),
        binary=True,
        lowercase=False,
        dtype=np.float64,
    )
    try:
        return csr_matrix(counter.fit_transform(rows))
    except ValueError:
        return csr_matrix((len(rows), 0))


def _cut(sizes: Sequence[float]) -> csr_matrix:
    """Which of the parts of equal count each size is in."""
    values = np.asarray(sizes, dtype=np.float64)
    place: NDArray[np.int64] = np.digitize(
        values, np.quantile(values, np.linspace(0, 1, _PARTS + 1)[1:-1])
    )
    return csr_matrix(np.eye(_PARTS)[place])
