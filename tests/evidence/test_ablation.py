"""What is left out for a while is back afterwards, and is missed while it is away."""

import pytest

from btu.bench.census.ablation import ABLATIONS, leave_out
from btu.evidence import judge, search
from evidence.texts import plant, read, write_rows


def read_questions():
    asked = judge.Compared
    return asked.places, asked.label, asked.content, asked.length


@pytest.mark.parametrize("name", ABLATIONS)
def test_what_is_left_out_is_back_afterwards(name):
    before = read_questions()
    others = (search.find_units, search.FURTHER)
    with leave_out(name):
        now = read_questions()
        assert (now, search.find_units, search.FURTHER) != (before, *others)
    assert before == read_questions()
    assert others == (search.find_units, search.FURTHER)


def test_a_word_is_less_sure_without_what_its_rows_say():
    rows, _ = plant(write_rows(800), "cf", 40)
    (sure,) = [t for t in read(rows).tests if t.name == "cf"]
    with leave_out("content"):
        left = [t for t in read(rows).tests if t.name == "cf"]
    assert all(t.false_alarms > 10 * sure.false_alarms for t in left)
