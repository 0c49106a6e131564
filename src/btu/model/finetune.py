"""Ordinary fine-tuning and prediction, through the Hugging Face Trainer."""

from __future__ import annotations

import copy
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from btu.model.adapters import MERGED, save_adapter
from btu.model.checkpoints import KeptTraining
from btu.model.metrics import measure_accuracy
from btu.model.processes import USES_FSDP, check_shards, join_processes, refuse_shards, uses_fsdp
from btu.model.rows import has_adapter
from btu.model.settings import FineTuneSettings, Precision
from btu.model.shards import copy_to_shard, take_weights
from btu.model.tokens import TokenDataset, TokenRows, tokenize_texts
from btu.support.errors import InputError
from btu.support.processes import process_count
from btu.support.progress import ProgressBar, track
from btu.support.unfinished import Unfinished

logger = logging.getLogger(__name__)

_RESERVED = {
    "num_train_epochs": "epochs",
    "learning_rate": "learning_rate",
    "per_device_train_batch_size": "batch_size",
    "seed": "seed",
    "bf16": "precision",
    "fp16": "precision",
}

_EVALUATES: dict[str, tuple[Any, ...]] = {
    "eval_strategy": (None, "no", False),
    "eval_on_start": (None, False),
    "load_best_model_at_end": (None, False),
    "early_stopping": (0,),
}
"""What needs rows to evaluate on, and the values with which it needs none."""

_OF_CHECKPOINTS = {"save_strategy", "output_dir", "push_to_hub"}
"""Who sets one of these decides about checkpoints."""


def without_evaluation(settings: FineTuneSettings) -> FineTuneSettings:
    """The same fine-tuning for a training that has no rows to evaluate on."""
    kept = {k: v for k, v in settings.training_args.items() if k not in (*_EVALUATES, "eval_steps")}
    return replace(settings, early_stopping=0, training_args=kept)


def _reads(settings: FineTuneSettings, name: str) -> Any:
    """What is set: a field of the settings, or of the training arguments."""
    return getattr(settings, name, settings.training_args.get(name))


def check_training_args(settings: FineTuneSettings, *, evaluates: bool = False) -> None:
    """Refuse names and values that TrainingArguments does not take, and what btu sets itself.

    Args:
        settings: Of the fine-tuning.
        evaluates: Whether there are rows to evaluate on during the training.

    Raises:
        InputError: With the nearest valid name for each.
    """
    training_args = settings.training_args
    known = [f.name for f in fields(TrainingArguments) if f.init]
    faults = []
    for name in map(str, training_args):
        if name in _RESERVED:
            faults.append(f"{name}: expected fields that btu does not set, give {_RESERVED[name]}")
        elif name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            faults.append(f"{name}: expected a field of TrainingArguments{hint}")
    if faults:
        raise InputError.from_faults("training arguments", faults)
    for name, value in training_args.items():
        default = getattr(TrainingArguments, name, None)
        if isinstance(default, bool | int | float) and isinstance(value, str | list | dict):
            raise InputError(
                f"training arguments: {name}: expected a {type(default).__name__} such as "
                f"{default}, got {value!r}."
            )
    asked = [name for name, unasked in _EVALUATES.items() if _reads(settings, name) not in unasked]
    if asked and not evaluates:
        raise InputError(
            f"training arguments: {', '.join(asked)}: expected rows to evaluate on during the "
            "training, got none. Give them with --eval-data (eval_data), or leave this out and run "
            "`btu evaluate` afterwards."
        )
    keeps_best = bool({"load_best_model_at_end", "early_stopping"}.intersection(asked))
    if keeps_best and settings.training_args.get("eval_strategy", "epoch") in ("no", False):
        raise InputError(
            "training arguments: eval_strategy: expected epoch or steps where the best model is "
            "kept, got no. Leave it out for an evaluation each epoch."
        )
    if process_count() > 1 and keeps_best:
        raise InputError(
            "training arguments: expected one process where the best model is kept, got "
            f"{process_count()}. Leave out early_stopping and load_best_model_at_end, or start "
            "btu without a launcher."
        )
    if training_args.get("deepspeed"):
        refuse_shards("DeepSpeed")
    if training_args.get("fsdp") and process_count() == 1:
        raise InputError(
            "training arguments: fsdp: expected several processes, got one. Start btu with "
            "torchrun or accelerate launch, or leave this out."
        )
    try:
        with tempfile.TemporaryDirectory(prefix="btu-trainer-") as scratch, _own_accelerator():
            arguments = _training_arguments(settings, scratch, evaluates=evaluates)
    except (TypeError, ValueError, ImportError) as error:
        raise InputError(f"training arguments: {error} Mend that value.") from error
    version = (arguments.fsdp_plugin_args or {}).get("fsdp_version", 2)
    if version != 2:
        refuse_shards(f"FSDP {version}")


def pick_precision(precision: Precision) -> Literal["fp32", "bf16", "fp16"]:
    """What `auto` means here: bf16 where the device computes in it natively, otherwise fp32."""
    if precision != "auto":
        return precision
    device = PartialState().device
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        native = ("avx512_bf16", "amx_bf16")
        return "bf16" if any(capabilities.get(name) for name in native) else "fp32"
    return "fp32"


def autocast(precision: Literal["fp32", "bf16", "fp16"]) -> torch.autocast:
    """The autocast block that goes with a precision, on accelerate's device."""
    kind, dtype = PartialState().device.type, half_type(precision)
    return torch.autocast(kind, dtype=dtype, enabled=precision != "fp32")


def half_type(precision: Literal["fp32", "bf16", "fp16"]) -> torch.dtype:
    """The numbers of 16 bits that go with a precision."""
    return torch.float16 if precision == "fp16" else torch.bfloat16


def finetune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: TokenRows,
    *,
    settings: FineTuneSettings,
    eval_rows: TokenRows | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    description: str = "fine-tuning",
    unfinished: Unfinished | None = None,
    part: str = "finetune",
) -> tuple[dict[str, float], ...]:
    """Fine-tune all weights, in place; of several processes, each on its share of the batches.

    Under FSDP2 the Trainer has a copy, which accelerate shards; the model waits in main memory and
    takes the copy's weights at the end.

    Args:
        model: Sequence classifier.
        tokenizer: Pads the batches.
        rows: What to train on.
        settings: How.
        eval_rows: What to evaluate on during the training, once an epoch unless the settings say
            otherwise.
        callbacks: Of the Trainer. Under FSDP2 they see the weights in shards.
        description: In front of the progress bar.
        unfinished: Keeps checkpoints and the end of the training, and has those of the run that is
            continued. A training that was over does no step: its callbacks are told of begin and
            end.
        part: The name of this training in that run.

    Returns:
        Of each evaluation the epoch, the mean loss and the accuracy.

    Raises:
        InputError: The training arguments ask for FSDP 1 or DeepSpeed.
    """
    join_processes()
    in_shards = _asks_for_shards(settings)
    kept = None
    if unfinished is not None:
        kept = KeptTraining(unfinished, part, model, rows, eval_rows, in_shards=in_shards)
    trained = copy_to_shard(model) if in_shards else model
    with tempfile.TemporaryDirectory(prefix="btu-trainer-") as scratch, _own_accelerator():
        trainer = Trainer(
            model=trained,
            args=_training_arguments(settings, scratch, evaluates=eval_rows is not None, kept=kept),
            train_dataset=TokenDataset(rows),
            eval_dataset=None if eval_rows is None else TokenDataset(eval_rows),
            compute_metrics=_measure_accuracy,
            preprocess_logits_for_metrics=_pick_labels,
            data_collator=DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
            callbacks=[*filter(None, [kept]), _ProgressCallback(description), *callbacks],
        )
        if settings.early_stopping:
            trainer.add_callback(EarlyStoppingCallback(settings.early_stopping))
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        check_shards()
        if in_shards and not trainer.is_fsdp_enabled:
            logger.warning(
                "FSDP: accelerate shards weights on GPUs alone; here each process trains them all."
            )
        trainer.train(resume_from_checkpoint=_pick_checkpoint(settings, kept))
        if in_shards:
            take_weights(model, trained)
        history = trainer.state.log_history
        if kept is not None:
            kept.tidy()
    model.eval()
    return tuple(
        {
            "epoch": float(entry["epoch"]),
            "loss": float(entry["eval_loss"]),
            "accuracy": float(entry["eval_accuracy"]),
        }
        for entry in history
        if "eval_loss" in entry
    )


def _asks_for_shards(settings: FineTuneSettings) -> bool:
    return bool(uses_fsdp() or settings.training_args.get("fsdp"))


def _pick_checkpoint(settings: FineTuneSettings, kept: KeptTraining | None) -> str | bool | None:
    """Where the Trainer begins: where a killed run was, or where the user says."""
    if kept is not None and (kept.has_ended or kept.checkpoint is not None):
        return None if kept.checkpoint is None else str(kept.checkpoint)
    asked: str | bool | None = settings.training_args.get("resume_from_checkpoint")
    return asked


def _pick_labels(told: Tensor | tuple[Tensor, ...], _: Tensor) -> Tensor:
    """The likeliest label of each row: some models tell hidden states too, which fill a memory."""
    logits = told[0] if isinstance(told, tuple) else told
    return logits.argmax(dim=-1)


def _measure_accuracy(told: EvalPrediction) -> dict[str, float]:
    return {"accuracy": measure_accuracy(told.predictions, told.label_ids)}


@torch.no_grad()
def predict_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: TokenRows,
    *,
    batch_size: int = 64,
    precision: Precision = "auto",
    description: str = "predicting",
) -> NDArray[np.float32]:
    """Class probabilities for each row.

    Args:
        model: Sequence classifier with K labels.
        tokenizer: Says what padding is.
        rows: N tokenised rows.
        batch_size: Rows in a batch.
        precision: As in training.
        description: In front of the progress bar.

    Returns:
        Shape (N, K), each row sums to 1.
    """
    device = PartialState().device
    model = model.to(device).eval()
    scores = np.zeros((len(rows), model.config.num_labels), dtype=np.float32)
    for positions in track(rows.groups(batch_size), description):
        batch = rows.pad(positions, pad_id=tokenizer.pad_token_id)
        del batch["labels"]
        with autocast(pick_precision(precision)):
            logits = model(**{name: value.to(device) for name, value in batch.items()}).logits
        scores[positions] = logits.float().softmax(dim=-1).cpu().numpy()
    return scores


@dataclass(frozen=True)
class Classifier:
    """A fine-tuned model that answers texts.

    Attributes:
        model: Sequence classifier with K labels.
        tokenizer: Of the model.
        max_length: Longer texts are cut, in tokens.
        precision: As in training.
        merge: Of a model with an adapter: whether the merged model is saved, too.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_length: int = 128
    precision: Precision = "auto"
    merge: bool = False

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the K label ids."""
        names = self.model.config.id2label
        return tuple(str(names[i]) for i in sorted(names))

    def predict_scores(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """Class probabilities, shape (N, K)."""
        rows = tokenize_texts(texts, self.tokenizer, text_pairs, max_length=self.max_length)
        return predict_scores(self.model, self.tokenizer, rows, precision=self.precision)

    def predict(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None
    ) -> NDArray[np.int64]:
        """The likeliest label id of each text, shape (N,)."""
        return self.predict_scores(texts, text_pairs).argmax(axis=1).astype(np.int64)

    def save(self, folder: Path) -> None:
        """Weights or adapter (safetensors), config and tokenizer, as transformers and peft read."""
        if has_adapter(self.model):
            save_adapter(self.model, folder, merge=self.merge)
            if self.merge:
                self.tokenizer.save_pretrained(folder / MERGED)
        else:
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def _training_arguments(
    settings: FineTuneSettings,
    scratch: str,
    *,
    evaluates: bool = False,
    kept: KeptTraining | None = None,
) -> TrainingArguments:
    precision = pick_precision(settings.precision)
    defaults: dict[str, Any] = {
        "output_dir": scratch,
        "save_strategy": "no",
        "report_to": "none",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": PartialState().device.type == "cpu",
        "dataloader_pin_memory": PartialState().device.type == "cuda",
        "train_sampling_strategy": "group_by_length" if settings.group_by_length else "random",
        # A classifier's loss is a mean over its own rows: the Trainer would multiply it by the
        # number of processes all the same, as it must for losses that are sums of tokens.
        "average_tokens_across_devices": False,
    }
    if kept is not None:
        defaults |= {
            "output_dir": str(kept.folder),
            "restore_callback_states_from_checkpoint": True,
        }
        # Somebody's own folder or hub repository gets no checkpoint that they did not ask for, and
        # no training in shards is continued from one.
        if not kept.in_shards and not _OF_CHECKPOINTS.intersection(settings.training_args):
            defaults |= {"save_strategy": "epoch", "save_total_limit": 2}
    if evaluates:
        defaults["eval_strategy"] = settings.training_args.get("eval_strategy", "epoch")
        if settings.early_stopping or settings.training_args.get("load_best_model_at_end"):
            defaults |= {
                "load_best_model_at_end": True,
                "save_strategy": defaults["eval_strategy"],
                "save_steps": settings.training_args.get("eval_steps")
                or settings.training_args.get("logging_steps", 500),
                # The best and, for a run that is continued, the last one.
                "save_total_limit": 1 if kept is None else 2,
                "save_only_model": kept is None,
            }
    # The Trainer's arguments write into dictionaries that they are given.
    chosen = {**defaults, **copy.deepcopy(dict(settings.training_args))}
    has_ended = kept is not None and kept.has_ended
    if has_ended or (kept is not None and kept.checkpoint is not None):
        chosen["eval_on_start"] = False  # that was done, and stands in the history
    if has_ended:
        chosen |= {"max_steps": -1, "lr_scheduler_type": "constant", "lr_scheduler_kwargs": None}
    return TrainingArguments(
        **chosen,
        num_train_epochs=0 if has_ended else settings.epochs,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.batch_size,
        seed=settings.seed,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
    )


@contextmanager
def _own_accelerator() -> Iterator[None]:
    """Accelerate keeps one precision a process, and whether it shards: give the caller's back."""
    asked = os.environ.get(USES_FSDP)
    kept = [(state, dict(state._shared_state)) for state in (AcceleratorState, PartialState)]
    try:
        yield
    finally:
        for state, values in kept:
            state._shared_state.clear()
            state._shared_state.update(values)
        os.environ.pop(USES_FSDP, None)
        if asked is not None:
            os.environ[USES_FSDP] = asked


class _ProgressCallback(TrainerCallback):
    def __init__(self, description: str) -> None:
        self.description = description
        self.bar: ProgressBar | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.bar = ProgressBar(self.description, state.max_steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.bar is not None:
            self.bar.advance()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.bar is not None:
            self.bar.close()
