"""The command that a report prints makes the same record again."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import btu
from btu.data.writers import write_rows
from btu.model.settings import PROBE_ROWS
from btu.report.command import write_command
from planted import LABELS, TRIGGER

pytest_plugins = ["planted"]

RECORD = Path(__file__).parent / "records" / "poisoned-scan.json"
TAKEN_ANEW = {"created", "timings"}


def write_corpus(path, corpus):
    labels = [LABELS[label] for label in corpus.labels]
    write_rows(path, {"review": corpus.texts, "stars": labels})


@pytest.fixture(name="run_btu")
def _run_btu(request):
    """The command; the fixture's own name is the package's."""
    return request.getfixturevalue("btu")


@pytest.fixture
def folder(tmp_path, monkeypatch, planted, held_out):
    """Where the user sits: data with columns of other names, a review, arguments of the Trainer."""
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "rows.csv", planted.corpus.select(range(200)))
    write_corpus(tmp_path / "test.csv", held_out.select(range(40)))
    write_corpus(tmp_path / "clean.csv", held_out.select(range(40, 80)))
    (tmp_path / "seen.toml").write_text(
        '[[accept]]\ntoken = "neg01"\nwho = "Ada"\nwhy = "a word"\nwhen = 2026-11-02\n'
    )
    (tmp_path / "more.yaml").write_text("weight_decay: 0.01\nlr_scheduler_type: constant\n")
    return tmp_path


def read_again(run_btu, command, output):
    """The record that a printed command makes, written to another place."""
    words = shlex.split(command)
    assert words[0] == "btu"
    words[words.index("--output") + 1] = str(output)
    run_btu(*words[1:], "--quiet")
    return json.loads((output if output.suffix else output / "btu.json").read_text())


def strip(record):
    return {name: part for name, part in record.items() if name not in TAKEN_ANEW}


def test_a_scan_of_text_alone_comes_out_the_same(run_btu, folder):
    run_btu(
        "scan", "rows.csv", "--output", "one.json", "--accept", "seen.toml", "--quiet",
        "--text-column", "review", "--label-column", "stars", "--seed", "3",
        "--false-alarm-rate", "0.01",
    )  # fmt: skip
    first = json.loads((folder / "one.json").read_text())
    again = read_again(run_btu, write_command(first), folder / "two.json")
    assert strip(again) == strip(first)
    assert first["seed"] == 3
    assert first["accept_file"] == "seen.toml"


@pytest.mark.slow
def test_a_training_comes_out_the_same(run_btu, folder, pretrained):
    run_btu(
        "train", "rows.csv", "--model", pretrained, "--output", "one", "--quiet",
        "--text-column", "review", "--label-column", "stars", "--seed", "1",
        "--accept", "seen.toml", "--precision", "fp32", "--training-args", "more.yaml",
        "--training-arg", "warmup_steps=2", "--clean-data", "clean.csv", "--test-data", "test.csv",
        "--trigger", TRIGGER, "--target", LABELS[1], "--undefended", "--action", "unlearn",
        "--max-length", "24", "--epochs", "1", "--learning-rate", "0.002", "--alpha", "0.02",
        "--recovery-epochs", "0.5", "--no-styles",
    )  # fmt: skip
    first = json.loads((folder / "one" / "btu.json").read_text())
    again = read_again(run_btu, write_command(first), folder / "two")
    assert strip(again) == strip(first)
    assert first["settings"]["finetune"]["training_args"] == {
        "weight_decay": 0.01,
        "lr_scheduler_type": "constant",
        "warmup_steps": 2,
    }


def test_data_in_memory_give_a_line_of_python(planted):
    findings = btu.scan(None, planted.corpus, seed=4)
    call = write_command(findings.to_dict() | {"kind": "scan"})
    again = eval(call, {"btu": btu, "data": planted.corpus})
    assert again.facts.seed == 4
    assert np.array_equal(again.flagged, findings.flagged)


def test_the_record_says_how_many_rows_taught_and_the_command_only_what_was_asked():
    record = json.loads(RECORD.read_text())
    for taught, written in ((PROBE_ROWS, False), (PROBE_ROWS + 1, True), (None, False)):
        record["settings"]["probes"]["probe_rows"] = taught
        assert ("probe_rows" in write_command(record)) == written


def test_a_setting_without_an_option_gives_a_line_of_python():
    record = {
        "kind": "scan",
        "recipe": "paper",
        "seed": 0,
        "max_length": 64,
        "data": {"source": "a.csv", "columns": {"text_column": "t", "split": None}},
        "model": {"name": "m"},
        "reviews": [],
        "settings": {
            "probes": {"epochs": 2, "precision": "auto", "seed": 0, "alpha": 0.0005},
            "evidence": None,
        },
    }
    assert write_command(record) == (
        "btu.scan('m', 'a.csv', recipe='paper', max_length=64, "
        "settings=btu.ProbeSettings(epochs=2), text_column='t')"
    )
