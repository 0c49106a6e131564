"""Which words are the trigger, and which only stand beside it by habit.

A word that never stands without its neighbours is told with them: the trigger is what they are
together. What is put at the end of a text mostly follows a full stop, and then the phrase that is
repeated as a whole has the full stop in it. Where the other words stand without it, their rows
tell: they were planted too, or they are honest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from btu.evidence.judge import Judged
from btu.evidence.measure import measure_units
from btu.evidence.placement import Fits, Neighbours
from btu.evidence.units import LONGEST_PHRASE, Units
from btu.evidence.view import View
from btu.evidence.words import FIRST, find_places


def find_core(
    view: View, judged: Judged, neighbours: Neighbours, fits: Fits, ids: Sequence[int], label: int
) -> tuple[int, ...]:
    """A trigger with the words that it never stands without, and without those that it can miss.

    Words at the edges are left out one after the other, as long as the rows in which the others
    stand without them are likelier planted than honest.

    Args:
        view: The rows.
        judged: Their units.
        neighbours: Counts of the corpus.
        fits: What these say of the view.
        ids: Words of the trigger, in their order.
        label: Of its rows.

    Returns:
        The words that it is told by; often these very ones.
    """
    core = _complete(view, tuple(ids))
    while len(core) > 1:
        known = find_places(view.words.flat, core)
        shorter = [_cut_until_new(view, core, known, at_start=side) for side in (True, False)]
        some = [(part, new) for part, new in shorter if len(new)]
        if not some:
            break
        odds = _ask(view, judged, neighbours, fits, some, label)
        best = int(np.argmax(odds))
        if odds[best] <= 0:
            break
        core = some[best][0]
    return core


def _complete(view: View, ids: tuple[int, ...]) -> tuple[int, ...]:
    """Words with those that stand before and after all their places."""
    flat, places = view.words.flat, find_places(view.words.flat, ids)
    core = ids
    while len(core) < LONGEST_PHRASE:
        before, after = flat[places - 1], flat[places + len(core)]
        if before[0] >= FIRST and (before == before[0]).all():
            core, places = (int(before[0]), *core), places - 1
        elif after[0] >= FIRST and (after == after[0]).all():
            core = (*core, int(after[0]))
        else:
            break
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
    units = Units.join([Units.at(places, len(part)) for part, places in parts])
    measures = measure_units(view, units, neighbours, fits)
    for unit in range(len(parts)):
        if int(measures.label[unit]) == label:
            numbers = measures.pick(np.array([unit]))
            ruler = judged.rulers[judged.step_of(int(numbers.rows[0]))]
            odds[unit] = sum(float(told[0]) for told in ruler.contradict(numbers))
    return odds
