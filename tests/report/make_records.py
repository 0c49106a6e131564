"""Writes the committed records that the views are tested on: `python tests/report/make_records.py`.

A tiny model learns to read made-up reviews, which are then poisoned; nothing in it comes from a
published corpus.
"""

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import btu
from btu.data.writers import write_rows
from btu.evaluate import evaluate_defence
from btu.model.finetune import Classifier, finetune
from btu.model.material import load_material
from btu.model.tokens import tokenize_corpus
from btu.report.record import build_reported
from btu.support.record import write_record
from planted import (
    FINETUNE,
    MAX_LENGTH,
    PROBES,
    TARGET,
    TRIGGER,
    WORDS,
    poison_reviews,
    write_reviews,
)
from tiny import build_tiny

RECORDS = Path(__file__).parent / "records"
MODEL = "tiny-bert"


def main() -> None:
    RECORDS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        model, tokenizer = build_tiny("bert", WORDS)
        rows = tokenize_corpus(write_reviews(800, seed=1), tokenizer, max_length=MAX_LENGTH)
        finetune(model, tokenizer, rows, settings=replace(FINETUNE, epochs=12))
        model.base_model.save_pretrained(MODEL)
        tokenizer.save_pretrained(MODEL)
        clean, held_out = write_reviews(400, seed=4), write_reviews(200, seed=5)
        poisoned = poison_reviews(clean, TRIGGER, poison_rate=0.1).corpus
        for name, corpus in {"clean": clean, "poisoned": poisoned}.items():
            labels = [corpus.label_names[i] for i in corpus.labels]
            write_rows(f"{name}.csv", {"text": list(corpus.texts), "label": labels})
        options = {"settings": PROBES, "max_length": MAX_LENGTH}
        keep("poisoned-scan", btu.scan(MODEL, "poisoned.csv", **options))
        keep("clean-scan", btu.scan(MODEL, "clean.csv", **options))
        keep("paper-scan", btu.scan(MODEL, "poisoned.csv", recipe="paper", **options))
        defence = btu.defend(MODEL, "poisoned.csv", settings=FINETUNE, probe_settings=PROBES)
        material = load_material(MODEL, "poisoned.csv", max_length=MAX_LENGTH, seed=FINETUNE.seed)
        finetune(material.model, material.tokenizer, material.rows, settings=FINETUNE)
        plain = Classifier(material.model, material.tokenizer, MAX_LENGTH)
        defence = evaluate_defence(
            defence, held_out, undefended=plain, trigger=TRIGGER, target_label=TARGET
        )
        write_record(defence.record, RECORDS / "defence.json")


def keep(name: str, findings: btu.Findings) -> None:
    write_record(build_reported("scan", findings.to_dict()), RECORDS / f"{name}.json")


if __name__ == "__main__":
    main()
