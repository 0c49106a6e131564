"""Samples of rows: each label in its share, and enough rows that an attack has a text for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STREAMS = {"train": 10, "test": 11, "clean": 12}


def make_rng(seed: int, role: str) -> np.random.Generator:
    """The random stream of one sample: train, test or clean."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAMS[role],)))


def pick_rows(labels: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions of at most `count` rows, each label in its share, in ascending order.

    Args:
        labels: Of all rows, shape (N,).
        count: How many.
        rng: Decides which.
    """
    sizes = _share_out(labels, count)
    orders = _draw_orders(labels, rng)
    return _join({label: order[: sizes[label]] for label, order in orders.items()})


def deal_rows(
    labels: NDArray[np.int64], pieces: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Positions of all rows dealt into pieces, each label in its share, each in ascending order.

    Args:
        labels: Of all rows, shape (N,).
        pieces: How many.
        rng: Decides which.
    """
    order = np.lexsort((rng.random(len(labels)), labels))
    return [np.sort(order[piece::pieces]) for piece in range(pieces)]


def pick_rows_with_texts(
    labels: NDArray[np.int64],
    count: int,
    rng: np.random.Generator,
    *,
    has_text: NDArray[np.bool_],
    eligible: NDArray[np.bool_],
    rate: float,
    of_eligible: bool,
) -> NDArray[np.int64]:
    """As `pick_rows`, but with enough eligible rows that have a text.

    Rows without one give way to rows of the same label with one, last drawn first, and no more of
    them than needed. Where there are too few in all, all of them are in.

    Args:
        labels: Of all rows, shape (N,).
        count: How many rows.
        rng: Decides which; the same rows as `pick_rows` picks where those are enough.
        has_text: Rows that can be attacked, shape (N,), bool.
        eligible: Rows that may be poisoned, by their label alone, shape (N,), bool.
        rate: Share of the rows that is to be poisoned.
        of_eligible: The rate is a share of the eligible rows only.
    """
    sizes, orders = _share_out(labels, count), _draw_orders(labels, rng)
    taken = {label: order[: sizes[label]] for label, order in orders.items()}
    of_rows = sum(len(rows[eligible[rows]] if of_eligible else rows) for rows in taken.values())
    usable = has_text & eligible
    short = round(rate * of_rows) - sum(int(usable[rows].sum()) for rows in taken.values())
    for label, order in orders.items():
        rows, spare = taken[label].copy(), order[sizes[label] :]
        incoming = spare[usable[spare]]
        outgoing = np.flatnonzero(~usable[rows])[::-1]
        swaps = max(0, min(short, len(incoming), len(outgoing)))
        rows[outgoing[:swaps]] = incoming[:swaps]
        taken[label], short = rows, short - swaps
    return _join(taken)


def _draw_orders(
    labels: NDArray[np.int64], rng: np.random.Generator
) -> dict[int, NDArray[np.int64]]:
    """The rows of each label in random order."""
    order = rng.permutation(len(labels))
    return {int(label): order[labels[order] == label] for label in np.unique(labels)}


def _share_out(labels: NDArray[np.int64], count: int) -> dict[int, int]:
    """How many rows of each label: in proportion, the largest remainders rounded up."""
    count = min(count, len(labels))
    names, counts = np.unique(labels, return_counts=True)
    exact = count * counts / len(labels)
    sizes = np.floor(exact).astype(int)
    sizes[np.argsort(sizes - exact, kind="stable")[: count - sizes.sum()]] += 1
    return {int(name): int(size) for name, size in zip(names, sizes, strict=True)}


def _join(rows: dict[int, NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.sort(np.concatenate(list(rows.values())))
