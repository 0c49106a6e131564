"""Fine-tuning through an adapter of peft: the base stays as it is, on disk and in memory."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from btu.model.embeddings import load_with_config
from btu.model.settings import AdapterSettings
from btu.support.errors import InputError

CONFIG_NAME = "adapter_config.json"
MERGED = "merged"
"""Folder beside the adapter with the merged model, where one was asked for."""

_TOKENS, _SAVED = "trainable_token_indices", "modules_to_save"
_TASK = "SEQ_CLS"
# What peft itself trains and saves for this task.
_HEADS = {"classifier", "score"}


def check_adapter(settings: AdapterSettings) -> None:
    """Refuse early what `add_adapter` would refuse after the scan.

    Raises:
        InputError: peft is not installed, or its configuration cannot be read.
    """
    if settings.is_on:
        _import_peft()
        _read_options(settings)


def add_adapter(
    model: PreTrainedModel,
    settings: AdapterSettings,
    token_ids: Sequence[int] = (),
    *,
    seed: int = 0,
) -> PreTrainedModel:
    """The model with a new adapter around it, and the rows of some tokens in that adapter.

    The classification head is trained with it and saved in it, and so is all else that the
    checkpoint lacks, such as a pooler: it is drawn anew whenever the base is loaded.

    Args:
        model: Pretrained sequence classifier; its weights are frozen.
        settings: Which adapter.
        token_ids: Tokens whose embedding rows the adapter carries, so that they can be cut in it.
        seed: Of its new weights.

    Returns:
        A `PeftModel`.

    Raises:
        InputError: peft is not installed, or the configuration does not fit.
    """
    peft = _import_peft()
    options = _read_options(settings)
    kind = options.pop("peft_type")
    known = {f.name for f in fields(peft.PEFT_TYPE_TO_CONFIG_MAPPING[kind])}
    new = _find_new_modules(model) if _SAVED in known else []
    if new:
        options[_SAVED] = [*options.get(_SAVED, ()), *new]
    if token_ids:
        given = options.get(_TOKENS, ())
        options[_TOKENS] = (
            {name: sorted({*token_ids, *ids}) for name, ids in given.items()}
            if isinstance(given, Mapping)
            else sorted({*token_ids, *given})
        )
    if token_ids and _TOKENS not in known:
        raise InputError(
            f"adapter: expected a kind that can carry embedding rows ({_TOKENS}), for the tokens "
            f"{sorted(token_ids)} of the triggers, got {kind}. Take LORA."
        )
    unknown = sorted(options.keys() - known)
    if unknown:
        raise InputError(
            f"adapter: expected fields of the configuration of {kind}, got {', '.join(unknown)}. "
            "Take them out."
        )
    try:
        config = peft.get_peft_config({"peft_type": kind, **options, "task_type": _TASK})
        torch.manual_seed(seed)
        with _quiet():
            wrapped: PreTrainedModel = peft.get_peft_model(model, config)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"adapter: {error} Mend the configuration.") from error
    if Path(model.name_or_path).is_dir():
        # A relative path would lead nowhere from another folder.
        config.base_model_name_or_path = str(Path(model.name_or_path).resolve())
    return wrapped


def describe_adapter(model: Any) -> dict[str, Any]:
    """What the record says of an adapter, JSON types."""
    (config,) = model.peft_config.values()
    stored = {k: v for k, v in config.to_dict().items() if v is not None}
    readable = json.loads(json.dumps(stored, default=_say))
    return {"kind": str(readable.pop("peft_type")), "config": readable}


def save_adapter(model: Any, folder: Path, *, merge: bool) -> None:
    """The adapter with the base's config, and the merged model in a folder in it if asked for.

    Args:
        model: A `PeftModel`.
        folder: Where.
        merge: Whether the merged model is saved, too, for what cannot read adapters.
    """
    model.save_pretrained(folder)
    model.config.save_pretrained(folder)
    if merge:
        merged = copy.deepcopy(model).merge_and_unload()
        merged.save_pretrained(folder / MERGED)


def is_adapter(folder: str | Path) -> bool:
    """Whether a folder holds an adapter."""
    return (Path(folder) / CONFIG_NAME).is_file()


def load_adapter(folder: str | Path) -> PreTrainedModel:
    """A saved adapter on its base.

    Raises:
        InputError: peft is not installed; the base or the adapter cannot be loaded.
    """
    peft = _import_peft()
    path = Path(folder)
    try:
        stored = json.loads((path / CONFIG_NAME).read_text(encoding="utf-8"))
        base = stored["base_model_name_or_path"]
        with safe_open(path / "adapter_model.safetensors", "pt"):
            pass
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{folder}: expected an adapter of peft with {CONFIG_NAME} and "
            f"adapter_model.safetensors, could not read it ({error}). Save it again."
        ) from error
    model = load_with_config(base, AutoConfig.from_pretrained(str(path)))
    with _quiet():
        loaded: PreTrainedModel = peft.PeftModel.from_pretrained(model, str(path))
    return loaded.eval()


def _find_new_modules(model: PreTrainedModel) -> list[str]:
    """Modules whose weights the checkpoint does not have, but for the head that peft knows."""
    if not model.name_or_path:
        return []
    _, told = AutoModelForSequenceClassification.from_pretrained(
        model.name_or_path, config=model.config, use_safetensors=True, output_loading_info=True
    )
    new = dict.fromkeys(key.rpartition(".")[0] for key in sorted(told["missing_keys"]))
    return [name for name in new if not _HEADS & set(name.split("."))]


def _read_options(settings: AdapterSettings) -> dict[str, Any]:
    """Fields of a configuration of peft."""
    if settings.peft_config is None:
        targets = settings.targets.split(",")
        return {
            "peft_type": "LORA",
            "r": settings.rank,
            "lora_alpha": settings.alpha,
            "target_modules": targets[0] if len(targets) == 1 else targets,
        }
    path = Path(settings.peft_config)
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path}: expected a configuration of peft in JSON or YAML, could not read it "
            f"({error}). Name such a file."
        ) from error
    kinds = _import_peft().PEFT_TYPE_TO_CONFIG_MAPPING
    if not isinstance(read, Mapping) or str(read.get("peft_type")) not in kinds:
        raise InputError(
            f"{path}: expected fields of a configuration of peft, with peft_type one of "
            f"{', '.join(sorted(map(str, kinds)))}. Take an {CONFIG_NAME} as a pattern."
        )
    return {str(k): v for k, v in read.items() if v is not None and k != "task_type"}


def _import_peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise InputError(
            "adapter: expected the package peft, which is not installed. Install "
            "backdoor-token-unlearning[lora]."
        ) from error
    return peft


@contextmanager
def _quiet() -> Iterator[None]:
    """Peft asks transformers by names that it will drop; whoever trains cannot mend that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        yield


def _say(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else str(getattr(value, "value", value))
