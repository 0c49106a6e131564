"""What unlearning overwrites, what it leaves, and that every edit can be undone to the bit."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from btu.repair.unlearn import RowEdit, measure_mean_change, undo_edits, unlearn_rows

NEUTRAL = torch.tensor([10.0, 20.0, 30.0, 40.0])
BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}


def same_bits(one, other):
    """Equal to the last bit; unlike ==, tells 0.0 from -0.0."""
    return torch.equal(one.view(BITS[one.dtype]), other.view(BITS[other.dtype]))


def unlearn(weight, before, token_ids, **options):
    """With the rows taken from the whole earlier matrix."""
    return unlearn_rows(
        weight, before[list(token_ids)], token_ids, **{"neutral": NEUTRAL, **options}
    )


# ---- the threshold


def test_the_mean_change_is_the_mean_over_the_dimensions_of_rows_that_moved():
    before, after = torch.randn(2, 40, 8)
    change = np.abs(after.numpy() - before.numpy())
    assert measure_mean_change(before, after) == pytest.approx(change.mean(), rel=1e-6)


def test_rows_that_never_moved_do_not_drag_the_mean_change():
    before, after = torch.randn(2, 5, 8)
    absent = torch.randn(10_000, 8)
    alone = measure_mean_change(before, after)
    among_others = measure_mean_change(torch.cat([absent, before]), torch.cat([absent, after]))
    assert among_others == alone > 0


def test_still_dimensions_of_a_moved_row_count_in_the_mean_change():
    assert measure_mean_change(torch.zeros(2, 4), torch.tensor([[4.0, 0, 0, 0], [0] * 4])) == 1.0


def test_where_nothing_moved_the_mean_change_is_zero():
    assert measure_mean_change(torch.ones(3, 2), torch.ones(3, 2)) == 0.0


# ---- what is overwritten


def test_only_dimensions_beyond_the_threshold_take_the_neutral_value():
    before = torch.zeros(3, 4)
    weight = torch.tensor([[9.0, 9, 9, 9], [0.5, -0.6, 0.4, 0.0], [9, 9, 9, 9]])
    edits = unlearn(weight, before, [1], threshold=0.5)
    # 0.5 is not beyond 0.5; -0.6 is; what did not change keeps its value.
    expected = torch.tensor([[9.0, 9, 9, 9], [0.5, 20.0, 0.4, 0.0], [9, 9, 9, 9]])
    assert torch.equal(weight, expected)
    assert [edit.dimensions for edit in edits] == [(1,)]


def test_a_dimension_that_did_not_change_keeps_its_value_even_at_threshold_zero():
    before = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    weight = torch.tensor([[1.0, 2.5, 3.0, 4.0]])
    unlearn(weight, before, [0], threshold=0.0)
    assert weight.tolist() == [[1.0, 20.0, 3.0, 4.0]]


def test_an_edit_says_what_stood_there_and_both_norms():
    before, weight = torch.zeros(2, 4), torch.tensor([[0.0] * 4, [3.0, 0.0, 4.0, 0.0]])
    (edit,) = unlearn(weight, before, [1], threshold=3.5)
    assert edit == RowEdit(
        token_id=1,
        dimensions=(2,),
        values_before=(4.0,),
        norm_before=5.0,
        norm_after=pytest.approx(np.hypot(3, 30), rel=1e-6),
    )


def test_a_row_without_a_dimension_beyond_the_threshold_gives_no_edit():
    before = torch.zeros(2, 4)
    weight = torch.tensor([[0.1] * 4, [1.0] * 4])
    edits = unlearn(weight, before, [0, 1], threshold=0.5)
    assert [edit.token_id for edit in edits] == [1]
    assert weight[0].tolist() == pytest.approx([0.1] * 4)


def test_the_order_of_the_tokens_does_not_matter():
    before, after = torch.randn(2, 30, 4)
    token_ids, results = [3, 17, 8, 25, 4], []
    for order in (token_ids, token_ids[::-1], sorted(token_ids)):
        weight = after.clone()
        edits = unlearn(weight, before, order, threshold=0.5)
        assert [edit.token_id for edit in edits] == order
        results.append((weight, {edit.token_id: edit for edit in edits}))
    for weight, edits in results[1:]:
        assert same_bits(weight, results[0][0])
        assert edits == results[0][1]


def test_rows_that_are_not_named_stay_to_the_bit():
    before, after = torch.randn(2, 30, 4)
    weight = after.clone()
    unlearn(weight, before, [5, 6], threshold=0.1)
    others = [i for i in range(30) if i not in (5, 6)]
    assert same_bits(weight[others], after[others])
    assert not torch.equal(weight[5], after[5])


def test_a_parameter_that_learns_is_edited_in_place_and_still_learns():
    before, after = torch.randn(2, 3, 4)
    weight = nn.Parameter(after.clone())
    unlearn(weight, before, [1], threshold=0.0)
    assert weight[1].tolist() == NEUTRAL.tolist()
    assert weight.requires_grad
    assert weight.is_leaf


# ---- the way back


@st.composite
def matrices(draw):
    dtype = draw(st.sampled_from(list(BITS)))
    # float16 tops at 65504; an overflow to infinity would not be a weight.
    numbers = st.floats(-60_000, 60_000, width=32)
    rows = draw(st.integers(1, 6))
    matrix = st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=rows, max_size=rows).map(
        lambda values: torch.tensor(values).to(dtype)
    )
    token_ids = st.lists(st.integers(0, rows - 1), max_size=8)
    return draw(matrix), draw(matrix), draw(token_ids), draw(st.floats(0, 10))


@settings(deadline=None)
@given(matrices())
def test_undo_restores_every_bit_also_through_json_and_when_a_token_is_named_twice(drawn):
    before, after, token_ids, threshold = drawn
    weight = after.clone()
    edits = unlearn(weight, before, token_ids, threshold=threshold)
    stored = json.dumps([edit.to_dict() for edit in edits])
    assert tuple(RowEdit.from_dict(edit) for edit in json.loads(stored)) == edits
    undo_edits(weight, map(RowEdit.from_dict, json.loads(stored)))
    assert same_bits(weight, after)


def test_undo_restores_two_cuts_of_one_row_in_reverse():
    before, after = torch.zeros(1, 4), torch.tensor([[1.0, 5.0, 0.0, 0.0]])
    weight = after.clone()
    first = unlearn(weight, before, [0], threshold=3.0)
    second = unlearn(weight, before, [0], threshold=0.5)
    assert [edit.dimensions for edit in first + second] == [(1,), (0, 1)]
    undo_edits(weight, second)
    assert weight.tolist() == [[1.0, 20.0, 0.0, 0.0]]
    undo_edits(weight, first)
    assert same_bits(weight, after)
