"""How the budget is shared among the tests of a scan."""

import numpy as np
import pytest

from btu.evidence.tests import Evidence, Limit, Test
from evidence.texts import make_trigger, name_triggers, plant, read, write_rows

BUDGET = 0.05


def make(name: str, false_alarms: float, **changes) -> Test:
    return make_trigger([name], np.arange(3), false_alarms=false_alarms, **changes)


def judge(*tests: Test, budget: float = BUDGET) -> dict[str, str]:
    evidence = Evidence(tests, 3, budget, {}, Limit(None, None))
    return {test.name: test.verdict for test in evidence.tests}


def test_the_first_trigger_has_the_budget_and_each_further_one_as_much_again():
    alarms = {"a": 0.049, "b": 0.099, "c": 0.149, "d": 0.201, "e": 0.24}
    found = judge(*(make(name, told) for name, told in alarms.items()))
    assert found == {"a": "trigger", "b": "trigger", "c": "trigger", "d": "suspect", "e": "suspect"}


def test_where_nothing_passes_the_budget_nothing_is_found():
    assert set(judge(*(make(name, 0.051) for name in "abcd")).values()) == {"suspect"}


def test_the_order_in_which_they_are_given_does_not_matter():
    tests = [make("a", 0.01), make("b", 0.08), make("c", 0.14), make("d", 0.3)]
    assert judge(*tests) == judge(*reversed(tests))


@pytest.mark.parametrize(
    "changes", [{"kind": "style"}, {"reason": "its source"}, {"is_accepted": True}]
)
def test_what_is_no_trigger_of_its_own_makes_no_room_for_others(changes):
    found = judge(make("a", 0.001, **changes), make("b", 0.08))
    assert found["b"] == "suspect"


def test_a_kind_of_text_has_the_budget_itself():
    found = judge(make("a", 0.001), make("b", 0.08), make("kind", 0.08, kind="style"))
    assert found == {"a": "trigger", "b": "trigger", "kind": "suspect"}


def test_another_budget_is_shared_in_the_same_way():
    evidence = Evidence(
        (make("a", 0.01), make("b", 0.08), make("c", 0.14)), 3, BUDGET, {}, Limit(None, None)
    )
    assert [t.name for t in evidence.triggers] == ["a", "b", "c"]
    assert [t.name for t in evidence.at(0.03).triggers] == ["a"]
    assert evidence.at(0.009).triggers == ()
    assert evidence.at(0.03).at(BUDGET).triggers == evidence.triggers


def test_none_is_a_trigger_beyond_the_bar_for_suspects():
    found = judge(*(make(f"{i}", 0.05 * i) for i in range(1, 14)))
    assert sum(verdict == "trigger" for verdict in found.values()) == 10
    assert {found[f"{i}"] for i in range(11, 14)} == {"innocent"}


def test_a_weak_trigger_is_found_beside_a_sure_one_and_not_alone():
    clean = write_rows(1200)
    weak, _ = plant(clean, "mn", 12, seed=3)
    both, _ = plant(weak, "cf", 60, seed=2)
    alone = next(test for test in read(weak).tests if test.name == "mn").false_alarms
    budget = 0.6 * alone
    assert name_triggers(read(weak, budget=budget)) == []
    assert name_triggers(read(both, budget=budget)) == ["cf", "mn"]
