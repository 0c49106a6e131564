"""Committed results beside what the evidence says of the same rows today."""

import numpy as np
import pytest

from btu.bench.experiment import load_benchmark
from btu.bench.replay import Flags, Replayed, render_replay_page, replay_cells
from btu.bench.trial import prepare_trial
from btu.support.errors import InputError
from toy_benchmark import build_toy


def test_flags_are_counted_against_the_truth():
    named = np.array([True, True, False, True])
    flags = Flags.of(named, np.array([True, False, True, True]))
    assert (flags.poisoned, flags.clean) == (2, 1)
    assert str(flags) == "2 + 1"


def make_replayed(key, *, is_same):
    return Replayed(
        key=key,
        title="badnets 10 %",
        corpus="toy",
        seed=0,
        poisoned=40,
        then=Flags(40, 0),
        now=Flags(40 if is_same else 38, 0),
        suspects=Flags(0, 0),
        is_same=is_same,
    )


def test_the_page_counts_what_stands_and_lists_what_differs():
    page = render_replay_page(
        [make_replayed("main/a", is_same=True), make_replayed("rates/b", is_same=False)]
    )
    assert "Of 2 results 1 stand" in page
    assert "rates: toy, badnets 10 %, seed 0" in page
    assert "38 + 0" in page
    assert "main: toy" not in page
    same = render_replay_page([make_replayed("main/a", is_same=True)])
    assert "All 1 results stand" in same
    assert "suspects now" not in same


@pytest.fixture
def cell(tmp_path):
    toy = build_toy(tmp_path)
    benchmark = load_benchmark([toy.add("ours", 'defences = ["btu-verified"]\n')])
    return toy, benchmark, benchmark.cells[0]


def test_a_result_stands_where_the_same_rows_are_judged_poisoned(cell):
    toy, benchmark, ours = cell
    train = prepare_trial(ours, toy.corpora).train
    result = {
        "status": "ok",
        "data": {"train": {"sha256": train.fingerprint()}},
        "flagged_row_ids": [],
    }
    (found,) = replay_cells(benchmark, {ours.key: result}, corpora=toy.corpora)
    assert found.poisoned == 6  # a tenth of sixty
    assert found.then == Flags(0, 0)
    assert found.is_same == (found.now == Flags(0, 0))
    other = {**result, "flagged_row_ids": train.row_ids[:3].tolist()}
    (changed,) = replay_cells(benchmark, {ours.key: other}, corpora=toy.corpora)
    assert changed.now == found.now
    assert not changed.is_same


def test_other_rows_than_those_of_the_result_are_refused(cell):
    toy, benchmark, ours = cell
    result = {"status": "ok", "data": {"train": {"sha256": "0"}}, "flagged_row_ids": []}
    with pytest.raises(InputError, match="expected the training rows"):
        replay_cells(benchmark, {ours.key: result}, corpora=toy.corpora)
