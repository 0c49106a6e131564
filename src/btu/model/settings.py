"""Settings of probes and fine-tuning; each field is explained once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from btu.support.errors import InputError
from btu.support.settings import either, faults_in_numbers, faults_in_seed, fits

Precision = Literal["auto", "fp32", "bf16", "fp16"]

PROBE_ROWS = 2000
"""Rows that the full model's probe learns from in the recipe `verified`; docs/limits.md."""


def check_run(*, max_length: int, seed: int) -> None:
    """Refuse a length without room for text, and a seed that no generator takes.

    Raises:
        InputError: One of them is out of range; all faults together.
    """
    faults = faults_in_seed(seed)
    if max_length < 1:
        faults.append(f"max_length: expected at least 1 token, got {max_length}")
    if faults:
        raise InputError.from_faults("settings", faults)


@dataclass(frozen=True)
class ProbeSettings:
    """How the probes train and how many tokens they suspect. Defaults are the paper's."""

    alpha: float = field(
        default=0.0005,
        metadata={
            "flag": "--alpha",
            "help": "Share of the vocabulary suspected in each round, in (0, 1].",
        },
    )
    learning_rate: float = field(
        default=2e-5, metadata={"help": "Learning rate of AdamW in the probes."}
    )
    epochs: int = field(
        default=1, metadata={"help": "Passes over the training rows in each probing round."}
    )
    shallow_batch_size: int = field(
        default=256, metadata={"help": "Rows in a batch of the shallow rounds."}
    )
    full_batch_size: int = field(
        default=64, metadata={"help": "Rows in a batch of the embedding-only round."}
    )
    probe_rows: int | None = field(
        default=None,
        metadata={
            "flag": "--probe-rows",
            "help": "Rows that the embedding-only round learns from, each label with its share; "
            "if left out, all in the recipe paper and 2,000 in verified. All rows are read.",
        },
    )
    precision: Precision = field(
        default="auto", metadata={"help": "auto, fp32, bf16 or fp16, as in fine-tuning."}
    )
    seed: int = field(
        default=0, metadata={"help": "Of row order and of the probes' classification heads."}
    )

    def for_recipe(self, recipe: str) -> ProbeSettings:
        """With the rows to learn from that the recipe takes, where none are given."""
        if self.probe_rows is not None or recipe != "verified":
            return self
        return replace(self, probe_rows=PROBE_ROWS)

    def __post_init__(self) -> None:
        positive = ("learning_rate", "epochs", "shallow_batch_size", "full_batch_size")
        faults = faults_in_numbers(self, positive) + _faults_in_precision(self.precision)
        if fits(self, "probe_rows") and self.probe_rows is not None and self.probe_rows < 1:
            faults.append(f"probe_rows: expected at least 1 row, got {self.probe_rows}")
        if fits(self, "alpha") and not 0 < self.alpha <= 1:
            faults.append(f"alpha: expected a share of the vocabulary in (0, 1], got {self.alpha}")
        if faults:
            raise InputError.from_faults("probe settings", faults)


@dataclass(frozen=True)
class FineTuneSettings:
    """How the classifier is fine-tuned."""

    epochs: float = field(
        default=3.0,
        metadata={
            "flag": "--epochs",
            "help": "Passes over the training rows (the usual number for BERT).",
        },
    )
    learning_rate: float = field(
        default=2e-5,
        metadata={"flag": "--learning-rate", "help": "Peak learning rate of AdamW (the paper's)."},
    )
    batch_size: int = field(
        default=32,
        metadata={"flag": "--batch-size", "help": "Rows in a training batch, on each device."},
    )
    max_length: int = field(
        default=128,
        metadata={"flag": "--max-length", "help": "Longer texts are cut, in tokens (the paper's)."},
    )
    precision: Precision = field(
        default="auto",
        metadata={
            "flag": "--precision",
            "help": "auto, fp32, bf16 or fp16; auto takes bf16 where the hardware has it.",
        },
    )
    seed: int = field(
        default=0,
        metadata={"flag": "--seed", "help": "Of row order, dropout and a new classification head."},
    )
    group_by_length: bool = field(
        default=True,
        metadata={
            "flag": "--group-by-length/--no-group-by-length",
            "help": "Batches of texts of like length: little padding, half the time.",
        },
    )
    early_stopping: int = field(
        default=0,
        metadata={
            "flag": "--early-stopping",
            "help": "With evaluation rows: end after so many evaluations without a lower loss, and "
            "keep the best model; 0 never.",
        },
    )
    training_args: Mapping[str, Any] = field(
        default_factory=dict,
        metadata={
            "flag": "--training-arg",
            "help": "Any other field of TrainingArguments, as name=value in YAML; may be repeated.",
        },
    )

    def __post_init__(self) -> None:
        positive = ("epochs", "learning_rate", "batch_size", "max_length")
        faults = faults_in_numbers(self, positive) + _faults_in_precision(self.precision)
        if fits(self, "early_stopping") and self.early_stopping < 0:
            faults.append(f"early_stopping: expected 0 or more, got {self.early_stopping}")
        if faults:
            raise InputError.from_faults("fine-tuning settings", faults)


@dataclass(frozen=True)
class AdapterSettings:
    """Whether an adapter is trained in place of all weights, and which."""

    lora: bool = field(
        default=False,
        metadata={
            "flag": "--lora/--no-lora",
            "help": "Train a LoRA adapter and leave the base as it is; 2e-4 is a usual learning "
            "rate then.",
        },
    )
    rank: int = field(default=8, metadata={"flag": "--lora-rank", "help": "Rank of LoRA."})
    alpha: int = field(
        default=16, metadata={"flag": "--lora-alpha", "help": "Scale of LoRA, over its rank."}
    )
    targets: str = field(
        default="all-linear",
        metadata={
            "flag": "--lora-targets",
            "help": "Modules that LoRA goes into: all-linear, or names with commas between them.",
        },
    )
    peft_config: str | None = field(
        default=None,
        metadata={
            "flag": "--peft-config",
            "help": "Any other adapter: a configuration of peft, in JSON or YAML.",
        },
    )
    merge: bool = field(
        default=False,
        metadata={
            "flag": "--merge/--no-merge",
            "help": "Save the merged model, too, in the folder merged, for what reads no adapters.",
        },
    )

    @property
    def is_on(self) -> bool:
        """Whether there is an adapter at all."""
        return self.lora or self.peft_config is not None

    def __post_init__(self) -> None:
        faults = faults_in_numbers(self, ("rank", "alpha"))
        if self.lora and self.peft_config is not None:
            faults.append("peft_config: expected either LoRA or another configuration, got both")
        if self.merge and not self.is_on:
            faults.append("merge: expected an adapter to merge, got none; give --lora")
        if faults:
            raise InputError.from_faults("adapter settings", faults)


def _faults_in_precision(precision: str) -> list[str]:
    if precision in get_args(Precision):
        return []
    return [f"precision: expected {either(Precision)}, got {precision!r}"]
