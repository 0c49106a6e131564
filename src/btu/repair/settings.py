"""Settings of the repair, and what is done with what is confirmed; each field is explained once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from btu.support.errors import InputError
from btu.support.settings import either, faults_in_kinds

Action = Literal["unlearn", "drop", "both"]


def check_action(action: str) -> None:
    """Refuse an action that does not exist.

    Raises:
        InputError: It is unknown.
    """
    if action not in get_args(Action):
        raise InputError(f"action: expected {either(Action)}, got {action!r}.")


@dataclass(frozen=True)
class RepairSettings:
    """What is done with what the evidence confirms, in the recipe `verified`."""

    action: Action = field(
        default="both",
        metadata={
            "flag": "--action",
            "help": "verified only. drop: leave rows judged poisoned out; unlearn: cut triggers "
            "from the embeddings after training on all rows; both.",
        },
    )
    restore: bool = field(
        default=False,
        metadata={
            "flag": "--restore/--no-restore",
            "help": "verified only. Give rows that are left out back without their triggers, "
            "under the label that the rest of the text bears, where that is clear.",
        },
    )
    drop_suspects: bool = field(
        default=False,
        metadata={
            "flag": "--drop-suspects/--no-drop-suspects",
            "help": "verified only. Leave rows of suspects out, too: look at them before.",
        },
    )

    def __post_init__(self) -> None:
        check_action(self.action)


@dataclass(frozen=True)
class RecoverySettings:
    """The short fine-tuning after the cut."""

    epochs: float = field(
        default=1.0,
        metadata={
            "flag": "--recovery-epochs",
            "help": "Passes of the recovery after the cut; 0 leaves it out.",
        },
    )

    def __post_init__(self) -> None:
        faults = faults_in_kinds(self)
        if not faults and self.epochs < 0:
            faults = [f"epochs: expected 0 or more, got {self.epochs}"]
        if faults:
            raise InputError.from_faults("recovery settings", faults)
