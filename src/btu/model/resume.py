"""What decides the result of a run with a model, and the probing rounds that it has behind it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from btu.model.checkpoints import hash_rows
from btu.model.embeddings import protected_token_ids
from btu.model.finetune import pick_precision
from btu.model.material import Material
from btu.model.processes import share
from btu.model.settings import Precision
from btu.support.processes import process_count
from btu.support.record import find_device, list_versions
from btu.support.unfinished import Unfinished

_PACKAGES = (
    *("backdoor-token-unlearning", "accelerate", "numpy", "peft", "torch", "transformers"),
)
# What says where a model came from, not what it is.
_OF_ONE_PLACE = {"_name_or_path", "_commit_hash", "transformers_version"}


def begin_run(
    unfinished: Unfinished | None,
    kind: str,
    material: Material,
    *,
    precision: Mapping[str, Precision],
    **facts: Any,
) -> None:
    """Say what this run is, and refuse to continue another one.

    Args:
        unfinished: Where the run is kept; None where nothing is.
        kind: `scan` or `defence`.
        material: Data and model.
        precision: Of each stage, as it was asked for.
        **facts: The settings, JSON types.

    Raises:
        InputError: The unfinished run is another one; every difference is named.
    """
    if unfinished is None:
        return
    told = {
        **describe_material(material),
        "precision": {stage: pick_precision(asked) for stage, asked in precision.items()},
        **facts,
    }
    found = unfinished.begin(kind, told)
    unfinished.refuse(share(lambda: found) or found)


def describe_material(material: Material) -> dict[str, Any]:
    """Data, model and surroundings as far as they decide a result, JSON types.

    Args:
        material: Data and model.
    """
    tokenizer = material.tokenizer
    ids = (hash_rows(material.rows), protected_token_ids(tokenizer), tokenizer.pad_token_id)
    config = {k: v for k, v in material.model.config.to_dict().items() if k not in _OF_ONE_PLACE}
    return {
        "data": {
            "sha256": material.data_facts.sha256,
            "rows": len(material.corpus),
            "label_names": list(material.corpus.label_names),
        },
        "model": {
            "sha256": material.model_facts.sha256,
            "config_sha256": _hash(config),
            "architecture": material.model_facts.architecture,
            "vocabulary_size": material.model_facts.vocabulary_size,
        },
        "tokenizer": {"sha256": _hash(ids)},
        "max_length": material.max_length,
        "device": find_device(),
        "processes": process_count(),
        "versions": list_versions(_PACKAGES),
    }


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
