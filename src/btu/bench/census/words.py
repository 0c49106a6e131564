"""Words of a corpus as an attacker picks them: by how frequent they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from btu.support.errors import InputError

Ranks = Mapping[str, int | list[int]]
"""Rank of the word (1 is the most frequent one), or of each word, by option."""


def list_words(texts: Sequence[str]) -> list[str]:
    """Words of letters alone, those of most texts first, in lower case.

    Example:
        >>> list_words(["The plot, the film", "a film"])
        ['film', 'a', 'the']
    """
    rows = Counter(word for text in texts for word in set(text.lower().split()) if word.isalpha())
    return sorted(rows, key=lambda word: (-rows[word], word))


def pick_options(ranks: Ranks, words: Sequence[str]) -> dict[str, str | list[str]]:
    """The options that words of the corpus go into.

    Args:
        ranks: As of `Planting`.
        words: The most frequent first.

    Raises:
        InputError: There are fewer words than that.

    Example:
        >>> pick_options({"first": 1, "triggers": [2, 3]}, ["the", "film", "plot"])
        {'first': 'the', 'triggers': ['film', 'plot']}
    """
    if max(list_ranks(ranks), default=0) > len(words):
        raise InputError(f"ranks: expected at most {len(words)}, the words that there are.")
    return {
        key: [words[r - 1] for r in rank] if isinstance(rank, list) else words[rank - 1]
        for key, rank in ranks.items()
    }


def list_ranks(ranks: Ranks) -> list[int]:
    """All ranks that are asked for."""
    listed = [rank if isinstance(rank, list) else [rank] for rank in ranks.values()]
    return [rank for some in listed for rank in some]
