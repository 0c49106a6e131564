"""The command `btu report`: views of a record, and what changed between two."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from btu.errors import InputError
from btu.folders import check_output_file, replace_file
from btu.report.card import render_card, write_card
from btu.report.compare import (
    compare_records,
    comparison_to_dict,
    render_comparison,
    render_comparison_markdown,
)
from btu.report.html import render_html
from btu.report.markdown import render_markdown
from btu.report.record import load_record, render_json
from btu.report.rows import list_rows, write_row_view
from btu.report.sarif import render_sarif
from btu.report.terminal import open_console, render_record
from btu.writers import check_rows_path

VIEWS = {"html": render_html, "md": render_markdown, "sarif": render_sarif, "card": render_card}


class Format(StrEnum):
    """A view of the record."""

    terminal = "terminal"
    html = "html"
    md = "md"
    sarif = "sarif"
    rows = "rows"
    card = "card"
    json = "json"


class FailOn(StrEnum):
    """The least verdict that ends with status 1."""

    none = "none"
    suspect = "suspect"
    trigger = "trigger"


def is_failure(verdict: str, fail_on: FailOn) -> bool:
    """Whether a verdict is as grave as what status 1 stands for.

    Args:
        verdict: trigger, suspect or none.
        fail_on: The least verdict that counts.
    """
    failing = {FailOn.trigger: ("trigger",), FailOn.suspect: ("trigger", "suspect")}
    return verdict in failing.get(fail_on, ())


def report(
    record: Annotated[
        Path, typer.Argument(metavar="RECORD", help="btu.json, or the folder of a saved model.")
    ],
    format: Annotated[
        Format, typer.Option("--format", "-f", help="Which view of the record.")
    ] = Format.terminal,
    output: Annotated[
        Path | None,
        typer.Option(help="File for the view; card: README.md of a model or its folder."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="rows: the scanned file, whose columns come first.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="OLD", help="An earlier record: show what changed.")
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option(help="End with status 1 on this verdict or a graver one.")
    ] = FailOn.none,
    overwrite: Annotated[bool, typer.Option(help="Replace the output file.")] = False,
) -> None:
    """Show a record as HTML page, Markdown, SARIF, rows, model card or in the terminal.

    With --compare OLD: what is new, gone or changed since an earlier record (terminal, md, json).
    """
    if output is not None and format != Format.card:
        check_output_file(output, overwrite=overwrite)
    if format == Format.rows and output is not None:
        check_rows_path(output)
    shown = load_record(record)
    if compare is not None:
        _show_comparison(load_record(compare), shown, format, output)
    elif format == Format.terminal:
        _refuse_output(output, format)
        open_console().print(render_record(shown))
    elif format == Format.rows:
        if output is None:
            sys.stdout.write(render_json(list_rows(shown, data)))
        else:
            write_row_view(shown, output, data)
    elif format == Format.card and output is not None:
        write_card(shown, output)
    else:
        text = render_json(shown) if format == Format.json else VIEWS[format](shown)
        _write(text, output)
    raise typer.Exit(int(is_failure(shown["verdict"], fail_on)))


def _show_comparison(old: Any, new: Any, format: Format, output: Path | None) -> None:
    comparison = compare_records(old, new)
    if format == Format.terminal:
        _refuse_output(output, format)
        open_console().print(render_comparison(comparison))
    elif format == Format.md:
        _write(render_comparison_markdown(comparison), output)
    elif format == Format.json:
        _write(render_json(comparison_to_dict(comparison)), output)
    else:
        raise InputError(
            f"--compare: expected the format terminal, md or json, got {format}. Choose one of "
            "these."
        )


def _refuse_output(output: Path | None, format: Format) -> None:
    if output is not None:
        raise InputError(
            f"--output: expected a format that is written to a file, got {format}. Add --format "
            "html, md, sarif, rows, card or json."
        )


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    with replace_file(output) as file:
        file.write(text.encode())
