"""Tables for the terminal, in 80 columns; tokens come from an attacker and are shown escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from btu.model.metrics import Evaluation
from btu.report.stories import say_limit
from btu.report.summary import (
    Record,
    clip,
    count,
    list_done,
    name_words,
    say_doubt,
    say_fate,
    say_stories,
    say_uncertainty,
    say_verdict,
)
from btu.report.text import show_text

_ROUND_COLUMNS = {"shallow": "1", "shallow-again": "2", "embedding-only": "3"}
_COLOURS = {"trigger": "red", "suspect": "yellow", "none": "green"}


def open_console() -> Console:
    """Standard output: as wide as the terminal, or 80 columns and no colour where it is piped."""
    console = Console()
    return console if console.is_terminal else Console(width=80)


def render_record(record: Record, *, limit: int = 15) -> RenderableType:
    """The verdict of a scan or a defence and its suspicious tokens, the gravest first.

    Args:
        record: Of either kind.
        limit: Tokens shown at most.
    """
    is_paper = record["recipe"] == "paper"
    table = _start_table()
    (_fill_suspects if is_paper else _fill_verdicts)(table, record, limit)
    notes = _explain_suspects(record) if is_paper else _explain_verdicts(record)
    if len(record["suspects"]) > limit:
        notes.insert(0, f"... and {len(record['suspects']) - limit} more; --json shows all.")
    colour = _COLOURS[record["verdict"]]
    parts: list[RenderableType] = [Text(say_verdict(record), style=f"bold {colour}")]
    if not is_paper:
        parts.append(Text(say_uncertainty(record), style="dim"))
    if record["suspects"]:
        parts += [Text(), table]
    if notes:
        parts.append(Text("\n".join(notes), style="dim"))
    if told := say_limit(record, show_text):
        parts += [Text(), Text(told)]
    if record.get("kind") == "defence":
        parts += [Text(), Text(" ".join(list_done(record)))]
    return Group(*parts)


def _fill_verdicts(table: Table, record: Record, limit: int) -> None:
    for title in ("verdict", "story", "label"):
        table.add_column(title)
    for title in ("rows", "mislabelled", "lift", "false alarms"):
        table.add_column(title, justify="right")
    for s in record["suspects"][:limit]:
        evidence = s["evidence"]
        table.add_row(
            Text(show_text(s["token"])),
            s["verdict"],
            evidence["story"],
            Text(show_text(evidence["label"])),
            f"{evidence['rows']:,}",
            f"{clip(evidence['mislabelled_share']):.0%}",
            f"{s['label_lift']:+.1f}",
            f"{evidence['false_alarm_rate']:.1g}",
        )


def _explain_verdicts(record: Record) -> list[str]:
    notes = []
    if record["suspects"]:
        notes += [
            "rows: those with the label; mislabelled: share of them whose text belongs to",
            "another label; false alarms: so many such are expected in clean data, at most.",
        ]
    notes += [_explain_style(style) for style in record["styles"] or ()]
    others = [s for s in record["suspects"] if s["verdict"] == "suspect"]
    if others:
        notes.append(f"{count(len(others), 'suspect')}: reported only, nothing is done about them.")
    if stories := say_stories(record):
        notes.insert(0, stories)
    if record["accepted"]:
        notes.append(f"{count(len(record['accepted']), 'token')} accepted by a reviewer.")
    return notes


def _explain_style(style: Mapping[str, Any]) -> str:
    label = show_text(style["label"])
    kept = "" if style["verdict"] == "trigger" else f", {say_fate(style)}"
    return (
        f"{count(style['rows'], 'row')} of {label} in a style of their own{kept}; telling words: "
        f"{name_words(style)}. Of the {count(style['kind_rows'], 'row')} most of that style "
        f"{style['others']:,} bear another label, where {style['expected_others']:.1f} were "
        f"expected.{say_doubt(style)}"
    )


def _fill_suspects(table: Table, record: Record, limit: int) -> None:
    table.add_column("rows", justify="right")
    table.add_column("label", max_width=14)
    table.add_column("share", justify="right")
    table.add_column("lift", justify="right")
    for name in record["thresholds"]:
        table.add_column(f"#{_ROUND_COLUMNS.get(name, name)}", justify="right")
    for s in record["suspects"][:limit]:
        table.add_row(
            Text(show_text(s["token"])),
            f"{s['rows']:,}",
            Text(show_text(s["label"])),
            f"{s['label_share']:.0%}",
            f"{s['label_lift']:+.1f}",
            *(str(s["rank"].get(name, "-")) for name in record["thresholds"]),
        )


def _explain_suspects(record: Record) -> list[str]:
    return [
        "share, lift: of the label that stands out among the token's rows; lift in",
        "standard deviations. #1-#3: place by drift in the three probing rounds.",
        "The paper's recipe names a fixed share of the vocabulary, on clean data too.",
    ]


def _start_table() -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("token", max_width=18)
    return table


def render_evaluation(result: Evaluation) -> RenderableType:
    """Clean accuracy and attack success rate with their intervals."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("rows", justify="right")
    table.add_row(
        "clean accuracy",
        f"{result.clean_accuracy:.1%}",
        _interval(result.clean_accuracy_interval),
        f"{result.rows:,}",
    )
    if result.attack_success_rate is not None:
        table.add_row(
            "attack success rate",
            f"{result.attack_success_rate:.1%}",
            _interval(result.attack_success_rate_interval),
            f"{result.triggered_rows:,}",
        )
    recognised = {
        "clean": (result.recognised_clean_rows, result.rows),
        "triggered": (result.recognised_triggered_rows, result.triggered_rows),
    }
    for name, (found, rows) in recognised.items():
        if found is not None and rows:
            title = f"{name} rows with a known trigger"
            table.add_row(title, f"{found / rows:.1%}", "", f"{rows:,}")
    return table


def _interval(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.1%} - {ends[1]:.1%}"


def render_lines(*lines: str) -> RenderableType:
    """Plain lines: escaped, and folded where they are too wide."""
    return Group(*(Text(show_text(line), overflow="fold") for line in lines))
