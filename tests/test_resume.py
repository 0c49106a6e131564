"""A run that was killed at any moment continues and ends as if it had not been."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import TrainerCallback

import btu
from btu import InputError, Unfinished, load_corpus
from btu.data.writers import write_rows
from btu.support.unfinished import name_unfinished
from devices import check_same, is_same
from planted import (
    FINETUNE,
    MAX_LENGTH,
    PROBES,
    TRIGGER,
    WORDS,
    KeepFineTuned,
    poison_reviews,
    write_reviews,
)
from tiny import build_tiny

DRIVER = Path(__file__).with_name("killed.py")
LENGTH = ("--max-length", str(MAX_LENGTH))
FAST_SCAN = ("--precision", "fp32", *LENGTH, "--quiet")
FAST = ("--learning-rate", "2e-3", *FAST_SCAN)
PAPER = ("--recipe", "paper", "--alpha", "0.02")
TRAIN = ("train", "rows.csv", "--model", "base", *PAPER, *FAST)
SCAN = ("scan", "rows.csv", "--model", "base", *FAST_SCAN)
STEPS = 8  # an epoch: 120 rows in batches of 16
BATCH = ("--batch-size", "16")
# What the Trainer forgets between two steps of an epoch: the order of batches grouped by length.
BY_STEPS = ("--training-arg", "save_strategy=steps", "--training-arg", "save_steps=5")
STOPPED = (
    *("--eval-data", "held-out.csv", "--early-stopping", "1", "--epochs", "8"),
    *("--training-arg", "eval_on_start=true"),
)
ADAPTED = ("--lora", "--lora-rank", "2")

KILLED = -9
RUNS = {
    "plain": (
        (*TRAIN, *BATCH, "--epochs", "3"),
        [
            ("after_keeping", "probe_shallow.npz"),
            ("while_keeping", "probe_shallow-again.npz"),
            ("at_step", "finetune", STEPS + 3),
            ("while_saving", 2 * STEPS),
            ("before_the_cut",),
            ("at_step", "recovery", 3),
            ("before_the_end",),
        ],
    ),
    "by steps": (
        (*TRAIN, *BATCH, "--epochs", "2.5", *BY_STEPS),
        [("at_step", "finetune", STEPS + 6), ("while_keeping", "ended.safetensors")],
    ),
    "stopped early": (
        (*TRAIN, *BATCH, *STOPPED),
        [("at_step", "finetune", STEPS + 3), ("while_keeping", "ended.json")],
    ),
    "with an adapter": (
        (*TRAIN, *BATCH, *ADAPTED, "--epochs", "2"),
        [("at_step", "finetune", STEPS + 3), ("before_the_cut",)],
    ),
}


def write_corpus(path, corpus):
    names = [corpus.label_names[label] for label in corpus.labels]
    write_rows(path, {"text": corpus.texts, "label": names})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Rows of several lengths, and a model that has learned nothing yet."""
    folder = tmp_path_factory.mktemp("resume")
    rows = poison_reviews(write_reviews(120, seed=3), TRIGGER, poison_rate=0.1).corpus
    write_corpus(folder / "rows.csv", rows)
    write_corpus(folder / "held-out.csv", write_reviews(40, seed=2))
    model, tokenizer = build_tiny("bert", WORDS)
    model.base_model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    return folder


def run_plan(folder, plan):
    (folder / "plan.json").write_text(json.dumps(plan))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, DRIVER, "plan.json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def ended(place):
    """Each run once undisturbed and once killed at its moments; how all of it ended."""
    plan, names = [], []
    for name, (words, moments) in {**RUNS, "scan": (SCAN, [RUNS["plain"][1][0]])}.items():
        output = name if words[0] == "train" else f"{name}.json"
        alone = [(*words, "--output", f"whole {output}"), None]
        first, *later = [[(*words, "--output", output), moment] for moment in moments]
        resumed = [[(*command, "--resume"), moment] for command, moment in later]
        steps = [alone, first, *resumed, [(*first[0], "--resume"), None]]
        plan += steps
        names += [name] * len(steps)
    statuses, said = run_plan(place, plan)
    found = {name: [] for name in names}
    for name, status in zip(names, statuses, strict=True):
        found[name].append(status)
    assert all(status in (0, 1, KILLED) for status in statuses), (found, said)
    return found


def read_record(path):
    """A record without what differs between two runs of the same: when, and how long."""
    record = json.loads(path.read_text())
    return {k: v for k, v in record.items() if k not in ("created", "timings", "resumed")}


def test_a_scan_ends_as_if_it_had_not_been_killed(ended, place):
    assert ended["scan"] == [1, KILLED, 1]
    record = btu.load_record(place / "scan.json")
    assert record["resumed"] == ["probe_shallow"]
    if record["hardware"]["device"] == "cpu":
        assert read_record(place / "scan.json") == read_record(place / "whole scan.json")


@pytest.mark.parametrize("name", RUNS)
def test_a_training_ends_as_if_it_had_not_been_killed(name, ended, place):
    whole, *killed, last = ended[name]
    assert (whole, last) == (0, 0)
    assert killed == [KILLED] * len(RUNS[name][1])
    one, other = place / f"whole {name}", place / name
    assert {p.name for p in one.iterdir()} == {p.name for p in other.iterdir()}
    record = read_record(other / "btu.json")
    if btu.load_record(one)["hardware"]["device"] == "cpu":
        assert record == read_record(one / "btu.json")
        assert (other / "config.json").read_bytes() == (one / "config.json").read_bytes()
    (weights,) = one.glob("*.safetensors")
    expected, found = load_file(weights), load_file(other / weights.name)
    assert found.keys() == expected.keys()
    assert all(is_same(found[key], expected[key]) for key in expected)


def test_the_record_names_what_was_taken_over(ended, place):
    probes = ["probe_shallow", "probe_shallow-again", "probe_embedding-only"]
    for name in ended.keys() - {"scan"}:
        record = btu.load_record(place / name)
        recovered = ["recovery"] * (name == "plain")  # it was over when the last kill came
        assert record["resumed"] == [*probes, "finetune", *recovered]
        assert "resumed" not in btu.load_record(place / f"whole {name}")


def test_the_training_that_stopped_early_did_so_in_both_runs(ended, place):
    found = btu.load_record(place / "stopped early")["training_evaluation"]["evaluations"]
    assert 1 < len(found) < 8


def test_nothing_is_left_beside_the_output(ended, place):
    assert not list(place.glob(".*"))


# ---- what is there already


@pytest.fixture
def corpus():
    return poison_reviews(write_reviews(120, seed=3), TRIGGER, poison_rate=0.1).corpus


class Killed(Exception):
    """Stands in for the kill."""


def scan(model, data, folder, **options):
    """The first of two runs in a folder, with all rounds done."""
    options = {"recipe": "paper", "settings": PROBES, "max_length": MAX_LENGTH, **options}
    resume = options.pop("resume", False)
    with Unfinished(folder, resume=resume) as unfinished:
        findings = btu.scan(model, data, unfinished=unfinished, **options)
        if not resume:
            raise Killed
        return findings


@pytest.fixture
def unfinished(place, corpus, tmp_path):
    """A scan that was killed when its rounds were done."""
    with pytest.raises(Killed) as killed:
        scan(place / "base", corpus, tmp_path / "work")
    assert str(tmp_path / "work") in killed.value.__notes__[0]
    return tmp_path / "work"


def test_a_round_that_was_kept_is_the_round_that_was_measured(unfinished, place, corpus):
    found = scan(place / "base", corpus, unfinished, resume=True)
    expected = btu.scan(
        place / "base", corpus, recipe="paper", settings=PROBES, max_length=MAX_LENGTH
    )
    assert found.named == expected.named
    assert found.facts.resumed == ("probe_shallow", "probe_shallow-again", "probe_embedding-only")
    for name, values in expected.drift.items():
        check_same(found.drift[name], values)
        assert found.drift[name].dtype == values.dtype
    assert not unfinished.exists()


def test_every_difference_is_named_and_nothing_is_lost(unfinished, place, corpus):
    kept = {path.name for path in unfinished.iterdir()}
    options = {"settings": replace(PROBES, alpha=0.05, epochs=1), "seed": 4}
    with pytest.raises(InputError) as refused:
        scan(place / "base", corpus, unfinished, resume=True, **options)
    told = str(refused.value)
    assert "probes.alpha: expected 0.02, got 0.05" in told
    assert "probes.epochs: expected 2, got 1" in told
    assert "probes.seed: expected 0, got 4" in told
    assert "learning_rate" not in told
    assert "--overwrite" in told
    assert {path.name for path in unfinished.iterdir()} == kept


def test_other_data_are_named(unfinished, place, corpus):
    with pytest.raises(InputError, match=r"data\.sha256: expected .* got ") as refused:
        scan(place / "base", corpus.select(range(119)), unfinished, resume=True)
    assert "data.rows: expected 120, got 119" in str(refused.value)
    assert "model." not in str(refused.value)


def test_another_model_is_named(unfinished, place, corpus, tmp_path):
    model, tokenizer = build_tiny("bert", WORDS, seed=1)
    model.base_model.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match=r"model\.sha256: expected .* got ") as refused:
        scan(tmp_path / "other", corpus, unfinished, resume=True)
    assert "data." not in str(refused.value)


def test_another_dropout_and_another_tokenizer_are_named(unfinished, place, corpus, tmp_path):
    shutil.copytree(place / "base", tmp_path / "other")
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(
        json.dumps({**config, "hidden_dropout_prob": 0.0})
    )
    build_tiny("bert", WORDS[::-1])[1].save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match=r"model\.config_sha256: ") as refused:
        scan(tmp_path / "other", corpus, unfinished, resume=True)
    assert "tokenizer.sha256: " in str(refused.value)
    assert "model.sha256: " not in str(refused.value)


def test_a_scan_is_not_continued_as_a_training(unfinished, place, corpus):
    with (
        pytest.raises(InputError, match='kind: expected "scan", got "defence"'),
        Unfinished(unfinished, resume=True) as work,
    ):
        btu.defend(place / "base", corpus, recipe="paper", unfinished=work)


def test_other_settings_of_the_training_are_named(place, corpus, tmp_path):
    options = {"recipe": "paper", "probe_settings": PROBES, "settings": FINETUNE}
    with pytest.raises(Killed), Unfinished(tmp_path / "work") as work:
        btu.defend(place / "base", corpus, **options, callbacks=[Stop(3)], unfinished=work)
    changed = {
        "settings": replace(FINETUNE, learning_rate=1e-3, training_args={"weight_decay": 0.1}),
        "adapter": btu.AdapterSettings(lora=True),
        "drop_suspects": True,
    }
    with pytest.raises(InputError) as refused, Unfinished(work.folder, resume=True) as work:
        btu.defend(place / "base", corpus, **{**options, **changed}, unfinished=work)
    for told in (
        "finetune.learning_rate: expected 0.002, got 0.001",
        "finetune.training_args.weight_decay: expected nothing, got 0.1",
        "adapter.lora: expected false, got true",
        "drop_suspects: expected false, got true",
        'callbacks: expected ["Stop"], got []',
    ):
        assert told in str(refused.value)


class Stop(TrainerCallback):
    """An error after some steps; None: no error. Notes what it is told."""

    def __init__(self, step=None):
        self.step, self.told = step, []

    def on_train_begin(self, args, state, control, **_):
        self.told.append(("begin", state.global_step))

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise Killed

    def on_train_end(self, args, state, control, **_):
        self.told.append(("end", state.global_step))


def test_a_training_that_was_over_does_no_step_and_tells_its_callbacks(place, corpus, tmp_path):
    options = {"recipe": "paper", "probe_settings": PROBES, "settings": FINETUNE}
    weights = []
    for resume in (False, True):
        kept, told = KeepFineTuned(), Stop()
        work = Unfinished(tmp_path / "work", resume=resume)
        with suppress(Killed), work:
            callbacks = [kept, told, Cut()]
            btu.defend(place / "base", corpus, **options, callbacks=callbacks, unfinished=work)
            raise Killed
        weights.append(kept.weights)
        steps = 3 * STEPS
        assert told.told == [("begin", steps if resume else 0), ("end", steps)]
    assert weights[0].keys() == weights[1].keys()
    assert all(is_same(weights[1][name], value) for name, value in weights[0].items())
    assert work.resumed[-2:] == ["finetune", "recovery"]


class Cut(TrainerCallback):
    """Changes the model when the training ends, as an `UnlearnCallback` does."""

    def on_train_end(self, args, state, control, *, model, **_):
        model.get_input_embeddings().weight.data += 1


SAVED = {"save_strategy": "steps", "save_steps": 5, "save_total_limit": 2}


def train(place, corpus, folder, *, resume=False, callbacks=(), **training_args):
    """A training that is stopped by the callbacks; its weights before the cut, what was taken."""
    kept = KeepFineTuned()
    settings = replace(FINETUNE, epochs=2, training_args={**SAVED, **training_args})
    work = Unfinished(folder, resume=resume)
    with suppress(Killed), work:
        btu.defend(
            place / "base",
            corpus,
            recipe="paper",
            probe_settings=PROBES,
            settings=settings,
            recovery=btu.RecoverySettings(epochs=0),
            callbacks=[kept, Stop(None if resume else 12), *callbacks],
            unfinished=work,
        )
    return kept.weights, work.resumed


@pytest.fixture(scope="module")
def undisturbed(place):
    corpus = poison_reviews(write_reviews(120, seed=3), TRIGGER, poison_rate=0.1).corpus
    weights, resumed = train(place, corpus, place / "work", resume=True)
    assert resumed == []
    return weights


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("name", "damage", "resumes"),
    [
        ("checkpoint-10/optimizer.pt", cut_short, True),
        ("checkpoint-10/model.safetensors", Path.unlink, True),
        ("checkpoint-10/trainer_state.json", cut_short, True),
        ("training.json", Path.unlink, False),
    ],
)
def test_what_is_not_whole_is_done_again(
    name, damage, resumes, place, corpus, undisturbed, tmp_path
):
    train(place, corpus, tmp_path / "work")
    damage(tmp_path / "work" / "finetune" / name)
    weights, resumed = train(place, corpus, tmp_path / "work", resume=True)
    assert ("finetune" in resumed) == resumes
    assert weights.keys() == undisturbed.keys()
    assert all(is_same(weights[key], value) for key, value in undisturbed.items())
    assert not (tmp_path / "work").exists()


def test_checkpoints_in_a_folder_of_the_users_are_used_and_stay(
    place, corpus, undisturbed, tmp_path
):
    own = {"output_dir": str(tmp_path / "own")}
    (tmp_path / "own" / "checkpoint-99").mkdir(parents=True)  # of another training
    train(place, corpus, tmp_path / "work", save_total_limit=None, **own)
    weights, resumed = train(
        place, corpus, tmp_path / "work", resume=True, save_total_limit=None, **own
    )
    assert resumed[-1] == "finetune"
    assert all(is_same(weights[key], value) for key, value in undisturbed.items())
    names = {path.name for path in (tmp_path / "own").iterdir()}
    assert names == {f"checkpoint-{step}" for step in (5, 10, 15, 16, 99)}


def test_no_checkpoint_is_put_into_a_folder_of_the_users_unasked(place, corpus, tmp_path):
    settings = replace(FINETUNE, epochs=1, training_args={"output_dir": str(tmp_path / "own")})
    with Unfinished(tmp_path / "work") as work:
        btu.defend(place / "base", corpus, settings=settings, recipe="paper", unfinished=work)
    assert not list(tmp_path.glob("own/checkpoint-*"))


# ---- the command line


def test_an_unfinished_run_is_never_begun_anew_without_a_word(place, btu_in, tmp_path):
    with pytest.raises(Killed):
        scan(place / "base", load_corpus(place / "rows.csv"), name_unfinished(tmp_path / "a.json"))
    words = ("scan", "rows.csv", "--model", "base", *PAPER, *FAST_SCAN)
    output = ("--output", tmp_path / "a.json")
    status, out, err = btu_in(place, *words, *output)
    assert (status, out) == (2, "")
    assert "found one that was begun at 20" in err
    for way_out in ("--resume", "--overwrite", "another output"):
        assert way_out in err
    assert not (tmp_path / "a.json").exists()
    assert name_unfinished(tmp_path / "a.json").exists()
    assert btu_in(place, *words, *output, "--overwrite") == (1, "", "")
    assert "resumed" not in btu.load_record(tmp_path / "a.json")
    assert not name_unfinished(tmp_path / "a.json").exists()


def test_where_nothing_is_unfinished_the_run_begins_and_says_so(place, btu_in, tmp_path):
    words = ("scan", "rows.csv", "--model", "base", *PAPER, *FAST_SCAN[:-1], "--json")
    status, out, err = btu_in(place, *words, "--output", tmp_path / "a.json", "--resume")
    assert status == 1
    assert err.startswith("Nothing to resume, starting from the beginning: no /")
    assert "resumed" not in json.loads(out)


def test_to_resume_a_scan_its_output_is_needed(place, btu_in):
    status, _, err = btu_in(place, "scan", "rows.csv", "--model", "base", "--resume")
    assert status == 2
    assert "expected --output with --resume" in err


@pytest.fixture
def btu_in(btu, monkeypatch):
    """Runs `btu` in a folder."""

    def run(folder, *words):
        monkeypatch.chdir(folder)
        return btu(*words)

    return run
