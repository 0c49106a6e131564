"""An adapter that was saved answers as it did, from another folder too."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import btu
from btu.defend import train_plain
from btu.evaluate import load_saved
from btu.model.settings import AdapterSettings, FineTuneSettings
from tiny import FAMILIES, build_tiny

WORDS = [f"w{i}" for i in range(24)]
TEXTS = [f"w{i} w{20 + label}" for i in range(16) for label in range(3)]
SETTINGS = FineTuneSettings(epochs=2, learning_rate=5e-3, precision="fp32", max_length=16)


def save_base(family: str, folder: Path) -> None:
    """A tiny checkpoint as it is without a head, and without a pooler where it had one."""
    model, tokenizer = build_tiny(family, WORDS, num_labels=3)
    model.base_model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    left = {name: value for name, value in weights.items() if "pooler" not in name}
    save_file(left, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_adapter_answers_the_same_from_another_folder(family, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_base(family, Path("base"))
    corpus = btu.load_corpus((TEXTS, [*"abc"] * 16))
    trained = train_plain("base", corpus, SETTINGS, "trying", AdapterSettings(lora=True))
    trained.save(tmp_path / "adapter")
    said = trained.predict_scores(corpus.texts)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    torch.manual_seed(1234)  # a head drawn anew would be another one
    again = load_saved(tmp_path / "adapter", precision="fp32").predict_scores(corpus.texts)
    np.testing.assert_allclose(again, said, atol=1e-6)
