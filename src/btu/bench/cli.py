"""`btu bench`: run experiments, list them, render their tables; the census has its own file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from btu.bench.census.command import census, null
from btu.model.quiet import silence_libraries
from btu.support.errors import InputError

if TYPE_CHECKING:
    from btu.bench.experiment import Benchmark
    from btu.bench.lines import Result
    from btu.bench.replay import Replayed
    from btu.bench.run import Runner, Summary

bench_app = typer.Typer(
    name="bench",
    help="Attacks, rival defences and experiments: measure them, and render the tables.",
    epilog="Exit status of run: 0 every cell has a result; 1 a cell failed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_DEFAULT = Path("benchmark")

Root = Annotated[Path, typer.Argument(help="Benchmark folder, or experiments of one.")]
Results = Annotated[
    Path | None, typer.Option(help="Folder of results; beside the experiments if left out.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


@bench_app.command()
def run(
    experiments: Annotated[
        list[Path], typer.Argument(help="Experiment files (TOML), or folders of them.")
    ],
    corpora: Annotated[
        Path | None, typer.Option(help="Folder of corpora; from the Hub if left out.")
    ] = None,
    output: Results = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of trained models that runs share.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="Only cells whose id matches, such as 'sst2-badnets-*'.")
    ] = "*",
    jobs: Annotated[int, typer.Option(min=1, help="Processes at once.")] = 1,
    slurm: Annotated[
        str | None, typer.Option(help="Run as jobs on this partition of a Slurm cluster.")
    ] = None,
    slurm_option: Annotated[
        list[str] | None,
        typer.Option(help="Parameter of submitit as name=value, such as gpus_per_node=1."),
    ] = None,
    retry_failed: Annotated[bool, typer.Option(help="Run what failed before again.")] = False,
    again: Annotated[bool, typer.Option(help="Run what has a result again.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the cells that have no result yet. A killed run is taken up where it stood."""
    from btu.bench.run import run_benchmark
    from btu.data.packages import cache_dir
    from btu.support.progress import show_progress
    from btu.support.record import render_json

    silence_libraries()
    logs = (output or Path.cwd()) / "slurm-logs"
    with show_progress(enabled=not quiet):
        summary = run_benchmark(
            experiments,
            corpora=corpora,
            results=output,
            cache=cache or cache_dir() / "bench",
            only=only,
            again=again,
            retry_failed=retry_failed,
            runner=_pick_runner(jobs, slurm, slurm_option or [], logs),
        )
    if as_json:
        sys.stdout.write(render_json(_list_outcome(summary)))
    elif not quiet:
        sys.stdout.write(_render_summary(summary))
    raise typer.Exit(1 if summary.failed else 0)


@bench_app.command(name="list")
def list_experiments(
    benchmark: Root = _DEFAULT,
    results: Results = None,
    as_json: Json = False,
) -> None:
    """Experiments with what is done of them; attacks and defences by name."""
    from btu.attacks.registry import ATTACKS
    from btu.bench.defences import DEFENCES
    from btu.support.record import render_json

    found, known = _load(benchmark, results)
    counts = []
    for experiment in found.experiments:
        statuses = [known.get(cell.key, {}).get("status", "not run") for cell in experiment.cells]
        by_status = {status: statuses.count(status) for status in dict.fromkeys(sorted(statuses))}
        counts.append(
            {"experiment": experiment.name, "cells": len(statuses), "statuses": by_status}
        )
    listed = {"experiments": counts, "attacks": list(ATTACKS), "defences": list(DEFENCES)}
    if as_json:
        sys.stdout.write(render_json(listed))
        return
    width = max(len(str(row["experiment"])) for row in counts)
    for row, experiment in zip(counts, found.experiments, strict=True):
        states = ", ".join(f"{n} {status}" for status, n in row["statuses"].items())  # type: ignore[attr-defined]
        sys.stdout.write(f"{row['experiment']!s:<{width}}  {row['cells']} cells: {states}\n")
        sys.stdout.write(f"{'':<{width}}  {experiment.about}\n" if experiment.about else "")
    sys.stdout.write(f"\nattacks: {', '.join(ATTACKS)}\ndefences: {', '.join(DEFENCES)}\n")


@bench_app.command()
def table(
    benchmark: Root = _DEFAULT,
    results: Results = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Document whose marked parts are rendered anew, such as README.md."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write every cell as a row here.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for the figures (SVG).")] = None,
) -> None:
    """Render tables and figures from the results. Prints them where no file is named."""
    from btu.bench.figures import draw_figures
    from btu.bench.table import TableView, render_csv, render_document, render_view

    found, known = _load(benchmark, results)
    if csv is not None:
        _write(csv, render_csv(found, known))
    drawn = {} if figures is None else draw_figures(found, known, figures)
    if output is not None:
        shown = {
            key: [_from_document(path, output) for path in paths] for key, paths in drawn.items()
        }
        _write(output, render_document(_read(output), found, known, figures=shown))
    elif csv is None and figures is None:
        for experiment in found.experiments:
            sys.stdout.write(f"{experiment.name}\n")
            sys.stdout.write(render_view(TableView(experiment.name), found, known))


@bench_app.command()
def replay(
    benchmark: Root = _DEFAULT,
    corpora: Annotated[
        Path | None, typer.Option(help="Folder of corpora; from the Hub if left out.")
    ] = None,
    results: Results = None,
    only: Annotated[str, typer.Option(help="Only cells whose id matches.")] = "*",
    output: Annotated[
        Path | None, typer.Option(help="Write every cell here, as JSON; nowhere if left out.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write the cells that differ here, as Markdown.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Ask the evidence of today about the rows of committed results: do they stand?

    Exit status 1 where the rows of a cell differ.
    """
    from btu.bench.replay import render_replay, render_replay_page, replay_cells
    from btu.support.progress import show_progress

    found, known = _load(benchmark, results)
    with show_progress(enabled=not quiet):
        replayed = replay_cells(
            found, known, corpora=corpora, only=only, tell=None if quiet else _print_replayed
        )
    if output is not None:
        _write(output, render_replay(replayed))
    if page is not None:
        _write(page, render_replay_page(replayed))
    raise typer.Exit(0 if all(cell.is_same for cell in replayed) else 1)


def _print_replayed(cell: Replayed) -> None:
    state = "same" if cell.is_same else "other"
    sys.stdout.write(
        f"{cell.key}: {state} rows, {cell.then} then, {cell.now} now, {cell.suspects} suspects\n"
    )
    sys.stdout.flush()


bench_app.command()(census)
bench_app.command()(null)


def _pick_runner(jobs: int, slurm: str | None, options: Sequence[str], logs: Path) -> Runner:
    from btu.bench.run import run_here, run_with_executor, run_with_jobs

    if slurm is not None:
        return partial(run_with_executor, executor=_open_slurm(slurm, options, logs))
    if options:
        raise InputError("--slurm-option: expected --slurm PARTITION with it, got none.")
    return run_here if jobs == 1 else partial(run_with_jobs, jobs=jobs)


def _open_slurm(partition: str, options: Sequence[str], logs: Path) -> Any:
    """A submitit executor for Slurm; jobs run for a day unless an option says otherwise."""
    import submitit
    import yaml

    faults = [f"{option!r}: expected name=value" for option in options if "=" not in option]
    if faults:
        raise InputError.from_faults("--slurm-option", faults)
    pairs = (option.split("=", 1) for option in options)
    parameters = {name.strip(): yaml.safe_load(value) for name, value in pairs}
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster="slurm")
        executor.update_parameters(
            **{"slurm_partition": partition, "timeout_min": 1440, **parameters}
        )
    except (RuntimeError, NameError, TypeError) as error:
        raise InputError(f"--slurm: expected a Slurm cluster that takes this: {error}") from error
    return executor


def _load(benchmark: Path, results: Path | None) -> tuple[Benchmark, dict[str, Result]]:
    from btu.bench.experiment import load_benchmark
    from btu.bench.results import load_results

    found = load_benchmark([benchmark])
    return found, dict(load_results(results or found.results, found.cells))


def _list_outcome(summary: Summary) -> dict[str, Any]:
    return {
        "results": str(summary.results),
        "kept": list(summary.kept),
        "done": list(summary.done),
        "failed": list(summary.failed),
    }


def _render_summary(summary: Summary) -> str:
    """Overviews of what was run, and where to look for the rest."""
    from btu.bench.results import load_results
    from btu.bench.table import TableView, render_view

    results = load_results(summary.results, summary.benchmark.cells)
    lines = [
        render_view(TableView(experiment.name, ("overview",)), summary.benchmark, results)
        for experiment in summary.benchmark.experiments
    ]
    lines.append(
        f"{len(summary.done)} cells done, {len(summary.kept)} had a result, "
        f"{len(summary.failed)} failed. Results are in {summary.results}\n"
    )
    lines += [f"failed: {key}: {results[key]['error']}\n" for key in summary.failed]
    return "".join(lines)


def _from_document(path: Path, document: Path) -> str:
    """A figure's path as the document has to name it."""
    return Path(os.path.relpath(path, document.absolute().parent)).as_posix()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: expected a document with markers (<!-- bench: EXPERIMENT --> and "
            "<!-- /bench -->), found no file. Write one with these two lines in it."
        ) from error


def _write(path: Path, text: str) -> None:
    from btu.support.folders import replace_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as file:
        file.write(text.encode())
