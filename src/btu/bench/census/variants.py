"""Clean corpora with other labels: what is found in them is a false alarm all the more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

CLEAN = "clean"

_WRONG_SHARE = 0.1
_STREAM = 3

Labels = NDArray[np.int64]


def change_labels(labels: Labels, num_labels: int, variant: str, seed: int) -> Labels:
    """The labels of a variant.

    Args:
        labels: As they are, shape (N,).
        num_labels: K.
        variant: Key of `VARIANTS`.
        seed: Of what is drawn.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM,)))
    return VARIANTS[variant](labels, num_labels, rng)


def _keep(labels: Labels, num_labels: int, rng: np.random.Generator) -> Labels:
    return labels


def _deal_anew(labels: Labels, num_labels: int, rng: np.random.Generator) -> Labels:
    """All labels in another order: no word has to do with any."""
    return rng.permutation(labels)


def _make_wrong(labels: Labels, num_labels: int, rng: np.random.Generator) -> Labels:
    """A tenth of the rows with another label, each of the others as likely."""
    wrong = rng.permutation(len(labels))[: round(_WRONG_SHARE * len(labels))]
    changed = labels.copy()
    changed[wrong] = (labels[wrong] + rng.integers(1, num_labels, size=len(wrong))) % num_labels
    return changed


VARIANTS: dict[str, Callable[[Labels, int, np.random.Generator], Labels]] = {
    CLEAN: _keep,
    "dealt-anew": _deal_anew,
    "tenth-wrong": _make_wrong,
}
