"""The command `btu report`: views of a record, and what changed between two."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from btu.report.views import VIEWS
from btu.support.errors import InputError

Format = Literal["terminal", "html", "md", "sarif", "rows", "card", "json"]
FailOn = Literal["none", "suspect", "trigger"]


def is_failure(verdict: str, fail_on: FailOn) -> bool:
    """Whether a verdict is as grave as what status 1 stands for.

    Args:
        verdict: trigger, suspect or none.
        fail_on: The least verdict that counts.
    """
    failing = {"trigger": ("trigger",), "suspect": ("trigger", "suspect")}
    return verdict in failing.get(fail_on, ())


def report(
    record: Annotated[
        Path, typer.Argument(metavar="RECORD", help="btu.json, or the folder of a saved model.")
    ],
    format: Annotated[
        Format, typer.Option("--format", "-f", help="Which view of the record.")
    ] = "terminal",
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
    ] = "none",
    overwrite: Annotated[bool, typer.Option(help="Replace the output file.")] = False,
) -> None:
    """Show a record as HTML page, Markdown, SARIF, rows, model card or in the terminal.

    With --compare OLD: what is new, gone or changed since an earlier record (terminal, md, json).
    """
    from btu.report.record import load_record

    view = VIEWS.get(format)
    if view is not None and output is not None:
        view.check_output(output, overwrite=overwrite)
    shown = load_record(record)
    if compare is not None:
        _show_comparison(load_record(compare), shown, format, output)
    elif view is None:
        from btu.report.terminal import open_console, render_record

        _refuse_output(output, format)
        open_console().print(render_record(shown))
    elif output is None:
        sys.stdout.write(view.render(shown, data))
    else:
        view.save(shown, output, data)
    raise typer.Exit(int(is_failure(shown["verdict"], fail_on)))


def _show_comparison(old: Any, new: Any, format: Format, output: Path | None) -> None:
    from btu.report.compare import (
        compare_records,
        comparison_to_dict,
        render_comparison,
        render_comparison_markdown,
    )
    from btu.report.terminal import open_console
    from btu.support.record import render_json

    comparison = compare_records(old, new)
    if format == "terminal":
        _refuse_output(output, format)
        open_console().print(render_comparison(comparison))
    elif format == "md":
        _write(render_comparison_markdown(comparison), output)
    elif format == "json":
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
    from btu.support.folders import replace_file

    if output is None:
        sys.stdout.write(text)
        return
    with replace_file(output) as file:
        file.write(text.encode())
