"""Results into lines of a table: every metric of a defence, seed by seed, beside the oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from btu.bench.cells import ORACLE, Cell
from btu.bench.experiment import Experiment
from btu.bench.results import FAILED, NOT_AVAILABLE, OK
from btu.model.metrics import measure_interval

Result = Mapping[str, Any]
Metric = Callable[[Result, Result], float | None]


def _own(*path: str) -> Metric:
    """A number of the result itself."""

    def find(result: Result, oracle: Result) -> float | None:
        value: Any = result
        for key in path:
            value = (value or {}).get(key)
        return value

    return find


def _beside_oracle(key: str, sign: int) -> Metric:
    """A number less that of the oracle with the same rows and seed."""

    def find(result: Result, oracle: Result) -> float | None:
        ours, best = result.get(key), oracle.get(key)
        return None if ours is None or best is None else sign * (ours - best)

    return find


def _answer_seconds(result: Result, oracle: Result) -> float | None:
    return result["timings"]["predict_clean"] / result["test_rows"]


def _relative_time(result: Result, oracle: Result) -> float | None:
    """As a share of the undefended training's; None where the oracle ran on another machine."""
    machines = [
        [(r.get("hardware") or {}).get(key) for key in ("device", "torch_threads")]
        for r in (result, oracle)
    ]
    value: float | None = (result.get("cost") or {}).get("relative_time")
    return value if machines[0] == machines[1] else None


METRICS: dict[str, Metric] = {
    "clean_accuracy": _own("clean_accuracy"),
    "attack_success_rate": _own("attack_success_rate"),
    "accuracy_lost": _beside_oracle("clean_accuracy", -1),
    "excess_attack_success_rate": _beside_oracle("attack_success_rate", 1),
    "refused_clean_rows": _own("refused_clean_rows"),
    "rows_flagged": _own("detection", "rows", "flagged"),
    "rows_hit": _own("detection", "rows", "hits"),
    "rows_poisoned": _own("detection", "rows", "poisoned"),
    "rows_trained": _own("detection", "rows", "rows"),
    "row_precision": _own("detection", "rows", "precision"),
    "row_recall": _own("detection", "rows", "recall"),
    "row_false_alarm_rate": _own("detection", "rows", "false_alarm_rate"),
    "tokens_flagged": _own("detection", "tokens", "flagged"),
    "token_precision": _own("detection", "tokens", "precision"),
    "token_recall": _own("detection", "tokens", "recall"),
    "token_false_alarm_rate": _own("detection", "tokens", "false_alarm_rate"),
    "seconds": _own("cost", "seconds"),
    "relative_time": _relative_time,
    "peak_mb": _own("cost", "peak_mb"),
    "relative_memory": _own("cost", "relative_memory"),
    "answer_seconds": _answer_seconds,
    "perplexity_ratio": _own("stealth", "perplexity_ratio"),
}


@dataclass(frozen=True)
class Line:
    """One defence against one attack, over its seeds.

    Attributes:
        defence: Its name.
        seeds: Those that were asked for.
        statuses: What became of each; None where it was not run.
        errors: Seed and error of those that failed.
        values: Metric to one number a seed, of those seeds that have it.
        used_clean_rows: Whether the defence asked for rows known to be clean.
    """

    defence: str
    seeds: tuple[int, ...]
    statuses: tuple[str | None, ...]
    errors: tuple[tuple[int, str], ...]
    values: Mapping[str, tuple[float, ...]]
    used_clean_rows: bool

    @property
    def state(self) -> str:
        """Ok where any seed is, else failed, not available, or not run."""
        for status, text in ((OK, "ok"), (FAILED, "failed"), (NOT_AVAILABLE, "not available")):
            if status in self.statuses:
                return text
        return "not run"

    def mean(self, metric: str) -> float | None:
        """Over the seeds; None where no seed has it."""
        values = self.values.get(metric, ())
        return sum(values) / len(values) if values else None

    def interval(self, metric: str) -> tuple[float, float] | None:
        """95 % bootstrap interval of the mean; None for less than two seeds."""
        values = self.values.get(metric, ())
        return measure_interval(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Block:
    """All defences against one attack at one rate.

    Attributes:
        corpus: Name of the corpus.
        attack: Name of the attack.
        title: Attack, poison rate and label mode.
        poison_rate: 0 in the clean control.
        label_mode: dirty, mixed or clean.
        is_control: Whether nothing is poisoned.
        missing: Why it cannot be run; None where it can.
        note: What a reader must know about its texts.
        lines: One a defence.
    """

    corpus: str
    attack: str
    title: str
    poison_rate: float
    label_mode: str
    is_control: bool
    missing: str | None
    note: str | None
    lines: tuple[Line, ...]


def build_blocks(experiment: Experiment, results: Mapping[str, Result]) -> list[Block]:
    """The blocks of an experiment's table, holes included, in the order of running.

    Args:
        experiment: What was asked for.
        results: By the cells' keys.
    """
    oracles = _find_oracles(experiment.cells, results)
    blocks: dict[tuple[str, str, float], list[Cell]] = {}
    for cell in experiment.cells:
        blocks.setdefault((cell.rule.name, cell.attack.name, cell.poison_rate), []).append(cell)
    built = []
    for cells in blocks.values():
        lines: dict[str, list[Cell]] = {}
        for cell in cells:
            lines.setdefault(cell.defence.name, []).append(cell)
        first = cells[0]
        built.append(
            Block(
                corpus=first.rule.name,
                attack=first.attack.name,
                title=first.title,
                poison_rate=first.poison_rate,
                label_mode=first.label_mode,
                is_control=first.is_control,
                missing=first.missing,
                note=first.rule.notes.get(first.attack.kind),
                lines=tuple(_build_line(line, results, oracles) for line in lines.values()),
            )
        )
    return built


def build_rows(experiment: Experiment, results: Mapping[str, Result]) -> Iterator[dict[str, Any]]:
    """One row a cell, with every metric, for a CSV file."""
    oracles = _find_oracles(experiment.cells, results)
    for cell in experiment.cells:
        result = results.get(cell.key)
        measured = result is not None and result["status"] == OK
        oracle = oracles.get(cell.group(), {})
        yield {
            "experiment": experiment.name,
            "corpus": cell.rule.name,
            "attack": cell.attack.name,
            "poison_rate": cell.poison_rate,
            "label_mode": cell.label_mode,
            "defence": cell.defence.name,
            "seed": cell.seed,
            "status": "not run" if result is None else result["status"],
            "error": cell.missing if result is None else result["error"],
            **{
                name: find(result, oracle) if result is not None and measured else None
                for name, find in METRICS.items()
            },
            "used_clean_rows": (result or {}).get("used_clean_rows"),
            "commit": (result or {}).get("commit"),
            "dirty": (result or {}).get("dirty"),
        }


def _find_oracles(cells: Sequence[Cell], results: Mapping[str, Result]) -> dict[str, Result]:
    """The oracle's result of each group of cells that has one."""
    return {
        cell.group(): results[cell.key]
        for cell in cells
        if cell.defence.kind == ORACLE and results.get(cell.key, {}).get("status") == OK
    }


def _build_line(
    cells: Sequence[Cell], results: Mapping[str, Result], oracles: Mapping[str, Result]
) -> Line:
    found = [results.get(cell.key) for cell in cells]
    measured = [
        (result, oracles.get(cell.group(), {}))
        for cell, result in zip(cells, found, strict=True)
        if result is not None and result["status"] == OK
    ]
    values = {
        name: tuple(v for result, oracle in measured if (v := find(result, oracle)) is not None)
        for name, find in METRICS.items()
    }
    return Line(
        defence=cells[0].defence.name,
        seeds=tuple(cell.seed for cell in cells),
        statuses=tuple(None if result is None else result["status"] for result in found),
        errors=tuple(
            (cell.seed, str(result["error"]))
            for cell, result in zip(cells, found, strict=True)
            if result is not None and result["status"] == FAILED
        ),
        values=values,
        used_clean_rows=any(result.get("used_clean_rows") for result, _ in measured),
    )
