"""Tables for the terminal, in 80 columns; tokens come from an attacker and are shown escaped."""

from __future__ import annotations

import unicodedata

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from btu.findings import Findings
from btu.metrics import Evaluation

# Marks and letters that draw nothing: joiners, fillers, variation selectors, blank Braille.
_BLANK = (
    *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800)),
    *((0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF)),
)
_ROUND_COLUMNS = {"shallow": "1", "shallow-again": "2", "embedding-only": "3"}


def show_text(text: str) -> str:
    r"""Text with every invisible, control and bidirectional character as a visible escape.

    Example:
        >>> show_text("a\u202eb\x1b")
        'a\\u202eb\\x1b'
    """
    return "".join(c if _is_visible(c) else _escape(c) for c in text)


def render_findings(findings: Findings, *, limit: int = 15) -> RenderableType:
    """The verdict of a scan and its suspicious tokens, the gravest first.

    Args:
        findings: Of a scan.
        limit: Tokens shown at most.
    """
    render = _render_suspects if findings.evidence is None else _render_verdicts
    verdict, table, notes = render(findings, limit)
    if len(findings.suspects) > limit:
        notes.insert(0, f"... and {len(findings.suspects) - limit} more; --json shows all.")
    return Group(Text(verdict, style="bold"), table, Text("\n".join(notes), style="dim"))


def _render_verdicts(findings: Findings, limit: int) -> tuple[str, Table, list[str]]:
    triggers, flagged = len(findings.triggers), int(findings.flagged.sum())
    others = len(findings.suspects) - triggers
    searched = _count(len(findings.token_ids), "token")
    rows = findings.facts["data"]["rows"]
    verdict = f"No trigger among the {searched} that occur in {rows:,} rows."
    if triggers:
        verdict = (
            f"{_count(triggers, 'trigger token')} in {flagged:,} of {rows:,} rows, which are "
            "judged poisoned."
        )
    table = _start_table()
    for title in ("verdict", "label", "rows", "mislabelled", "by states", "lift", "false alarms"):
        table.add_column(title, justify="left" if title in ("verdict", "label") else "right")
    for s in findings.suspects[:limit]:
        assert s.evidence is not None
        by_states = s.evidence.share_by_states
        table.add_row(
            Text(show_text(s.token)),
            s.verdict,
            Text(show_text(s.evidence.label)),
            f"{s.evidence.rows:,}",
            f"{_clip(s.evidence.mislabelled_share):.0%}",
            "" if by_states is None else f"{_clip(by_states):.0%}",
            f"{s.label_lift:+.1f}",
            f"{s.evidence.false_alarm_rate:.1g}",
        )
    notes = []
    if findings.suspects:
        notes += [
            "rows: those with the label; mislabelled: share of them whose text belongs to",
            "another label; false alarms: so many such tokens are expected in clean data.",
        ]
    for pattern in findings.evidence.patterns if findings.evidence else ():
        if len(pattern.rows):
            label = show_text(findings.label_names[pattern.label])
            notes.append(
                f"{_count(len(pattern.rows), 'row')} of {label} without a trigger token look like "
                "its triggers' rows."
            )
    if others:
        notes.append(f"{_count(others, 'suspect')}: reported only, nothing is done about them.")
    return verdict, table, notes


def _render_suspects(findings: Findings, limit: int) -> tuple[str, Table, list[str]]:
    verdict = (
        f"{_count(len(findings.suspects), 'suspicious token')} among the "
        f"{len(findings.token_ids):,} that occur in {findings.facts['data']['rows']:,} rows."
    )
    table = _start_table()
    table.add_column("rows", justify="right")
    table.add_column("label", max_width=14)
    table.add_column("share", justify="right")
    table.add_column("lift", justify="right")
    for name in findings.drift:
        table.add_column(f"#{_ROUND_COLUMNS.get(name, name)}", justify="right")
    for s in findings.suspects[:limit]:
        table.add_row(
            Text(show_text(s.token)),
            f"{s.rows:,}",
            Text(show_text(s.label)),
            f"{s.label_share:.0%}",
            f"{s.label_lift:+.1f}",
            *(str(s.rank.get(name, "-")) for name in findings.drift),
        )
    notes = [
        "share, lift: of the label that stands out among the token's rows; lift in",
        "standard deviations. #1-#3: place by drift in the three probing rounds.",
        "The paper's recipe names a fixed share of the vocabulary, on clean data too.",
    ]
    return verdict, table, notes


def _start_table() -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("token", max_width=18)
    return table


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _clip(share: float) -> float:
    return min(max(share, 0.0), 1.0)


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
    for name, (count, rows) in recognised.items():
        if count is not None and rows:
            title = f"{name} rows with a known trigger"
            table.add_row(title, f"{count / rows:.1%}", "", f"{rows:,}")
    return table


def _interval(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.1%} - {ends[1]:.1%}"


def render_lines(*lines: str) -> RenderableType:
    """Plain lines: escaped, and folded where they are too wide."""
    return Group(*(Text(show_text(line), overflow="fold") for line in lines))


def _is_visible(character: str) -> bool:
    if character == " ":
        return True
    code = ord(character)
    blank = any(first <= code <= last for first, last in _BLANK)
    return not blank and unicodedata.category(character)[0] not in "CZ"


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
