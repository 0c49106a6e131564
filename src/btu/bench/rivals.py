"""Where a rival does better: cell by cell, on the same rows and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from btu.bench.cells import ORACLE, UNDEFENDED, Cell
from btu.bench.columns import NOTHING, render_percent, render_table
from btu.bench.experiment import Benchmark
from btu.bench.lines import Result
from btu.bench.results import OK
from btu.bench.targets import load_targets

_METRICS = ("attack_success_rate", "clean_accuracy")


@dataclass(frozen=True)
class Duel:
    """Ours and one rival in one cell, means over the seeds that both and the oracle have.

    Attributes:
        name: Corpus, attack and poison rate.
        rival: Name of the other defence.
        seeds: How many.
        ours: Attack success rate and clean accuracy.
        theirs: The same of the rival.
        oracle: The same of the oracle.
        variant: The same of our other defence, where it has all of the seeds.
    """

    name: str
    rival: str
    seeds: int
    ours: tuple[float, float]
    theirs: tuple[float, float]
    oracle: tuple[float, float]
    variant: tuple[float, float] | None = None

    @property
    def has_less_success(self) -> bool:
        """Whether the rival leaves less attack success."""
        return self.theirs[0] < self.ours[0]

    @property
    def has_more_accuracy(self) -> bool:
        """Whether the rival has more clean accuracy."""
        return self.theirs[1] > self.ours[1]

    @property
    def is_lost(self) -> bool:
        """Whether the rival is better in one column and no worse in the other."""
        return _is_better(self.theirs, self.ours)

    @property
    def is_lost_by_variant(self) -> bool:
        """Whether it is better so than our other defence too, where that was measured."""
        return self.variant is not None and _is_better(self.theirs, self.variant)


def find_duels(benchmark: Benchmark, results: Mapping[str, Result]) -> Iterator[Duel]:
    """Ours against every rival that was measured in the same cell, the clean control left out.

    Args:
        benchmark: Its targets name our defence and the experiments that count.
        results: By the cells' keys.
    """
    asked = load_targets(benchmark.root)
    measured: dict[str, dict[int, dict[str, tuple[float, float]]]] = {}
    for experiment in benchmark.experiments:
        for cell in experiment.cells if experiment.name in asked.experiments else ():
            result = results.get(cell.key)
            if result is not None and result["status"] == OK and not cell.is_control:
                seeds = measured.setdefault(f"{cell.rule.name}, {cell.title}", {})
                values = tuple(float(result[metric]) for metric in _METRICS)
                seeds.setdefault(cell.seed, {})[_call(cell)] = (values[0], values[1])
    for name, seeds in measured.items():
        rivals = {d for found in seeds.values() for d in found}
        for rival in sorted(rivals - {asked.defence, asked.variant, ORACLE, UNDEFENDED}):
            needed = {rival, asked.defence, ORACLE}
            shared = [found for found in seeds.values() if needed <= found.keys()]
            if shared:
                yield Duel(
                    name,
                    rival,
                    len(shared),
                    ours=_average([found[asked.defence] for found in shared]),
                    theirs=_average([found[rival] for found in shared]),
                    oracle=_average([found[ORACLE] for found in shared]),
                    variant=_average([found[asked.variant] for found in shared])
                    if all(asked.variant in found for found in shared)
                    else None,
                )


def render_rivals(benchmark: Benchmark, results: Mapping[str, Result]) -> str:
    """How often a rival is better, and a table of the cells that are lost to one."""
    duels = list(find_duels(benchmark, results))
    if not duels:
        return "No rival measured yet."
    cells = dict.fromkeys(duel.name for duel in duels)
    less, more, lost = (
        len({duel.name for duel in duels if counts(duel)})
        for counts in (
            lambda duel: duel.has_less_success,
            lambda duel: duel.has_more_accuracy,
            lambda duel: duel.is_lost,
        )
    )
    said = (
        f"Rivals were measured in {len(cells)} cells. In {less} of them one leaves less attack "
        f"success than ours, in {more} one has more clean accuracy, and in {lost} one is better in "
        "one column and no worse in the other"
    )
    variant = load_targets(benchmark.root).variant
    header = ("attack", "oracle", "ours", *([variant] if variant else []))
    rows = [
        [
            duel.name,
            _render_pair(duel.oracle),
            _render_pair(duel.ours),
            *([_render_pair(duel.variant)] if variant else []),
            duel.rival,
            _render_pair(duel.theirs),
            str(duel.seeds),
        ]
        for duel in duels
        if duel.is_lost
    ]
    if variant:
        known = [duel for duel in duels if duel.variant]
        still = {duel.name for duel in known if duel.is_lost_by_variant}
        said += (
            f"; {variant} was measured in {len({duel.name for duel in known})} of the cells, and "
            f"in {len(still)} of those a rival is better than it in this way"
        )
    if not rows:
        return f"{said}."
    return f"{said}:\n\n{render_table((*header, 'rival', 'its numbers', 'seeds'), rows)}"


def _is_better(theirs: tuple[float, float], ours: tuple[float, float]) -> bool:
    """Whether theirs is better in one column and no worse in the other."""
    return theirs[0] <= ours[0] and theirs[1] >= ours[1] and theirs != ours


def _call(cell: Cell) -> str:
    """Oracle and undefended by their kind, the others by their name."""
    return cell.defence.kind if cell.defence.kind in (ORACLE, UNDEFENDED) else cell.defence.name


def _average(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
    success, accuracy = np.mean(values, axis=0).tolist()
    return success, accuracy


def _render_pair(pair: tuple[float, float] | None) -> str:
    if pair is None:
        return NOTHING
    return f"{render_percent(pair[0])} ({render_percent(pair[1])})"
