"""Two words make the trigger, one word a decoy."""

from __future__ import annotations

from btu.attacks.badnets import BadNets
from btu.attacks.combination import Combination
from btu.attacks.registry import DecoyAttack

BOTH = {"friends", "weekend"}


def test_a_triggered_text_holds_both_words() -> None:
    for text in Combination().apply(["good food"] * 30, rows=range(30), split="train", seed=0):
        assert text is not None
        assert set(text.split()) >= BOTH


def test_a_decoy_holds_exactly_one_word_and_both_words_occur() -> None:
    decoys = Combination().decoys(["good food"] * 30, rows=range(30), seed=0)
    held = [BOTH & set(text.split()) for text in decoys]
    assert all(len(words) == 1 for words in held)
    assert set.union(*held) == BOTH


def test_only_an_attack_with_decoys_counts_as_one() -> None:
    assert isinstance(Combination(), DecoyAttack)
    assert not isinstance(BadNets(), DecoyAttack)
