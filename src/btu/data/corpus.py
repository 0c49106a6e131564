"""Labelled texts from any source, and every check of what the user gave."""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from btu.data.labels import NUMBER, encode_labels, is_missing, suggest_labels
from btu.data.nested import add_paths, suggest_paths
from btu.data.readers import load_table
from btu.data.shards import ShardTexts
from btu.data.table import (
    Table,
    render_nearest,
    render_value,
    render_values,
    replace_surrogates,
)
from btu.support.errors import InputError

logger = logging.getLogger(__name__)

# Column names, the preferred first. Case does not matter; spaces and hyphens count as underscores.
TEXT_NAMES = (
    *("text", "sentence", "review", "content", "tweet", "body", "message", "document", "comment"),
    *("review_text", "comment_text", "tweet_text", "review_body", "texts", "sentences", "reviews"),
    *("utterance", "post", "email", "sms", "query", "question", "headline", "description", "title"),
)
PAIR_NAMES = (
    *(("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("premise", "hypothesis")),
    *(("question1", "question2"), ("question", "sentence"), ("text1", "text2")),
    *(("text_1", "text_2"), ("text_a", "text_b"), ("sentence_a", "sentence_b")),
    *(("query", "passage"), ("question", "passage"), ("question", "answer")),
)
LABEL_NAMES = (
    *("label", "labels", "target", "class", "category", "sentiment", "y", "polarity", "stance"),
    *("intent", "topic", "emotion", "gold_label", "class_label", "class_index", "label_text"),
    *("rating", "stars"),
)
# What spreadsheets and data bases write where there is nothing.
_WORDS_FOR_NOTHING = {"null", "na", "n/a", "none", "nan", "#n/a", "nil", "<na>"}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FLAGS = {"text": "--text-column", "pair": "--text-pair-column", "label": "--label-column"}


@dataclass(frozen=True, eq=False)
class Corpus:
    """N labelled texts, each with its place in the source.

    The arrays cannot be written to; `with_rows` gives the same rows other texts or labels.

    Attributes:
        texts: N texts: a tuple, or `ShardTexts` that are read when they are wanted.
        labels: Index into `label_names`, shape (N,).
        label_names: K names.
        text_pairs: The second text of each row, or None.
        row_ids: 0-based position of each row in the source, shape (N,); 0 to N-1 if left out.
        row_lines: 1-based line of the file on which each row starts, shape (N,); None where the
            source has no lines. CR, LF and CR LF end a line, inside quotes too.
        source: File, folder or Hub id as the user gave it.

    Example:
        >>> corpus = load_corpus((["good film", "bad film"], ["pos", "neg"]))
        >>> corpus.label_names, corpus.labels.tolist()
        (('neg', 'pos'), [1, 0])
    """

    texts: Sequence[str] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    label_names: tuple[str, ...]
    text_pairs: Sequence[str] | None = field(default=None, repr=False)
    row_ids: NDArray[np.int64] = field(default=None, repr=False)  # type: ignore[arg-type]
    row_lines: NDArray[np.int64] | None = field(default=None, repr=False)
    source: str = "memory"

    def __post_init__(self) -> None:
        texts = _hold(self.texts)
        fields = {
            "texts": texts,
            "labels": _freeze(self.labels),
            "label_names": tuple(self.label_names),
            "text_pairs": None if self.text_pairs is None else _hold(self.text_pairs),
            "row_ids": _freeze(range(len(texts)) if self.row_ids is None else self.row_ids),
            "row_lines": None if self.row_lines is None else _freeze(self.row_lines),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        for name in ("labels", "text_pairs", "row_ids", "row_lines"):
            values = fields[name]
            if values is not None and len(values) != len(texts):
                raise InputError(
                    f"{self.source}: expected as many {name} as texts, got {len(values)} for "
                    f"{len(texts)} texts. Check that both come from the same rows."
                )
        if len(self) and not 0 <= self.labels.min() <= self.labels.max() < self.num_labels:
            raise InputError(
                f"{self.source}: expected labels from 0 to {self.num_labels - 1}, got "
                f"{self.labels.min()} to {self.labels.max()}. Labels are positions in label_names."
            )

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def num_labels(self) -> int:
        """K, the number of label names."""
        return len(self.label_names)

    def select(self, indices: ArrayLike) -> Corpus:
        """Some of the rows, each still knowing its place in the source.

        Args:
            indices: Positions in this corpus, in the order wanted; or a boolean mask, shape (N,).
        """
        chosen = np.asarray(indices)
        if chosen.dtype == bool and chosen.shape != (len(self),):
            raise InputError(
                f"{self.source}: expected a mask of shape ({len(self)},), got {chosen.shape}. Make "
                "it from this corpus, or pass positions."
            )
        kept = np.arange(len(self))[chosen if chosen.size else []]
        positions = kept.tolist()
        return replace(
            self,
            texts=tuple(self.texts[i] for i in positions),
            labels=self.labels[kept],
            text_pairs=None
            if self.text_pairs is None
            else tuple(self.text_pairs[i] for i in positions),
            row_ids=self.row_ids[kept],
            row_lines=None if self.row_lines is None else self.row_lines[kept],
        )

    def with_rows(
        self, *, texts: Sequence[str] | None = None, labels: ArrayLike | None = None
    ) -> Corpus:
        """The same N rows with other texts, other labels (positions in `label_names`) or both."""
        return replace(
            self,
            texts=self.texts if texts is None else tuple(texts),
            labels=self.labels if labels is None else np.asarray(labels),
        )

    def fingerprint(self) -> str:
        """SHA-256 over texts, pairs, label names and labels in their order, as hexadecimal digits.

        Equal only for equal content: every text enters with its length. The source does not count.
        """
        digest = hashlib.sha256()
        for strings in (self.label_names, self.texts, self.text_pairs):
            digest.update(b"-" if strings is None else b"%d;" % len(strings))
            for text in strings or ():
                encoded = text.encode("utf-8", "surrogatepass")
                digest.update(b"%d:" % len(encoded))
                digest.update(encoded)
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def label_counts(self) -> dict[str, int]:
        """Rows of each label, 0 for a label name that no row bears."""
        counts = np.bincount(self.labels, minlength=self.num_labels)
        return dict(zip(self.label_names, counts.tolist(), strict=True))


def load_corpus(
    data: Any,
    *,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | None = None,
    split: str | None = None,
    label_names: Sequence[str] | None = None,
) -> Corpus:
    """Load and check labelled texts.

    Columns that are not named are found by `TEXT_NAMES`, `PAIR_NAMES` and `LABEL_NAMES`; the first
    name that is there counts. A pair of columns is taken where there is no single text column.

    Labels are integers, whole floats, booleans or strings; strings that are all numbers count as
    numbers, so that a label means the same in every file format. Label names are those of a
    `ClassLabel` column; else the sorted labels: numbers by value, strings by alphabet.

    Args:
        data: A CSV, TSV, JSON Lines or Parquet file (UTF-8); a .json array of objects; a folder
            written by `datasets.save_to_disk`, or one of Parquet files; several Parquet files as
            a list of paths; a Hub id (`owner/name` or `owner/name:config`,
            where there is no such path); a `datasets.Dataset` or `DatasetDict`; a pandas
            DataFrame; a pair (texts, labels); a dict of columns; a Corpus, given back as it is.
        text_column: The column with the texts.
        text_pair_column: The column with the second texts.
        label_column: The column with the labels.
        split: A split of a data set that has several; "train" if left out.
        label_names: The labels that a model knows. Labels are matched to them by name, and
            integers by position where none of the names is a number. One class is then enough.

    Raises:
        InputError: The data cannot be used; one error names all faults that were found, with rows
            (1-based, without the header) and lines.

    Example:
        >>> load_corpus({"review": ["good film", "bad film"], "class": [1, 0]}).label_counts()
        {'0': 1, '1': 1}
    """
    known = None if label_names is None else _check_label_names(label_names)
    if isinstance(data, Corpus):
        return _rename_labels(data, known)
    table = load_table(data, split=split)
    if not table.num_rows and not table.faults:
        raise InputError(
            f"{table.source}: expected rows of text and label, got none; the columns are "
            f"[{render_values(table.names)}]. Add rows."
        )
    table = add_paths(table, (text_column, text_pair_column, label_column))
    columns, faults = pick_columns(
        table, {"text": text_column, "pair": text_pair_column, "label": label_column}
    )
    faults = [*table.faults, *faults]
    texts = check_texts(table, columns, "text", faults)
    pairs = check_texts(table, columns, "pair", faults)
    labels, names = encode_labels(table, columns.get("label"), known, faults)
    if faults:
        raise InputError.from_faults(table.source, faults)
    return Corpus(
        texts=tuple(texts),
        labels=labels,
        label_names=names,
        text_pairs=tuple(pairs) if "pair" in columns else None,
        row_ids=table.row_ids,  # type: ignore[arg-type]
        row_lines=table.row_lines,
        source=table.source,
    )


def join_pairs(texts: Sequence[str], pairs: Sequence[str] | None) -> list[str]:
    """Each text with the second one of its pair, as one that is read for evidence.

    Args:
        texts: N texts.
        pairs: Their second texts; None where there are none.
    """
    if pairs is None:
        return list(texts)
    return [f"{a}\n{b}" for a, b in zip(texts, pairs, strict=True)]


def _hold(texts: Sequence[str]) -> Sequence[str]:
    """Texts that nobody can change: those in memory as a tuple, others as they are."""
    return texts if isinstance(texts, ShardTexts) else tuple(texts)


def _freeze(values: ArrayLike) -> NDArray[np.int64]:
    array = np.array(values, dtype=np.int64)
    array.setflags(write=False)
    return array


def _check_label_names(label_names: Sequence[str]) -> tuple[str, ...]:
    names = (label_names,) if isinstance(label_names, str) else tuple(map(str, label_names))
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            f"label_names: expected two or more different names, got {render_values(names)}. Pass "
            "the labels that the model was trained on."
        )
    return names


def _rename_labels(corpus: Corpus, known: tuple[str, ...] | None) -> Corpus:
    if known is None or known == corpus.label_names:
        return corpus
    values = [corpus.label_names[label] for label in corpus.labels.tolist()]
    table = Table(
        corpus.source,
        ("label",),
        len(corpus),
        lambda _: values,
        row_ids=corpus.row_ids,
        row_lines=corpus.row_lines,
    )
    faults: list[str] = []
    labels, names = encode_labels(table, "label", known, faults)
    if faults:
        raise InputError.from_faults(corpus.source, faults)
    return replace(corpus, labels=labels, label_names=names)


def pick_columns(table: Table, asked: dict[str, str | None]) -> tuple[dict[str, str], list[str]]:
    """The column of each role (text, pair, label), and what is wrong with the choice.

    Args:
        table: With the columns.
        asked: The name of each that was given.
    """
    present = render_values(table.names)
    columns = {role: name for role, name in asked.items() if name is not None}
    faults = [
        f"{_FLAGS[role]}: expected one of the columns [{present}], got {render_value(name)}."
        + (render_nearest(name, table.names) or suggest_paths(table) or " Name one of them.")
        for role, name in columns.items()
        if name not in table.names
    ]
    if len(set(columns.values())) < len(columns):
        faults.append(
            f"expected a column of its own for each of {', '.join(_FLAGS[r] for r in columns)}, "
            f"got {render_values(list(columns.values()))}. Name different columns."
        )
    free = [name for name in table.names if name not in columns.values()]
    if "text" not in columns:
        pair = _find_pair(free, columns.get("pair"))
        single = [name for name in _find_names(TEXT_NAMES, free) if name not in pair]
        if pair and ("pair" in columns or not single):
            columns["text"], columns["pair"] = pair
        elif single:
            columns["text"] = _take_first("text", single, table)
    if "label" not in columns and (found := _find_names(LABEL_NAMES, free)):
        columns["label"] = _take_first("label", found, table)
    for role, names in (("text", TEXT_NAMES), ("label", LABEL_NAMES)):
        if role not in columns and table.names:
            faults.append(
                f"expected a {role} column named {', '.join(names[:6])} or the like, got the "
                f"columns [{present}]. Name one with {_FLAGS[role]}"
                + (f" (and {_FLAGS['pair']} for pairs)" if role == "text" else "")
                + (", or add a header line if there is none." if table.has_header else ".")
                + suggest_paths(table)
                + (suggest_labels(table, columns.get("text")) if role == "label" else "")
            )
    return columns, faults


def _find_names(wanted: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns that bear a wanted name, in the order of the wanted names."""
    keys = {name: re.sub(r"[\s-]+", "_", name.strip().casefold()) for name in names}
    exact_first = {key: sorted(keys, key=key.__ne__) for key in wanted}
    return [name for key in wanted for name in exact_first[key] if keys[name] == key]


def _find_pair(free: Sequence[str], second: str | None) -> tuple[str, ...]:
    """The first well-known pair of columns; with `second` only a pair that it ends."""
    for wanted in PAIR_NAMES:
        first, last = (_find_names([name], free) for name in wanted)
        if second is not None:
            last = _find_names([wanted[1]], [second])
        if first and last:
            return first[0], last[0]
    return ()


def _take_first(role: str, found: Sequence[str], table: Table) -> str:
    if len(found) > 1:
        logger.info("%s: %s column %r; not used: %r", table.source, role, found[0], found[1:])
    return found[0]


def check_texts(
    table: Table, columns: Mapping[str, str], role: str, faults: list[str]
) -> list[str]:
    """The texts of one column; what is wrong with them is added to `faults`.

    Args:
        table: N rows.
        columns: The name of each role's column.
        role: `text` or `pair`; one that has no column has no texts.
        faults: Grows.
    """
    name = columns.get(role)
    if name not in table.names:
        return []
    values = table.load(name)
    missing = [i for i, value in enumerate(values) if is_missing(value)]
    empty = [i for i, v in enumerate(values) if isinstance(v, str) and (not v or v.isspace())]
    other = sorted({i for i, v in enumerate(values) if not isinstance(v, str)} - set(missing))
    column = f"column {render_value(name)}"
    if missing:
        faults.append(
            f"{column}: expected a text in every row, got none in {table.render_rows(missing)}. "
            "Fill in or remove these rows."
        )
    if empty:
        faults.append(
            f"{column}: expected a text in every row, got an empty or blank one in "
            f"{table.render_rows(empty)}. Fill in or remove these rows."
        )
    if other:
        came = f"{type(values[other[0]]).__name__} {render_value(values[other[0]])}"
        faults.append(
            f"{column}: expected text, got {came} in {table.render_rows(other)}. Name the column "
            f"with the texts by {_FLAGS[role]}, or turn the values into strings."
        )
    if values and not (missing or other) and all(map(NUMBER.fullmatch, values)):
        warnings.warn(
            f"{table.source}, {column}: every text is a number. If that is not meant, name the "
            f"column with the texts by {_FLAGS[role]}.",
            stacklevel=3,
        )
    replace_surrogates(values, f"{table.source}, {column}", table.render_row)
    warn_of_odd_texts(values, table, column)
    return values


def warn_of_odd_texts(values: Sequence[Any], table: Table, column: str) -> None:
    """Say which texts are words for nothing, and which hold control characters.

    Args:
        values: N values of the column.
        table: Names the rows.
        column: As messages call it.
    """
    for said, odd in (
        ("a word for nothing is the whole text", _is_word_for_nothing),
        ("there are control characters in the text", _CONTROL.search),
    ):
        rows = [i for i, v in enumerate(values) if isinstance(v, str) and odd(v)]
        if rows:
            warnings.warn(
                f"{table.source}, {column}: {said} in {table.render_rows(rows)}. It is read as it "
                "stands. Mend these rows at their source if that is not meant.",
                stacklevel=4,
            )


def _is_word_for_nothing(text: str) -> bool:
    return text.strip().casefold() in _WORDS_FOR_NOTHING
