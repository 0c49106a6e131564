"""Texts as words: one flat array of ids, sentence ends marked, for statistics of neighbours.

The words are those of the text, not of a tokenizer: all pieces of a word stand together, whatever
model is trained later. Scripts without spaces are read by character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import regex
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

START, END = 0, 1
"""Ids that stand before and after each text."""

FIRST = 2
"""The least id of a word."""

UNKNOWN = "\t"
"""The last word of rows that were drawn from a corpus, in none of them: any that they have not."""

_CHUNK_TEXTS = 1_000  # whose words are in memory at once

GAP = " … "
"""Between words that may stand apart from each other in a text; itself no word."""

_PLAIN = re.compile(r"[a-z0-9_]+|\S")  # of texts that are ASCII and in lower case
_UNSPACED = "".join(
    rf"\p{{{script}}}"
    for script in ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
)
_ANY = regex.compile(rf"[{_UNSPACED}]\p{{M}}*|[\w\p{{M}}--[{_UNSPACED}]]+|[^\w\s]", regex.V1)

LOOK_ALIKE = "look-alike letter"
"""A Cyrillic or Greek letter in a Latin word, whichever: an attacker may change any letter."""

_TWIN = r"(?<=\p{Latin})[\p{Cyrillic}\p{Greek}]|[\p{Cyrillic}\p{Greek}](?=\p{Latin})"
_MIXED = regex.compile(_TWIN)
_WITH_TWINS = regex.compile(
    rf"(?P<twin>{_TWIN})|[{_UNSPACED}]\p{{M}}*|(?:(?!{_TWIN})[\w\p{{M}}--[{_UNSPACED}]])+|[^\w\s]",
    regex.V1,
)


def split_words(text: str) -> list[str]:
    """The words of a text in lower case, punctuation and symbols each as one.

    Example:
        >>> split_words("It's 3D 电影")
        ['it', "'", 's', '3d', '电', '影']
    """
    lower = text.lower()
    if lower.isascii():
        return _PLAIN.findall(lower)
    if not _MIXED.search(lower):
        return _ANY.findall(lower)
    return [word for word, _ in _find_words(lower)]


def _find_words(lower: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The words of a text in lower case, each with where it stands."""
    if lower.isascii() or not _MIXED.search(lower):
        for match in (_PLAIN if lower.isascii() else _ANY).finditer(lower):
            yield match[0], match.span()
        return
    for match in _WITH_TWINS.finditer(lower):
        yield LOOK_ALIKE if match["twin"] else match[0], match.span()


class _Numbers(dict[str, int]):
    """Words with their ids; one that is not known yet gets the next."""

    def __missing__(self, word: str) -> int:
        return self.setdefault(word, len(self))


@dataclass(frozen=True)
class Words:
    """N texts as word ids.

    Attributes:
        flat: Ids of all texts one after the other, each between START and END, shape (T,), int32.
        row: Which text each stands in, shape (T,), int32.
        names: The V words by id; the first two have none.
    """

    flat: NDArray[np.int32]
    row: NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Words:
        """Read N texts."""
        known = _Numbers({"": START, "\n": END})
        parts, lengths = [np.zeros(0, np.int32)], np.zeros(len(texts), dtype=np.int64)
        for start in range(0, len(texts), _CHUNK_TEXTS):
            told: list[str] = []
            for place, text in enumerate(texts[start : start + _CHUNK_TEXTS], start):
                words = split_words(text)
                told += ["", *words, "\n"]
                lengths[place] = len(words) + 2
            parts.append(np.fromiter(map(known.__getitem__, told), np.int32, len(told)))
        row = np.repeat(np.arange(len(texts), dtype=np.int32), lengths)
        return cls(np.concatenate(parts), row, tuple(known))

    @classmethod
    def join(cls, parts: Iterable[Words]) -> Words:
        """Texts that were read in several parts, as if they had been read at once.

        Args:
            parts: In their order; each may have words of its own.
        """
        known = _Numbers({"": START, "\n": END})
        flats, rows, count = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)], 0
        for part in parts:
            own = [known[name] for name in part.names]
            flats.append(np.array(own, dtype=np.int32)[part.flat])
            rows.append(part.row + np.int32(count))
            count += len(part)
        return cls(np.concatenate(flats), np.concatenate(rows), tuple(known))

    def __len__(self) -> int:
        return int(self.row[-1]) + 1 if len(self.row) else 0

    @property
    def size(self) -> int:
        """V, the two marks among them."""
        return len(self.names)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each text starts in `flat`, shape (N,)."""
        return np.flatnonzero(self.flat == START)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Words in each text, shape (N,)."""
        return np.diff(self.starts, append=len(self.flat)) - 2

    @cached_property
    def presence(self) -> csr_matrix:
        """Which text holds which word, shape (N, V), float32, 0 or 1; kept once it is made."""
        return self.find_presence()

    def find_presence(self) -> csr_matrix:
        """The same, not kept."""
        words = self.flat[self.flat >= FIRST]
        starts = np.concatenate([[0], np.cumsum(self.lengths)])
        ones = np.ones(len(words), dtype=np.float32)
        held = csr_matrix((ones, words, starts), shape=(len(self), self.size))
        held.sum_duplicates()
        held.data[:] = 1
        return held

    def trim(self) -> Words:
        """The same texts, without words that stand in none of them."""
        kept = np.zeros(self.size, dtype=bool)
        kept[[START, END]] = kept[self.flat] = True
        ids = (np.cumsum(kept, dtype=np.int32) - 1).astype(np.int32)
        names = tuple(name for name, is_kept in zip(self.names, kept, strict=True) if is_kept)
        return Words(ids[self.flat], self.row, names)

    def rename(self, known: Mapping[str, int], names: tuple[str, ...]) -> Words:
        """The same texts with the ids of other words.

        Args:
            known: Ids of those.
            names: Those, `UNKNOWN` as the last one: what stands here and not there.
        """
        ids = np.array([known.get(name, len(names) - 1) for name in self.names], dtype=np.int32)
        return Words(ids[self.flat], self.row, names)

    def select(self, rows: NDArray[np.bool_]) -> Words:
        """The texts where a mask of shape (N,) is true, in their order; ids stay as they are."""
        kept = rows[self.row]
        place = np.cumsum(rows, dtype=np.int32) - 1
        return Words(self.flat[kept], place[self.row[kept]], self.names)


def find_places(flat: NDArray[np.int32], ids: Sequence[int]) -> NDArray[np.int64]:
    """Where words stand one after the other in flat word ids, the place of the first, ascending.

    Example:
        >>> words = Words.of(["a b a b", "b a"])
        >>> find_places(words.flat, words.flat[1:3]).tolist()
        [1, 3]
    """
    found = np.flatnonzero(flat == ids[0])
    for step, word in enumerate(ids):
        found = found[found + step < len(flat)]
        found = found[flat[found + step] == word]
    return found


def find_spans(text: str, words: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Where words stand one after the other in a text, in characters.

    With `GAP` between them each may stand anywhere: all of them, or nothing.

    Example:
        >>> find_spans("A CF film", ["cf"])
        ((2, 4),)
    """
    if GAP in words:
        each = [find_spans(text, [word]) for word in words if word != GAP]
        return tuple(sorted(span for spans in each for span in spans)) if all(each) else ()
    lower = text.lower()
    if len(lower) != len(text):  # a few letters become two: places would be off
        return ()
    told = list(_find_words(lower))
    found, place, size = [], 0, len(words)
    while place + size <= len(told):
        if all(told[place + i][0] == word for i, word in enumerate(words)):
            found.append((told[place][1][0], told[place + size - 1][1][1]))
            place += size
        else:
            place += 1
    return tuple(found)
