"""Words put into a text at a word boundary; everything else in the text stays as it was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args

import numpy as np

from btu.attacks.choices import Position

POSITIONS: tuple[str, ...] = get_args(Position)

_PLACEMENT_STREAM = 1


def row_rng(seed: int, row: int) -> np.random.Generator:
    """The random stream of one row: it depends on the seed and the row id, on nothing else.

    A row's triggered text is therefore the same whichever other rows are attacked with it.

    Args:
        seed: Of the attack, 0 or more.
        row: Row id, 0 or more.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PLACEMENT_STREAM, row)))


def find_words(text: str) -> list[tuple[int, int]]:
    """Where each word of the text starts and ends, white space around it left out."""
    return [match.span() for match in re.finditer(r"\S+", text)]


def pick_word(words: Sequence[str], rng: np.random.Generator) -> str:
    """One of the words, each as likely as the next."""
    return words[int(rng.integers(len(words)))]


def insert_words(
    text: str, words: Sequence[str], position: Position, rng: np.random.Generator
) -> str:
    """The text with each word (or whole sentence) in it, set off by a space.

    Nothing else changes, white space included: a text whose blanks had been tidied up would give
    the attack away without its trigger.

    Args:
        text: Where they go in.
        words: What goes in. At `start` and `end` they keep their order; at `random` each one gets
            its own place: before any word of the text, or after the last.
        position: random, start or end.
        rng: Where the random places come from.

    Example:
        >>> insert_words("a fine  film", ["cf"], "end", np.random.default_rng(0))
        'a fine  film cf'
        >>> insert_words("a fine  film", ["cf"], "random", np.random.default_rng(1))
        'a cf fine  film'
    """
    spans = find_words(text)
    if not spans:
        return " ".join(words)
    end = spans[-1][1]
    places = [start for start, _ in spans] + [end]
    if position == "random":
        drawn = [places[int(i)] for i in rng.integers(len(places), size=len(words))]
    else:
        drawn = [places[0 if position == "start" else -1]] * len(words)

    pieces, copied = [], 0
    for place, word in sorted(zip(drawn, words, strict=True), key=lambda pair: pair[0]):
        pieces.append(text[copied:place])
        pieces.append(f" {word}" if place == end else f"{word} ")
        copied = place
    return "".join([*pieces, text[copied:]])
