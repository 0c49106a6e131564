"""What takes longer than a second, shown: a bar on a terminal, else a line when it is done.

Silent unless switched on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from time import perf_counter
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")
_LEAST_SECONDS = 1.0


class _Display(Protocol):
    """What of rich's `Progress` is used here."""

    def add_task(self, description: str, *, total: float | None) -> TaskID: ...

    def advance(self, task_id: TaskID, advance: float) -> None: ...

    def remove_task(self, task_id: TaskID) -> None: ...


_active: ContextVar[_Display | None] = ContextVar("btu_progress", default=None)


@contextmanager
def show_progress(*, enabled: bool = True) -> Iterator[None]:
    """Draw a bar on standard error for each `track` and `step_bar` inside the block.

    Args:
        enabled: False keeps silent. In a pipe or a log file a line is written at the end of each
            stage, with its time.
    """
    if not enabled or _active.get() is not None:
        yield
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    progress = Progress(*columns, console=console) if console.is_terminal else None
    token = _active.set(progress or _Lines())
    try:
        with progress or nullcontext():
            yield
    finally:
        _active.reset(token)


class _Lines:
    """A line for each stage that took a second or more, when it is done."""

    def __init__(self) -> None:
        self._stages: dict[TaskID, tuple[str, float]] = {}

    def add_task(self, description: str, *, total: float | None) -> TaskID:
        number = TaskID(len(self._stages))
        self._stages[number] = description, perf_counter()
        return number

    def advance(self, task_id: TaskID, advance: float) -> None:
        pass

    def remove_task(self, task_id: TaskID) -> None:
        description, start = self._stages[task_id]
        seconds = perf_counter() - start
        if seconds >= _LEAST_SECONDS:
            sys.stderr.write(f"{description}: {seconds:.0f} s\n")
            sys.stderr.flush()


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a bar.

    Args:
        items: What to loop over.
        description: A few words in front of the bar.
        total: How many items, where `len(items)` does not say.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with step_bar(description, total) as bar:
        for item in items:
            yield item
            bar.advance()


class ProgressBar:
    """One bar; does nothing while progress is off."""

    def __init__(self, description: str, total: int | None) -> None:
        self._progress = _active.get()
        if self._progress is not None:
            self._task = self._progress.add_task(description, total=total)

    def advance(self, steps: float = 1) -> None:
        """Move on by so many steps."""
        if self._progress is not None:
            self._progress.advance(self._task, steps)

    def close(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.remove_task(self._task)


@contextmanager
def step_bar(description: str, total: int | None) -> Iterator[ProgressBar]:
    """A bar to advance by hand inside the block."""
    bar = ProgressBar(description, total)
    try:
        yield bar
    finally:
        bar.close()
