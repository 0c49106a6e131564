"""One shard after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from btu.engines.base import Engine, Result


class LocalEngine(Engine):
    """Works in this process: at any time the texts of one shard are in memory."""

    name = "local"

    def map(
        self, function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Result]]:
        """See `Engine.map`."""
        for place, job in enumerate(jobs):
            yield place, function(*job)
