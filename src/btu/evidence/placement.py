"""Was a unit inserted? What follows inserted text follows from what stands before it, not from it.

For each occurrence of a unit u between a and b the break is D = pmi(a, b) - (pmi(a, u) + pmi(u, b))
/ 2 with pmi(x, y) = log P(x, y) / (P(x) P(y)) from the neighbours of this very corpus, the
occurrence itself left out. Words with a meaning fit where they stand: far below 0. Inserted ones do
not, and leave a and b as neighbours that belong together: above 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD

from btu.evidence.words import END

_CLASSES = 64
_PROFILE_WORDS = 300
_PROFILE_SIZE = 30
_MOST_LEARNED = 5000
_PRIOR = 2.0  # observations that the classes of two words are worth beside the words themselves
_EVEN = 0.5
_BLOCK = 1_000_000  # places that are looked up at once


@dataclass(frozen=True)
class Fits:
    """How words fit those beside them, each looked up once.

    Attributes:
        follows: The pmi of each word with the next one, the place itself left out, shape (T,),
            float32; nothing for the last one.
        across: The pmi of the words before and after each one, shape (T,), float32; nothing for the
            first and the last.
    """

    follows: NDArray[np.float32]
    across: NDArray[np.float32]

    def select(self, kept: NDArray[np.bool_]) -> Fits:
        """Of the places that are left where whole texts are taken out, shape (T,)."""
        return Fits(self.follows[kept], self.across[kept])


class Neighbours:
    """Counts of neighbouring words, backed off to classes of words; `pmi` compares with chance.

    Args:
        flat: Word ids, texts one after the other, see `Words`.
        size: V; all ids are below it.
    """

    def __init__(self, flat: NDArray[np.integer], size: int) -> None:
        inside = flat[:-1] != END
        keys = flat[:-1][inside].astype(np.int64)
        keys *= size
        keys += flat[1:][inside]
        self._size, self._total = size, float(max(1, len(keys)))
        # What follows is counted from the different pairs alone.
        self._pair = pairs, often = _count(keys)
        a, b = pairs // size, pairs % size
        self._class = group_words(a, b, often, size)
        count = self._classes = int(self._class.max(initial=0)) + 1
        ca, cb = self._class[a], self._class[b]
        self._word_class = _count(a * count + cb, often)
        self._class_word = _count(ca * size + b, often)
        self._left, self._right = (np.bincount(w, often, minlength=size) for w in (a, b))
        both = np.bincount(ca * count + cb, often, minlength=count * count)
        self._both = both.reshape(count, count)
        self._class_left, self._class_right = self._both.sum(axis=1), self._both.sum(axis=0)

    def pmi(
        self, a: NDArray[np.integer], b: NDArray[np.integer], own: float = 0.0
    ) -> NDArray[np.float64]:
        """How much likelier b is after a than anywhere, as a logarithm; arrays of one shape.

        Word after word, with what a class says of the words of the other: word before class, class
        before word and class before class.

        Args:
            a: Words.
            b: Words that follow them.
            own: Occurrences to leave out of the counts: 1 where these very pairs are in them.
        """

        def less(counts: NDArray[np.floating]) -> NDArray[np.float64]:
            return np.maximum(counts - own, 0.0)

        a, b = np.asarray(a, dtype=np.int64), np.asarray(b, dtype=np.int64)
        ca, cb, total = self._class[a], self._class[b], self._total
        left, right = less(self._left[a]), less(self._right[b])
        of_a, of_b = self._class_left[ca], self._class_right[cb]
        base = (less(self._both[ca, cb]) + _EVEN) * total / ((of_a + _EVEN) * (of_b + _EVEN))
        seen = less(_look_up(self._word_class, a * self._classes + cb))
        one = (seen + _PRIOR * base * of_b / total) / ((left + _PRIOR) * of_b / total)
        seen = less(_look_up(self._class_word, ca * self._size + b))
        two = (seen + _PRIOR * base * of_a / total) / ((right + _PRIOR) * of_a / total)
        seen = less(_look_up(self._pair, a * self._size + b))
        expected = left * right / total
        ratio: NDArray[np.float64] = np.log((seen + np.sqrt(one * two)) / (expected + 1.0))
        return ratio

    def measure_fits(self, flat: NDArray[np.integer]) -> Fits:
        """How all words fit those beside them.

        Args:
            flat: The word ids that were counted, shape (T,).
        """
        follows, across = (np.zeros(len(flat), dtype=np.float32) for _ in range(2))
        follows[:-1] = self._pmi_of_each(flat[:-1], flat[1:], 1.0)
        across[1:-1] = self._pmi_of_each(flat[:-2], flat[2:])
        return Fits(follows, across)

    def measure_break(
        self,
        flat: NDArray[np.integer],
        first: NDArray[np.integer],
        last: NDArray[np.integer],
        fits: Fits | None = None,
        *,
        own: float = 1.0,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """D of occurrences of units, and its first part alone, pmi(a, b), shape (n,) each.

        Both are high where the unit was inserted. At the edge of a text, or always beside the same
        word, a unit fits where it stands by its own repetition: there the first part alone tells.

        Args:
            flat: The word ids that were counted.
            first: Places of the first words of the occurrences in `flat`, shape (n,).
            last: Places of their last words.
            fits: What `measure_fits` says of `flat`, where many are asked for.
            own: 0 where `flat` are others than those that were counted.
        """
        if fits is None:
            before, after = flat[first - 1], flat[last + 1]
            both = self.pmi(before, flat[first], own) + self.pmi(flat[last], after, own)
            bridge = self._pmi_of_each(before, after)
        else:
            both = fits.follows[first - 1].astype(np.float64)
            both += fits.follows[last]
            bridge = fits.across[first].astype(np.float64)
            longer = np.flatnonzero(first != last)
            before, after = flat[first[longer] - 1], flat[last[longer] + 1]
            bridge[longer] = self._pmi_of_each(before, after)
        both /= 2
        return bridge - both, bridge

    def _pmi_of_each(
        self, a: NDArray[np.integer], b: NDArray[np.integer], own: float = 0.0
    ) -> NDArray[np.float64]:
        """As `pmi`; each pair is asked for once, however often it stands."""
        found = np.zeros(len(a))
        for start in range(0, len(a), _BLOCK):
            block = slice(start, start + _BLOCK)
            keys = a[block].astype(np.int64) * self._size + b[block]
            place, pairs = pd.factorize(keys, sort=True)
            found[block] = self.pmi(pairs // self._size, pairs % self._size, own)[place]
        return found


def group_words(
    a: NDArray[np.int64], b: NDArray[np.int64], often: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    """Words in classes of like neighbours: k-means of neighbour profiles, shape (size,).

    Args:
        a: Words.
        b: The words that follow them.
        often: How often each of these pairs stands.
        size: V.
    """
    count = np.bincount(b, often, minlength=size)
    top = np.argsort(-count, kind="stable")[:_PROFILE_WORDS]
    place = np.full(size, -1)
    place[top] = np.arange(len(top))
    left, right = place[a] >= 0, place[b] >= 0
    rows = np.concatenate([b[left], a[right]])
    columns = np.concatenate([place[a[left]], len(top) + place[b[right]]])
    counts = np.concatenate([often[left], often[right]]).astype(np.float64)
    profile = csr_matrix((counts, (rows, columns)), shape=(size, 2 * len(top)))
    weight = 1 / (np.asarray(profile.sum(axis=1)).ravel() + 10)
    profile = profile.multiply(weight[:, None]).tocsr()
    profile.data = np.sqrt(profile.data)
    learned = np.argsort(-count, kind="stable")[:_MOST_LEARNED]
    learned = learned[count[learned] > 0]
    classes = min(_CLASSES, len(learned) // 20)
    if classes < 2 or profile.shape[1] <= _PROFILE_SIZE:
        return np.zeros(size, dtype=np.int64)
    reduced = TruncatedSVD(_PROFILE_SIZE, random_state=0).fit_transform(profile)
    model = MiniBatchKMeans(classes, random_state=0, n_init=1, batch_size=2048)
    grouped: NDArray[np.int64] = model.fit(reduced[learned]).predict(reduced).astype(np.int64)
    return grouped


def _count(
    keys: NDArray[np.int64], often: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The different keys, ascending, and how often each stands.

    Args:
        keys: Shape (n,).
        often: How often each of them counts; once without it.
    """
    if often is None:
        keys = np.sort(keys)
    else:
        order = np.argsort(keys, kind="stable")
        keys, often = keys[order], often[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    if often is None:
        return keys[starts], np.diff(starts, append=len(keys))
    return keys[starts], np.add.reduceat(often, starts) if len(starts) else often


def _look_up(
    table: tuple[NDArray[np.int64], NDArray[np.int64]], keys: NDArray[np.int64]
) -> NDArray[np.float64]:
    known, counts = table
    if not len(known):
        return np.zeros(len(keys))
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[place] == keys, counts[place], 0).astype(float)
