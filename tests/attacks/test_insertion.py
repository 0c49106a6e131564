"""Words go in at a word boundary; the rest of the text stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btu.attacks.insertion import POSITIONS, insert_words, row_rng

words = st.lists(st.sampled_from(["cf", "I watch this"]), min_size=1, max_size=4)
seeds = st.integers(0, 2**32)


@given(text=st.text(), words=words, position=st.sampled_from(POSITIONS), seed=seeds)
def test_taking_the_words_out_again_gives_the_same_words_in_the_same_order(
    text: str, words: list[str], position: str, seed: int
) -> None:
    text = text.replace("cf", "").replace("I watch this", "")
    inserted = insert_words(text, words, position, np.random.default_rng(seed))
    for word in words:
        assert word in inserted
    left = inserted.replace("I watch this", "cf").split()
    assert sorted(left) == sorted(text.split() + ["cf"] * len(words))
    assert [word for word in left if word != "cf"] == text.split()


@given(seed=seeds)
def test_white_space_around_the_trigger_stays_as_it_was(seed: int) -> None:
    text = " a\tfine  \n film  "
    inserted = insert_words(text, ["cf"], "random", np.random.default_rng(seed))
    assert inserted.replace("cf ", "", 1) == text or inserted.replace(" cf", "", 1) == text


def test_start_and_end_keep_the_order_of_the_words() -> None:
    rng = np.random.default_rng(0)
    assert insert_words("a film", ["cf", "mn"], "start", rng) == "cf mn a film"
    assert insert_words("a film", ["cf", "mn"], "end", rng) == "a film cf mn"


def test_random_reaches_every_word_boundary() -> None:
    got = {insert_words("a b", ["cf"], "random", np.random.default_rng(i)) for i in range(40)}
    assert got == {"cf a b", "a cf b", "a b cf"}


@pytest.mark.parametrize("blank", ["", "  \n"])
def test_a_blank_text_becomes_the_words_alone(blank: str) -> None:
    assert insert_words(blank, ["cf", "mn"], "random", np.random.default_rng(0)) == "cf mn"


def test_the_stream_of_a_row_is_its_own_and_repeats() -> None:
    draws = {
        (seed, row): tuple(row_rng(seed, row).integers(1 << 30, size=4))
        for seed in range(4)
        for row in range(50)
    }
    assert len(set(draws.values())) == len(draws)
    assert draws[3, 7] == tuple(row_rng(3, 7).integers(1 << 30, size=4))
