"""`btu bench`: run, list, table."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from btu.bench.cli import bench_app
from btu.bench.defences import DEFENCES
from btu.support.errors import InputError
from toy_benchmark import Toy, build_toy


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    monkeypatch.setenv("BTU_CACHE", str(tmp_path / "btu-cache"))
    monkeypatch.chdir(tmp_path)
    toy = build_toy(tmp_path)
    toy.add("smoke/all", 'about = "Quick."\ndefences = ["none", "oracle"]')
    return toy


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(bench_app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_run_prints_the_table_and_again_keeps_what_is_done(toy: Toy) -> None:
    folder = toy.root / "experiments" / "smoke"
    first = invoke("run", folder, "--corpora", toy.corpora)
    assert "2 cells done, 0 had a result, 0 failed." in first
    assert "| oracle " in first
    again = invoke("run", folder, "--corpora", toy.corpora, "--json")
    assert len(json.loads(again)["kept"]) == 2
    assert len(list((Path("btu-cache") / "bench").iterdir())) == 2


def test_a_failed_cell_makes_the_status_1(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("btu.bench.group.measure_cell", lambda *_: 1 / 0)
    result = CliRunner().invoke(
        bench_app, ["run", str(toy.root), "--corpora", str(toy.corpora), "--output", "elsewhere"]
    )
    assert result.exit_code == 1
    assert "failed: smoke/toys-badnets-0.1-none-s0: ZeroDivisionError" in result.stdout
    assert len(list(Path("elsewhere").rglob("*.json"))) == 2


def test_list_says_what_is_done_and_what_there_is(toy: Toy) -> None:
    assert "smoke  2 cells: 2 not run\n       Quick.\n" in invoke("list", toy.root)
    invoke("run", toy.root, "--corpora", toy.corpora, "--only", "*-none-*", "--quiet")
    listed = json.loads(invoke("list", toy.root, "--json"))
    assert listed["experiments"] == [
        {"experiment": "smoke", "cells": 2, "statuses": {"not run": 1, "ok": 1}}
    ]
    assert "badnets" in listed["attacks"]
    assert listed["defences"] == list(DEFENCES)


def test_table_writes_document_csv_and_figures(toy: Toy) -> None:
    invoke("run", toy.root, "--corpora", toy.corpora, "--quiet")
    document = Path("docs/benchmark.md")
    document.parent.mkdir()
    document.write_text("# Title\n<!-- bench: smoke -->\n<!-- /bench -->\n")
    csv, figures = Path("docs/all.csv"), Path("docs/figures")
    invoke("table", toy.root, "--output", document, "--csv", csv, "--figures", figures)
    text = document.read_text(encoding="utf-8")
    assert text.startswith("# Title\n<!-- bench: smoke -->\n\nQuick.")
    assert "![toys](figures/smoke-toys.svg)" in text
    assert (figures / "smoke-toys.svg").exists()
    assert len(csv.read_text().splitlines()) == 3
    assert "| oracle" in invoke("table", toy.root)


def test_what_cannot_be_is_refused_with_its_remedy(toy: Toy) -> None:
    for arguments, message in (
        (["table", str(toy.root), "--output", "none.md"], "expected a document with markers"),
        (["run", str(toy.root), "--slurm-option", "a=1"], "expected --slurm PARTITION"),
        (["run", str(toy.root), "--slurm", "gpu", "--slurm-option", "a"], "expected name=value"),
        (["run", str(toy.root), "--slurm", "gpu"], "expected a Slurm cluster"),
    ):
        result = CliRunner().invoke(bench_app, arguments)
        assert isinstance(result.exception, InputError), arguments
        assert message in str(result.exception)
