"""Drift against numpy, and which rows count as the ones that moved most."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from btu.model.drift import count_share, measure_drift, pick_most_moved
from btu.model.frequency import count_by_frequency


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_drift_is_the_euclidean_distance_of_each_row(dtype):
    before, after = (torch.randn(50, 16).to(dtype) for _ in range(2))
    drift = measure_drift(before, after)
    moved = after.double().numpy() - before.double().numpy()
    assert drift.dtype == torch.float32
    np.testing.assert_allclose(drift.numpy(), np.linalg.norm(moved, axis=1), rtol=1e-6)


def test_only_the_row_that_moved_has_a_drift():
    before = torch.randn(6, 4)
    after = before.clone()
    after[3, 1] += 2.0
    assert measure_drift(before, after).tolist() == [0, 0, 0, 2, 0, 0]


def test_matrices_of_different_shapes_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"one shape, got .*\[3, 2\].*\[4, 2\]"):
        measure_drift(torch.zeros(3, 2), torch.zeros(4, 2))


@settings(deadline=None)
@given(
    drift=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), max_size=60),
    count=st.integers(-1, 70),
)
def test_the_furthest_come_first_and_equal_ones_by_position(drift, count):
    # By hand: sort pairs of (distance downwards, position upwards), leave out what stood still.
    order = sorted(range(len(drift)), key=lambda i: (-drift[i], i))
    expected = [i for i in order[: max(count, 0)] if drift[i] > 0]
    assert pick_most_moved(torch.tensor(drift), count).tolist() == expected


def test_a_thousand_equal_rows_keep_their_order():
    assert pick_most_moved(torch.ones(1000), 400).tolist() == list(range(400))


@pytest.mark.parametrize("count", [0, -1])
def test_no_row_or_fewer_picks_none(count):
    assert pick_most_moved(torch.tensor([1.0, 2.0, 3.0]), count).tolist() == []


def test_rows_that_stood_still_are_never_picked():
    drift = torch.zeros(100)
    drift[[7, 90]] = torch.tensor([1e-12, 1.0])
    assert pick_most_moved(drift, 50).tolist() == [90, 7]
    assert pick_most_moved(torch.zeros(100), 50).tolist() == []


@pytest.mark.parametrize(
    ("vocabulary_size", "count"),
    [(30522, 15), (28996, 14), (50257, 25), (250_002, 125), (119_547, 60), (900, 1), (1, 1)],
)
def test_the_share_follows_the_vocabulary_and_is_at_least_one_token(vocabulary_size, count):
    assert count_share(0.0005, vocabulary_size) == count


def test_the_whole_vocabulary_is_a_share():
    assert count_share(1, 30522) == 30522


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_share_outside_zero_to_one_is_refused(share):
    with pytest.raises(ValueError, match=rf"\(0, 1\], got {share}"):
        count_share(share, 100)


def test_the_histogram_counts_every_token_that_was_seen_once():
    rng = np.random.default_rng(0)
    drift, rows = rng.exponential(size=500), rng.integers(1, 300, size=500)
    drift[:20], drift[20:25] = np.nan, 0.0
    found = count_by_frequency(drift, rows, bins=12)
    counts = np.array(found["counts"])
    assert counts.sum() == 480
    # numpy's searchsorted, token by token
    edges, powers = np.array(found["drift_edges"]), np.array(found["rows_edges"])
    by_hand = np.zeros_like(counts)
    for moved, held in zip(drift[20:], rows[20:], strict=True):
        column = min(max(np.searchsorted(edges, moved, side="right") - 1, 0), 11)
        by_hand[np.searchsorted(powers, held, side="right") - 1, column] += 1
    assert counts.tolist() == by_hand.tolist()
    assert powers[-1] > rows.max()


def test_the_histogram_of_no_tokens_is_empty():
    assert np.sum(count_by_frequency([np.nan], [3])["counts"]) == 0
