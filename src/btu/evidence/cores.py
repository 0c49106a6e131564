"""Which words of a phrase are the trigger, and which only stand beside it by habit.

What is put at the end of a text mostly follows a full stop, and then the phrase that is repeated
as a whole has the full stop in it. Where the other words stand without it, their rows tell: they
were planted too, or they are honest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from btu.evidence.judge import Judged
from btu.evidence.measure import measure_units
from btu.evidence.placement import Fits, Neighbours
from btu.evidence.units import Units
from btu.evidence.view import View
from btu.evidence.words import find_places


def find_core(
    view: View, judged: Judged, neighbours: Neighbours, fits: Fits, ids: Sequence[int], label: int
) -> tuple[int, ...]:
    """A trigger phrase without the words at its edges that it does not need.

    One word after the other is left out, as long as the rows in which the others stand without it
    are likelier planted than honest.

    Args:
        view: The rows.
        judged: Their units.
        neighbours: Counts of the corpus.
        fits: What these say of the view.
        ids: Words of the phrase.
        label: Of its rows.

    Returns:
        The words that are left, all of them where none is to be left out.
    """
    core = tuple(ids)
    while len(core) > 1:
        known = find_places(view.words.flat, core)
        shorter = [_cut_until_new(view, core, known, at_start=side) for side in (True, False)]
        some = [(part, new) for part, new in shorter if len(new)]
        odds = _ask(view, judged, neighbours, fits, some, label)
        best = max(range(len(some)), key=odds.__getitem__, default=0)
        if not some or odds[best] <= 0:
            break
        core = some[best][0]
    return core


def _cut_until_new(
    view: View, core: tuple[int, ...], known: NDArray[np.int64], *, at_start: bool
) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    """A phrase with as many words less at one side as give it new places, and these."""
    part, shift = core, 0
    new = np.zeros(0, dtype=np.int64)
    while len(part) > 1 and not len(new):
        part = part[1:] if at_start else part[:-1]
        shift += at_start
        new = np.setdiff1d(find_places(view.words.flat, part), known + shift)
    return part, new


def _ask(
    view: View,
    judged: Judged,
    neighbours: Neighbours,
    fits: Fits,
    parts: Sequence[tuple[Sequence[int], NDArray[np.int64]]],
    label: int,
) -> list[float]:
    """How much likelier the rows of some places are planted than honest, of each of some parts."""
    odds = [-np.inf] * len(parts)
    if not parts:
        return odds
    units = Units.join([Units.at(places, len(part)) for part, places in parts])
    measures = measure_units(view, units, neighbours, fits)
    for unit in range(len(parts)):
        if int(measures.label[unit]) == label:
            numbers = measures.pick(np.array([unit]))
            ruler = judged.rulers[judged.step_of(int(numbers.rows[0]))]
            odds[unit] = sum(float(told[0]) for told in ruler.contradict(numbers))
    return odds
