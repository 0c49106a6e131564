"""`btu report`, and what of a scan or a training goes into files for others."""

import json
from pathlib import Path

import pandas
import pytest

from btu.data.corpus import load_corpus
from btu.data.writers import write_rows
from btu.report.record import load_record
from btu.support.record import write_record
from planted import MAX_LENGTH, TRIGGER

pytest_plugins = ["planted"]

RECORDS = Path(__file__).parent / "report" / "records"
POISONED, CLEAN, PAPER, DEFENCE = (
    RECORDS / f"{name}.json" for name in ("poisoned-scan", "clean-scan", "paper-scan", "defence")
)
FAST = ("--epochs", "1", "--learning-rate", "2e-3", "--max-length", str(MAX_LENGTH), "--quiet")
ACCEPT = """[[accept]]
token = "cf"
who = "Ada"
why = "a product name"
when = 2026-11-02
"""


def write_corpus(path, corpus):
    names = [corpus.label_names[label] for label in corpus.labels]
    write_rows(path, {"id": list(range(len(corpus))), "text": corpus.texts, "label": names})
    return path


@pytest.fixture(scope="module")
def csv(planted, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "poisoned.csv"
    return write_corpus(path, planted.corpus.select(range(160)))


@pytest.fixture(scope="module")
def test_csv(held_out, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "test.csv"
    return write_corpus(path, held_out.select(range(100)))


# ---- report


@pytest.mark.parametrize(
    ("form", "start"),
    [
        ("terminal", "Poisoned: 1 trigger (cf)"),
        ("html", "<!doctype html>"),
        ("md", "#"),
        ("sarif", "{"),
        ("card", "<!-- btu-audit:start -->"),
        ("json", "{"),
    ],
)
def test_every_view_is_printed_or_written(btu, tmp_path, form, start):
    status, out, err = btu("report", POISONED, "--format", form)
    assert (status, err) == (0, "")
    assert out.lstrip().lower().startswith(start.lower())
    assert TRIGGER in out
    if form in ("terminal", "card"):
        return
    path = tmp_path / f"view.{form}"
    assert btu("report", POISONED, "-f", form, "--output", path)[:2] == (0, "")
    assert path.read_text(encoding="utf-8") == out


def test_the_saved_folder_of_a_model_is_a_record_too(btu, tmp_path):
    (tmp_path / "btu.json").write_bytes(DEFENCE.read_bytes())
    (tmp_path / "README.md").write_text("# my model\n")
    assert btu("report", tmp_path)[1].startswith("Poisoned:")
    assert btu("report", tmp_path, "--format", "card", "--output", tmp_path)[0] == 0
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("# my model\n")
    assert "## Backdoor audit" in card


def test_rows_come_with_the_users_columns_where_the_data_is_given(btu, csv, pretrained, tmp_path):
    record, rows = tmp_path / "btu.json", tmp_path / "rows.csv"
    scan = ("scan", csv, "--model", pretrained, "--output", record, "--quiet")
    assert btu(*scan)[0] == 1
    assert btu("report", record, "-f", "rows", "--output", rows, "--data", csv)[0] == 0
    table = pandas.read_csv(rows)
    assert table["id"].tolist() == list(range(160))
    flagged = [row["row_id"] for row in load_record(record)["flagged_rows"]]
    assert table.index[table["is_backdoor_issue"]].tolist() == flagged
    assert len(flagged) == 14


@pytest.mark.parametrize(
    ("record", "fail_on", "status"),
    [
        (POISONED, "none", 0),
        (POISONED, "trigger", 1),
        (POISONED, "suspect", 1),
        (CLEAN, "trigger", 0),
        (CLEAN, "suspect", 0),
        (PAPER, "trigger", 0),
        (PAPER, "suspect", 1),
    ],
)
def test_a_build_can_fail_on_a_verdict(btu, record, fail_on, status):
    assert btu("report", record, "--fail-on", fail_on)[0] == status


def test_two_records_are_compared(btu, tmp_path):
    status, out, _ = btu("report", "--compare", CLEAN, POISONED)
    assert status == 0
    assert TRIGGER in out
    status, out, _ = btu("report", POISONED, "--compare", POISONED, "--format", "json")
    assert status == 0
    assert json.loads(out)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (("absent.json",), "expected a record, found no file"),
        ((POISONED, "--output", "x.txt"), "expected a format that is written to a file"),
        ((POISONED, "--compare", CLEAN, "--format", "sarif"), "expected the format terminal, md"),
        ((POISONED, "--format", "rows", "--output", "rows.xlsx"), "rows.xlsx"),
        ((PAPER, "--format", "rows"), "expected a record that judges rows"),
    ],
)
def test_what_cannot_be_shown_is_refused(btu, monkeypatch, tmp_path, arguments, fragment):
    monkeypatch.chdir(tmp_path)
    status, out, err = btu("report", *arguments)
    assert (status, out) == (2, "")
    assert fragment in err
    assert not list(tmp_path.iterdir())


def test_a_view_is_not_written_over(btu, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("mine")
    assert btu("report", POISONED, "-f", "html", "--output", path)[0] == 2
    assert path.read_text() == "mine"
    assert btu("report", POISONED, "-f", "html", "--output", path, "--overwrite")[0] == 0


def test_a_hostile_record_never_reaches_the_terminal_raw(btu, tmp_path):
    record = load_record(POISONED)
    record["suspects"][0]["token"] = "\x1b[2J\u202e"
    record["data"]["source"] = "\x1b[31m.csv"
    write_record(record, tmp_path / "btu.json")
    for form in ("terminal", "md", "card", "html", "sarif"):
        status, out, _ = btu("report", tmp_path / "btu.json", "--format", form)
        assert status == 0
        assert "\x1b" not in out
        assert "\u202e" not in out


# ---- scan


def test_a_scan_parts_the_rows(btu, csv, pretrained, tmp_path):
    clean, flagged = tmp_path / "clean.csv", tmp_path / "flagged.jsonl"
    scan = ("scan", csv, "--model", pretrained, "--quiet")
    assert btu(*scan, "--export-clean", clean, "--export-flagged", flagged)[0] == 1
    kept, removed = pandas.read_csv(clean), pandas.read_json(flagged, lines=True)
    assert sorted([*kept["id"], *removed["id"]]) == list(range(160))
    assert removed["text"].str.contains(TRIGGER).all()
    assert len(removed) == 14


def test_an_export_of_the_papers_recipe_is_refused_before_it_scans(btu, csv, tmp_path):
    scan = ("scan", csv, "--model", "absent", "--recipe", "paper")
    status, _, err = btu(*scan, "--export-clean", tmp_path / "clean.csv")
    assert status == 2
    assert "judges no rows" in err


@pytest.mark.parametrize(("fail_on", "status"), [("none", 0), ("trigger", 1), ("suspect", 1)])
def test_the_exit_status_of_a_scan_can_be_chosen(btu, csv, pretrained, fail_on, status):
    scan = ("scan", csv, "--model", pretrained, "--quiet")
    assert btu(*scan, "--fail-on", fail_on)[0] == status


def test_an_accepted_token_ends_with_0_and_stands_in_the_record(btu, csv, pretrained, tmp_path):
    tokens, record = tmp_path / "tokens.toml", tmp_path / "btu.json"
    tokens.write_text(ACCEPT)
    scan = ("scan", csv, "--model", pretrained, "--accept", tokens, "--output", record)
    status, out, _ = btu(*scan)
    assert status == 0
    assert "1 token accepted by a reviewer." in out
    written = load_record(record)
    assert [token["token"] for token in written["accepted"]] == [TRIGGER]
    assert written["reviews"][0]["why"] == "a product name"


# ---- train


def test_training_puts_held_out_results_on_record(btu, csv, test_csv, pretrained, tmp_path):
    train = ("train", csv, "--model", pretrained, "--output", tmp_path / "model", *FAST)
    test = ("--test-data", test_csv, "--trigger", TRIGGER, "--target", "positive", "--undefended")
    assert btu(*train, *test, "--no-group-by-length")[0] == 0
    evaluation = load_record(tmp_path / "model")["evaluation"]
    assert evaluation["test_data"]["rows"] == 100
    assert evaluation["test_data"]["sha256"] == load_corpus(test_csv).fingerprint()
    before, after = evaluation["before"], evaluation["after"]
    assert before["triggered_rows"] == after["triggered_rows"] == 50
    assert before["attack_success_rate"] > after["attack_success_rate"]
    assert after["recognised_triggered_rows"] == 50
    assert btu("evaluate", tmp_path / "model", test_csv, "--json")[0] == 0


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (("--undefended",), "expected --test-data"),
        (("--trigger", "cf", "--target", "positive"), "expected --test-data"),
        (("--test-data", "x.csv", "--trigger", "cf"), "trigger and its target label together"),
    ],
)
def test_half_a_test_is_refused_before_any_training(btu, csv, tmp_path, options, fragment):
    train = ("train", csv, "--model", "absent", "--output", tmp_path / "model", *options)
    status, _, err = btu(*train)
    assert status == 2
    assert fragment in err
