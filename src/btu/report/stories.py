"""What each story of a word means and what could have been missed: one text for all views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

STORIES = {
    "inserted": "put into rows of other labels: its rows read like those, and it stands where "
    "planted words stand",
    "replaced": "in the place of other words of rows of other labels: its rows read like those; "
    "where it stands says nothing",
    "kept": "put into rows that keep their label: it stands where planted words stand, under one "
    "label; no text contradicts that, and a mark of an honest source can look the same",
}


def say_story(story: str) -> str:
    """A story in a few words: `inserted: put into rows of other labels ...`."""
    return f"{story}: {STORIES[story]}"


def say_limit(record: Mapping[str, Any], write: Callable[[str], str] = str) -> str:
    """The detection limit of a scan, in some sentences; empty where none was measured.

    Args:
        record: Of a scan or a defence.
        write: How a label of the data is written in the view.
    """
    limit = record["limit"]
    if limit is None:
        return ""
    word, sentence = limit["word_rows"], limit["sentence_rows"]
    if word is None and sentence is None:
        said = "Detection limit: no word could have been found in this corpus."
    else:
        parts = [f"a word put into {word:,} rows or more"] if word else []
        parts += [f"a sentence put into {sentence:,} or more"] if sentence else []
        said = (
            f"Detection limit: {' and '.join(parts)}, at random places of rows of other labels, "
            "would have been found with a chance of 95 %."
        )
    kept = limit["kept_rows"]
    if kept is not None:
        said += f" A word put into rows that keep their label, from {kept:,} on."
    elif word is not None or sentence is not None:
        said += " A word put into rows that keep their label would not have been."
    by_label = limit["word_rows_by_label"]
    if len(set(by_label.values())) > 1:
        named = ", ".join(
            f"{write(name)}: {'none' if rows is None else format(rows, ',')}"
            for name, rows in by_label.items()
        )
        said += f" For a word by target label: {named}."
    styles = "can be suspects only" if limit["styles"] else "were not looked for"
    return f"{said}{_say_sample(record)} Rewritten rows {styles}."


def _say_sample(record: Mapping[str, Any]) -> str:
    """How many rows were compared, where not all were; with a space before it."""
    compared = (record["settings"]["evidence"] or {}).get("sample_rows")
    rows = record["data"]["rows"]
    if compared is None or compared >= rows:
        return ""
    return f" Triggers were looked for in {compared:,} rows, and what was found in all {rows:,}."
