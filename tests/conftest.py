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
from btu.material import load_minilm, load_movie_reviews

torch.set_num_threads(1)


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
