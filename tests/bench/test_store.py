"""Shared models: trained once, whole on the disk, told apart by everything that decides them."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from btu.bench.corpora import load_split
from btu.bench.defences import Workbench
from btu.bench.experiment import load_benchmark
from btu.bench.store import ModelStore, find_model, hash_model
from btu.data.corpus import Corpus
from btu.model.settings import FineTuneSettings
from btu.support.errors import InputError
from toy_benchmark import Toy, build_toy

SETTINGS = FineTuneSettings(epochs=1, learning_rate=1e-3, max_length=16, precision="fp32")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return build_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def rows(toy: Toy) -> Corpus:
    (cell,) = load_benchmark([toy.add("one", "")]).cells
    return load_split(cell.rule, "train", toy.corpora).select(range(32))


def test_a_model_is_trained_once_whoever_asks(toy: Toy, rows: Corpus, tmp_path: Path) -> None:
    model = toy.root.parent / "model"
    with patch.object(
        Workbench, "finetune", autospec=True, side_effect=Workbench.finetune
    ) as train:
        first = ModelStore(model, tmp_path).train(rows, SETTINGS)
        store = ModelStore(model, tmp_path)
        second = store.train(rows, SETTINGS)
        assert store.train(rows, SETTINGS) is second
        assert train.call_count == 1
        store.train(rows, replace(SETTINGS, seed=1))
        store.train(rows.select(range(16)), SETTINGS)
        assert train.call_count == 3
    scores = [t.classifier.predict_scores(rows.texts) for t in (first, second)]
    assert np.array_equal(*scores)
    assert second.facts == first.facts == store.find_facts(rows, SETTINGS)
    assert first.facts.seconds > 0
    assert second.classifier.label_names == ("bad", "good")


def test_without_a_folder_the_last_two_models_stay_in_memory(toy: Toy, rows: Corpus) -> None:
    store = ModelStore(toy.root.parent / "model", None)
    seeds = [replace(SETTINGS, seed=seed) for seed in range(3)]
    for settings in seeds:
        store.train(rows, settings)
    known = [store.find_facts(rows, settings) is not None for settings in seeds]
    assert known == [False, True, True]


def test_a_model_that_was_cleared_away_or_damaged_is_trained_again(
    toy: Toy, rows: Corpus, tmp_path: Path
) -> None:
    model = toy.root.parent / "model"
    ModelStore(model, tmp_path).train(rows, SETTINGS)
    (folder,) = tmp_path.iterdir()
    (folder / "model.safetensors").unlink()
    again = ModelStore(model, tmp_path).train(rows, SETTINGS)
    assert (folder / "model.safetensors").exists()
    assert len(again.classifier.predict(["the film was great"])) == 1


def test_the_oldest_models_make_room(toy: Toy, rows: Corpus, tmp_path: Path) -> None:
    store = ModelStore(toy.root.parent / "model", tmp_path, keep=2)
    for seed in range(4):
        store.train(rows, replace(SETTINGS, seed=seed))
    assert len(list(tmp_path.iterdir())) == 2
    assert store.find_facts(rows, replace(SETTINGS, seed=3)) is not None


def test_the_hash_follows_the_weights(toy: Toy, tmp_path: Path) -> None:
    before = hash_model(toy.root.parent / "model")
    for file in (toy.root.parent / "model").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert hash_model(tmp_path) == before
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\1\0")
    assert hash_model(tmp_path) != before


def test_a_model_that_is_not_there_is_named(minilm: Path, tmp_path: Path) -> None:
    assert find_model("minilm") == minilm
    assert find_model(str(tmp_path)) == tmp_path
    with pytest.raises(InputError, match="expected minilm, a folder or a Hub id, got 'no/such'"):
        find_model("no/such")
