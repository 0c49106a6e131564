"""Texts as token ids, flat in memory; tokens are hidden by id, never by string replacement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from btu.data.corpus import Corpus
from btu.support.errors import InputError
from btu.support.progress import track

_CHUNK_ROWS = 1_000


@dataclass(frozen=True)
class Pairs:
    """Pairs of neighbouring tokens, special tokens included.

    Attributes:
        presence: Which of N rows holds which of m pairs, shape (N, m), float32, 0 or 1.
        token_ids: The two tokens of each pair, shape (m, 2), int64.
    """

    presence: csr_matrix
    token_ids: NDArray[np.int64]

    def places(self, token_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the two tokens of each pair stand among these, shape (m, 2); -1 where not.

        Args:
            token_ids: Ascending, at least one.
        """
        place = np.minimum(np.searchsorted(token_ids, self.token_ids), len(token_ids) - 1)
        return np.where(token_ids[place] == self.token_ids, place, -1)


@dataclass(frozen=True)
class TokenRows:
    """N tokenised rows.

    Attributes:
        token_ids: All rows one after the other, shape (T,), int32.
        offsets: Where each row starts, and the end, shape (N + 1,), int64.
        labels: Label ids, shape (N,), int64.
        type_ids: Segment ids in the shape of `token_ids`, where the tokenizer gives them for pairs.
    """

    token_ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]
    type_ids: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens in each row, shape (N,)."""
        return np.diff(self.offsets)

    @property
    def row_of_token(self) -> NDArray[np.int64]:
        """Which row each token stands in, shape (T,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def row(self, position: int) -> NDArray[np.int32]:
        """Token ids of one row."""
        return self.token_ids[self.offsets[position] : self.offsets[position + 1]]

    def select(self, positions: Sequence[int] | NDArray[np.generic]) -> TokenRows:
        """The rows at these positions (or where a boolean mask is true), in this order."""
        chosen = np.asarray(positions)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        lengths = self.lengths[chosen]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        take = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][chosen] - offsets[:-1], lengths)
        return TokenRows(
            token_ids=self.token_ids[take],
            offsets=offsets,
            labels=self.labels[chosen],
            type_ids=None if self.type_ids is None else self.type_ids[take],
        )

    def hide(self, token_ids: Iterable[int]) -> TokenRows:
        """The same rows without these tokens. A row may end up empty.

        Args:
            token_ids: What to take out, wherever it stands.
        """
        keep = ~np.isin(self.token_ids, np.fromiter(token_ids, dtype=np.int32))
        kept = np.concatenate([[0], np.cumsum(keep)])
        return replace(
            self,
            token_ids=self.token_ids[keep],
            offsets=kept[self.offsets].astype(np.int64),
            type_ids=None if self.type_ids is None else self.type_ids[keep],
        )

    def without_empty(self, protected_ids: Iterable[int]) -> TokenRows:
        """Only the rows that still hold a token of their own.

        Args:
            protected_ids: The special tokens, which every row has.
        """
        own = ~np.isin(self.token_ids, np.fromiter(protected_ids, dtype=np.int32))
        counts = np.bincount(self.row_of_token[own], minlength=len(self))
        return self if counts.all() else self.select(np.flatnonzero(counts))

    def presence(self, token_ids: NDArray[np.int64]) -> csr_matrix:
        """Which row holds which of these tokens, shape (N, n), float32, 0 or 1.

        Args:
            token_ids: Ascending.
        """
        place = np.searchsorted(token_ids, self.token_ids)
        known = place < len(token_ids)
        known[known] = token_ids[place[known]] == self.token_ids[known]
        pairs = np.unique(np.stack([self.row_of_token[known], place[known]]), axis=1)
        ones = np.ones(pairs.shape[1], dtype=np.float32)
        return csr_matrix((ones, (pairs[0], pairs[1])), shape=(len(self), len(token_ids)))

    def holding(self, token_ids: Sequence[int]) -> NDArray[np.int64]:
        """Positions of the rows that hold these tokens one after the other, ascending.

        Args:
            token_ids: One or more.
        """
        last = len(self.token_ids) - len(token_ids) + 1
        found = np.ones(max(0, last), dtype=bool)
        row = self.row_of_token
        for place, token_id in enumerate(token_ids):
            found &= self.token_ids[place : place + last] == token_id
        found &= row[: len(found)] == row[len(token_ids) - 1 :][: len(found)]
        return np.unique(row[: len(found)][found])

    def pairs(self, *, least_rows: int = 5) -> Pairs:
        """Which row holds which pair of neighbouring tokens.

        Special tokens count, so that the first and the last token of a text have a pair too.

        Args:
            least_rows: Rows that a pair must stand in to be among them.
        """
        row, ids = self.row_of_token, self.token_ids.astype(np.int64)
        inside, size = row[1:] == row[:-1], int(ids.max(initial=0)) + 1
        keys = ids[:-1] * size + ids[1:]
        held = np.unique(np.stack([row[:-1][inside], keys[inside]]), axis=1)
        key, column, count = np.unique(held[1], return_inverse=True, return_counts=True)
        ones = np.ones(held.shape[1], dtype=np.float32)
        every = csr_matrix((ones, (held[0], column)), shape=(len(self), len(count)))
        kept = np.flatnonzero(count >= least_rows)
        return Pairs(every[:, kept], np.stack([key[kept] // size, key[kept] % size], axis=1))

    def groups(self, batch_size: int, *, seed: int | None = None) -> list[NDArray[np.int64]]:
        """Positions of the rows of each batch, rows of about the same length together.

        With a seed the rows are shuffled, grouped by length only within windows of 50 batches,
        and the batches come in random order; without one they come longest first.

        Args:
            batch_size: Rows in a batch.
            seed: Of the order.
        """
        if seed is None:
            order = np.argsort(-self.lengths, kind="stable")
            return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        rng = np.random.default_rng(seed)
        order, window = rng.permutation(len(self)), 50 * batch_size
        groups = []
        for start in range(0, len(order), window):
            part = order[start : start + window]
            part = part[np.argsort(-self.lengths[part], kind="stable")]
            groups += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
        return [groups[i] for i in rng.permutation(len(groups))]

    def pad(self, positions: NDArray[np.int64], *, pad_id: int) -> dict[str, torch.Tensor]:
        """Some rows as tensors of shape (rows, longest row), padded on the right."""
        lengths = self.lengths[positions]
        mask = np.arange(max(lengths.max(), 1)) < lengths[:, None]
        flat = np.concatenate([np.arange(self.offsets[p], self.offsets[p + 1]) for p in positions])
        ids = np.full(mask.shape, pad_id, dtype=np.int64)
        ids[mask] = self.token_ids[flat]
        attended = mask.astype(np.int64)
        attended[lengths == 0, 0] = 1  # an empty text is one padding token: models need one
        batch = {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(attended),
            "labels": torch.from_numpy(self.labels[positions]),
        }
        if self.type_ids is not None:
            types = np.zeros(mask.shape, dtype=np.int64)
            types[mask] = self.type_ids[flat]
            batch["token_type_ids"] = torch.from_numpy(types)
        return batch


class TokenDataset(Dataset[dict[str, Any]]):
    """Token rows as the Trainer wants them: one dictionary a row."""

    def __init__(self, rows: TokenRows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        if not 0 <= position < len(self):
            raise IndexError(position)  # what ends a `for` loop over the data set
        start, end = self.rows.offsets[position : position + 2]
        item = {
            "input_ids": self.rows.token_ids[start:end].tolist(),
            "attention_mask": [1] * int(end - start),
            "labels": int(self.rows.labels[position]),
        }
        if self.rows.type_ids is not None:
            item["token_type_ids"] = self.rows.type_ids[start:end].tolist()
        return item


def tokenize_texts(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    text_pairs: Sequence[str] | None = None,
    *,
    max_length: int,
    labels: NDArray[np.int64] | None = None,
) -> TokenRows:
    """Tokenise every row once, special tokens included.

    Args:
        texts: N texts.
        tokenizer: Of the model.
        text_pairs: N second texts, where the rows are pairs.
        max_length: Longer rows are cut, in tokens.
        labels: Label ids, shape (N,); 0 where they are not known.
    """
    chunks = list(tokenize_chunks(texts, tokenizer, text_pairs, max_length=max_length))
    types = [chunk.type_ids for chunk in chunks if chunk.type_ids is not None]
    lengths = [chunk.lengths for chunk in chunks]
    return TokenRows(
        token_ids=np.concatenate([*(chunk.token_ids for chunk in chunks), _flatten([])]),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate([[], *lengths]))]).astype(np.int64),
        labels=np.zeros(len(texts), dtype=np.int64) if labels is None else labels,
        type_ids=np.concatenate(types) if types else None,
    )


def tokenize_chunks(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    text_pairs: Sequence[str] | None = None,
    *,
    max_length: int,
) -> Iterator[TokenRows]:
    """The same, some rows after the others, without labels.

    Args:
        texts: N texts.
        tokenizer: Of the model.
        text_pairs: N second texts, where the rows are pairs.
        max_length: Longer rows are cut, in tokens.
    """
    for start in track(range(0, len(texts), _CHUNK_ROWS), "tokenising"):
        rows = slice(start, start + _CHUNK_ROWS)
        encoded = tokenizer(
            list(texts[rows]),
            None if text_pairs is None else list(text_pairs[rows]),
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
        )
        lengths = [len(row) for row in encoded["input_ids"]]
        has_types = text_pairs is not None and "token_type_ids" in encoded
        # Lists of numbers take ten times the memory: no more than those of one chunk are kept.
        yield TokenRows(
            token_ids=_flatten(encoded["input_ids"]),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            labels=np.zeros(len(lengths), dtype=np.int64),
            type_ids=_flatten(encoded["token_type_ids"]) if has_types else None,
        )


def tokenize_corpus(
    corpus: Corpus, tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> TokenRows:
    """Tokenise a corpus; as `tokenize_texts`, with its labels and with every row checked.

    Raises:
        InputError: Rows that turn into no token at all.
    """
    rows = tokenize_texts(
        corpus.texts, tokenizer, corpus.text_pairs, max_length=max_length, labels=corpus.labels
    )
    check_tokens(rows, tokenizer, corpus)
    return rows


def find_spans(
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    text_pair: str | None = None,
    *,
    token_ids: Sequence[int],
    max_length: int,
) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
    """Where a token, or some in a row, stand in a row, in characters: first text, second text.

    Both are empty where the tokenizer does not say, as those written in Python do not.

    Args:
        tokenizer: Of the model.
        text: The row's text.
        text_pair: Its second text.
        token_ids: What to look for, one after the other; special tokens have no place of their own.
        max_length: Longer rows are cut, in tokens.
    """
    if not tokenizer.is_fast:
        return (), ()
    encoded = tokenizer(
        text, text_pair, truncation=True, max_length=max_length, return_offsets_mapping=True
    )
    ids, offsets, sequences = (
        encoded["input_ids"],
        encoded["offset_mapping"],
        encoded.sequence_ids(),
    )
    spans: tuple[list[tuple[int, int]], ...] = ([], [])
    first = 0
    while first <= len(ids) - len(token_ids):
        places = range(first, first + len(token_ids))
        if [ids[i] for i in places] != list(token_ids):
            first += 1
            continue
        first += len(token_ids)  # spans do not overlap
        for sequence in (0, 1):
            held = [offsets[i] for i in places if sequences[i] == sequence]
            if held and held[-1][1] > held[0][0]:
                spans[sequence].append((held[0][0], held[-1][1]))
    return tuple(spans[0]), tuple(spans[1])


def _flatten(rows: list[list[int]]) -> NDArray[np.int32]:
    return np.fromiter(chain.from_iterable(rows), dtype=np.int32)


def check_tokens(rows: TokenRows, tokenizer: PreTrainedTokenizerBase, corpus: Corpus) -> None:
    """Refuse rows that turned into no token at all.

    Args:
        rows: N rows.
        tokenizer: Of the model.
        corpus: Of them.

    Raises:
        InputError: There are such.
    """
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    own = ~np.isin(rows.token_ids, list(special))
    empty = np.flatnonzero(np.bincount(rows.row_of_token[own], minlength=len(rows)) == 0)
    if len(empty):
        named = ", ".join(str(int(corpus.row_ids[i]) + 1) for i in empty[:5])
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        raise InputError(
            f"{corpus.source}: row {named}{more}: expected text, got characters from which the "
            "tokenizer makes no token. Remove these rows or check the encoding of the file."
        )
