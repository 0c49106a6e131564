"""Every view of a record, in one table: `btu report` and `btu.write_report` serve from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from btu.support.folders import check_output_file, replace_file

Record = Mapping[str, Any]
Target = str | os.PathLike[str]


@dataclass(frozen=True)
class RecordView:
    """One view of a record.

    Attributes:
        endings: Of the files that it goes to where nobody names the view.
        render: The record, and the scanned data where they are given, as text.
        write: Puts the view into a file; where it is None, the text is what the file holds.
        check: Refuses a file before anything is computed.
    """

    endings: tuple[str, ...]
    render: Callable[[Record, Any], str]
    write: Callable[[Record, Target, Any], None] | None = None
    check: Callable[[Target, bool], None] | None = None

    def check_output(self, path: Target, *, overwrite: bool) -> None:
        """Refuse a file that this view cannot be written to.

        Args:
            path: The file.
            overwrite: Whether one that is there may be replaced.

        Raises:
            InputError: It is there, or its ending is another view's.
        """
        if self.check is not None:
            self.check(path, overwrite)
        else:
            check_output_file(Path(path), overwrite=overwrite)

    def save(self, record: Record, path: Target, data: Any = None) -> None:
        """Write the view of a record, whole or not at all.

        Args:
            record: Of a scan or a defence.
            path: The file.
            data: What was scanned, for views that show it.

        Raises:
            InputError: The view says no to the record, the data or the file.
        """
        if self.write is not None:
            self.write(record, path, data)
            return
        text = self.render(record, data)
        with replace_file(Path(path)) as file:
            file.write(text.encode())


def _render_html(record: Record, _: Any) -> str:
    from btu.report.html import render_html

    return render_html(record)


def _render_markdown(record: Record, _: Any) -> str:
    from btu.report.markdown import render_markdown

    return render_markdown(record)


def _render_sarif(record: Record, _: Any) -> str:
    from btu.report.sarif import render_sarif

    return render_sarif(record)


def _render_json(record: Record, _: Any) -> str:
    from btu.support.record import render_json

    return render_json(record)


def _render_card(record: Record, _: Any) -> str:
    from btu.report.card import render_card

    return render_card(record)


def _write_card(record: Record, path: Target, _: Any) -> None:
    from btu.report.card import write_card

    write_card(record, path)


def _render_rows(record: Record, data: Any) -> str:
    from btu.report.rows import list_rows
    from btu.support.record import render_json

    return render_json(list_rows(record, data))


def _write_rows(record: Record, path: Target, data: Any) -> None:
    from btu.report.rows import write_row_view

    write_row_view(record, path, data)


def _check_rows(path: Target, overwrite: bool) -> None:
    from btu.data.writers import check_rows_path

    check_output_file(Path(path), overwrite=overwrite)
    check_rows_path(path)


# A card is a section of a file that is there: no ending says that it is meant.
VIEWS: Mapping[str, RecordView] = {
    "html": RecordView((".html",), _render_html),
    "md": RecordView((".md",), _render_markdown),
    "sarif": RecordView((".sarif",), _render_sarif),
    "rows": RecordView(
        (".csv", ".tsv", ".jsonl", ".parquet"), _render_rows, _write_rows, _check_rows
    ),
    "card": RecordView((), _render_card, _write_card, lambda *_: None),
    "json": RecordView((".json",), _render_json),
}
