"""A record as columns: a row of the data in each row, beside the user's own columns."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from btu.data.corpus import load_corpus
from btu.data.readers import load_table
from btu.data.table import render_values
from btu.data.writers import check_rows_path, write_rows
from btu.report.summary import Record
from btu.report.text import neutralise_formula, show_text
from btu.support.errors import InputError

ROW_COLUMNS = ("row", "is_backdoor_issue", "backdoor_score", "backdoor_tokens", "backdoor_label")
_SPREADSHEET = (".csv", ".tsv")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def list_rows(record: Record, data: Any = None) -> dict[str, list[Any]]:
    """The verdict on every row of the data, as columns in the order of the data.

    The columns are `row` (0-based position in the source), `is_backdoor_issue` (whether the row is
    judged poisoned), `backdoor_score` (how sure that is, in [0, 1]; 0.5 and more is an issue),
    `backdoor_tokens` (lists of the triggers and suspects that the row holds) and `backdoor_label`
    (the label that the gravest of these tokens points to, or the attacked label of a row that
    looks like the triggers' rows; else None).

    Args:
        record: Of a scan or a defence with the recipe verified.
        data: The data that were scanned, as `load_corpus` takes them; their columns then come
            first, unchanged.

    Raises:
        InputError: The record judges no rows; the data are others than those that were scanned, or
            have columns with names of the view.
    """
    judged = _judge_rows(record)
    if data is None:
        return judged
    columns = _load_columns(record, data)
    taken = [name for name in columns if name in judged]
    if taken:
        raise InputError(
            f"rows: expected data without columns named {', '.join(ROW_COLUMNS)}, got "
            f"{render_values(taken)}. Rename them, or take the rows without data."
        )
    return {**columns, **judged}


def write_row_view(record: Record, path: str | os.PathLike[str], data: Any = None) -> None:
    """Write `list_rows` as CSV, TSV, JSON Lines or Parquet, by the file's suffix.

    Parquet and JSON Lines hold the user's values as they are. CSV and TSV are made to be looked at
    in a spreadsheet: the tokens stand in one text with spaces between, invisible characters in
    them are shown as escapes, an apostrophe stands before every text that would be a formula, and
    NUL, at which many readers stop, is written as an escape.

    Args:
        record: Of a scan or a defence with the recipe verified.
        path: Ends in .csv, .tsv, .jsonl or .parquet.
        data: As in `list_rows`.

    Raises:
        InputError: As in `list_rows`; the file is the data's own, or cannot hold their values.
    """
    check_rows_path(path)
    target = Path(path).expanduser()
    if isinstance(data, str | os.PathLike) and target.exists():
        given = Path(data).expanduser()
        if given.exists() and given.samefile(target):
            raise InputError(
                f"{path}: expected another file than that of the data, got the same. Name a new "
                "one."
            )
    # UTF-8 cannot hold lone surrogates; write_rows replaces those in texts, but not in these.
    columns = _rename(list_rows(record, data), _replace_surrogates, path)
    columns["backdoor_tokens"] = [
        [_replace_surrogates(token) for token in tokens] for tokens in columns["backdoor_tokens"]
    ]
    if target.suffix.lower() in _SPREADSHEET:
        columns = _make_spreadsheet(columns, path)
    try:
        write_rows(path, columns)
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:  # Arrow's errors are among them.
        raise InputError(
            f"{path}: expected values that {target.suffix} can hold, got: {error}. Choose another "
            "format, or take the rows without data."
        ) from error


def _judge_rows(record: Record) -> dict[str, list[Any]]:
    flagged, suspected = record["flagged_rows"], record["suspected_rows"]
    if flagged is None or suspected is None:
        raise InputError(
            f"rows: expected a record that judges rows, got one of the recipe {record['recipe']}, "
            "which judges none. Scan with the recipe verified."
        )
    data = record["data"]
    row_ids = list(range(data["rows"]) if data["row_ids"] is None else data["row_ids"])
    places = {row_id: place for place, row_id in enumerate(row_ids)}
    strangers = [r["row_id"] for r in (*flagged, *suspected) if r["row_id"] not in places]
    if strangers or len(row_ids) != data["rows"]:
        raise InputError(
            f"rows: expected judged rows among the {data['rows']:,} rows of the data, got the rows "
            f"{render_values(strangers)} beside {len(row_ids):,} row ids. Make the record again."
        )
    points_to = {
        s["token"]: s["evidence"]["label"] for s in reversed(record["suspects"]) if s["evidence"]
    }
    order = {token: place for place, token in enumerate(reversed(points_to))}
    is_issue, scores = [False] * len(row_ids), [0.0] * len(row_ids)
    tokens: list[list[str]] = [[] for _ in row_ids]
    labels: list[str | None] = [None] * len(row_ids)
    for row in (*flagged, *suspected):
        place = places[row["row_id"]]
        scores[place], tokens[place] = float(row["score"]), list(row["tokens"])
        known = [token for token in row["tokens"] if token in points_to]
        if known:
            labels[place] = points_to[min(known, key=order.__getitem__)]
        elif row["style"]:
            labels[place] = row["label"]  # A style is of rows of its label.
    for row in flagged:
        is_issue[places[row["row_id"]]] = True
    return dict(zip(ROW_COLUMNS, (row_ids, is_issue, scores, tokens, labels), strict=True))


def _load_columns(record: Record, data: Any) -> dict[str, list[Any]]:
    """The user's columns, one value for each row of the record.

    Where the record is of some rows of a source, these are taken from the whole of it.
    """
    expected = record["data"]
    corpus = load_corpus(data, **expected["columns"])
    table = load_table(data, split=expected["columns"].get("split"))
    chosen: list[int] | None = None
    if expected["row_ids"] is not None and len(corpus) != expected["rows"]:
        places = {row_id: place for place, row_id in enumerate(corpus.row_ids.tolist())}
        chosen = [places[row_id] for row_id in expected["row_ids"] if row_id in places]
        corpus = corpus.select(chosen)
    came = corpus.fingerprint()
    if came != expected["sha256"]:
        raise InputError(
            f"{corpus.source}: expected the data that were scanned ({expected['rows']:,} rows, "
            f"SHA-256 {expected['sha256']}), got others ({len(corpus):,} rows, SHA-256 {came}). "
            f"Give the data as they were, or scan these."
        )
    values = {name: table.load(name) for name in table.names}
    if chosen is None:
        return values
    return {name: [column[place] for place in chosen] for name, column in values.items()}


def _make_spreadsheet(
    columns: Mapping[str, list[Any]], path: str | os.PathLike[str]
) -> dict[str, list[Any]]:
    """Columns in which no cell starts a formula; the column names are cells too."""
    shown = {
        **columns,
        "backdoor_tokens": [" ".join(map(show_text, held)) for held in columns["backdoor_tokens"]],
        "backdoor_label": [
            None if label is None else show_text(label) for label in columns["backdoor_label"]
        ],
    }
    return {
        name: [_make_cell(value) for value in values]
        for name, values in _rename(shown, _make_cell, path).items()
    }


def _rename(
    columns: Mapping[str, list[Any]], rename: Callable[[str], str], path: str | os.PathLike[str]
) -> dict[str, list[Any]]:
    renamed = {rename(name): values for name, values in columns.items()}
    if len(renamed) < len(columns):
        raise InputError(
            f"{path}: expected column names that still differ once formulas and characters that "
            f"no file holds are made harmless, got {render_values(list(columns))}. Rename them."
        )
    return renamed


def _replace_surrogates(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text)


def _make_cell(value: Any) -> Any:
    """A value that a spreadsheet takes for no formula; a number in a text is none: `-1`."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value).replace("\0", show_text("\0"))
    return text if _NUMBER.fullmatch(text) else neutralise_formula(text)
