"""Rows of the word embeddings, read and written wherever the model keeps them.

A plain model keeps them in its matrix. Under an adapter of peft the matrix is frozen, and rows that
may change stand in the adapter (`trainable_token_indices`), as absolute values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from btu.model.embeddings import embedding_module, embedding_weight
from btu.model.shards import gather, return_to_shards, write_places
from btu.support.errors import InputError

Ids = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class _Adapted:
    """Rows that stand in an adapter.

    Attributes:
        rows: Shape (n, D); the adapter's own parameter.
        place: Token id to row.
    """

    rows: Tensor
    place: dict[int, int]


def read_rows(model: PreTrainedModel, token_ids: Ids) -> Tensor:
    """A copy of the rows of these tokens as the model uses them, shape (n, D), float32, on the CPU.

    Args:
        model: Plain, or with an adapter of peft around it. Where its weights lie in shards (FSDP2),
            every process must ask.
        token_ids: The n tokens.
    """
    return_to_shards(model)
    weight = gather(embedding_weight(model).detach())
    index = torch.as_tensor(np.asarray(token_ids, dtype=np.int64), device=weight.device)
    rows = weight[index].float().cpu().clone()
    adapted = _find_adapted(model)
    if adapted is None:
        return rows
    carried = gather(adapted.rows.detach()).float().cpu()
    for place, token_id in enumerate(np.asarray(token_ids).tolist()):
        if token_id in adapted.place:
            rows[place] = carried[adapted.place[token_id]]
    return rows


def write_rows(model: PreTrainedModel, token_ids: Ids, rows: Tensor) -> None:
    """Put these rows in the place of those of these tokens, in place.

    Args:
        model: Plain, or with an adapter of peft around it, whose rows are changed then. Where its
            weights lie in shards, each process writes the rows that it keeps.
        token_ids: The n tokens.
        rows: Shape (n, D).

    Raises:
        InputError: The model has an adapter that holds no such rows.
    """
    if not len(token_ids):
        return
    check_rows_writable(model, token_ids)
    return_to_shards(model)
    adapted = _find_adapted(model)
    if adapted is None:
        weight, places = embedding_weight(model), np.asarray(token_ids, dtype=np.int64)
    else:
        weight = adapted.rows
        places = np.array([adapted.place[i] for i in np.asarray(token_ids).tolist()])
    write_places(weight, torch.as_tensor(places), rows)


def check_rows_writable(model: PreTrainedModel, token_ids: Ids) -> None:
    """Refuse an adapter that cannot carry changed rows of these tokens, before anything is trained.

    Raises:
        InputError: Which field of its configuration has to name which tokens.
    """
    if not has_adapter(model):
        return
    adapted = _find_adapted(model)
    known = {} if adapted is None else adapted.place
    missing = [i for i in np.asarray(token_ids).tolist() if i not in known]
    if missing:
        raise InputError(
            f"adapter: expected one that carries the embedding rows of the tokens {missing}, got "
            f"one with rows of {sorted(known) or 'no token'}. Give them to its configuration: "
            f"LoraConfig(trainable_token_indices={missing}); a kind of adapter without that field "
            "cannot be cleaned. Or leave the rows judged poisoned out before the training."
        )


def has_adapter(model: Any) -> bool:
    """Whether peft has wrapped the model."""
    return hasattr(model, "peft_config")


def _find_adapted(model: PreTrainedModel) -> _Adapted | None:
    adapter = getattr(embedding_module(model), "token_adapter", None)
    if adapter is None:
        return None
    (name,) = adapter.active_adapters
    indices = adapter.token_indices[name]
    return _Adapted(
        adapter.trainable_tokens_delta[name], {int(i): n for n, i in enumerate(indices)}
    )
