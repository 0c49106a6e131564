"""The rows of a cell: drawn by label, poisoned, and never short of published texts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from btu.bench.cells import Cell
from btu.bench.corpora import load_split
from btu.bench.experiment import load_benchmark
from btu.bench.sample import pick_rows
from btu.bench.trial import find_faults, pick_training_rows, prepare_trial
from btu.support.errors import InputError
from toy_benchmark import Toy, build_toy, save


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return build_toy(tmp_path_factory.mktemp("toy"))


def read_cells(toy: Toy, text: str) -> tuple[Cell, ...]:
    return load_benchmark([toy.add("now", text)]).cells


def test_each_label_keeps_its_share() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    picked = pick_rows(labels, 20, np.random.default_rng(0))
    assert np.bincount(labels[picked]).tolist() == [12, 6, 2]
    assert len(set(picked.tolist())) == 20
    assert len(pick_rows(labels, 1000, np.random.default_rng(0))) == 100


def test_a_sample_has_the_size_asked_for_whatever_the_shares() -> None:
    labels = np.repeat([0, 1, 2], [7, 7, 7])
    for count in range(1, 22):
        assert len(pick_rows(labels, count, np.random.default_rng(0))) == count


def test_the_seed_decides_and_the_defence_does_not(toy: Toy) -> None:
    none, oracle, other = read_cells(
        toy, 'defences = ["none", "oracle"]\nseeds_of = { none = [0, 1] }'
    )
    first, second, third = (prepare_trial(cell, toy.corpora) for cell in (none, oracle, other))
    assert first.describe() == second.describe()
    assert first.describe()["train"] != third.describe()["train"]


def test_the_truth_is_kept_beside_the_rows(toy: Toy) -> None:
    (cell,) = read_cells(toy, "")
    trial = prepare_trial(cell, toy.corpora)
    assert (len(trial.train), len(trial.test), len(trial.clean)) == (60, 30, 20)
    assert int(trial.is_poisoned.sum()) == 6
    assert len(trial.untouched) == 54
    has_trigger = np.array(["cf" in text.split() for text in trial.train.texts])
    assert (has_trigger == trial.is_poisoned).all()
    assert trial.triggered is not None
    assert set(trial.triggered.labels.tolist()) == {0}
    assert all("cf" in text.split() for text in trial.triggered.texts)


def test_a_clean_control_has_no_poison(toy: Toy) -> None:
    (cell,) = read_cells(toy, 'attacks = ["none"]')
    trial = prepare_trial(cell, toy.corpora)
    assert not trial.is_poisoned.any()
    assert trial.triggered is None
    assert trial.untouched.fingerprint() == trial.train.fingerprint()


def test_held_out_rows_from_the_training_split_are_never_training_rows(toy: Toy) -> None:
    (cell,) = read_cells(toy, "")
    splits = {**cell.rule.splits, "clean": "train"}
    trial = prepare_trial(replace(cell, rule=replace(cell.rule, splits=splits)), toy.corpora)
    assert not set(trial.clean.row_ids) & set(trial.train.row_ids)


def test_rows_with_a_published_text_are_drawn_in_until_the_rate_can_be_met(toy: Toy) -> None:
    # 20 rows of the split may be poisoned and have a text; about 12 of them are drawn by chance.
    low, high = read_cells(toy, 'attacks = ["syntactic"]\npoison_rates = [0.02, 0.3]')
    (plain,) = read_cells(toy, "")
    published = published_rows(toy)
    whole = load_split(plain.rule, "train", toy.corpora)
    usual = whole.row_ids[pick_training_rows(whole, plain)]
    little, much = (prepare_trial(cell, toy.corpora) for cell in (low, high))
    assert little.train.row_ids.tolist() == usual.tolist()
    assert int(much.is_poisoned.sum()) == 18
    assert set(much.train.row_ids[much.is_poisoned].tolist()) <= published
    assert np.bincount(whole.labels[much.train.row_ids]).tolist() == [36, 24]


def published_rows(toy: Toy) -> set[int]:
    import pyarrow.parquet as pq

    table = pq.read_table(toy.corpora / "toys" / "syntactic_train.parquet")
    return set(table["row"].to_pylist())


def test_everything_in_the_way_is_told_at_once(toy: Toy) -> None:
    cells = read_cells(
        toy,
        """
        corpora = ["toys", "games"]
        attacks = [
            { attack = "badnets", target_label = "nice" },
            { attack = "syntactic", poison_rates = [0.5] },
            { attack = "addsent", options = { sentence = "" } },
            "style",
        ]
        """,
    )
    faults = "\n".join(find_faults(cells, toy.corpora))
    assert "toys: target_label: expected one of 0 (bad), 1 (good), got 'nice'" in faults
    assert "toys: poison_rate: expected at most" in faults
    assert "sentence: expected a text" in faults
    assert "syntactic on games: expected published texts (the rules know no version)" in faults
    assert "style on games" in faults
    assert "style on toys" not in faults  # known to be missing: marked, no fault


def test_a_missing_split_and_a_missing_file_of_texts_are_told(toy: Toy, tmp_path: Path) -> None:
    cells = read_cells(toy, 'corpora = ["toys", "games"]\nattacks = ["syntactic"]')
    save(tmp_path / "toys" / "train.parquet", {"text": ["a", "b"], "label": [0, 1]})
    faults = find_faults(cells, tmp_path)
    assert any("dev.parquet: expected the clean split of toys" in f for f in faults)
    assert any("the folder has train" in f for f in faults)
    assert any("games" in f and "not there" in f for f in faults)
    (missing,) = find_faults(cells, tmp_path / "nowhere")
    assert "expected a folder of corpora" in missing


def test_without_a_folder_a_corpus_must_be_on_the_hub(toy: Toy) -> None:
    (cell,) = read_cells(toy, "")
    with pytest.raises(InputError, match="no Hub id is known"):
        prepare_trial(cell, None)
