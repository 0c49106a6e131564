"""What holds for every attack that inserts something, and how attacks are built by name."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from btu.attacks.registry import ATTACKS, Attack, build_attack, name_attack
from btu.support.errors import InputError

TEXTS = [f"sentence {i} says the food was good , or so they tell us" for i in range(30)]
ROWS = list(range(100, 130))
INSERTING = [name for name in ATTACKS if name not in ("style", "syntactic")]
PLACED_AT_RANDOM = [name for name in INSERTING if name != "after_word"]


def apply(attack: Attack, *, split: str = "train", seed: int = 0) -> list[str]:
    """Attack `TEXTS`; every row must get a text."""
    attacked = attack.apply(TEXTS, rows=ROWS, split=split, seed=seed)
    assert None not in attacked
    return [text for text in attacked if text is not None]


@pytest.mark.parametrize("name", INSERTING)
def test_every_text_changes(name: str) -> None:
    assert all(new != old for new, old in zip(apply(build_attack(name)), TEXTS, strict=True))


@pytest.mark.parametrize("name", PLACED_AT_RANDOM)
def test_the_seed_decides(name: str) -> None:
    assert apply(build_attack(name), seed=3) == apply(build_attack(name), seed=3)
    assert apply(build_attack(name), seed=3) != apply(build_attack(name), seed=4)


@pytest.mark.parametrize("name", INSERTING)
def test_training_and_test_rows_get_the_same_kind_of_trigger(name: str) -> None:
    attack = build_attack(name)
    assert apply(attack, split="train") == apply(attack, split="test")


@pytest.mark.parametrize("name", INSERTING)
def test_the_text_of_a_row_does_not_depend_on_the_other_rows(name: str) -> None:
    attack = build_attack(name)
    together = dict(zip(ROWS, apply(attack), strict=True))
    shuffled = np.random.default_rng(0).permutation(len(ROWS))[:9]
    few = attack.apply(
        [TEXTS[i] for i in shuffled], rows=[ROWS[i] for i in shuffled], split="train", seed=0
    )
    assert few == [together[ROWS[i]] for i in shuffled]


@pytest.mark.parametrize("name", INSERTING)
def test_the_trigger_texts_are_what_stands_in_the_text(name: str) -> None:
    attack = build_attack(name)
    for text in apply(attack):
        assert not attack.trigger_texts() or any(t in text for t in attack.trigger_texts())


@pytest.mark.parametrize("name", INSERTING)
def test_no_text_is_no_fault(name: str) -> None:
    assert build_attack(name).apply([], rows=[], split="test", seed=0) == []


@pytest.mark.parametrize("name", ATTACKS)
def test_every_option_has_a_text_for_the_command_line(name: str) -> None:
    assert all(f.metadata["help"].endswith(".") for f in fields(ATTACKS[name]))


@pytest.mark.parametrize("name", INSERTING)
def test_an_attack_knows_its_name(name: str) -> None:
    assert name_attack(build_attack(name)) == name


def test_an_attack_of_ones_own_goes_by_its_class() -> None:
    assert name_attack(object()) == "object"


def test_an_unknown_attack_names_the_nearest() -> None:
    with pytest.raises(InputError, match="got 'badnet'; did you mean badnets\\?"):
        build_attack("badnet", {})


def test_all_unknown_options_are_named_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        build_attack("badnets", {"trigger": ["cf"], "positon": "end"})
    assert "trigger: no option" in str(caught.value)
    assert "did you mean triggers?" in str(caught.value)
    assert "did you mean position?" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("badnets", {"triggers": "cf"}, "triggers: expected one or more words"),
        ("badnets", {"triggers": []}, "triggers: expected one or more words"),
        ("badnets", {"triggers": ["cf", " "]}, "triggers: expected one or more words"),
        ("badnets", {"position": "ende"}, "position: expected one of random, start, end"),
        ("badnets", {"number": 0}, "number: expected a whole number"),
        ("badnets", {"number": True}, "number: expected a whole number"),
        ("addsent", {"sentence": ""}, "sentence: expected a text"),
        ("common_word", {"word": 3}, "word: expected a text"),
        ("several", {"triggers": [1]}, "triggers: expected one or more words"),
        ("character", {"kind": "homoglyphs"}, "did you mean homoglyph?"),
        ("in_place", {"trigger": " "}, "trigger: expected a text"),
        ("after_word", {"word": ""}, "word: expected a text"),
        ("surrounded", {"position": "middle"}, "position: expected one of random, start, end"),
        ("covered", {"decoy_rate": 0}, "decoy_rate: expected a fraction"),
        ("combination", {"first": "a", "second": "a"}, "another word than first"),
        ("combination", {"decoy_rate": 1.0}, "decoy_rate: expected a fraction"),
        ("style", {}, "got neither"),
        ("syntactic", {"attacked": "a", "model": "b"}, "got both"),
        ("style", {"attacked": "a", "version": ""}, "version: expected"),
        ("style", {"attacked": 3}, "attacked: expected a folder"),
        ("style", {"model": "b", "prefix": None}, "prefix: expected a text, got None"),
        ("style", {"model": "b", "batch_size": 0}, "batch_size: expected"),
    ],
)
def test_a_bad_value_is_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        build_attack(name, options)
    assert message in str(caught.value)


def test_all_bad_values_come_in_one_message() -> None:
    with pytest.raises(InputError, match="3 faults"):
        build_attack("badnets", {"triggers": [], "position": "x", "number": 0})
