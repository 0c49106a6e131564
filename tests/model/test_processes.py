"""Two processes, as torchrun starts them, find and do what one does; one of them is heard."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

import in_shards
from btu import FineTuneSettings, InputError
from btu.model.finetune import check_training_args
from btu.model.processes import join_processes
from planted import MAX_LENGTH, TRIGGER, token_id

pytest_plugins = ["planted"]

LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
# Without dropout, in a fixed order and with plain gradient descent nothing is left but rounding.
PLAIN = ("--training-arg", "train_sampling_strategy=sequential", "--training-arg", "optim=sgd")
TRAIN = (
    *("--learning-rate", "5e-2", "--epochs", "1", "--max-length", str(MAX_LENGTH)),
    *("--precision", "fp32", "--action", "unlearn", "--recovery-epochs", "0", *PLAIN),
)
MATRIX = "bert.embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def folder(pretrained, planted, tmp_path_factory):
    """A model without dropout and a file of poisoned rows."""
    place = tmp_path_factory.mktemp("processes")
    shutil.copytree(pretrained, place / "base")
    config = json.loads((place / "base" / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (place / "base" / "config.json").write_text(json.dumps(config))
    with (place / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        names = planted.corpus.label_names
        labels = [names[i] for i in planted.corpus.labels]
        writer.writerows(zip(planted.corpus.texts, labels, strict=True))
    return place


ON_CPU = {"CUDA_VISIBLE_DEVICES": ""}
"""There may be one GPU, and two processes want one each."""


def launch(folder, *words, **more):
    command, environment = [sys.executable, *words], {**os.environ, **ON_CPU, **more}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )


def train(folder, output, *launcher, batch, **more):
    words = ("-m", "btu", "train", "rows.csv", "--model", "base", "--output", output, *TRAIN)
    done = launch(folder, *launcher, *words, "--batch-size", str(batch), **more)
    assert done.returncode == 0, done.stderr
    record = json.loads((folder / output / "btu.json").read_text())
    return record, load_file(folder / output / "model.safetensors"), done.stdout


@pytest.fixture(scope="module")
def one(folder):
    return train(folder, "one", batch=16)


@pytest.fixture(scope="module")
def two(folder):
    return train(folder, "two", *LAUNCH, batch=8)


def check_alike_but_for_the_cut(mine, theirs):
    for name, weight in mine.items():
        difference = (weight - theirs[name]).abs()
        if name == MATRIX:
            difference[token_id(TRIGGER)] = 0
        assert difference.max() < 1e-3, name


def test_they_find_the_same(one, two):
    for name in ("verdict", "dropped_row_ids"):
        assert two[0][name] == one[0][name]
    assert two[0]["hardware"]["device"] == one[0]["hardware"]["device"]
    (mine,), (theirs,) = one[0]["suspects"], two[0]["suspects"]
    assert mine["token"] == theirs["token"] == TRIGGER
    assert theirs["rank"] == mine["rank"]
    for name, moved in mine["drift"].items():
        assert theirs["drift"][name] == pytest.approx(moved, rel=1e-3)


def test_they_train_and_cut_alike(one, two):
    (mine,), (theirs,) = one[0]["edits"], two[0]["edits"]
    assert mine["token_id"] == theirs["token_id"] == token_id(TRIGGER)
    # A dimension that moved just as far as the mean may be cut in one of them alone.
    shared = np.intersect1d(mine["dimensions"], theirs["dimensions"])
    assert len(shared) > 0.8 * max(len(mine["dimensions"]), len(theirs["dimensions"]))
    check_alike_but_for_the_cut(one[1], two[1])


# ---- weights in shards


@pytest.fixture(scope="module")
def seen(folder):
    """What two processes saw that trained under FSDP2."""
    # As `accelerate launch --use_fsdp` sets them.
    asked = {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    }
    done = launch(folder, *LAUNCH, str(Path(in_shards.__file__)), **asked)
    assert done.returncode == 0, done.stderr
    told = [json.loads((folder / f"seen-{rank}.json").read_text()) for rank in (0, 1)]
    assert told[0] == told[1]
    return told[0]


def test_each_process_keeps_half_of_the_weights(seen):
    assert seen["shares"] == {"defend": [0.5], "adapter": [0.5], "own": [0.5]}


def test_in_shards_they_find_and_cut_the_same(seen, two, folder):
    record = json.loads((folder / "sharded" / "btu.json").read_text())
    (mine,), (theirs,) = two[0]["suspects"], record["suspects"]
    assert mine["token"] == theirs["token"]
    assert theirs["drift"] == pytest.approx(mine["drift"], rel=1e-3)
    assert seen["edits"] == record["edits"]
    check_alike_but_for_the_cut(two[1], load_file(folder / "sharded" / "model.safetensors"))


def test_the_callback_cuts_in_shards_what_it_cuts_without(seen, two, folder):
    (edit,) = seen["own_edits"]
    assert edit["token_id"] == token_id(TRIGGER)
    model = AutoModelForSequenceClassification.from_pretrained(folder / "own")
    saved = {name: value.detach() for name, value in model.state_dict().items()}
    padding = load_file(folder / "base" / "model.safetensors")[MATRIX.removeprefix("bert.")][0]
    cut = edit["dimensions"]
    assert torch.equal(saved[MATRIX][token_id(TRIGGER), cut], padding[cut])
    check_alike_but_for_the_cut(two[1], saved)


def test_after_shards_the_model_is_whole_and_cut_rows_stay_in_the_recovery(seen):
    assert seen["recovery"] == {"cut_rows_stay": True, "others_move": True, "whole": True}


def test_an_adapter_in_shards_carries_its_rows(seen):
    assert seen["adapter"]["row"] > 0
    assert seen["adapter"]["base"] == 0


REFUSED = {
    "FSDP 1": {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"},
    "DeepSpeed": {"ACCELERATE_USE_DEEPSPEED": "true"},
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_shards_are_refused(kind, monkeypatch):
    for name, value in REFUSED[kind].items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=rf"got {kind}\. Say `fsdp_version: 2`"):
        join_processes()


def test_the_flag_that_a_trainer_leaves_refuses_nothing(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.delenv("FSDP_VERSION", raising=False)
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")
    assert join_processes().num_processes == 1


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"fsdp": True}, "fsdp: expected several processes"),
        ({"deepspeed": "config.json"}, "got DeepSpeed"),
    ],
)
def test_training_arguments_that_ask_for_shards_in_vain_are_refused(asked, told):
    with pytest.raises(InputError, match=told):
        check_training_args(FineTuneSettings(training_args=asked))


# ---- who speaks, who fails


def test_one_of_them_is_heard(two, folder):
    assert two[2].count("Saved the clean model") == 1
    assert (folder / "two" / "btu.json").exists()
    assert not list(folder.glob(".*"))


def test_where_one_fails_all_end_and_say_why_once(folder):
    done = launch(folder, *LAUNCH, "-m", "btu", "scan", "missing.csv", "--model", "base")
    assert done.returncode != 0
    assert done.stderr.count("Error: missing.csv") == 1


def test_where_they_read_other_data_they_are_refused(folder):
    shutil.copy(folder / "rows.csv", folder / "rows-0.csv")
    rows = (folder / "rows.csv").read_text().splitlines()
    (folder / "rows-1.csv").write_text("\n".join(rows[:-1]) + "\n")
    program = folder / "apart.py"
    program.write_text(
        "import os, sys\n"
        "from btu.cli import main\n"
        "sys.argv = ['btu', 'scan', f\"rows-{os.environ['RANK']}.csv\", '--model', 'base']\n"
        "main()\n"
    )
    done = launch(folder, *LAUNCH, str(program))
    assert done.returncode != 0
    assert "expected the same data in every process" in done.stderr


def test_commands_that_share_no_work_are_refused(folder):
    done = launch(folder, *LAUNCH, "-m", "btu", "report", "one/btu.json")
    assert done.returncode != 0
    assert "expected one process, got 2" in done.stderr
