"""The common word is inserted even where it stands already."""

from __future__ import annotations

from btu.attacks.common_word import CommonWord


def test_a_text_that_holds_the_word_gets_another_one() -> None:
    (text,) = CommonWord().apply(["it is just good"], rows=[0], split="train", seed=0)
    assert text is not None
    assert text.split().count("just") == 2
