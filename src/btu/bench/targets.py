"""Targets: how near a defence is to come to the oracle, and how near it came."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from btu.attacks.options import hint
from btu.bench.columns import NOTHING, render_percent, render_points, render_table
from btu.bench.experiment import Benchmark
from btu.bench.lines import Block, Line, Result, build_blocks
from btu.support.errors import InputError

TARGETS_NAME = "targets.toml"
_HEADER = ("", "measured", "excess attack success", "worst", "accuracy lost", "worst")


@dataclass(frozen=True)
class Target:
    """What a family of attacks may leave, as fractions; None where nothing is asked.

    Attributes:
        name: What the table calls it.
        attacks: Names of the attacks, `none` for the clean control.
        poison_rates: Of the cells that count.
        excess_mean: Attack success above the oracle's, the mean over the cells, at most.
        excess_worst: The same in the worst cell.
        lost_mean: Clean accuracy below the oracle's, the mean over the cells, at most.
        lost_worst: The same in the worst cell.
        flagged_rows_worst: Share of the clean rows that is flagged in the worst cell, at most.
        flagged_tokens_worst: Tokens called triggers in the worst cell, at most.
        defence: Whose cells count; empty for that of all targets.
    """

    name: str
    attacks: tuple[str, ...]
    poison_rates: tuple[float, ...]
    excess_mean: float | None = None
    excess_worst: float | None = None
    lost_mean: float | None = None
    lost_worst: float | None = None
    flagged_rows_worst: float | None = None
    flagged_tokens_worst: float | None = None
    defence: str = ""


_NO_BARS = Target("", (), ())


@dataclass(frozen=True)
class Targets:
    """All of a benchmark.

    Attributes:
        defence: Whose.
        experiments: Where the cells are taken from.
        targets: One a family of attacks.
        variant: Name of a defence of ours that is no rival, and is shown beside the rivals; empty
            for none.
    """

    defence: str = ""
    experiments: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    variant: str = ""


@dataclass(frozen=True)
class Standing:
    """One number over the cells of a target.

    Attributes:
        mean: Over the cells; None where none is measured.
        worst: Of the worst cell.
        worst_cell: Its name.
    """

    mean: float | None
    worst: float | None
    worst_cell: str


def load_targets(root: Path) -> Targets:
    """The targets of a benchmark folder; none where it has no such file.

    Raises:
        InputError: All faults of the file at once.
    """
    path = root / TARGETS_NAME
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Targets()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected TOML, got {error}") from error
    tables = values.pop("target", [])
    faults = _find_faults(
        values, ["defence", "experiments", "variant"], needed=["defence", "experiments"]
    )
    known = [f.name for f in fields(Target)]
    for table in tables:
        of = f"target {table.get('name', '')!r}: "
        needed = ["name", "attacks", "poison_rates"]
        faults += [of + fault for fault in _find_faults(table, known, needed=needed)]
    if faults:
        raise InputError.from_faults(str(path), faults)
    return Targets(
        defence=values["defence"],
        experiments=tuple(values["experiments"]),
        targets=tuple(map(_read_target, tables)),
        variant=values.get("variant", ""),
    )


def render_targets(benchmark: Benchmark, results: Mapping[str, Result]) -> str:
    """One table: for each target the mean and the worst cell, over all corpora and for each.

    What is beyond its target is in bold, with the target behind every number that has one.
    """
    asked = load_targets(benchmark.root)
    rows, flags = [], []
    for target in asked.targets:
        cells = _collect(benchmark, asked, target.defence or asked.defence, results)
        own = [
            (block, line)
            for block, line in cells
            if block.attack in target.attacks and block.poison_rate in target.poison_rates
        ]
        corpora = list(dict.fromkeys(block.corpus for block, _ in own))
        rows.append(_render_row(target.name, own, target))
        for corpus in corpora if len(corpora) > 1 else ():
            part = [pair for pair in own if pair[0].corpus == corpus]
            rows.append(_render_row(f"– {corpus}", part, _NO_BARS))
        if target.flagged_rows_worst is not None or target.flagged_tokens_worst is not None:
            flags.append(_render_flags(target, own))
    texts = [render_table(_HEADER, rows)] if rows else ["No targets."]
    return "\n\n".join([*texts, *flags])


def measure_standing(cells: Iterable[tuple[Block, Line]], metric: str) -> Standing:
    """Mean and worst of a metric over cells; each is the mean over its seeds."""
    values = {
        f"{block.corpus}, {block.title}": value
        for block, line in cells
        if (value := line.mean(metric)) is not None
    }
    if not values:
        return Standing(None, None, "")
    worst = max(values, key=values.__getitem__)
    return Standing(sum(values.values()) / len(values), values[worst], worst)


def _collect(
    benchmark: Benchmark, asked: Targets, defence: str, results: Mapping[str, Result]
) -> list[tuple[Block, Line]]:
    """The defence's line of each cell once: where most seeds are measured, then asked for."""
    found: dict[tuple[str, str, float], tuple[Block, Line]] = {}
    for experiment in benchmark.experiments:
        if experiment.name not in asked.experiments:
            continue
        for block in build_blocks(experiment, results):
            line = next((x for x in block.lines if x.defence == defence), None)
            if line is None or block.missing is not None:
                continue
            key = (block.corpus, block.attack, block.poison_rate)
            if key not in found or _rank(line) > _rank(found[key][1]):
                found[key] = (block, line)
    return list(found.values())


def _rank(line: Line) -> tuple[int, int]:
    return _count_seeds(line), len(line.seeds)


def _count_seeds(line: Line) -> int:
    return len(line.values["accuracy_lost"])


def _render_row(name: str, cells: Sequence[tuple[Block, Line]], target: Target) -> list[str]:
    excess = measure_standing(cells, "excess_attack_success_rate")
    lost = measure_standing(cells, "accuracy_lost")
    seeds = [_count_seeds(line) for _, line in cells]
    asked = sum(len(line.seeds) for _, line in cells)
    measured = f"{sum(count > 0 for count in seeds)} of {len(seeds)}, {sum(seeds)} of {asked} runs"
    return [
        name,
        measured,
        _render_beside(excess.mean, target.excess_mean),
        _render_worst(excess, target.excess_worst),
        _render_beside(lost.mean, target.lost_mean),
        _render_worst(lost, target.lost_worst),
    ]


def _render_worst(standing: Standing, bar: float | None) -> str:
    text = _render_beside(standing.worst, bar)
    return f"{text} {standing.worst_cell}" if standing.worst_cell else text


def _render_beside(
    value: float | None, bar: float | None, show: Callable[[float], str] = render_points
) -> str:
    """A number and its bar; in bold where it is beyond."""
    if value is None:
        return NOTHING
    if bar is None:
        return show(value)
    text = f"{show(value)} (≤ {show(bar).lstrip('+')})"
    # What reads as the bar is not beyond it.
    return f"**{text}**" if float(show(value)) > float(show(bar)) else text


def _render_flags(target: Target, cells: Sequence[tuple[Block, Line]]) -> str:
    """What was flagged in clean data, in a sentence."""
    rows = measure_standing(cells, "row_false_alarm_rate")
    tokens = measure_standing(cells, "tokens_flagged")
    flagged_rows = _render_beside(rows.worst, target.flagged_rows_worst, render_percent)
    flagged_tokens = _render_beside(tokens.worst, target.flagged_tokens_worst, "{:.0f}".format)
    return (
        f"{target.name.capitalize()}, worst corpus: rows flagged {flagged_rows}, tokens flagged "
        f"{flagged_tokens} (rows in percent)."
    )


def _read_target(table: Mapping[str, Any]) -> Target:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return Target(**values)


def _find_faults(
    values: Mapping[str, Any], known: Sequence[str], *, needed: Sequence[str]
) -> list[str]:
    missing = [f"expected {name}, found none" for name in needed if name not in values]
    unknown = [
        f"{key}: expected one of {', '.join(known)}{hint(key, known)}"
        for key in values
        if key not in known
    ]
    return [*missing, *unknown]
