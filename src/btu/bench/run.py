"""Conductor: experiments to results. What is done is not run again; a failed cell stops nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from transformers.utils import logging

from btu.bench.cells import Cell, group_cells
from btu.bench.experiment import Benchmark, load_benchmark
from btu.bench.group import Group, Places, run_group
from btu.bench.results import (
    FAILED,
    clear_half_written,
    copy_result,
    load_result,
    read_commit,
)
from btu.bench.store import find_model
from btu.bench.trial import find_faults
from btu.support.errors import InputError
from btu.support.progress import track

Ended = tuple[str, str]
"""Key and status of a cell."""

Runner = Callable[[Sequence[Group], Places], Iterator[Ended]]
"""Runs groups of cells somewhere, and tells of each cell as it ends."""


@dataclass(frozen=True)
class Summary:
    """What a run did: the cells' keys by what became of them.

    Attributes:
        benchmark: The experiments asked for.
        results: Where the results are.
        kept: Had a result already.
        done: Have one now.
        failed: Failed now.
    """

    benchmark: Benchmark
    results: Path
    kept: tuple[str, ...]
    done: tuple[str, ...]
    failed: tuple[str, ...]


def run_benchmark(
    paths: Sequence[str | Path],
    *,
    corpora: Path | None,
    results: Path | None = None,
    cache: Path | None = None,
    only: str = "*",
    again: bool = False,
    retry_failed: bool = False,
    runner: Runner | None = None,
) -> Summary:
    """Run the cells of some experiments that have no result yet.

    A cell that another experiment has measured already is copied from there.

    Args:
        paths: Experiment files or folders of one benchmark.
        corpora: Folder of corpora; None for the Hub.
        results: Where results go; beside the experiments if left out.
        cache: Folder of trained models that runs share; None keeps them in memory only.
        only: Run only cells whose id matches this pattern, such as `sst2-*`.
        again: Run cells that have a result too.
        retry_failed: Run cells that failed before too.
        runner: Where to run; one cell after the other in this process if left out.

    Raises:
        InputError: All faults of all files at once, before anything trains.
    """
    benchmark = load_benchmark(paths)
    places = Places(corpora, results or benchmark.results, cache)
    cells = [cell for cell in benchmark.cells if fnmatch(cell.id, only)]
    check_cells(cells, places)
    read_commit()
    clear_half_written(places.results)
    left = cells if again else [c for c in cells if not _is_done(c, places, retry_failed)]
    run = runner or run_here
    ended = dict(track(run(group_cells(left), places), "cells", len(left)))
    return Summary(
        benchmark=benchmark,
        results=places.results,
        kept=tuple(cell.key for cell in cells if cell.key not in ended),
        done=tuple(key for key, status in ended.items() if status != FAILED),
        failed=tuple(key for key, status in ended.items() if status == FAILED),
    )


def check_cells(cells: Sequence[Cell], places: Places) -> None:
    """Refuse what could not be run.

    Raises:
        InputError: All faults at once.
    """
    faults = find_faults(cells, places.corpora)
    for name in dict.fromkeys(cell.settings.model for cell in cells):
        try:
            find_model(name)
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError.from_faults("benchmark", faults)


def run_here(groups: Sequence[Group], places: Places) -> Iterator[Ended]:
    """One group after the other in this process."""
    for group in groups:
        yield from run_group(group, places)


def run_with_jobs(groups: Sequence[Group], places: Places, *, jobs: int) -> Iterator[Ended]:
    """Groups in several processes at once, each with its share of the processor cores."""
    from joblib import Parallel, delayed, parallel_config

    threads = max(1, (os.cpu_count() or 1) // jobs)
    with parallel_config("loky", inner_max_num_threads=threads):
        parallel = Parallel(jobs, return_as="generator_unordered", batch_size=1)
        for ended in parallel(delayed(run_whole_group)(group, places) for group in groups):
            yield from ended


def run_with_executor(groups: Sequence[Group], places: Places, *, executor: Any) -> Iterator[Ended]:
    """Each group as a job of a submitit executor, of a Slurm cluster or of this machine."""
    from submitit.helpers import as_completed

    jobs = executor.map_array(run_whole_group, groups, [places] * len(groups)) if groups else []
    for job in as_completed(jobs):
        yield from job.result()


def run_whole_group(group: Group, places: Places) -> list[Ended]:
    """A group in a process of its own: as quiet there as the command line is here."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return list(run_group(group, places))


def _is_done(cell: Cell, places: Places, retry_failed: bool) -> bool:
    result = load_result(places.results, cell) or copy_result(places.results, cell)
    return result is not None and not (retry_failed and result["status"] == FAILED)
