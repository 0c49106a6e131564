"""The columns of the detailed tables, and how a number reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from btu.bench.lines import Line

NOTHING = "–"
ONE_SEED = "†"


@dataclass(frozen=True)
class Column:
    """A column of the details.

    Attributes:
        title: Its head.
        render: The text of a line in it; a dash where there is nothing to say.
    """

    title: str
    render: Callable[[Line], str]


def render_percent(value: float) -> str:
    """A fraction as percent with one digit."""
    return f"{100 * value:.1f}"


def render_points(value: float) -> str:
    """A difference of fractions as percentage points with its sign."""
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown that reads well as it stands: columns padded, numbers to the right."""
    cells = [[text.replace("|", "\\|") for text in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    marks = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def join(row: Sequence[str]) -> str:
        first = row[0].ljust(widths[0])
        return " | ".join([first, *(t.rjust(w) for t, w in zip(row[1:], widths[1:], strict=True))])

    return "\n".join(f"| {join(row)} |" for row in [cells[0], marks, *cells[1:]])


def _times(value: float) -> str:
    return f"{value:.2g}×" if value < 10 else f"{value:.0f}×"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _milliseconds(value: float) -> str:
    return f"{1000 * value:.1f}"


def _with_interval(metric: str, show: Callable[[float], str]) -> Callable[[Line], str]:
    def render(line: Line) -> str:
        mean, interval = line.mean(metric), line.interval(metric)
        if mean is None:
            return NOTHING
        if interval is None:
            return show(mean) + ONE_SEED
        return f"{show(mean)} [{show(interval[0])}, {show(interval[1])}]"

    return render


def _state_or(render: Callable[[Line], str]) -> Callable[[Line], str]:
    """The first column says why there are no numbers."""
    return lambda line: render(line) if line.state == "ok" else line.state


def _plain(metric: str, show: Callable[[float], str]) -> Callable[[Line], str]:
    return lambda line: NOTHING if (mean := line.mean(metric)) is None else show(mean)


def _flags(flagged: str, kind: str) -> Callable[[Line], str]:
    """How many were flagged; precision, recall and false alarms where the truth is known."""
    rates = [
        _plain(f"{kind}_{r}", render_percent) for r in ("precision", "recall", "false_alarm_rate")
    ]

    def render(line: Line) -> str:
        count = _plain(flagged, _count)(line)
        texts = [rate(line) for rate in rates]
        return count if set(texts) == {NOTHING} else f"{count}: {' / '.join(texts)}"

    return render


COLUMNS = (
    Column("clean accuracy", _state_or(_with_interval("clean_accuracy", render_percent))),
    Column("attack success rate", _with_interval("attack_success_rate", render_percent)),
    Column("accuracy lost", _with_interval("accuracy_lost", render_points)),
    Column("excess attack success", _with_interval("excess_attack_success_rate", render_points)),
    Column("rows flagged: precision / recall / false alarms", _flags("rows_flagged", "row")),
    Column("tokens flagged: precision / recall / false alarms", _flags("tokens_flagged", "token")),
    Column("time", _plain("relative_time", _times)),
    Column("memory", _plain("relative_memory", _times)),
    Column("ms a text", _plain("answer_seconds", _milliseconds)),
    Column("clean rows", lambda line: "yes" if line.used_clean_rows else NOTHING),
)
