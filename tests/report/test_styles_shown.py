"""A style of rewritten rows in every view: its label, words and numbers, and nothing painted."""

import io

import jsonschema
import pytest
from rich.console import Console

from btu.report.card import render_card
from btu.report.html import render_html
from btu.report.markdown import render_markdown
from btu.report.record import load_schema
from btu.report.rows import list_rows
from btu.report.sarif import render_sarif
from btu.report.summary import say_uncertainty, say_verdict
from btu.report.terminal import render_record
from btu.report.text import show_text
from hostile import HOSTILE, load_sample, read_markdown

WORDS = ["thou", "unto", "shall", "ye", "behold"]


def make_record(verdict="trigger", *, label="positive", words=WORDS, reason=""):
    """A scan that found no trigger token and a style of 40 rows."""
    record = load_sample("poisoned-scan")
    rows = record["flagged_rows"]
    named = [row["row_id"] for row in record["example_rows"]][:2]
    record["styles"] = [
        {
            "label": label,
            "verdict": verdict,
            "kind_rows": 45,
            "others": 3,
            "expected_others": 28.4,
            "false_alarm_rate": 2e-6,
            "mislabelled_share": 0.91,
            "spread": 0.04,
            "reason": reason,
            "words": list(words),
            "rows": len(rows),
            "examples": [{"row_id": i, "spans": [], "pair_spans": []} for i in named],
        }
    ]
    seen = [row | {"tokens": [], "style": True, "label": label} for row in rows]
    record |= {"suspects": [], "verdict": verdict, "flagged_rows": seen, "suspected_rows": []}
    if verdict == "accepted":
        record |= {"verdict": "none", "flagged_rows": [], "suspected_rows": []}
    if verdict == "suspect":
        record |= {"flagged_rows": [], "suspected_rows": [row | {"score": 0.3} for row in seen]}
    return record


def print_plain(record):
    file = io.StringIO()
    Console(width=80, file=file, color_system=None).print(render_record(record))
    return file.getvalue()


@pytest.mark.parametrize("verdict", ["trigger", "suspect", "accepted"])
def test_the_record_fits_the_schema(verdict):
    jsonschema.validate(make_record(verdict), load_schema())


def test_the_verdict_names_a_style_and_how_sure_it_is():
    record = make_record()
    assert say_verdict(record) == (
        "Poisoned: rows of a style (thou, unto, shall, ye) pointing to positive; "
        f"{len(record['flagged_rows'])} of 400 rows (10.0 %) judged poisoned."
    )
    assert say_uncertainty(record).startswith(
        "Of the 45 rows most of that style 3 bear another label than positive, where 28.4 were "
        "expected by what they say. In clean data fewer than 0.001 such styles are expected."
    )
    doubtful = say_verdict(make_record("suspect"))
    assert doubtful.startswith("No trigger confirmed")
    assert doubtful.endswith("; rows of a style (thou, unto, shall, ye) to look at.")


def test_the_headlines_speak_of_rewritten_rows_where_no_token_is_confirmed():
    record = make_record()
    assert "Rewritten rows confirmed" in render_html(record)
    assert render_markdown(record).startswith("## Backdoor scan: rewritten rows found\n")
    record["suspects"] = load_sample("poisoned-scan")["suspects"]
    assert "Trigger confirmed" in render_html(record)
    assert render_markdown(record).startswith("## Backdoor scan: trigger found\n")


def test_a_trigger_and_a_style_are_told_together():
    record = make_record()
    record["suspects"] = load_sample("poisoned-scan")["suspects"]
    assert say_verdict(record).startswith(
        "Poisoned: 1 trigger (cf) and rows of a style (thou, unto, shall, ye) pointing to "
        "positive; "
    )


@pytest.mark.parametrize(
    "show",
    [print_plain, render_html, lambda r: read_markdown(render_markdown(r)).text],
    ids=["terminal", "html", "markdown"],
)
def test_each_view_shows_words_numbers_and_doubts(show):
    said = " ".join(show(make_record()).split())
    for word in WORDS[:4]:
        assert word in said
    for number in ("45 rows", "28.4"):
        assert number in said
    assert "It is a suspect at most" not in said
    doubtful = make_record("suspect", reason="honest sources look so")
    assert "a suspect at most: honest sources look so." in " ".join(show(doubtful).split())
    assert "reported only" in " ".join(show(make_record("suspect")).split())
    assert "accepted by a reviewer" in " ".join(show(make_record("accepted")).split())


def test_the_review_of_an_accepted_style_is_used_and_its_rows_are_no_finding():
    record = make_record("accepted")
    review = {"who": "Ada", "why": "Two sources.", "when": "2026-11-02"}
    unused = "Reviews of tokens that would not have stood among the suspects"
    record["reviews"] = [{"token": "style of positive", **review}]
    assert unused not in render_html(record)
    record["reviews"] = [{"token": "style of negative", **review}]
    assert unused in render_html(record)
    assert say_verdict(record).startswith("No trigger found")


def test_the_rows_of_a_style_are_issues_of_their_label():
    record = make_record()
    table = list_rows(record)
    issues = [place for place, is_issue in enumerate(table["is_backdoor_issue"]) if is_issue]
    assert issues == sorted(row["row_id"] for row in record["flagged_rows"])
    assert {table["backdoor_label"][i] for i in issues} == {"positive"}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_and_labels_are_shown_and_never_raw(text):
    record = make_record(label=text, words=[text, *WORDS], reason=text)
    page = render_html(record)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert all(c not in page for c in "\u202e\u200b\x1b\x00")
    assert say_verdict(record) in read_markdown(render_markdown(record)).text
    assert say_verdict(record) in read_markdown(render_card(record)).text
    assert show_text(text)[:10] in say_verdict(record)
    assert render_sarif(record).isascii()
    printed = print_plain(record)
    assert all(c not in printed for c in "\u202e\u200b\x1b\x00")
