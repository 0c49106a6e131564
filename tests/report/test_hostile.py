"""A corpus of hostile rows goes from the scan through every view, and each is harmless."""

import csv
import html.parser
import io
import json

import pytest
from rich.console import Console

import btu
from btu.data.corpus import load_corpus
from btu.report.card import render_card
from btu.report.compare import compare_records, render_comparison, render_comparison_markdown
from btu.report.html import render_html
from btu.report.markdown import render_markdown
from btu.report.record import build_reported, load_record
from btu.report.rows import write_row_view
from btu.report.sarif import render_sarif
from btu.report.terminal import render_record
from btu.support.record import write_record
from planted import MAX_LENGTH, PROBES, TRIGGER

pytest_plugins = ["planted"]

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1) [click](javascript:alert(1)) ![x](http://x.test/x.png) @everyone",
    "{{ 7 * 7 }} {% raise %} ${7*7} {0} %s",
    "\u202egnp.exe\u2066 \u200b\u2060 \ufeff",
    "\x1b[2J\x1b[31m\x9b31m \x07",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|x",
    "nul \x00 and \ud800 alone",
    "--> </code></td></tr></table> | a | b | ``` \n# heading\n",
    "long " * 200_000,
)
RAW = ("\x1b", "\x9b", "\u202e", "\u2066", "\u200b", "\x00", "\ud800")


@pytest.fixture(scope="module")
def record(pretrained, planted, tmp_path_factory):
    """The planted rows; those with the trigger, and some without, hold hostile text too."""
    texts = list(planted.corpus.texts)
    poisoned = planted.is_poisoned.nonzero()[0]
    for place, text in zip([*poisoned[:22], *range(0, 60, 5)], HOSTILE * 4, strict=False):
        texts[place] = f"{text} {texts[place]}" if len(text) < 1000 else f"{texts[place]} {text}"
    labels = [f"<b>{planted.corpus.label_names[i]}" for i in planted.corpus.labels]
    with pytest.warns(UserWarning, match="lone surrogates"):
        corpus = load_corpus((texts, labels))
    findings = btu.scan(pretrained, corpus, settings=PROBES, max_length=MAX_LENGTH)
    assert TRIGGER in [t.token for t in findings.triggers]
    path = tmp_path_factory.mktemp("record") / "btu.json"
    write_record(build_reported("scan", findings.to_dict()), path)
    return load_record(path)


def print_plain(what):
    file = io.StringIO()
    Console(width=80, file=file, force_terminal=True, color_system=None).print(what)
    return file.getvalue()


def test_the_record_keeps_hostile_rows_whole_and_is_plain_ascii(record, tmp_path):
    write_record(record, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes().isascii()
    shown = "".join(row["text"] for row in record["example_rows"])
    assert any(text in shown for text in HOSTILE if "\ud800" not in text)


@pytest.mark.parametrize(
    "render",
    [
        render_html,
        render_markdown,
        render_card,
        render_sarif,
        lambda record: print_plain(render_record(record)),
        lambda record: print_plain(render_comparison(compare_records(record, record))),
        lambda record: render_comparison_markdown(compare_records(record, record)),
    ],
    ids=["html", "markdown", "card", "sarif", "terminal", "compare", "compare-markdown"],
)
def test_no_view_holds_a_character_that_hides_or_acts(record, render):
    text = render(record)
    assert not [character for character in RAW if character in text]
    assert len(text) < 5_000_000
    assert "\n# heading" not in text


def test_the_page_has_no_element_or_attribute_of_the_attackers(record):
    seen = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            seen.append((tag, dict(attributes)))

    Reader().feed(render_html(record))
    assert "script" not in {tag for tag, _ in seen}
    assert not [a for _, attributes in seen for a in attributes if a.startswith("on")]
    assert {a["src"][:5] for tag, a in seen if tag == "img"} == {"data:"}
    assert all(a["href"].startswith("#") for tag, a in seen if tag == "a")


def test_sarif_is_strict_json_without_placeholders_of_the_attackers(record):
    log = json.loads(render_sarif(record), parse_constant=lambda name: pytest.fail(name))
    messages = [result["message"]["text"] for result in log["runs"][0]["results"]]
    assert messages
    assert not [m for m in messages if "](" in m or "{0}" in m.replace("{{0}}", "")]


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_no_cell_of_the_rows_is_a_formula(record, tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    write_row_view(record, path)
    text = path.read_text(encoding="utf-8")
    assert not [character for character in RAW if character in text]
    for row in csv.reader(io.StringIO(text), delimiter="," if suffix == "csv" else "\t"):
        assert not [cell for cell in row if cell.startswith(("=", "+", "@", "\t"))]
