"""Weights of which each process keeps a part (FSDP2): gathered, and written where they lie.

A tensor that is whole passes through as it is.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Replicate
from transformers import PreTrainedModel


def gather(value: Tensor) -> Tensor:
    """The whole of a tensor; all processes must ask for it, in the same order.

    Args:
        value: Whole, or in shards.
    """
    if not isinstance(value, DTensor):
        return value
    # A part may be offloaded to the CPU; the processes talk through their devices.
    on_device = value.to(value.device_mesh.device_type)
    assert isinstance(on_device, DTensor)
    return on_device.full_tensor()


def lies_in_rows(value: Tensor) -> bool:
    """Whether each row of a tensor is whole in some process."""
    if not isinstance(value, DTensor):
        return True
    return all(part.is_replicate() or part.is_shard(0) for part in value.placements)


def return_to_shards(model: nn.Module) -> None:
    """Let go of what an evaluation has gathered: what is written there would be lost."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@torch.no_grad()
def write_places(weight: Tensor, places: Tensor, rows: Tensor) -> None:
    """Overwrite rows in place; of a matrix in shards each process writes those that it keeps.

    Args:
        weight: Shape (V, D), whole or in shards of rows.
        places: The n rows to overwrite, each once.
        rows: Shape (n, D).
    """
    if not isinstance(weight, DTensor):
        weight[places.to(weight.device)] = rows.to(weight)
        return
    own = weight.to_local()
    ids = _own_places(weight).to(own.device)
    mine, given = (ids.unsqueeze(1) == places.to(own.device)).nonzero(as_tuple=True)
    own[mine] = rows.to(own)[given]


def _own_places(weight: DTensor) -> Tensor:
    """Which rows this process keeps, in their order there."""
    mesh = weight.device_mesh
    ids = torch.arange(len(weight), device=mesh.device_type)
    whole = DTensor.from_local(ids, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return whole.redistribute(placements=weight.placements).to_local()


def copy_to_shard(model: PreTrainedModel) -> PreTrainedModel:
    """A copy in main memory that accelerate can shard; the model is moved there, too.

    Accelerate makes a unit of the embedding matrix. A layer around it that is not to be split
    (`BertEmbeddings`) would be another unit with the same weights, which torch refuses.

    Args:
        model: Whole.
    """
    copied = copy.deepcopy(model.cpu())
    matrix = copied.get_input_embeddings()
    around = [m for m in copied.modules() if m is not matrix and matrix in m.modules()]
    names = {type(module).__name__ for module in around}
    units = getattr(copied, "_no_split_modules", None) or ()
    copied._no_split_modules = [name for name in units if name not in names]
    return copied


@torch.no_grad()
def take_weights(model: nn.Module, trained: nn.Module) -> None:
    """Copy the weights of a model in shards into a whole one of its kind, in every process.

    Args:
        model: Whole; changed in place.
        trained: Whole or in shards.
    """
    own = model.state_dict()
    inside = getattr(trained, "_orig_mod", trained)  # torch.compile wraps it
    for name, value in inside.state_dict().items():
        own[name].copy_(gather(value))
