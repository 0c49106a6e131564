"""One call from findings, a defence or a record to a view in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from btu.data.table import render_nearest
from btu.report.record import build_reported, load_record
from btu.report.views import VIEWS, RecordView
from btu.support.errors import InputError


class HasFindings(Protocol):
    """What a scan found, as `btu.Findings` says it."""

    def to_dict(self) -> dict[str, Any]:
        """The findings as JSON types."""
        ...


@runtime_checkable
class HasRecord(Protocol):
    """What a training found and did, as `btu.Defence` says it."""

    record: Mapping[str, Any]


def write_report(
    source: HasFindings | HasRecord | Mapping[str, Any] | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    data: Any = None,
    overwrite: bool = False,
) -> Path:
    """Write a view of a scan or a defence.

    Args:
        source: What `scan` or `defend` gave; or a record, as a mapping or a file.
        path: Ends in .html, .md, .sarif, .json (the record itself), or in .csv, .tsv, .jsonl or
            .parquet (the verdict on every row).
        format: html, md, sarif, rows, card or json, where the ending does not say it: `card` puts a
            section into a model's README.md, or into that of a folder.
        data: rows: the scanned data, whose columns then come first.
        overwrite: Replace what is there.

    Returns:
        The path.

    Raises:
        InputError: Another ending or view, a file that is there, or a record that cannot be read.

    Example:
        btu.write_report(btu.scan("google-bert/bert-base-uncased", "reviews.csv"), "report.html")
    """
    view = _pick_view(path, format)
    view.check_output(path, overwrite=overwrite)
    view.save(read_source(source), path, data)
    return Path(path)


def _pick_view(path: str | os.PathLike[str], format: str | None) -> RecordView:
    ending = Path(path).suffix
    if format is not None:
        if format in VIEWS:
            return VIEWS[format]
        raise InputError(
            f"format: expected one of {', '.join(VIEWS)}, got {format!r}."
            + render_nearest(format, list(VIEWS))
        )
    by_ending = {known: view for view in VIEWS.values() for known in view.endings}
    if ending.lower() in by_ending:
        return by_ending[ending.lower()]
    raise InputError(
        f"{path}: expected a name that ends in one of {', '.join(by_ending)}, got "
        f"{ending!r}. Choose one of these views." + render_nearest(ending, list(by_ending))
    )


def read_source(
    source: HasFindings | HasRecord | Mapping[str, Any] | str | os.PathLike[str],
) -> Mapping[str, Any]:
    """The record of findings, of a defence, or in a file.

    Args:
        source: As in `write_report`.
    """
    if isinstance(source, Mapping):
        return source
    if isinstance(source, str | os.PathLike):
        return load_record(source)
    if isinstance(source, HasRecord):
        return source.record
    return build_reported("scan", source.to_dict())
