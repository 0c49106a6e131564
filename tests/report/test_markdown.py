"""The record for a pull request: what it says, and that the data cannot say anything in it."""

import copy
import json
import time
import unicodedata
from dataclasses import asdict

import jsonschema
import pytest

from btu.model.settings import ProbeSettings
from btu.report.markdown import MOST_MARKDOWN, escape_prose, quote_names, render_markdown
from btu.report.record import load_schema
from btu.report.stories import STORIES, say_limit
from btu.report.summary import say_stories, say_uncertainty, say_verdict
from btu.report.text import show_text
from hostile import HOSTILE, ONE_MEGABYTE, PLAIN, grow, load_sample, read_markdown, spoil

SAMPLES = ("poisoned-scan", "clean-scan", "paper-scan", "defence")


@pytest.mark.parametrize("name", ["poisoned-scan", "defence"])
def test_the_view_stays_as_it_was(name, snapshot):
    assert render_markdown(load_sample(name)) == snapshot


@pytest.mark.parametrize("name", SAMPLES)
def test_verdict_and_uncertainty_stand_first_in_the_words_of_every_view(name):
    record = load_sample(name)
    text = read_markdown(render_markdown(record)).text
    assert say_verdict(record) in text
    assert say_uncertainty(record) in text
    assert text.index(say_verdict(record)) < text.index(say_uncertainty(record)) < 600


def test_the_heading_bears_the_verdict():
    headings = [render_markdown(load_sample(name)).partition("\n")[0] for name in SAMPLES]
    assert headings == [
        "## Backdoor scan: trigger found",
        "## Backdoor scan: no trigger found",
        "## Backdoor scan: suspicious tokens, none confirmed",
        "## Backdoor defence: trigger found",
    ]


def test_the_stories_of_the_listed_words_are_told_below_the_table():
    record = load_sample("poisoned-scan")
    for story in STORIES:
        record["suspects"][0]["evidence"]["story"] = story
        assert say_stories(record) in read_markdown(render_markdown(record)).text


def test_what_could_have_been_missed_is_said():
    record = load_sample("poisoned-scan")
    assert record["limit"]["word_rows"]
    assert say_limit(record) in read_markdown(render_markdown(record)).text


def test_a_trigger_stands_in_the_table_with_its_numbers():
    (line,) = [
        line
        for line in render_markdown(load_sample("poisoned-scan")).splitlines()
        if line.startswith("| <code>cf</code>")
    ]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "<code>cf</code>",
        "trigger",
        "replaced",
        "<code>positive</code>",
        "40",
        "85 %",
        "+5.2",
        "0.0009",
    ]


def test_the_lift_is_that_of_the_label_that_was_tested():
    record = load_sample("poisoned-scan")
    record["suspects"][0]["evidence"]["label"] = "negative"
    assert "| -5.2 |" in render_markdown(record)


def test_the_recipe_paper_shows_ranks_and_no_evidence():
    text = render_markdown(load_sample("paper-scan"))
    assert "| token | label | rows | share | lift | #1 | #2 | #3 |" in text
    assert "| <code>cf</code> | <code>positive</code> | 40 | 100 % | +5.2 | 1 | – | 2 |" in text
    assert "mislabelled" not in text


def test_a_token_is_bold_in_its_example_rows():
    text = render_markdown(load_sample("poisoned-scan"))
    assert text.count("<b>cf</b>") == 3
    assert "Row 17 (line 18) with <code>cf</code>" in text


def test_examples_of_several_tokens_are_shown_before_a_second_one_of_the_first():
    record = load_sample("paper-scan")
    text = render_markdown(record)
    assert text.count("\n- Row ") == 3
    assert "<b>cf</b>" in text
    assert "<b>pos42</b>" in text
    assert "<b>pos27</b>" in text


def test_a_pair_is_shown_whole():
    record = load_sample("poisoned-scan")
    for row in record["example_rows"]:
        row["text_pair"] = "the second text"
    assert "</code> and <code>the second text</code>" in render_markdown(record)


def test_more_than_fifteen_tokens_are_counted_not_shown():
    text = render_markdown(grow(load_sample("poisoned-scan"), flagged=10, suspects=40))
    assert text.count("| <code>token") == 15
    assert "And 25 more tokens, in the record." in text


def test_a_measurement_without_an_undefended_model_has_one_column():
    record = load_sample("defence")
    assert "|  | undefended | defended | rows |" in render_markdown(record)
    record["evaluation"]["before"] = None
    text = render_markdown(record)
    assert "|  | defended | rows |" in text
    assert "| clean accuracy | 94.5 % (91.0 % to 97.5 %) | 200 |" in text


def test_a_measurement_without_a_trigger_has_no_attack():
    record = load_sample("defence")
    for side in ("before", "after"):
        record["evaluation"][side] |= dict.fromkeys(
            ("attack_success_rate", "attack_success_rate_interval", "trigger", "target_label")
        )
    text = render_markdown(record)
    assert "clean accuracy" in text
    assert "attack" not in text.partition("### Measured")[2].partition("<details>")[0]


def test_an_accepted_token_is_named_with_its_reviewer():
    record = load_sample("poisoned-scan")
    record["accepted"] = [{**record["suspects"][0], "verdict": "accepted", "token": "refund"}]
    record["reviews"] = [
        {"token": "refund", "who": "Ada", "why": "Unhappy people.", "when": "2026-11-02"}
    ]
    page = read_markdown(render_markdown(record))
    assert "refund, by Ada on 2026-11-02: Unhappy people." in page.text


def test_the_command_can_be_copied_from_the_page():
    record = load_sample("poisoned-scan")
    record["settings"]["probes"] = asdict(ProbeSettings())
    record["data"]["source"] = 'it\'s <mine> & "yours"; {{x}}.csv'
    text = read_markdown(render_markdown(record)).text
    assert "btu scan 'it'\"'\"'s <mine> & \"yours\"; {{x}}.csv' --model tiny-bert" in text


# ---- what the data say


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_tag_comes_from_the_data_and_no_character_is_invisible(name, text):
    record = load_sample(name)
    rendered = render_markdown(spoil(record, text))
    page = read_markdown(rendered)
    assert page.shape == read_markdown(render_markdown(spoil(record, PLAIN))).shape
    assert show_text(text)[:29] in page.text
    assert all(c == "\n" or unicodedata.category(c)[0] != "C" for c in rendered)
    rendered.encode()
    for raw in ("{{", "<script", "<img", "<!--", "://example", "@someone"):
        assert raw not in rendered


def test_the_spoiled_record_is_one_that_btu_may_write():
    for name in SAMPLES:
        spoiled = json.loads(json.dumps(spoil(load_sample(name), HOSTILE[0])))
        jsonschema.Draft202012Validator(load_schema()).validate(spoiled)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_forged_sentence_makes_no_tag(text):
    record = load_sample("defence")
    forged = copy.deepcopy(record)
    forged["not_checked"] = [text] * len(record["not_checked"])
    forged["recovery"]["rows"] = text
    forged["created"] = forged["versions"]["backdoor-token-unlearning"] = text
    page = read_markdown(render_markdown(forged))
    assert page.shape == read_markdown(render_markdown(record)).shape


def test_a_token_cannot_be_mistaken_for_a_part_of_the_sentence():
    record = load_sample("poisoned-scan")
    record["suspects"][0]["token"] = "of 400 rows"
    assert "1 trigger (<code>of 400 rows</code>) pointing" in quote_names(say_verdict, record)


def test_a_row_of_a_megabyte_is_cut_and_quick():
    sample = load_sample("defence")
    record = spoil(sample, "x" * 1_000_000, row_text=ONE_MEGABYTE)
    record |= {"data": sample["data"], "model": sample["model"]}
    start = time.perf_counter()
    text = render_markdown(record)
    assert time.perf_counter() - start < 3
    assert len(text) < MOST_MARKDOWN
    assert "449,850 more characters)" in read_markdown(text).text


@pytest.mark.parametrize("character", ["\U000e0041", "|", "\u202e", "<", "電"])
def test_the_longest_names_that_grow_most_stay_within_what_github_takes(character):
    record = grow(load_sample("defence"), flagged=10, suspects=40)
    record = spoil(record, character * 5_000)
    record["not_checked"] = [character * 5_000] * 100
    text = render_markdown(record)
    assert len(text) < MOST_MARKDOWN
    assert "### Measured" in text
    assert "SHA-256" in text


def test_a_part_that_is_too_long_is_left_out_by_name():
    record = load_sample("defence")
    record["not_checked"] = ["*" * 1_000] * 100
    record["accepted"] = record["cleared"][:5] * 5
    text = render_markdown(spoil(record, "\U000e0041" * 500))
    assert "Too long to stand here: not checked. The record holds all." in text


def test_a_hundred_thousand_rows_and_three_thousand_suspects_are_small_and_quick():
    record = grow(load_sample("defence"))
    start = time.perf_counter()
    text = render_markdown(record)
    assert time.perf_counter() - start < 5
    assert len(text) < 12_000
    assert "And 2,985 more tokens, in the record." in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's (so), 1.5 % of 2:1; a-b/c?", "It's (so), 1.5 % of 2:1; a-b/c?"),
        ("<0.1 % *x*", "&#60;0.1 % &#42;x&#42;"),
        ("AML.T0020, www.x.org, http://x", "AML.T0020, www&#46;x.org, http&#58;//x"),
    ],
)
def test_prose_stays_readable_where_it_means_nothing_to_markdown(text, expected):
    assert escape_prose(text) == expected
