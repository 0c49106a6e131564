"""One call from findings, a defence or a record to a view in a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from btu.defend import Defence
from btu.errors import InputError
from btu.findings import Findings
from btu.folders import check_output_file, replace_file
from btu.report.html import render_html
from btu.report.markdown import render_markdown
from btu.report.record import build_record, load_record, render_json
from btu.report.sarif import render_sarif
from btu.table import render_nearest

_VIEWS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    ".html": render_html,
    ".md": render_markdown,
    ".sarif": render_sarif,
    ".json": render_json,
}


def write_report(
    source: Findings | Defence | Mapping[str, Any] | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> Path:
    """Write a view of a scan or a defence; the name's ending says which.

    Args:
        source: What `scan` or `defend` gave; or a record, as a mapping or a file.
        path: Ends in .html, .md, .sarif or .json (the record itself).
        overwrite: Replace what is there.

    Returns:
        The path.

    Raises:
        InputError: Another ending, a file that is there, or a record that cannot be read.

    Example:
        btu.write_report(btu.scan("google-bert/bert-base-uncased", "reviews.csv"), "report.html")
    """
    target = Path(path)
    view = _VIEWS.get(target.suffix.lower())
    if view is None:
        raise InputError(
            f"{path}: expected a name that ends in one of {', '.join(_VIEWS)}, got "
            f"{target.suffix!r}. Choose one of these views."
            + render_nearest(target.suffix, list(_VIEWS))
        )
    check_output_file(target, overwrite=overwrite)
    text = view(read_source(source))
    with replace_file(target) as file:
        file.write(text.encode())
    return target


def read_source(
    source: Findings | Defence | Mapping[str, Any] | str | os.PathLike[str],
) -> Mapping[str, Any]:
    """The record of findings, of a defence, or in a file.

    Args:
        source: As in `write_report`.
    """
    if isinstance(source, Findings):
        return build_record("scan", source.to_dict())
    if isinstance(source, Defence):
        return source.record
    return source if isinstance(source, Mapping) else load_record(source)
