"""What is kept of a training, so that a killed one continues and ends as if nothing had been."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from accelerate import PartialState
from safetensors.torch import load_file, save
from torch import Tensor
from transformers import (
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from btu.model.processes import share
from btu.model.shards import take_weights
from btu.model.tokens import TokenRows
from btu.support.errors import InputError
from btu.support.processes import is_main
from btu.support.record import render_json
from btu.support.unfinished import Unfinished

logger = logging.getLogger(__name__)

_NOTES, _STATE, _WEIGHTS = "training.json", "ended.json", "ended.safetensors"
_TRAINER_STATE = "trainer_state.json"
_ANY_WEIGHTS = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("adapter_model.safetensors", "adapter_model.bin", "pytorch_model.bin"),
)
# Of the end alone: what a Trainer that does no step would write otherwise.
_NOT_RESTORED = {
    "best_model_checkpoint",
    "stateful_callbacks",
    "is_local_process_zero",
    "is_world_process_zero",
}


class KeptTraining(TrainerCallback):
    """One training in a folder of its own; give it to its Trainer as the first callback.

    The Trainer writes its checkpoints. This notes which of them are whole; it keeps the order of
    the rows of an epoch that was begun, which the Trainer forgets where batches are grouped by
    length; and it keeps the weights at the end, before any other callback changes them.

    Args:
        unfinished: The run that the training is part of.
        name: Of the part.
        model: What is trained.
        rows: On what.
        eval_rows: What it is evaluated on.
        in_shards: Whether the Trainer trains a copy in shards. No checkpoint is continued from
            then: the training begins anew where it was not over.

    Attributes:
        folder: For the Trainer's checkpoints.
        checkpoint: The last whole one of the run that is continued; None where there is none.
        has_ended: Whether the training was over: its weights are in the model then.
        in_shards: As given.
    """

    def __init__(
        self,
        unfinished: Unfinished,
        name: str,
        model: PreTrainedModel,
        rows: TokenRows,
        eval_rows: TokenRows | None,
        *,
        in_shards: bool = False,
    ) -> None:
        self._unfinished, self._name, self._model = unfinished, name, model
        self.in_shards = in_shards
        self._facts = {
            "rows": hash_rows(rows),
            "eval_rows": None if eval_rows is None else hash_rows(eval_rows),
            "learns": _hash_names(model),
        }
        self._saved: list[str] = []
        self._resumes_epoch = False
        self.folder = unfinished.folder / name
        self.checkpoint: Path | None = None
        self.has_ended = False
        found, saved = share(self._find)
        if found is None:
            return
        if not found.exists():
            raise InputError(
                f"{found}: expected the checkpoint of the unfinished run in every process, found "
                "none in this one. Put the output on a disk that all machines share."
            )
        self._saved = saved
        self.has_ended = found.name == _WEIGHTS
        self.checkpoint = None if self.has_ended else found
        self._resumes_epoch = not self.has_ended
        unfinished.resumed.append(name)
        if self.has_ended:
            self._load(found)

    # ---- what is there

    def _find(self) -> tuple[Path | None, list[str]]:
        """The end or the last whole checkpoint; all else in the folder is thrown away."""
        noted = self._unfinished.find(f"{self._name}/{_NOTES}")
        notes = {} if noted is None else _read_json(noted) or {}
        if noted is not None and notes.get("facts") != self._facts:
            logger.warning(
                "%s: was kept of a training on other rows; that training begins anew.", self.folder
            )
            notes = {}
        ended = self._unfinished.find(f"{self._name}/{_WEIGHTS}")
        if ended is not None and notes and (self.folder / _STATE).is_file():
            return ended, []
        named = [str(path) for path in notes.get("checkpoints", ()) if _is_whole(Path(path))]
        named.sort(key=lambda path: _count_steps(Path(path)))
        if not named or self.in_shards:
            if self._unfinished.exists:
                shutil.rmtree(self.folder, ignore_errors=True)
            return None, []
        best = _read_json(Path(named[-1]) / _TRAINER_STATE) or {}
        kept = {Path(path).name for path in (*named, best.get("best_model_checkpoint") or "")}
        for path in self.folder.glob("checkpoint-*"):
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)
        logger.info("%s: continues from %s.", self._name, named[-1])
        return Path(named[-1]), named

    def _load(self, path: Path) -> None:
        """The weights at the end into the model."""
        weights, own = load_file(path), pick_learned(self._model)
        with torch.no_grad():
            for name, value in weights.items():
                own[name].copy_(value)

    # ---- what is written on the way

    def _note(self) -> None:
        content = render_json({"facts": self._facts, "checkpoints": self._saved})
        self._unfinished.keep(f"{self._name}/{_NOTES}", lambda file: file.write(content.encode()))

    def _name_order(self, state: TrainerState) -> Path:
        epoch, rank = int(state.epoch or 0), PartialState().process_index
        return self.folder / f"order-{epoch}-{rank}.npy"

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Make room; after the end, tell the other callbacks what the Trainer knew."""
        self._unfinished.open_part(self._name)
        if self.has_ended:
            stored = _read_json(self.folder / _STATE) or {}
            vars(state).update({k: v for k, v in stored.items() if k not in _NOT_RESTORED})
        elif self.checkpoint is None:
            self._note()

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The rows of an epoch come in the order that the generator says here."""
        if self._resumes_epoch:
            self._resumes_epoch = False
            known = torch.from_numpy(np.load(self._name_order(state), allow_pickle=False))
            torch.set_rng_state(known)
        else:
            self._keep_order(state)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The end is kept by `on_train_end`: no checkpoint of it is needed."""
        is_last = control.should_training_stop or state.global_step >= state.max_steps
        if is_last and self._is_own(args) and not args.load_best_model_at_end:
            control.should_save = False

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """A checkpoint counts once every process has written its part of it."""
        if state.epoch is not None and state.epoch == int(state.epoch):
            self._keep_order(state)
        PartialState().wait_for_everyone()
        folder = Path(str(args.output_dir)).absolute()
        self._saved = [path for path in self._saved if Path(path).is_dir()]
        path = str(folder / f"checkpoint-{state.global_step}")
        self._saved = [*(p for p in self._saved if p != path), path]
        self._note()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Keep the weights that the training came to."""
        if self.has_ended:
            return
        if self.in_shards:
            take_weights(self._model, kwargs["model"])
        if not is_main():
            return
        told = render_json({**vars(state), "stateful_callbacks": None})
        weights = {k: v.detach().cpu().contiguous() for k, v in pick_learned(self._model).items()}
        self._unfinished.keep(f"{self._name}/{_STATE}", lambda file: file.write(told.encode()))
        self._unfinished.keep(f"{self._name}/{_WEIGHTS}", lambda file: file.write(save(weights)))

    def tidy(self) -> None:
        """Throw the checkpoints away once the training is over; those of a user's folder stay."""
        PartialState().wait_for_everyone()
        if is_main():
            for path in self.folder.glob("checkpoint-*"):
                shutil.rmtree(path, ignore_errors=True)
            for path in self.folder.glob("order-*.npy"):
                path.unlink(missing_ok=True)

    def _keep_order(self, state: TrainerState) -> None:
        path = self._name_order(state)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".part")
        with scratch.open("wb") as file:
            np.save(file, torch.get_rng_state().numpy(), allow_pickle=False)
        scratch.replace(path)

    def _is_own(self, args: TrainingArguments) -> bool:
        return Path(str(args.output_dir)) == self.folder


def pick_learned(model: PreTrainedModel) -> dict[str, Tensor]:
    """What a training may change: parameters that learn, each once, and buffers that are saved."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    buffers = {name: b for name, b in model.state_dict().items() if name not in parameters}
    own = dict(model.named_buffers())
    return {**learned, **{name: own[name] for name in buffers if name in own}}


def hash_rows(rows: TokenRows) -> str:
    """SHA-256 over tokens, ends of rows, labels and segments."""
    digest = hashlib.sha256()
    for values in (rows.token_ids, rows.offsets, rows.labels, rows.type_ids):
        digest.update(b"none;" if values is None else f"{values.shape}{values.dtype};".encode())
        digest.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _hash_names(model: PreTrainedModel) -> str:
    shapes = {name: tuple(value.shape) for name, value in pick_learned(model).items()}
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()


def _read_json(path: Path) -> dict[str, Any] | None:
    """A file's JSON object; None where it is missing or not whole."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _count_steps(checkpoint: Path) -> int:
    return int((_read_json(checkpoint / _TRAINER_STATE) or {}).get("global_step", 0))


def _is_whole(checkpoint: Path) -> bool:
    """Whether a training can continue here: all files are there, and it was not over.

    From a checkpoint of its last step a Trainer would do one more where the last epoch is not whole
    or the training was stopped early.
    """
    state = _read_json(checkpoint / _TRAINER_STATE)
    if state is None or _says_stop(state):
        return False
    best = state.get("best_model_checkpoint")
    processes = PartialState().num_processes
    randoms = [f"rng_state_{rank}.pth" for rank in range(processes)]
    files = ["optimizer.pt", "scheduler.pt", *(randoms if processes > 1 else ["rng_state.pth"])]
    return (
        (best is None or Path(best).is_dir())
        and any((checkpoint / name).is_file() for name in _ANY_WEIGHTS)
        and all(is_zipfile(checkpoint / name) for name in files)
    )


def _says_stop(state: Mapping[str, Any]) -> bool:
    control = (state.get("stateful_callbacks") or {}).get("TrainerControl") or {}
    return bool(
        control.get("args", {}).get("should_training_stop")
        or state.get("global_step", 0) >= state.get("max_steps", 0)
    )
