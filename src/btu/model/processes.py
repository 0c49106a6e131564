"""Several processes as one: what each computes, and what they tell each other.

With one process nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import NoReturn, TypeVar

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object, parse_flag_from_env
from numpy.typing import NDArray
from torch import Tensor

from btu.support.errors import InputError
from btu.support.processes import process_count

T = TypeVar("T")

# The others wait as long as the evidence of large data takes. Where a process dies, the launcher
# ends them at once; this ends a hang that no launcher sees.
_TIMEOUT = timedelta(hours=6)
_CHUNK_ROWS = 8192


def join_processes() -> PartialState:
    """Meet the other processes of the launch; where they have met, the state as it is.

    Raises:
        InputError: They cannot talk to each other, or there are more of them than GPUs; the
            launcher asks for weights in shards.
    """
    for kind in ("FSDP", "DEEPSPEED"):
        if parse_flag_from_env(f"ACCELERATE_USE_{kind}"):
            refuse_shards(kind)
    if PartialState._shared_state or process_count() == 1:
        return PartialState()
    # Without this, accelerate takes each process on a machine without a GPU for the only one.
    on_cpu = not torch.accelerator.is_available()
    try:
        return PartialState(cpu=on_cpu, timeout=_TIMEOUT)
    except (RuntimeError, ValueError, AssertionError, NotImplementedError) as error:
        backend = "gloo" if on_cpu else "nccl on CUDA"
        raise InputError(
            f"{process_count()} processes: expected that they can meet (backend {backend}), got: "
            f"{str(error).strip().splitlines()[0]} Install a torch build with this backend, start "
            "no more processes than there are GPUs, or start btu without a launcher."
        ) from error


def refuse_shards(kind: str) -> NoReturn:
    """Probes and cut need every row of the embeddings in each process.

    Raises:
        InputError: Always.
    """
    raise InputError(
        f"launcher: expected a whole model in each process (DDP), got {kind}, which keeps a part "
        "in each. Launch without it."
    )


def leave_processes() -> None:
    """Wait for the others and part: from here each process works alone."""
    if PartialState().num_processes > 1:
        PartialState().wait_for_everyone()
        PartialState().destroy_process_group()


def own_part(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of a batch that this process computes; may be none."""
    state = PartialState()
    return positions[state.process_index :: state.num_processes]


def share(compute: Callable[[], T]) -> T:
    """What the main process computes, in every process. The others wait.

    Args:
        compute: Run in the main process alone; its result must be picklable.
    """
    state = PartialState()
    if state.num_processes == 1:
        return compute()
    box = [compute() if state.is_main_process else None]
    return broadcast_object_list(box)[0]


def add_up(value: Tensor) -> None:
    """The sum over all processes, in place and the same in each."""
    if PartialState().num_processes > 1:
        torch.distributed.all_reduce(value)


def add_up_rows(values: NDArray[np.generic]) -> None:
    """The sum over all processes, in place, for an array on the CPU, shape (N, ...)."""
    state = PartialState()
    if state.num_processes == 1:
        return
    for start in range(0, len(values), _CHUNK_ROWS):
        part = torch.from_numpy(values[start : start + _CHUNK_ROWS]).to(state.device)
        add_up(part)
        values[start : start + _CHUNK_ROWS] = part.cpu().numpy()


def check_alike(hashes: Mapping[str, str]) -> None:
    """Refuse processes that read other data: their batches would not fit together.

    Args:
        hashes: What must be the same everywhere, by a name for it.

    Raises:
        InputError: In every process.
    """
    if PartialState().num_processes == 1:
        return
    seen: list[dict[str, str]] = gather_object([dict(hashes)])
    faults = [
        f"expected the same {name} in every process, got another one in process {rank} (from 0). "
        "Copy it to every machine, or put it on a shared disk."
        for rank, other in enumerate(seen)
        for name, value in other.items()
        if value != seen[0][name]
    ]
    if faults:
        raise InputError.from_faults(f"{len(seen)} processes", faults)
