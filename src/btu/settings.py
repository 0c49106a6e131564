"""Settings of every stage; each field is explained once, for the command line and the docs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Literal, get_args

from btu.errors import InputError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Recipe = Literal["verified", "paper"]
Action = Literal["unlearn", "drop", "both"]


def option_help(settings: type, name: str) -> str:
    """The sentence that explains a field.

    Example:
        >>> option_help(RecoverySettings, "epochs")
        'Passes of the recovery after the cut; 0 leaves it out.'
    """
    return next(str(f.metadata["help"]) for f in fields(settings) if f.name == name)


def check_run(*, max_length: int, seed: int) -> None:
    """Refuse a length without room for text, and a seed that no generator takes.

    Raises:
        InputError: One of them is out of range; all faults together.
    """
    faults = _faults_in_seed(seed)
    if max_length < 1:
        faults.append(f"max_length: expected at least 1 token, got {max_length}")
    if faults:
        raise InputError.from_faults("settings", faults)


def check_recipe(recipe: str) -> None:
    """Refuse a recipe that does not exist.

    Raises:
        InputError: It is unknown.
    """
    if recipe not in get_args(Recipe):
        raise InputError(f"recipe: expected {_either(Recipe)}, got {recipe!r}.")


def check_action(action: str) -> None:
    """Refuse an action that does not exist.

    Raises:
        InputError: It is unknown.
    """
    if action not in get_args(Action):
        raise InputError(f"action: expected {_either(Action)}, got {action!r}.")


@dataclass(frozen=True)
class ProbeSettings:
    """How the probes train and how many tokens they suspect. Defaults are the paper's."""

    alpha: float = field(
        default=0.0005,
        metadata={"help": "Share of the vocabulary suspected in each round, in (0, 1]."},
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
    precision: Precision = field(
        default="auto", metadata={"help": "auto, fp32, bf16 or fp16, as in fine-tuning."}
    )
    seed: int = field(
        default=0, metadata={"help": "Of row order and of the probes' classification heads."}
    )

    def __post_init__(self) -> None:
        positive = ("learning_rate", "epochs", "shallow_batch_size", "full_batch_size")
        faults = _faults_in_numbers(self, positive) + _faults_in_precision(self.precision)
        if _fits(self, "alpha") and not 0 < self.alpha <= 1:
            faults.append(f"alpha: expected a share of the vocabulary in (0, 1], got {self.alpha}")
        if faults:
            raise InputError.from_faults("probe settings", faults)


@dataclass(frozen=True)
class EvidenceSettings:
    """How strict the evidence is; `btu.evidence.BARS` holds the numbers behind it."""

    false_alarm_rate: float = field(
        default=0.05,
        metadata={"help": "False triggers expected in clean data, all searches together."},
    )
    styles: bool = field(
        default=True,
        metadata={"help": "Look for rows rewritten in a style, where no single word tells."},
    )

    def __post_init__(self) -> None:
        faults = _faults_in_numbers(self, ())
        if _fits(self, "false_alarm_rate") and not 0 < self.false_alarm_rate < 1:
            faults.append(
                f"false_alarm_rate: expected above 0 and below 1, got {self.false_alarm_rate}"
            )
        if faults:
            raise InputError.from_faults("evidence settings", faults)


@dataclass(frozen=True)
class FineTuneSettings:
    """How the classifier is fine-tuned."""

    epochs: float = field(
        default=3.0, metadata={"help": "Passes over the training rows (the usual number for BERT)."}
    )
    learning_rate: float = field(
        default=2e-5, metadata={"help": "Peak learning rate of AdamW (the paper's)."}
    )
    batch_size: int = field(
        default=32, metadata={"help": "Rows in a training batch, on each device."}
    )
    max_length: int = field(
        default=128, metadata={"help": "Longer texts are cut, in tokens (the paper's)."}
    )
    precision: Precision = field(
        default="auto",
        metadata={"help": "auto, fp32, bf16 or fp16; auto takes bf16 where the hardware has it."},
    )
    seed: int = field(
        default=0, metadata={"help": "Of row order, dropout and a new classification head."}
    )
    training_args: Mapping[str, Any] = field(
        default_factory=dict, metadata={"help": "Any other field of TrainingArguments."}
    )

    def __post_init__(self) -> None:
        positive = ("epochs", "learning_rate", "batch_size", "max_length")
        faults = _faults_in_numbers(self, positive) + _faults_in_precision(self.precision)
        if faults:
            raise InputError.from_faults("fine-tuning settings", faults)


@dataclass(frozen=True)
class RecoverySettings:
    """The short fine-tuning after the cut."""

    epochs: float = field(
        default=1.0, metadata={"help": "Passes of the recovery after the cut; 0 leaves it out."}
    )

    def __post_init__(self) -> None:
        faults = _faults_in_kinds(self)
        if not faults and self.epochs < 0:
            faults = [f"epochs: expected 0 or more, got {self.epochs}"]
        if faults:
            raise InputError.from_faults("recovery settings", faults)


def _faults_in_kinds(settings: Any) -> list[str]:
    """Fields that are no whole number, number or yes-or-no where one is wanted."""
    return [
        f"{f.name}: expected {_KINDS[str(f.type)][0]}, got {getattr(settings, f.name)!r}"
        for f in fields(settings)
        if not _fits(settings, f.name)
    ]


def _fits(settings: Any, name: str) -> bool:
    kind = next(str(f.type) for f in fields(settings) if f.name == name)
    return kind not in _KINDS or _KINDS[kind][1](getattr(settings, name))


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("a whole number", lambda value: _is_number(value, Integral)),
    "float": ("a number", lambda value: _is_number(value, Real)),
    "bool": ("True or False", lambda value: isinstance(value, bool)),
}


def _faults_in_numbers(settings: Any, positive: tuple[str, ...]) -> list[str]:
    faults = _faults_in_kinds(settings) + [
        f"{name}: expected more than 0, got {getattr(settings, name)}"
        for name in positive
        if _fits(settings, name) and not getattr(settings, name) > 0
    ]
    if hasattr(settings, "seed") and _fits(settings, "seed"):
        faults += _faults_in_seed(settings.seed)
    return faults


def _faults_in_seed(seed: int) -> list[str]:
    # The recovery takes seed + 1, and numpy's generator ends at 2**32 - 1.
    return [] if 0 <= seed < 2**32 - 1 else [f"seed: expected 0 to {2**32 - 2}, got {seed}"]


def _faults_in_precision(precision: str) -> list[str]:
    if precision in get_args(Precision):
        return []
    return [f"precision: expected {_either(Precision)}, got {precision!r}"]


def _either(kind: Any) -> str:
    *most, last = map(str, get_args(kind))
    return f"{', '.join(most)} or {last}" if most else last
