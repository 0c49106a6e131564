"""Figures of the benchmark as SVG, the same bytes from the same results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from btu.bench.cells import ORACLE, UNDEFENDED
from btu.bench.experiment import Benchmark
from btu.bench.lines import Block, Result, build_blocks
from btu.support.folders import replace_file

_MARKS = "osD^v<>pPX*hd8"
_COLOURS = ("C0", "C1", "C2", "C3", "C4", "C5", "C6", "C8", "C9")  # C7 is grey
_STYLE = {
    "svg.hashsalt": "btu",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_figures(
    benchmark: Benchmark, results: Mapping[str, Result], folder: Path
) -> dict[str, list[Path]]:
    """One figure a corpus, and one of rate curves where attacks come at several rates.

    Args:
        benchmark: The experiments.
        results: By the cells' keys.
        folder: Where the SVG files go; made if it is not there.

    Returns:
        The files written, by `experiment/corpus`. Nothing is drawn where nothing was measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, list[Path]] = {}
    for experiment in benchmark.experiments:
        by_corpus: dict[str, list[Block]] = {}
        for block in build_blocks(experiment, results):
            by_corpus.setdefault(block.corpus, []).append(block)
        for corpus, blocks in by_corpus.items():
            for suffix, draw in (("", draw_distance), ("-rates", draw_rates)):
                image = draw(corpus, blocks)
                if image is not None:
                    path = folder / f"{experiment.name}-{corpus}{suffix}.svg"
                    with replace_file(path) as file:
                        file.write(image)
                    written.setdefault(f"{experiment.name}/{corpus}", []).append(path)
    return written


def draw_distance(corpus: str, blocks: Sequence[Block]) -> bytes | None:
    """Accuracy lost against excess attack success, one panel an attack, one mark a defence.

    The oracle stands at the origin; a perfect defence stands there too.
    """
    metrics = ("accuracy_lost", "excess_attack_success_rate")
    panels = [
        (block, points)
        for block in blocks
        if len(_rates(blocks, block.attack)) == 1
        and (points := {x.defence: tuple(map(x.mean, metrics)) for x in block.lines})
        and any(None not in point for point in points.values())
    ]
    if not panels:
        return None
    looks = _pick_looks(blocks)
    figure, axes = open_figure(len(panels))
    for axis, (block, points) in zip(axes, panels, strict=True):
        for name, (lost, excess) in points.items():
            if lost is not None and excess is not None:
                axis.plot(100 * lost, 100 * excess, linestyle="", label=name, **looks[name])
        axis.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        axis.axvline(0, color="0.8", linewidth=0.8, zorder=0)
        axis.set_title(block.attack)
        axis.set_xlabel("accuracy lost, points")
    axes[0].set_ylabel("excess attack success, points")
    return close_figure(figure, axes, f"{corpus}: distance to the oracle")


def draw_rates(corpus: str, blocks: Sequence[Block]) -> bytes | None:
    """Attack success rate against poison rate, one panel an attack, one line a defence."""
    attacks = [
        attack
        for attack in dict.fromkeys(block.attack for block in blocks)
        if len(_rates(blocks, attack)) > 1
    ]
    curves = {attack: _collect_curves(blocks, attack) for attack in attacks}
    curves = {attack: found for attack, found in curves.items() if found}
    if not curves:
        return None
    looks = _pick_looks(blocks)
    figure, axes = open_figure(len(curves))
    for axis, (attack, found) in zip(axes, curves.items(), strict=True):
        for name, points in found.items():
            rates, successes = zip(*points, strict=True)
            axis.plot(rates, successes, label=name, **looks[name])
        ticks = [100 * rate for rate in _rates(blocks, attack)]
        axis.set_xscale("log")
        axis.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axis.set_xticks([], minor=True)
        axis.set_ylim(-3, 103)
        axis.set_title(attack)
        axis.set_xlabel("poison rate, %")
    axes[0].set_ylabel("attack success rate, %")
    return close_figure(figure, axes, f"{corpus}: attack success against poison rate")


def _rates(blocks: Sequence[Block], attack: str) -> list[float]:
    return sorted({b.poison_rate for b in blocks if b.attack == attack and not b.is_control})


def _collect_curves(blocks: Sequence[Block], attack: str) -> dict[str, list[tuple[float, float]]]:
    """Points (percent, percent) of each defence, by rising rate."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for block in sorted(blocks, key=lambda b: b.poison_rate):
        for line in block.lines if block.attack == attack else ():
            success = line.mean("attack_success_rate")
            if success is not None:
                curves.setdefault(line.defence, []).append((100 * block.poison_rate, 100 * success))
    return curves


def _pick_looks(blocks: Sequence[Block]) -> dict[str, dict[str, Any]]:
    """Mark and colour of each defence, the same in every panel; the two reference arms in grey."""
    names = list(dict.fromkeys(line.defence for block in blocks for line in block.lines))
    looks = {}
    for place, name in enumerate(names):
        grey = {UNDEFENDED: "0.2", ORACLE: "0.6"}.get(name)
        looks[name] = {
            "color": grey or _COLOURS[place % len(_COLOURS)],
            "marker": _MARKS[place % len(_MARKS)],
        }
    return looks


def open_figure(panels: int, *, width: float = 2.4) -> tuple[Any, list[Any]]:
    """A figure of panels side by side, one scale of heights for all.

    Args:
        panels: How many.
        width: Of each, in inches.
    """
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(width * panels + 1.8, 3.0), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, panels, sharey=True, squeeze=False)
    return figure, list(axes[0])


def close_figure(figure: Any, axes: Sequence[Any], title: str) -> bytes:
    """The figure with its legend and title as SVG."""
    from matplotlib import style

    handles = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False)
    figure.suptitle(title)
    file = BytesIO()
    with style.context(["default", _STYLE]):
        figure.savefig(file, format="svg", metadata={"Date": None, "Title": title})
    return file.getvalue()
