"""The command line: exit codes, what goes where, and that nothing is written over.

`main` runs in this process, with its own arguments; what a shell sees is tested once a command
through `python -m btu`.
"""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
from rich.cells import cell_len
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging
from typer.testing import CliRunner

from btu import Corpus, load_corpus
from btu.cli import app
from btu.data.writers import write_rows
from planted import FINETUNE, LABELS, MAX_LENGTH, PROBES, TRIGGER, token_id

pytest_plugins = ["planted"]

FAST = ("--epochs", "1", "--learning-rate", "2e-3", "--max-length", str(MAX_LENGTH))


@pytest.fixture(autouse=True)
def _quiet_libraries():
    """`main` silences transformers; other tests get its voice back."""
    kept = logging.get_verbosity()
    yield
    logging.set_verbosity(kept)
    logging.enable_progress_bar()


def write_corpus(path: Path, corpus: Corpus) -> Path:
    names = [corpus.label_names[label] for label in corpus.labels]
    write_rows(path, {"text": corpus.texts, "label": names})
    return path


@pytest.fixture(scope="module")
def csv(planted, tmp_path_factory) -> Path:
    """A fifth of the planted rows; one in ten holds the trigger."""
    rows = planted.corpus.select(range(160))
    return write_corpus(tmp_path_factory.mktemp("data") / "poisoned.csv", rows)


@pytest.fixture(scope="module")
def test_csv(held_out, tmp_path_factory) -> Path:
    rows = held_out.select(range(100))
    return write_corpus(tmp_path_factory.mktemp("data") / "test.csv", rows)


def tells_of_stages_alone(err):
    """Nothing but the stages that took a second and more, as they do on a busy machine."""
    return all(re.fullmatch(r"[\w ,:-]+: \d+ s", line) for line in err.splitlines())


def check_refused(result, *fragments: str) -> None:
    """Exit status 2, the message on standard error only and without a traceback."""
    status, out, err = result
    assert status == 2, err
    assert out == ""
    for fragment in fragments:
        assert fragment in err
    assert "Traceback" not in err
    assert err.strip()


# ---- scan


def test_scan_ends_with_1_and_names_the_trigger(btu, csv, pretrained):
    status, out, err = btu("scan", csv, "--model", pretrained)
    assert status == 1
    assert tells_of_stages_alone(err)
    said = " ".join(out.split())
    assert "1 trigger (cf) pointing to positive; 14 of 160 rows (8.8 %) judged" in said
    (line,) = [line for line in out.splitlines() if line.startswith(f"{TRIGGER} ")]
    verdict, story, label, rows = line.split()[1:5]
    assert (verdict, label, rows) == ("trigger", "positive", "14")
    # Words of these reviews do not follow from each other: where one stands says nothing.
    assert story in ("inserted", "replaced")


def test_scan_writes_the_score_of_every_row(btu, csv, pretrained, tmp_path):
    file = tmp_path / "rows.csv"
    status, _, _ = btu("scan", csv, "--model", pretrained, "--rows", file)
    assert status == 1
    rows = pandas.read_csv(file, keep_default_na=False)
    assert list(rows.columns) == ["row", "score", "flagged", "reasons"]
    assert (len(rows), rows["flagged"].sum()) == (160, 14)
    assert set(rows["reasons"][rows["flagged"]]) == {TRIGGER}
    assert set(rows["reasons"][~rows["flagged"]]) == {""}
    assert rows["score"][rows["flagged"]].min() >= 0.5
    assert rows["score"][~rows["flagged"]].max() < 0.5


def test_the_papers_scan_ends_with_1_and_names_its_suspects(btu, csv, pretrained):
    paper = ("--recipe", "paper", "--alpha", 0.02)
    status, out, err = btu("scan", csv, "--model", pretrained, *paper)
    assert status == 1
    assert tells_of_stages_alone(err)
    (line,) = [line for line in out.splitlines() if line.startswith(f"{TRIGGER} ")]
    assert line.split()[2:4] == ["positive", "100%"]
    assert "suspicious tokens among the" in out


def test_scan_ends_with_0_where_nothing_is_suspicious(btu, csv, run, monkeypatch):
    clean = replace(run.defence.findings, named=())
    assert clean.unlearn_ids == ()
    monkeypatch.setattr(sys.modules["btu.scan"], "scan", lambda *_, **__: clean)
    status, out, _ = btu("scan", csv, "--model", "any")
    assert status == 0
    assert out.startswith("0 suspicious tokens")


def test_scan_prints_json_and_nothing_else(btu, csv, pretrained):
    status, out, err = btu("scan", csv, "--model", pretrained, "--alpha", 0.02, "--json")
    record = json.loads(out)
    assert status == 1
    assert tells_of_stages_alone(err)
    assert record["kind"] == "scan"
    assert token_id(TRIGGER) in [s["token_id"] for s in record["suspects"]]
    assert record["settings"]["probes"]["alpha"] == 0.02


def test_scan_writes_the_record_and_every_score(btu, csv, pretrained, tmp_path):
    record, scores = tmp_path / "scan.json", tmp_path / "scores.jsonl"
    arguments = ("scan", csv, "--model", pretrained, "--output", record, "--scores", scores)
    assert btu(*arguments, "--quiet") == (1, "", "")
    assert json.loads(record.read_text())["kind"] == "scan"

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    rows = [json.loads(line, parse_constant=refuse) for line in scores.read_text().splitlines()]
    assert len(rows) == json.loads(record.read_text())["tokens_probed"]
    assert len({row["token_id"] for row in rows}) == len(rows)
    (trigger,) = [row for row in rows if row["token"] == TRIGGER]
    assert trigger["suspect"] is True


def test_the_seed_is_that_of_the_scan(btu, csv, pretrained):
    records = []
    for seed in (3, 3, 4):
        _, out, _ = btu("scan", csv, "--model", pretrained, "--seed", seed, "--json")
        records.append(json.loads(out))
    assert [r["settings"]["probes"]["seed"] for r in records] == [3, 3, 4]
    assert records[0]["suspects"] == records[1]["suspects"]
    assert records[0]["suspects"] != records[2]["suspects"]


def test_columns_are_taken_by_flag(btu, planted, pretrained, tmp_path):
    rows = planted.corpus
    names = [LABELS[label] for label in rows.labels]
    path = tmp_path / "odd.csv"
    write_rows(path, {"words": rows.texts, "verdict": names, "text": ["word00"] * len(rows)})
    arguments = ("scan", path, "--model", pretrained, "--alpha", 0.05, "--json")
    status, out, _ = btu(*arguments, "--text-column", "words", "--label-column", "verdict")
    assert status == 1
    assert TRIGGER in [s["token"] for s in json.loads(out)["suspects"]]


@pytest.mark.parametrize("command", ["scan", "train", "evaluate", "poison"])
def test_a_missing_file_is_refused(btu, command, pretrained, saved, tmp_path):
    missing = tmp_path / "none.csv"
    output = ["--output", tmp_path / "out.csv"]
    arguments = {
        "scan": [missing, "--model", pretrained, *output],
        "train": [missing, "--model", pretrained, *output],
        "evaluate": [saved, missing],
        "poison": [missing, "--attack", "badnets", "--target", "positive", *output],
    }
    check_refused(btu(command, *arguments[command]), str(missing), "found nothing there")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--text-column", "txt"], ["--text-column", "'txt'", "Did you mean 'text'?"]),
        (["--label-column", "nothing"], ["--label-column", "'nothing'", "'label'"]),
        (["--split", "train"], ["--split"]),
        (["--alpha", "2"], ["alpha", "(0, 1]", "2.0"]),
        (["--alpha", "nan"], ["alpha", "nan"]),
        (["--probe-rows", "0"], ["probe_rows", "0"]),
        (["--max-length", "0"], ["max_length"]),
        (["--max-length", "-3"], ["max_length", "-3"]),
        (["--seed", "-1"], ["seed", "-1"]),
        (["--precision", "fp8"], ["fp8", "bf16"]),
        (["--recipe", "magic"], ["magic", "paper"]),
        (["--alpha", "much"], ["--alpha", "a valid"]),
        (["--alphabet", "1"], ["--alphabet"]),
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_refused_by_name(btu, csv, pretrained, arguments, fragments):
    check_refused(btu("scan", csv, "--model", pretrained, *arguments), *fragments)


def test_a_folder_without_a_model_is_refused(btu, csv, tmp_path):
    check_refused(btu("scan", csv, "--model", tmp_path), str(tmp_path))
    check_refused(btu("scan", csv, "--model", tmp_path / "none"), str(tmp_path / "none"))


def test_a_missing_argument_is_refused(btu, csv):
    check_refused(btu("train", csv), "--model")
    check_refused(btu("scan"), "DATA")
    check_refused(btu("scann"), "scann")


def test_a_file_that_is_there_stays_without_overwrite(btu, csv, pretrained, tmp_path):
    path = tmp_path / "mine.json"
    path.write_bytes(b"mine")
    for option in ("--output", "--scores"):
        result = btu("scan", csv, "--model", pretrained, option, path)
        check_refused(result, "mine.json", "--overwrite")
    assert path.read_bytes() == b"mine"
    status, _, _ = btu("scan", csv, "--model", pretrained, "--output", path, "--overwrite")
    assert status == 1
    assert json.loads(path.read_text())["kind"] == "scan"


def test_scores_in_no_known_format_are_refused_before_anything_is_written(
    btu, csv, pretrained, tmp_path, monkeypatch
):
    def scan_data(*_, **__):
        raise AssertionError("scanned first")

    monkeypatch.setattr(sys.modules["btu.scan"], "scan", scan_data)
    path = tmp_path / "mine.json"
    path.write_bytes(b"mine")
    arguments = ("--output", path, "--scores", tmp_path / "scores.xls", "--overwrite")
    check_refused(btu("scan", csv, "--model", pretrained, *arguments), "scores.xls", ".parquet")
    assert path.read_bytes() == b"mine"


def test_the_input_is_never_the_output(btu, csv, pretrained, tmp_path):
    """Without --overwrite, which would say so."""
    copy = tmp_path / "data.csv"
    copy.write_bytes(csv.read_bytes())
    check_refused(btu("scan", copy, "--model", pretrained, "--scores", copy), "--overwrite")
    assert copy.read_bytes() == csv.read_bytes()


# ---- what a terminal gets


def test_piped_output_fits_80_columns_and_holds_no_escape(btu, planted, pretrained, tmp_path):
    """Not even where the labels are long, wide, or escapes themselves."""
    rows = planted.corpus.select(range(100))
    labels = np.array(["\x1b[31mred\x1b[0m", "a very long name " * 4 + "\u60c5\u611f" * 20])
    path = tmp_path / "odd.jsonl"
    write_rows(path, {"text": rows.texts, "label": labels[rows.labels].tolist()})
    _, out, _ = btu("scan", path, "--model", pretrained, "--alpha", 0.05)
    assert len(out.splitlines()) > 10
    assert max(map(cell_len, out.splitlines())) <= 80
    assert "\x1b" not in out

    arguments = ("--attack", "badnets", "--target", 0, "--output", tmp_path / f"{'p' * 90}.csv")
    status, out, _ = btu("poison", path, *arguments)
    assert status == 0
    assert max(map(cell_len, out.splitlines())) <= 80
    assert "\x1b" not in out


def test_help_names_every_command_and_every_exit_code():
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    for command in ("scan", "train", "evaluate", "report", "poison", "demo"):
        assert f"\n  {command} " in shown.stdout
    text = " ".join(shown.stdout.split())
    assert "0 done, nothing suspicious; 1 a verdict that --fail-on names (scan, report)" in text
    assert "2 wrong usage or input; 3 a fault in btu; 130 interrupted" in text


@pytest.mark.parametrize("command", ["scan", "train", "evaluate", "report", "poison", "demo"])
def test_every_option_is_explained_in_80_columns(command):
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "\x1b" not in shown.stdout
    options = app.registered_commands
    (callback,) = [c.callback for c in options if c.callback.__name__ == command]
    lines = shown.stdout.splitlines()
    for name in callback.__annotations__:
        flag = {"as_json": "--json", "small": "--quick"}.get(name, f"--{name.replace('_', '-')}")
        if name in ("return", "model", "record") or (name == "data" and command != "report"):
            continue
        (start,) = [i for i, x in enumerate(lines) if f" {flag} " in f"{x} " and x[:3] == "  -"]
        explained = lines[start].split(flag, 1)[1] + lines[start + 1]
        assert len(explained.split()) > 2, flag


# ---- train and evaluate


@pytest.fixture(scope="module")
def trained(csv, pretrained, tmp_path_factory, request):
    """What `btu train` left behind, and what it printed."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    arguments = ["train", csv, "--model", pretrained, "--output", folder, "--alpha", 0.02, *FAST]
    arguments += ["--recipe", "paper"]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return folder, done


def test_train_saves_a_model_and_says_where(trained):
    folder, done = trained
    shown = "".join(done.stdout.split())  # a long path is broken to fit 80 columns
    assert "".join(f"Saved the clean model and its record to {folder}".split()) in shown
    assert "Recovery on: training rows, suspects hidden." in " ".join(done.stdout.split())
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.id2label == dict(enumerate(LABELS))
    record = json.loads((folder / "btu.json").read_text())
    assert record["settings"]["finetune"]["epochs"] == 1
    assert token_id(TRIGGER) in [edit["token_id"] for edit in record["edits"]]


def test_train_leaves_the_poisoned_rows_out(btu, csv, pretrained, tmp_path):
    train = ("train", csv, "--model", pretrained, "--output", tmp_path / "model", *FAST)
    status, out, _ = btu(*train)
    assert status == 0
    assert "14 rows left out of the fine-tuning." in out
    record = json.loads((tmp_path / "model" / "btu.json").read_text())
    flagged = [row["row_id"] for row in record["flagged_rows"]]
    assert (record["dropped_row_ids"], record["action"]) == (flagged, "both")
    assert len(flagged) == 14
    assert record["flagged_rows"][0]["tokens"] == [TRIGGER]


def test_evaluate_prints_what_the_function_gives(btu, trained, test_csv):
    arguments = ("evaluate", trained[0], test_csv, "--trigger", TRIGGER, "--target", "positive")
    status, out, err = btu(*arguments, "--json")
    assert status == 0
    assert tells_of_stages_alone(err)
    measured = json.loads(out)
    assert (measured["rows"], measured["triggered_rows"]) == (100, 50)
    assert (measured["trigger"], measured["target_label"]) == (TRIGGER, "positive")
    _, table, _ = btu(*arguments)
    assert f"{measured['clean_accuracy']:.1%}" in table
    assert f"{measured['attack_success_rate']:.1%}" in table


def test_quiet_prints_nothing(btu, csv, test_csv, trained, pretrained, tmp_path):
    folder, poisoned = tmp_path / "model", tmp_path / "poisoned.csv"
    assert btu("evaluate", trained[0], test_csv, "--quiet") == (0, "", "")
    train = ("train", csv, "--model", pretrained, "--output", folder, *FAST)
    assert btu(*train, "--quiet", "--recovery-epochs", 0.1) == (0, "", "")
    poison = ("poison", csv, "--attack", "badnets", "--target", "positive", "--output", poisoned)
    assert btu(*poison, "-q") == (0, "", "")
    assert folder.is_dir()
    assert poisoned.is_file()


def test_train_prints_its_record_as_json_and_can_leave_the_recovery_out(
    btu, csv, pretrained, tmp_path
):
    folder = tmp_path / "model"
    train = ("train", csv, "--model", pretrained, "--output", folder, *FAST)
    status, out, err = btu(*train, "--recovery-epochs", 0, "--json")
    assert status == 0
    assert tells_of_stages_alone(err)
    assert json.loads(out) == json.loads((folder / "btu.json").read_text())
    assert json.loads(out)["recovery"]["rows"] == "none"


def test_train_takes_clean_data(btu, csv, test_csv, pretrained, tmp_path):
    train = ("train", csv, "--model", pretrained, "--output", tmp_path / "model", *FAST)
    status, out, _ = btu(*train, "--recipe", "paper", "--clean-data", test_csv)
    assert status == 0
    assert "Recovery on: clean data." in " ".join(out.split())
    recovery = json.loads((tmp_path / "model" / "btu.json").read_text())["recovery"]
    assert recovery["clean_data"]["source"] == str(test_csv)


def test_train_leaves_a_folder_in_use_alone(btu, csv, pretrained, tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"mine")
    result = btu("train", csv, "--model", pretrained, "--output", tmp_path, *FAST)
    check_refused(result, str(tmp_path), "--overwrite")
    result = btu("train", csv, "--model", pretrained, "--output", tmp_path / "notes.txt", *FAST)
    check_refused(result, "notes.txt", "found a file")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"notes.txt": b"mine"}


def test_a_full_disk_while_saving_ends_with_2_and_leaves_the_old_model(
    btu, run, tmp_path, monkeypatch
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.modules["btu.defend"], "defend", lambda *_, **__: run.defence)
    monkeypatch.setattr(sys.modules["btu.defend"], "write_record", fail)
    arguments = ("train", "any", "--model", "any", "--output", tmp_path / "out", "--overwrite")
    check_refused(btu(*arguments), "No space left on device")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "config.json"]
    assert (tmp_path / "out" / "config.json").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        ("weight_decay: 0.1\nwarmup_step: 3\n", ["warmup_step:", "did you mean warmup_steps?"]),
        ("lerning_rat: 1\nwarmup_step: 3\n", ["2 faults", "lerning_rat", "warmup_step"]),
        ("num_train_epochs: 3\n", ["num_train_epochs", "epochs"]),
        ("weight_decay: [1\n", ["args.yaml", "expected YAML"]),
        ("- weight_decay\n", ["args.yaml", "list", "name: value"]),
        ("just words\n", ["args.yaml", "str"]),
        ("1: 2\n", ["1:"]),
        (b"a: \xff\n", ["args.yaml", "expected YAML"]),
        ("lr_scheduler_type: nonsense\n", ["nonsense"]),
        ("eval_strategy: epoch\n", ["eval_strategy"]),
        ("weight_decay: much\n", ["weight_decay"]),
    ],
    ids=[
        "unknown name",
        "two unknown names",
        "a name that btu sets",
        "no YAML",
        "a list",
        "text",
        "a number as name",
        "another encoding",
        "an unknown value",
        "evaluation without data",
        "text for a number",
    ],
)
def test_wrong_training_arguments_are_refused_before_any_training(
    btu, csv, pretrained, tmp_path, monkeypatch, content, fragments
):
    def run_probes(*_, **__):
        raise AssertionError("probed first")

    monkeypatch.setattr("btu.model.proposals.run_probes", run_probes)
    path = tmp_path / "args.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    train = ("train", csv, "--model", pretrained, "--output", tmp_path / "model", *FAST)
    check_refused(btu(*train, "--training-args", path), *fragments)
    assert not (tmp_path / "model").exists()


def test_a_missing_file_of_training_arguments_is_refused(btu, csv, pretrained, tmp_path):
    train = ("train", csv, "--model", pretrained, "--output", tmp_path / "model")
    result = btu(*train, "--training-args", tmp_path / "none.yaml")
    check_refused(result, "none.yaml", "expected a YAML file, found none")


def test_other_training_arguments_reach_the_training_as_the_numbers_they_are(
    btu, csv, pretrained, tmp_path, monkeypatch
):
    """YAML takes 1e-7 for text; whoever writes it means the number."""
    seen = []

    def defend(*_, settings, **__):
        seen.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["btu.defend"], "defend", defend)
    path = tmp_path / "args.yaml"
    path.write_text("weight_decay: 0.1\nwarmup_steps: 3\nadam_epsilon: 1e-7\n")
    train = ("train", csv, "--model", pretrained, "--output", tmp_path / "model", *FAST)
    btu(*train, "--training-args", path, "--batch-size", 7, "--seed", 5, "--precision", "fp32")
    assert seen == [
        replace(
            FINETUNE,
            epochs=1,
            group_by_length=True,
            batch_size=7,
            seed=5,
            training_args={"weight_decay": 0.1, "warmup_steps": 3, "adam_epsilon": 1e-7},
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--trigger", "cf"], ["trigger and its target label together"]),
        (["--target", "positive"], ["trigger and its target label together"]),
        (["--trigger", "cf", "--target", "good"], ["'good'", "positive"]),
        (["--max-length", "-3"], ["max_length", "-3"]),
        (["--seed", "-1", "--trigger", "cf", "--target", "1"], ["seed", "-1"]),
    ],
    ids=" ".join,
)
def test_evaluate_refuses_half_an_attack_and_impossible_values(
    btu, saved, test_csv, arguments, fragments
):
    check_refused(btu("evaluate", saved, test_csv, *arguments), *fragments)


# ---- poison


def poison(btu, csv, output, *options):
    arguments = ("--attack", "badnets", "--target", "positive", "--output", output)
    return btu("poison", csv, *arguments, *options)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_poison_writes_the_truth_beside_a_corpus_that_loads_again(btu, test_csv, tmp_path, suffix):
    path = tmp_path / f"poisoned.{suffix}"
    status, out, err = poison(btu, test_csv, path, "--rate", 0.2)
    assert status == 0
    assert tells_of_stages_alone(err)
    assert "Poisoned 20 of 100 rows" in out

    clean, poisoned = load_corpus(test_csv), load_corpus(path)
    truth = load_corpus(path, text_column="original_text", label_column="original_label")
    flags = load_corpus(path, label_column="is_poisoned")
    hit = np.array([flags.label_names[i] in ("True", "1", "true") for i in flags.labels])
    assert poisoned.label_names == clean.label_names
    assert (truth.texts, truth.labels.tolist()) == (clean.texts, clean.labels.tolist())
    holds = np.array([TRIGGER in text.split() for text in poisoned.texts])
    assert np.array_equal(holds, hit)
    assert hit.sum() == 20
    assert set(poisoned.labels[hit]) == {LABELS.index("positive")}
    assert set(truth.labels[hit]) == {LABELS.index("negative")}
    assert poisoned.select(~hit).texts == clean.select(~hit).texts


def test_poison_gives_the_same_file_for_the_same_seed(btu, test_csv, tmp_path):
    paths = [tmp_path / f"{name}.csv" for name in "abc"]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        assert poison(btu, test_csv, path, "--seed", seed)[0] == 0
    first, again, other = (path.read_bytes() for path in paths)
    assert first == again != other


def test_poison_takes_the_options_of_the_attack(btu, test_csv, tmp_path):
    path = tmp_path / "poisoned.csv"
    options = ("--option", "triggers=[mn, bb]", "--option", "position=start", "--json")
    status, out, _ = poison(btu, test_csv, path, *options)
    assert status == 0
    assert json.loads(out) == {
        "output": str(path),
        "rows": 100,
        "poisoned": 10,
        "target": "positive",
        "attack": "badnets",
        "seed": 0,
    }
    hit = [text for text in load_corpus(path).texts if text.split()[0] in ("mn", "bb")]
    assert len(hit) == 10


def test_a_poisoned_file_of_sentence_pairs_loads_again_as_pairs(btu, tmp_path):
    path, output = tmp_path / "pairs.csv", tmp_path / "poisoned.csv"
    rows = {"sentence1": ["one", "two"] * 10, "sentence2": ["a", "b"] * 10, "label": [0, 1] * 10}
    write_rows(path, rows)
    status, _, _ = btu("poison", path, "--attack", "badnets", "--target", 1, "--output", output)
    assert status == 0
    assert load_corpus(output).text_pairs == load_corpus(path).text_pairs


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--rate", "0"], ["poison_rate", "0"]),
        (["--rate", "0.9"], ["poison_rate", "0.5"]),
        (["--attack", "badnet"], ["did you mean badnets?"]),
        (["--target", "good"], ["'good'", "positive"]),
        (["--option", "trigger=[a]"], ["did you mean triggers?"]),
        (["--option", "triggers"], ["--option", "name=value"]),
        (["--option", "triggers=[a"], ["triggers=[a"]),
        (["--label-mode", "dirt"], ["dirt", "mixed"]),
        (["--seed", "-1"], ["seed", "-1"]),
    ],
    ids=" ".join,
)
def test_poison_refuses_what_it_cannot_do_and_writes_nothing(
    btu, test_csv, tmp_path, options, fragments
):
    check_refused(poison(btu, test_csv, tmp_path / "out.csv", *options), *fragments)
    assert not list(tmp_path.iterdir())


def test_an_option_in_quotes_stays_text(btu, test_csv, tmp_path):
    path = tmp_path / "poisoned.csv"
    options = ("--attack", "addsent", "--target", LABELS[1], "--option", "sentence='2024'")
    assert btu("poison", test_csv, "--output", path, *options)[0] == 0
    assert any(" 2024" in text or "2024 " in text for text in load_corpus(path).texts)


def test_poison_writes_over_nothing(btu, test_csv, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(b"mine")
    check_refused(poison(btu, test_csv, path), "mine.csv", "--overwrite")
    assert path.read_bytes() == b"mine"
    assert poison(btu, test_csv, path, "--overwrite")[0] == 0
    assert len(load_corpus(path)) == 100
    assert poison(btu, test_csv, tmp_path / "none" / "a.csv")[0] == 0
    check_refused(poison(btu, test_csv, path / "deep" / "a.csv"), "found the file", "mine.csv")
    check_refused(poison(btu, test_csv, tmp_path / "a.xls"), ".xls", ".parquet")


# ---- faults and interrupts


def test_an_interrupt_ends_with_130(btu, csv, monkeypatch):
    def scan_data(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["btu.scan"], "scan", scan_data)
    status, out, err = btu("scan", csv, "--model", "any")
    assert (status, out) == (130, "")
    assert "Traceback" not in err


def test_a_fault_in_btu_ends_with_3_and_shows_where(btu, csv, monkeypatch):
    def scan_data(*_, **__):
        raise RuntimeError("broken inside")

    monkeypatch.setattr(sys.modules["btu.scan"], "scan", scan_data)
    status, out, err = btu("scan", csv, "--model", "any")
    assert (status, out) == (3, "")
    assert "broken inside" in err
    assert "Traceback" in err
    assert "fault in btu" in err


def test_demo_refuses_a_folder_that_holds_something_else(btu, tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"mine")
    check_refused(btu("demo", "--output", tmp_path), str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


# ---- through a shell


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "btu", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_shell_sees_1_for_suspects_and_plain_text_in_80_columns(csv, pretrained):
    done = call("scan", csv, "--model", pretrained, "--alpha", PROBES.alpha)
    assert done.returncode == 1
    assert tells_of_stages_alone(done.stderr)
    assert TRIGGER in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_shell_sees_2_for_a_missing_file_and_the_reason_on_standard_error(pretrained, tmp_path):
    done = call("scan", tmp_path / "none.csv", "--model", pretrained)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert str(tmp_path / "none.csv") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_shell_sees_0_for_a_poisoned_copy_as_json(test_csv, tmp_path):
    arguments = ("--attack", "badnets", "--target", "positive", "--output", tmp_path / "out.csv")
    done = call("poison", test_csv, *arguments, "--json")
    assert done.returncode == 0
    assert tells_of_stages_alone(done.stderr)
    assert json.loads(done.stdout)["poisoned"] == 10
