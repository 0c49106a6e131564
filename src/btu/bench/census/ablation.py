"""The evidence without one of its questions or kinds of candidates, to see what each is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btu.evidence import judge, search, units
from btu.evidence.further import FURTHER


def _say_nothing(compared: Any, part: float) -> NDArray[np.float64]:
    return np.zeros(len(compared.units.rows))


def _place_nowhere(
    compared: Any, part: float, most_of_edges: float = np.inf
) -> list[NDArray[np.float64]]:
    return [np.zeros(len(compared.units.rows))]


def _place_anywhere(
    compared: Any, part: float, most_of_edges: float = np.inf
) -> list[NDArray[np.float64]]:
    return _PLACES(compared, part, most_of_edges)[:1]


def _find_words(*args: Any, **options: Any) -> units.Units:
    return _FIND_UNITS(*args, **options, longest=1)


_PLACES = judge.Compared.places
_FIND_UNITS = units.find_units

ABLATIONS: dict[str, tuple[str, Any, str, Any]] = {
    "placement": ("where it stands", judge.Compared, "places", _place_nowhere),
    "edges": ("starts and ends of texts", judge.Compared, "places", _place_anywhere),
    "label": ("the label", judge.Compared, "label", _say_nothing),
    "content": ("what the rows say", judge.Compared, "content", _say_nothing),
    "length": ("how long they are", judge.Compared, "length", _say_nothing),
    "phrases": ("phrases", search, "find_units", _find_words),
    **{
        one.name: (one.title, search, "FURTHER", tuple(f for f in FURTHER if f is not one))
        for one in FURTHER
    },
}
"""What is taken away, by name: what it is, and what stands in its place."""


@contextmanager
def leave_out(name: str) -> Iterator[None]:
    """The evidence without something, for a while.

    Args:
        name: Key of `ABLATIONS`.
    """
    _, owner, attribute, stand_in = ABLATIONS[name]
    kept = getattr(owner, attribute)
    setattr(owner, attribute, stand_in)
    try:
        yield
    finally:
        setattr(owner, attribute, kept)
