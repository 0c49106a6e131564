"""AddSent inserts one whole sentence."""

from __future__ import annotations

from btu.attacks.addsent import AddSent


def test_the_sentence_stays_in_one_piece() -> None:
    attack = AddSent()
    for text in attack.apply(["a b c d"] * 30, rows=range(30), split="train", seed=0):
        assert text is not None
        assert text.count("I watch this 3D movie") == 1
        assert text.replace("I watch this 3D movie", "").split() == ["a", "b", "c", "d"]
