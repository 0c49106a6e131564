"""One call from findings, a defence or a record to a view; the file's ending says which."""

import json
from pathlib import Path
from typing import get_args

import pytest

import btu
from btu.report.cli import Format
from btu.report.html import render_html
from btu.report.views import VIEWS
from planted import MAX_LENGTH, PROBES

pytest_plugins = ["planted"]

RECORD = Path(__file__).parent / "records" / "poisoned-scan.json"


@pytest.mark.parametrize(
    ("name", "start"), [("a.html", "<!doctype"), ("a.md", "#"), ("a.sarif", "{"), ("a.JSON", "{")]
)
def test_the_ending_says_which_view_is_written(tmp_path, name, start):
    assert btu.write_report(RECORD, tmp_path / name) == tmp_path / name
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)


def test_findings_a_defence_and_a_mapping_will_do(run, pretrained, planted, tmp_path):
    findings = btu.scan(pretrained, planted.corpus, settings=PROBES, max_length=MAX_LENGTH)
    btu.write_report(findings, tmp_path / "scan.json")
    assert btu.load_record(tmp_path / "scan.json")["kind"] == "scan"
    btu.write_report(run.defence, tmp_path / "defence.json")
    assert btu.load_record(tmp_path / "defence.json")["kind"] == "defence"
    record = json.loads(RECORD.read_text())
    btu.write_report(record, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == render_html(record)


def test_another_ending_and_a_file_that_is_there_are_refused(tmp_path):
    with pytest.raises(btu.InputError, match=r"expected a name that ends in one of \.html"):
        btu.write_report(RECORD, tmp_path / "a.pdf")
    (tmp_path / "a.md").write_text("mine")
    with pytest.raises(btu.InputError):
        btu.write_report(RECORD, tmp_path / "a.md")
    assert (tmp_path / "a.md").read_text() == "mine"
    btu.write_report(RECORD, tmp_path / "a.md", overwrite=True)
    assert "mine" not in (tmp_path / "a.md").read_text()


def test_rows_and_a_card_are_views_like_the_others(tmp_path):
    btu.write_report(RECORD, tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text().startswith('"row",')
    card = tmp_path / "README.md"
    card.write_text("# My model\n")
    btu.write_report(RECORD, card, format="card")
    assert card.read_text().startswith("# My model\n")
    assert "poison" in card.read_text().lower()
    with pytest.raises(
        btu.InputError, match=r"format: expected one of html, md.*Did you mean 'html'"
    ):
        btu.write_report(RECORD, tmp_path / "a.html", format="htm")


def test_the_command_and_the_function_know_the_same_views():
    assert get_args(Format) == ("terminal", *VIEWS)
