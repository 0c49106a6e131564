"""Shards worked on by the workers of a Ray cluster, or of a Ray of this machine."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from btu.engines.base import Engine, Result
from btu.support.errors import InputError

_RETRIES = 3
_WAIT = 10.0  # seconds for a machine to answer
_AHEAD = 2  # shards given out for each processor: what is read and not yet fetched is in memory


class RayEngine(Engine):
    """Works on Ray workers. A shard whose worker dies is given to another one.

    The workers need btu, and the files under the same paths. A Ray that is running already is used
    as it is; one that is started here is stopped at the end. It reports nothing to anybody.

    Args:
        address: Of a cluster (`auto`, `ray://HOST:10001`); a Ray of this machine without it.
        workers: Processors of a Ray of this machine; all without it.
    """

    name = "ray"

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self.address, self.workers = address, workers

    def map(
        self, function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Result]]:
        """See `Engine.map`."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise InputError(
                "--engine ray: expected Ray to be installed, found none. Install it: "
                "pip install 'backdoor-token-unlearning[ray]'."
            ) from error
        is_own = not ray.is_initialized()
        if is_own:
            self._start()
        try:
            yield from self._map(function, jobs)
        finally:
            if is_own:
                ray.shutdown()

    def _start(self) -> None:
        import ray

        try:
            self._check_address()
            ray.init(
                address=self.address,
                num_cpus=None if self.address else self.workers,
                include_dashboard=None if self.address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"--engine-address: expected the address of a Ray cluster, got {self.address!r} "
                f"({error}). Check it, or leave it out for a Ray of this machine."
            ) from error

    def _check_address(self) -> None:
        """Ray itself waits many minutes for a machine that is not there."""
        host, _, port = (self.address or "").removeprefix("ray://").rpartition(":")
        if host and port.isdigit():
            with socket.create_connection((host, int(port)), timeout=_WAIT):
                pass

    def _map(
        self, function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Result]]:
        import ray

        task = ray.remote(function).options(max_retries=_RETRIES)
        most = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting = list(enumerate(jobs))[::-1]
        given: dict[ray.ObjectRef, int] = {}
        while waiting or given:
            while waiting and len(given) < most:
                place, job = waiting.pop()
                given[task.remote(*job)] = place
            (done, *_), _ = ray.wait(list(given), num_returns=1)
            place = given.pop(done)
            try:
                yield place, ray.get(done)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayError as error:
                raise InputError(
                    f"{jobs[place][0].path}: expected a worker to read it, but {_RETRIES + 1} died "
                    f"or were lost one after the other ({type(error).__name__}). Look at the "
                    "workers' memory; with --resume the shards that are done are kept."
                ) from error
