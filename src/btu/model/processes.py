"""Several processes as one: what each computes, and what they tell each other.

With one process nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import NoReturn, TypeVar

import numpy as np
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedType,
    broadcast_object_list,
    gather_object,
    parse_flag_from_env,
)
from numpy.typing import NDArray
from torch import Tensor

from btu.support.errors import InputError
from btu.support.processes import process_count

T = TypeVar("T")

# The others wait as long as the evidence of large data takes. Where a process dies, the launcher
# ends them at once; this ends a hang that no launcher sees.
_TIMEOUT = timedelta(hours=6)
_CHUNK_ROWS = 8192
USES_FSDP = "ACCELERATE_USE_FSDP"
_READS_ONCE = "FSDP_CPU_RAM_EFFICIENT_LOADING"


def join_processes() -> PartialState:
    """Meet the other processes of the launch; where they have met, the state as it is.

    Raises:
        InputError: They cannot talk to each other, or there are more of them than GPUs; the
            launcher asks for shards that btu does not read.
    """
    _check_launch()
    if uses_fsdp():
        # With this on, the main process alone would read the weights; the probes need them all.
        os.environ[_READS_ONCE] = "false"
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


def uses_fsdp() -> bool:
    """Whether the launcher, or a Trainer that was made, asks for FSDP."""
    return bool(parse_flag_from_env(USES_FSDP))


def check_shards() -> None:
    """Refuse weights in shards in which no row can be found: all but FSDP2.

    Raises:
        InputError: A Trainer that was made has such.
    """
    state = AcceleratorState._shared_state
    if state.get("distributed_type") == DistributedType.DEEPSPEED:
        refuse_shards("DeepSpeed")
    plugin = state.get("fsdp_plugin")
    if plugin is not None and plugin.fsdp_version != 2:
        refuse_shards(f"FSDP {plugin.fsdp_version}")


def _check_launch() -> None:
    """The same of what the launcher asks for."""
    if parse_flag_from_env("ACCELERATE_USE_DEEPSPEED"):
        refuse_shards("DeepSpeed")
    # The launcher says the version; a Trainer sets the flag alone.
    version = os.environ.get("FSDP_VERSION", "2")
    if uses_fsdp() and version != "2":
        refuse_shards(f"FSDP {version}")


def refuse_shards(kind: str) -> NoReturn:
    """Say what is taken instead.

    Args:
        kind: What was asked for.

    Raises:
        InputError: Always.
    """
    raise InputError(
        f"several processes: expected a whole model in each (DDP) or its parts as FSDP2 keeps "
        f"them, got {kind}. Say `fsdp_version: 2` (accelerate launch --use_fsdp --fsdp_version 2, "
        "or the training arguments fsdp=true and fsdp_config={version: 2}), or launch without it."
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


def take_main(value: Tensor) -> Tensor:
    """The main process's values of a tensor that has the same shape in all.

    They differ where FSDP reads the weights once: the others hold zeros until the training begins.
    """
    if PartialState().num_processes == 1 or not (uses_fsdp() and parse_flag_from_env(_READS_ONCE)):
        return value
    sent = value.to(PartialState().device)
    torch.distributed.broadcast(sent, src=0)
    return sent.to(value.device)


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
