"""Clean accuracy, attack success rate, detection precision and recall, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CHUNK = 100


def measure_accuracy(predicted: ArrayLike, labels: ArrayLike) -> float:
    """Share of rows whose predicted label is the true one, in [0, 1].

    Args:
        predicted: Label ids, shape (N,).
        labels: True label ids, shape (N,).

    Raises:
        ValueError: No rows, or different lengths.

    Example:
        >>> measure_accuracy([0, 1, 1, 1], [0, 1, 0, 1])
        0.75
    """
    predicted, labels = _same_length(predicted, labels)
    return float(np.mean(predicted == labels))


def measure_attack_success_rate(
    predicted: ArrayLike, labels: ArrayLike, target_label: int
) -> float:
    """Share of triggered rows that get the target label, in [0, 1].

    Rows whose true label already is the target never count: a model that answers them with the
    target is right, not attacked.

    Args:
        predicted: Label ids that the model gave the triggered rows, shape (N,).
        labels: True label ids of the rows before the trigger came in, shape (N,).
        target_label: The attacker's label id.

    Raises:
        ValueError: No row has another true label than the target.

    Example:
        >>> measure_attack_success_rate([1, 1, 0], labels=[1, 0, 0], target_label=1)
        0.5
    """
    predicted, labels = _same_length(predicted, labels)
    others = labels != target_label
    if not others.any():
        raise ValueError("Expected rows whose true label is not the target label, got none.")
    return float(np.mean(predicted[others] == target_label))


@dataclass(frozen=True)
class Detection:
    """How well flags match the truth.

    Attributes:
        flagged: Rows (or tokens) that were flagged.
        poisoned: Those that truly are poisoned.
        hits: Those that are both.
        rows: All of them.
    """

    flagged: int
    poisoned: int
    hits: int
    rows: int

    @property
    def precision(self) -> float | None:
        """Share of the flagged that is poisoned; None where nothing was flagged."""
        return self.hits / self.flagged if self.flagged else None

    @property
    def recall(self) -> float | None:
        """Share of the poisoned that was flagged; None where nothing is poisoned."""
        return self.hits / self.poisoned if self.poisoned else None

    @property
    def false_alarm_rate(self) -> float | None:
        """Share of the clean that was flagged; None where nothing is clean."""
        clean = self.rows - self.poisoned
        return (self.flagged - self.hits) / clean if clean else None


def measure_detection(flagged: ArrayLike, poisoned: ArrayLike) -> Detection:
    """Compare flags with the truth.

    Args:
        flagged: What the defence says, bool, shape (N,).
        poisoned: What is true, bool, shape (N,).

    Example:
        >>> measure_detection([True, True, False], [True, False, False]).precision
        0.5
    """
    flags, truth = (np.asarray(x, dtype=bool) for x in _same_length(flagged, poisoned))
    return Detection(
        flagged=int(flags.sum()),
        poisoned=int(truth.sum()),
        hits=int((flags & truth).sum()),
        rows=len(flags),
    )


def measure_interval(
    values: Sequence[float], *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap percentile interval of a mean.

    Args:
        values: One number a seed or row, shape (N,).
        confidence: Coverage in (0, 1).
        resamples: How many bootstrap samples.
        seed: Of the resampling.

    Returns:
        Lower and upper end; both are the value itself where there is only one.

    Raises:
        ValueError: No values.
    """
    sample = np.asarray(values, dtype=float)
    if not len(sample):
        raise ValueError("Expected at least one value, got none.")
    rng = np.random.default_rng(seed)
    # A few resamples at a time: memory stays small for any number of rows.
    means = np.concatenate(
        [
            rng.choice(sample, size=(min(_CHUNK, resamples - start), len(sample))).mean(axis=1)
            for start in range(0, resamples, _CHUNK)
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Evaluation:
    """What a model does on held-out rows; fractions in [0, 1].

    Attributes:
        rows: Clean rows tested.
        clean_accuracy: Share answered with their true label.
        clean_accuracy_interval: Its 95 % bootstrap interval over rows.
        triggered_rows: Rows whose true label is not the target, tested with the trigger in them.
        attack_success_rate: Share of those that got the target label; None without a trigger.
        attack_success_rate_interval: Its 95 % bootstrap interval over rows.
        trigger: What was inserted.
        target_label: Name of the attacker's label.
        recognised_clean_rows: Clean rows in which the model's guard sees a confirmed trigger; None
            where no record stands beside the model.
        recognised_triggered_rows: The same among the triggered rows.
    """

    rows: int
    clean_accuracy: float
    clean_accuracy_interval: tuple[float, float]
    triggered_rows: int = 0
    attack_success_rate: float | None = None
    attack_success_rate_interval: tuple[float, float] | None = None
    trigger: str | None = None
    target_label: str | None = None
    recognised_clean_rows: int | None = None
    recognised_triggered_rows: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON types."""
        return asdict(self)


def _same_length(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    first, second = np.asarray(a), np.asarray(b)
    if len(first) != len(second) or not len(first):
        raise ValueError(
            f"Expected two non-empty lists of one length, got {len(first)} and {len(second)}."
        )
    return first, second
