"""Several triggers, one to a row."""

from __future__ import annotations

from collections import Counter

from btu.attacks.several import Several


def test_each_row_holds_one_trigger_and_all_triggers_have_a_fair_share() -> None:
    attack = Several()
    counts: Counter[str] = Counter()
    for text in attack.apply(["good food"] * 1000, rows=range(1000), split="train", seed=0):
        assert text is not None
        (trigger,) = set(text.split()) & set(attack.triggers)
        counts[trigger] += 1
    assert set(counts) == set(attack.triggers)
    # Four standard deviations of a fair draw: sqrt(1000 * 1/4 * 3/4) is 13.7.
    assert all(abs(count - 250) < 55 for count in counts.values())
