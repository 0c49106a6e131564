"""The HTML page: self-contained, in good order, true to the record, and nothing can paint it."""

import json
import re
import time
from copy import deepcopy
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from btu.report import html_tokens
from btu.report.command import write_command
from btu.report.html import _environment, render_html
from btu.report.html_tables import PageColumn, build_table
from btu.report.stories import STORIES, say_limit
from btu.report.summary import say_uncertainty, say_verdict
from btu.report.svg import PALETTE
from btu.report.text import show_text

RECORDS = Path(__file__).parent / "records"
NAMES = ("poisoned-scan", "clean-scan", "paper-scan", "defence")
VOID = {"meta", "img", "link", "br", "hr", "input", "path", "circle"}
HOSTILE = (
    "<script>alert(1)</script>",
    '" onmouseover="x',
    "' onfocus='x",
    "{{7*7}}",
    "{% raise %}",
    "</style></title><img src=x>",
    "javascript:alert(1)",
    "a\u202eb",
    "c\u200bf",
    "\x1b[2J",
    "a\x00b",
    "\ud800",
    "&lt;b&gt;",
)


class PageSnapshot(SingleFileSnapshotExtension):
    _write_mode = WriteMode.TEXT
    file_extension = "html"


class Page(HTMLParser):
    """What a browser would make of a page, as far as the tests ask."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.texts, self.open, self.marks = [], [], [], [], []
        self.faults = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if len({name for name, _ in attrs}) < len(attrs):
            self.faults.append(f"<{tag}> has an attribute twice")
        if tag == "mark":
            self.marks.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes another")

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)
        if "mark" in self.open:
            self.marks[-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def values(self, attribute):
        return [value for _, name, value in self.attributes if name == attribute]


def load(name):
    return json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pages():
    return {name: render_html(load(name)) for name in NAMES}


def read_section(page, name):
    """Visible text of a section."""
    start = page.index(f'<section id="{name}"')
    ends = (page.find(mark, start + 1) for mark in ('<section id="', "</main>"))
    return Page(page[start : min(end for end in ends if end > 0)]).text


def make_hostile(value, hostile, key=""):
    """The record with a string in place of every name and text that comes from outside."""
    outside = {"token", "label", "text", "source", "who", "why", "name", "tokens", "reason"}
    if isinstance(value, dict):
        made = {k: make_hostile(v, hostile, k) for k, v in value.items()}
        if key in ("label_counts", "label_lifts"):
            made = {f"{hostile}{i}": v for i, v in enumerate(made.values())}
        return made
    if isinstance(value, list):
        return [make_hostile(v, hostile, key) for v in value]
    return hostile if isinstance(value, str) and key in outside else value


# ---- form


@pytest.mark.parametrize("name", NAMES)
def test_every_committed_record_gives_the_same_page_twice(name, pages):
    assert render_html(load(name)) == pages[name]
    assert pages[name].startswith("<!doctype html>\n")
    pages[name].encode("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_runs_nothing_and_asks_for_nothing(name, pages):
    page = Page(pages[name])
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & set(page.tags)
    assert not [n for _, n, _ in page.attributes if n.startswith("on") or n == "style"]
    assert not re.search(r"https?:|//[a-z]|@import|url\(", pages[name])
    assert all(value.startswith("#") for value in page.values("href"))
    assert all(value.startswith("data:image/svg+xml;base64,") for value in page.values("src"))
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert ("meta", "content", policy) in page.attributes


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_well_formed_with_landmarks_and_one_first_heading(name, pages):
    page = Page(pages[name])
    assert not page.faults
    assert not page.open
    for tag in ("header", "nav", "main", "footer", "h1", "title"):
        assert page.tags.count(tag) == 1, tag
    assert ("html", "lang", "en") in page.attributes
    assert ("meta", "name", "viewport") in page.attributes


@pytest.mark.parametrize("name", NAMES)
def test_headings_never_skip_a_level(name, pages):
    levels = [int(tag[1]) for tag in Page(pages[name]).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique_and_every_reference_meets_one(name, pages):
    page = Page(pages[name])
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    assert {value[1:] for value in page.values("href")} <= set(ids)
    assert set(page.values("aria-labelledby")) <= set(ids)


@pytest.mark.parametrize("name", NAMES)
def test_tables_have_captions_and_scopes_and_scroll_for_the_keyboard_too(name, pages):
    page = Page(pages[name])
    assert page.tags.count("caption") == page.tags.count("table") > 0
    assert page.tags.count("th") == len(page.values("scope"))
    boxes = sum(value.split()[:1] == ["scroll"] for value in page.values("class"))
    assert boxes == len(page.values("tabindex")) - 1  # main's
    assert all(page.values("aria-label"))
    assert all(len(alt) > 30 for alt in page.values("alt"))
    assert len(page.values("alt")) == page.tags.count("img")


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_every_text_colour_stands_out_from_its_ground(mode):
    grounds = {"ink": ("ground", "surface", "mark")}
    grounds |= dict.fromkeys(("muted", "accent"), ("ground", "surface"))
    for tone in ("danger", "warning", "good"):
        grounds[tone] = ("surface", f"{tone}-ground")
        grounds["ink"] += (f"{tone}-ground",)
    for text, under in grounds.items():
        for ground in under:
            pair = sorted(_luminance(PALETTE[name][mode]) for name in (text, ground))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (text, ground)


# ---- content


@pytest.mark.parametrize("name", NAMES)
def test_the_page_says_the_verdict_its_uncertainty_and_the_command(name, pages):
    record, text = load(name), Page(pages[name]).text
    for said in (say_verdict(record), say_uncertainty(record), write_command(record)):
        assert " ".join(said.split()) in text
    for said in record["not_checked"]:
        assert said in text
    assert record["data"]["sha256"] in text
    assert record["model"]["sha256"] in text
    for entry in record["frameworks"]:
        assert entry["id"] in text
        assert f"{entry['framework']} {entry['version']}" in text


@pytest.mark.parametrize(
    ("name", "tone", "headline"),
    [
        ("poisoned-scan", "danger", "Trigger confirmed"),
        ("clean-scan", "good", "No trigger found"),
        ("paper-scan", "warning", "Tokens named, none confirmed"),
    ],
)
def test_the_banner_says_in_words_what_its_colour_says(name, tone, headline, pages):
    assert f'<div class="banner {tone}">' in pages[name]
    assert f'<p class="headline">{headline}</p>' in pages[name]
    assert "<svg" in pages[name]


def test_key_figures_are_the_records(pages):
    text = read_section(pages["defence"], "verdict")
    for said in (
        "words and phrases tested 182 in 400 rows",
        "triggers 1 confirmed",
        "suspects 0 reported only",
        "rows flagged 40 of 400 (10.0 %)",
        "clean accuracy 94.5 % 93.0 % without the defence",
        "attack success rate 10.0 % 49.0 % without the defence",
    ):
        assert said in text


def test_a_trigger_stands_in_a_line_with_its_numbers_and_its_rows_marked(pages):
    page = pages["poisoned-scan"]
    line = "cf trigger replaced positive 40 85 % ± 5 % +5.2 1 0.0009"
    assert line in read_section(page, "tokens")
    assert Page(page).marks == ["cf"] * 3
    first = load("poisoned-scan")["suspects"][0]["examples"][0]
    line = first["row_id"] + 2
    assert f"row {first['row_id'] + 1} (line {line}) positive" in read_section(page, "tokens")


@pytest.mark.parametrize("story", STORIES)
def test_the_story_of_a_trigger_is_told_in_the_words_of_every_view(story):
    record = load("poisoned-scan")
    record["suspects"][0]["evidence"]["story"] = story
    assert STORIES[story] in read_section(render_html(record), "tokens")


def test_what_could_have_been_missed_is_said_with_its_numbers():
    record = load("clean-scan")
    assert record["limit"]["word_rows"]
    assert say_limit(record) in Page(render_html(record)).text


def test_the_second_text_of_a_row_is_shown_and_marked():
    record = load("poisoned-scan")
    example = record["suspects"][0]["examples"][0]
    row = next(r for r in record["example_rows"] if r["row_id"] == example["row_id"])
    row["text_pair"], example["pair_spans"] = "so said mn indeed", [[8, 10]]
    page = render_html(record)
    assert "mn" in Page(page).marks
    assert "second text so said mn indeed" in read_section(page, "tokens")


def test_rows_judged_poisoned_come_by_score_with_the_way_to_all(pages):
    record, text = load("poisoned-scan"), read_section(pages["poisoned-scan"], "rows")
    surest = max(record["flagged_rows"], key=lambda r: r["score"])
    assert f"tokens {surest['row_id'] + 1} {surest['line']} positive 1.000 cf" in text
    assert "btu report btu.json --format rows --output rows.csv" in text
    assert "style" not in text.split("For all rows")[0]


def test_the_evaluation_has_both_models_and_their_intervals(pages):
    text = read_section(pages["defence"], "evaluation")
    assert "clean accuracy 93.0 % (89.5 % to 96.5 %) 94.5 % (91.0 % to 97.5 %)" in text
    assert "attack success rate 49.0 % (39.0 % to 59.0 %) 10.0 % (5.0 % to 16.0 %)" in text
    assert "triggered rows in which it does – 100" in text
    assert 'id="evaluation"' not in pages["poisoned-scan"]
    assert 'href="#evaluation"' not in pages["poisoned-scan"]


def test_the_recipe_paper_judges_no_rows_and_leaves_out_what_it_has_not(pages):
    page = pages["paper-scan"]
    text = read_section(page, "tokens")
    assert "cf suspect positive 40 100 % +5.2 1" in text
    for title in ("mislabelled share", "by states", "false alarms"):
        assert title not in text
    assert "The recipe paper judges no rows" in read_section(page, "rows")
    assert "rows flagged" not in read_section(page, "verdict")
    assert "None" not in Page(page).text


def test_clean_data_shows_what_was_cleared_and_no_empty_table(pages):
    page = pages["clean-scan"]
    assert "No token stands out." in read_section(page, "tokens")
    assert "Looked into and cleared 14" in read_section(page, "tokens")
    assert "No row is judged poisoned." in read_section(page, "rows")


def test_an_accepted_token_stands_with_who_why_and_when():
    record = load("poisoned-scan")
    record["accepted"] = [deepcopy(record["suspects"][0]) | {"verdict": "accepted", "token": "ad"}]
    review = {"token": "ad", "who": "Ada", "why": "An honest word.", "when": "2026-11-02"}
    record["reviews"] = [review, review | {"token": "other", "why": "Never needed."}]
    text = read_section(render_html(record), "tokens")
    assert "Accepted by a reviewer 1" in text
    assert "Ada An honest word. 2026-11-02" in text
    assert "other Ada Never needed. 2026-11-02" in text


def test_what_a_defence_cut_is_listed():
    record = load("defence")
    edit = {"token_id": 265, "dimensions": [3, 5], "values_before": [1.0, 2.0]}
    record["edits"] = [edit | {"norm_before": 1.5, "norm_after": 0.75}]
    text = read_section(render_html(record), "done")
    assert "265 cf 2 1.5 0.75" in text
    assert record["saved_model"]["sha256"] in text


def test_a_column_without_a_value_is_left_out():
    columns = [
        PageColumn("a", "", str),
        PageColumn("b", "", lambda _: None),
        PageColumn("c", "", str),
    ]
    table = build_table("caption", columns, range(5), 2)
    assert table.heads == [("a", ""), ("c", "")]
    assert table.rows == [["0", "0"], ["1", "1"]]
    assert table.left_out == 3


# ---- hostile text


@pytest.fixture(scope="module")
def no_plots(pages):
    """Plots are tested on their own."""
    patch = pytest.MonkeyPatch()
    patch.setattr("btu.report.html._list_plots", lambda record: [])
    yield
    patch.undo()


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_hostile_text_is_visible_text_between_tags_and_nothing_else(hostile):
    record = load("defence")
    review = {"token": hostile, "who": hostile, "why": hostile, "when": hostile}
    record["accepted"], record["reviews"] = record["cleared"][:1], [review]
    record["example_rows"][0]["text_pair"] = "pair"
    # Of the same length, so that the same part of a row is marked.
    made, plain = make_hostile(record, hostile), make_hostile(record, "w" * len(hostile))
    benign, page = Page(render_html(plain)), Page(render_html(made))
    assert page.tags == benign.tags
    assert page.attributes == benign.attributes
    assert not page.faults
    assert all(c.isprintable() or c == "\n" for c in "".join(page.texts))
    assert page.text.count(show_text(hostile)) > 50


@pytest.mark.usefixtures("no_plots")
def test_a_row_of_a_megabyte_is_cut_around_its_token():
    record = load("poisoned-scan")
    example = record["suspects"][0]["examples"][0]
    row = next(r for r in record["example_rows"] if r["row_id"] == example["row_id"])
    row["text"] = "y" * 500_000 + " cf " + "\u202e" * 500_000
    example["spans"] = [[500_001, 500_003]]
    page = render_html(record)
    assert len(page) < 200_000
    assert Page(page).marks[0] == "cf"
    assert "more characters)" in page


@pytest.mark.usefixtures("no_plots")
def test_what_is_not_known_is_never_printed_as_none():
    record = load("poisoned-scan")
    record["versions"]["torch"] = record["hardware"]["cpu_count"] = None
    for row in (*record["flagged_rows"], *record["example_rows"]):
        row["line"] = None
    text = Page(render_html(record)).text
    assert "None" not in text
    assert "torch not installed" in text
    assert "(line" not in text


def test_a_template_cannot_print_raw_text_nor_a_missing_value():
    template = _environment().from_string("{{ word }}")
    assert template.render(word="a\u202e<b>") == r"a\u202e&lt;b&gt;"
    with pytest.raises(TypeError, match="not there"):
        template.render(word=None)
    with pytest.raises(UndefinedError):
        template.render()


# ---- much


def make_huge():
    record = load("defence")
    first, row = record["suspects"][0], record["flagged_rows"][0]
    cleared = record["cleared"][0]
    record["suspects"] = [
        deepcopy(first) | {"token": f"token{i}", "verdict": "suspect" if i else "trigger"}
        for i in range(3_000)
    ]
    record["cleared"] = [cleared | {"token": f"cleared{i}"} for i in range(1_000)]
    record["flagged_rows"] = [
        row | {"row_id": i, "line": i + 2, "score": 0.5 + i / 200_000} for i in range(100_000)
    ]
    record["dropped_row_ids"] = list(range(100_000))
    record["data"]["rows"] = 250_000
    record["data"]["label_counts"] = {f"label{i}": 250 for i in range(1_000)}
    record["example_rows"][0]["text"] = "x" * 1_000_000
    return record


def test_a_huge_record_gives_a_small_page_that_says_what_it_left_out():
    record, start = make_huge(), time.perf_counter()
    page = render_html(record)
    assert time.perf_counter() - start < 30  # A few seconds on a machine that is not shared.
    assert len(page.encode()) < 5_000_000
    tokens, rows = read_section(page, "tokens"), read_section(page, "rows")
    assert f"{3_000 - html_tokens.MOST_TOKENS:,} more are left out here" in tokens
    assert f"{3_000 - html_tokens.MOST_CARDS:,} more are left out here" in tokens
    assert f"{1_000 - html_tokens.MOST_CLEARED:,} more are left out here" in tokens
    assert "99,950 more are left out here; the record holds all." in rows
    assert f"tokens 100,000 100,001 {record['flagged_rows'][0]['label']} 1.000" in rows
    assert page.count('<details class="card"') == html_tokens.MOST_CARDS + 1
    assert "2,999 reported only" in read_section(page, "verdict")
    assert "all other labels 237,500" in read_section(page, "reproduce")


# ---- snapshot


def test_the_page_of_the_defence_is_as_committed(pages, snapshot):
    # Matplotlib's paths change with its version.
    page = re.sub(r"base64,[A-Za-z0-9+/=]+", "base64,…", pages["defence"])
    assert page == snapshot(extension_class=PageSnapshot)
