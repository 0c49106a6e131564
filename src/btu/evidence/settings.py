"""Settings of the evidence, and which method decides; each field is explained once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from btu.support.errors import InputError
from btu.support.settings import either, faults_in_numbers, fits

Recipe = Literal["verified", "paper"]
RECIPE: Recipe = "verified"
RECIPE_HELP = "Which method decides what is suspicious."


def check_recipe(recipe: str) -> None:
    """Refuse a recipe that does not exist.

    Raises:
        InputError: It is unknown.
    """
    if recipe not in get_args(Recipe):
        raise InputError(f"recipe: expected {either(Recipe)}, got {recipe!r}.")


@dataclass(frozen=True)
class EvidenceSettings:
    """How strict the evidence is; `btu.evidence.BARS` holds the numbers behind it."""

    false_alarm_rate: float = field(
        default=0.05,
        metadata={
            "flag": "--false-alarm-rate",
            "help": "False triggers expected in clean data, all searches together.",
        },
    )
    styles: bool = field(
        default=True,
        metadata={
            "flag": "--styles/--no-styles",
            "help": "Look for rows rewritten in a style, where no single word tells.",
        },
    )

    sample_rows: int | None = field(
        default=None,
        metadata={
            "flag": "--sample-rows",
            "help": "Without a model: look for triggers in so many rows drawn from all, then for "
            "their rows in all; all are compared with each other if left out.",
        },
    )

    def __post_init__(self) -> None:
        faults = faults_in_numbers(self, ("sample_rows",) if self.sample_rows is not None else ())
        if fits(self, "false_alarm_rate") and not 0 < self.false_alarm_rate < 1:
            faults.append(
                f"false_alarm_rate: expected above 0 and below 1, got {self.false_alarm_rate}"
            )
        if faults:
            raise InputError.from_faults("evidence settings", faults)


def check_with_model(settings: EvidenceSettings | None) -> None:
    """Refuse what is for scans without a model.

    Args:
        settings: As a scan or a defence was given them.

    Raises:
        InputError: A sample of the rows is asked for.
    """
    if settings is not None and settings.sample_rows is not None:
        raise InputError(
            f"sample_rows: expected none with a model, got {settings.sample_rows}: its encoder "
            "reads all rows. Leave out --model, or --sample-rows."
        )
