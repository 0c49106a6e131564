"""Every number that decides, in one table; the record and the docs print it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """One deciding number.

    Attributes:
        name: As the record calls it.
        value: The number.
        why: What it decides, and why it is this one.
    """

    name: str
    value: float
    why: str


BUDGET = Bar(
    "budget",
    0.05,
    "False triggers expected in a clean corpus, all searches of a scan together: the usual level.",
)
SUSPECT_RATE = Bar(
    "suspect_rate",
    0.5,
    "Up to so many expected false findings one is worth a look: more likely right than not.",
)
LEAST_ROWS = Bar(
    "least_rows",
    6.0,
    "Rows of a label that a unit must stand in: fewer are not told from chance in any corpus.",
)
EXPLAINED = Bar(
    "explained",
    0.5,
    "A phrase is no unit, and honest words are not learned from a word, where this share of its "
    "places and more lies in a longer phrase that stands more than this share as often: most of "
    "it is that phrase.",
)
LIKE_SHARE = Bar(
    "like_share",
    0.2,
    "A unit is compared with this share of all, those nearest in rows (of very many with some "
    "thousands), and with all within an octave, brought to its size; labels with half of it and "
    "with all that stand in more rows.",
)
PLANTED_SPREAD = Bar(
    "planted_spread",
    0.15,
    "How far planted rows may read from rows of other labels, and stand from planted dummies, "
    "beside chance: victims are an attacker's choice.",
)
POWER = Bar(
    "power",
    0.95,
    "The chance with which the detection limit says that a planted unit would have been found.",
)
PICKED = Bar(
    "picked",
    0.05,
    "The chance that an attacker picks rows by their length, so that the length of the rows says "
    "nothing.",
)
MOST_OF_A_LABEL = Bar(
    "most_of_a_label",
    0.6,
    "A word in rows that keep their label is no trigger where its label would lose more than this "
    "share of its rows: it is what the label means.",
)
UNITS_SHARE = Bar(
    "units_share",
    0.7,
    "Of the budget, for words and phrases: what an attacker mostly puts in.",
)
PAIRS_SHARE = Bar(
    "pairs_share",
    0.1,
    "Of the budget, for pairs of words apart. The rest is for kinds of text.",
)
FLAGGED = Bar(
    "flagged",
    0.5,
    "Rows of a trigger from this chance on to be planted are left out: more likely than not.",
)
SHARES: tuple[Bar, ...] = (UNITS_SHARE, PAIRS_SHARE)
"""How the budget is split; what is left is for kinds of text."""

BARS: tuple[Bar, ...] = (
    BUDGET,
    *SHARES,
    SUSPECT_RATE,
    LEAST_ROWS,
    EXPLAINED,
    LIKE_SHARE,
    PLANTED_SPREAD,
    POWER,
    PICKED,
    MOST_OF_A_LABEL,
    FLAGGED,
)


@contextmanager
def scale_bar(name: str, factor: float) -> Iterator[Bar]:
    """The evidence with one number changed, to measure what hangs on it; not for scans.

    Args:
        name: Of the number.
        factor: What it is multiplied by.

    Raises:
        KeyError: There is no such number.

    Example:
        >>> with scale_bar("least_rows", 2) as bar:
        ...     bar.value
        12.0
    """
    bar = {bar.name: bar for bar in BARS}[name]
    value = bar.value
    object.__setattr__(bar, "value", value * factor)
    try:
        yield bar
    finally:
        object.__setattr__(bar, "value", value)
