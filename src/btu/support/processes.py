"""Which of several processes this one is, as the launcher says; torch is not asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from time import sleep

# A launcher ends the others within a second after the first has failed.
_PATIENCE_SECONDS = 5.0


def process_count() -> int:
    """How many processes do this work together: 1 without torchrun or accelerate launch."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in names) else 1


def process_rank() -> int:
    """The number of this process among them, from 0."""
    return int(os.environ["RANK"]) if process_count() > 1 else 0


def is_main() -> bool:
    """Whether this process is the one that writes files and prints."""
    return process_rank() == 0


def speak_once(run: Callable[[], None]) -> None:
    """Run a program of which the main process alone is heard.

    Another process is silent. Where it fails it waits for the launcher to end it, since the main
    process has most often met the same fault and said so; only a fault of its own is told.

    Args:
        run: The program; ends with `SystemExit`.
    """
    if is_main():
        run()
        return
    said = StringIO()
    try:
        with redirect_stdout(StringIO()), redirect_stderr(said):
            run()
    except SystemExit as ended:
        if ended.code:
            sleep(_PATIENCE_SECONDS)
            name = f"Process {process_rank()} of {process_count()} (from 0)"
            sys.stderr.write(f"{name}: {said.getvalue()}")
        raise
