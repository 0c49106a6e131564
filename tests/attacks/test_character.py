"""Look-alike letters and invisible characters."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btu.attacks.character import _CYRILLIC_TWINS, ZERO_WIDTH_SPACE, Character


def test_every_twin_is_a_cyrillic_letter_of_the_same_case() -> None:
    for latin, twin in _CYRILLIC_TWINS.items():
        assert unicodedata.name(twin).startswith("CYRILLIC")
        assert latin.isupper() == twin.isupper()


@given(text=st.text(), number=st.integers(1, 3), seed=st.integers(0, 999))
def test_a_homoglyph_changes_at_most_so_many_letters_and_nothing_else(
    text: str, number: int, seed: int
) -> None:
    attack = Character(kind="homoglyph", number=number)
    (attacked,) = attack.apply([text], rows=[0], split="train", seed=seed)
    if attacked is None:
        assert not set(text) & set(_CYRILLIC_TWINS)
        return
    changed = [(old, new) for old, new in zip(text, attacked, strict=True) if old != new]
    assert 1 <= len(changed) <= number
    assert all(_CYRILLIC_TWINS[old] == new for old, new in changed)


@given(text=st.text(), number=st.integers(1, 3), seed=st.integers(0, 999))
def test_a_zero_width_space_goes_inside_a_word(text: str, number: int, seed: int) -> None:
    text = text.replace(ZERO_WIDTH_SPACE, "")
    attack = Character(kind="zero_width", number=number)
    (attacked,) = attack.apply([text], rows=[0], split="train", seed=seed)
    if attacked is None:
        assert all(len(word) < 2 for word in text.split())
        return
    assert attacked.replace(ZERO_WIDTH_SPACE, "") == text
    long_words = sum(len(word) > 1 for word in text.split())
    assert attacked.count(ZERO_WIDTH_SPACE) == min(number, long_words)
    assert all(ZERO_WIDTH_SPACE not in (word[0], word[-1]) for word in attacked.split())


@pytest.mark.parametrize(("kind", "text"), [("homoglyph", "null"), ("zero_width", "a b !")])
def test_a_text_without_a_place_is_left_out(kind: str, text: str) -> None:
    assert Character(kind=kind).apply([text], rows=[0], split="train", seed=0) == [None]
