"""What is looked for once no word or phrase is left: one line a kind of candidate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from btu.evidence.measure import Measures
from btu.evidence.pairs import find_pairs
from btu.evidence.placement import Neighbours
from btu.evidence.planting import Planted
from btu.evidence.tests import Test
from btu.evidence.units import Units
from btu.evidence.view import View

Find = Callable[[View, Units, Measures, Neighbours, Planted], list[Test]]
"""Candidates worth a look among the rows of a view that nothing explains yet."""


@dataclass(frozen=True)
class Further:
    """One more kind of candidate.

    Attributes:
        name: As the tables of the census and `--without` call it.
        title: As people read it.
        find: Its candidates, with false alarms as a share of its own part of the budget.
    """

    name: str
    title: str
    find: Find


FURTHER: tuple[Further, ...] = (Further("pairs", "pairs of words", find_pairs),)
"""In the order in which they are asked; what one confirms is taken out before the next is asked."""
