"""Plots: the same bytes from the same record, no name that paints, colours for light and dark."""

import json
import re
import xml.etree.ElementTree as ET
from copy import deepcopy
from pathlib import Path

import pytest

from btu.report import plots
from btu.report.svg import COLOURS, PALETTE

RECORDS = Path(__file__).parent / "records"
NAMES = ("poisoned-scan", "clean-scan", "paper-scan", "defence")
KINDS = ("drift", "label_lift", "mislabelled_share", "row_scores", "evaluation")
DRAWN = {
    "poisoned-scan": {"drift", "label_lift", "mislabelled_share", "row_scores"},
    "clean-scan": {"drift", "label_lift"},
    "paper-scan": {"drift", "label_lift"},
    "defence": set(KINDS),
}
HOSTILE = (
    "<script>alert(1)</script>",
    "$x^{2}$",
    r"$\frac{$",
    "a\u202eb",
    "nul\x00",
    "esc\x1b[2J",
    "\ud800",
    "電影",
    "_hidden",
    'style="fill: #010200"',
    "-->",
    "x" * 100_000,
)


def load(name):
    return json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))


def draw(kind, record):
    return getattr(plots, f"draw_{kind}")(record)


def read_texts(svg):
    return ["".join(e.itertext()) for e in ET.fromstring(svg).iter() if e.tag.endswith("}text")]


@pytest.mark.parametrize("name", NAMES)
def test_what_the_record_does_not_hold_is_not_drawn(name):
    record = load(name)
    assert {kind for kind in KINDS if draw(kind, record) is not None} == DRAWN[name]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_record_gives_the_same_bytes(kind):
    assert draw(kind, load("defence")) == draw(kind, load("defence"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_colour_follows_the_page_in_light_and_dark(kind):
    svg = draw(kind, load("defence")).decode()
    style, rest = svg.split("</style>", 1)
    assert not re.search(r"#[0-9a-f]{6}", rest)
    assert not any(colour in svg for colour in COLOURS.values())
    assert set(re.findall(r"var\(--([a-z-]+)\)", rest)) <= set(PALETTE)
    light, dark = style.split("@media screen and (prefers-color-scheme: dark)")
    for name, colours in PALETTE.items():
        assert f"--{name}:{colours[0]};" in light
        assert f"--{name}:{colours[1]};" in dark


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_asks_for_nothing_and_runs_nothing(kind):
    svg = draw(kind, load("defence")).decode()
    names = re.findall(r'xmlns(?::\w+)?="([^"]*)"', svg)
    assert set(names) == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert len(re.findall("https?:", svg)) == len(names)
    tags = {e.tag.rpartition("}")[2] for e in ET.fromstring(svg).iter()}
    assert tags <= {"svg", "style", "defs", "g", "path", "use", "text", "clipPath", "rect"}
    assert all(h.startswith("#") for h in re.findall(r'href="([^"]*)"', svg))


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_a_hostile_name_is_drawn_as_visible_text_of_few_characters(hostile):
    record = load("defence")
    for token in (*record["suspects"], *record["cleared"]):
        token.update(token=hostile, label=hostile, label_lifts={hostile: 1.0})
        if token["evidence"]:
            token["evidence"]["label"] = hostile
    for kind in ("drift", "label_lift", "mislabelled_share"):
        svg = draw(kind, record)
        shown = [text for text in read_texts(svg) if text.startswith(plots.show_token(hostile)[:6])]
        assert shown
        assert max(map(len, shown)) <= 16
        assert len(svg) < 50_000


def test_the_triggers_name_and_the_round_in_which_it_stands_furthest_out_are_drawn():
    record = load("poisoned-scan")
    assert plots.pick_round(record) == "shallow"
    assert "cf" in read_texts(draw("drift", record))
    suspect = record["suspects"][0]
    suspect["rank"] = {"shallow": 7, "embedding-only": 2}
    assert plots.pick_round(record) == "embedding-only"


def test_alternative_texts_state_the_records_numbers_and_no_name():
    record = load("defence")
    assert plots.describe_drift(record) == (
        "Drift against frequency of 201 tokens. 1 suspicious token among them; the first stands "
        "in 40 rows, moved by 0.108 and holds place 1 by drift."
    )
    assert "40 rows of 0.5 and more, 0 rows below; 360 rows of score 0" in (
        plots.describe_row_scores(record)
    )
    assert "85 % with a standard error of 5 %" in plots.describe_mislabelled_share(record)
    assert "the first has +5.2" in plots.describe_label_lift(record)
    assert "attack success rate before 49.0 %, attack success rate after 10.0 %" in (
        plots.describe_evaluation(record)
    )
    for token in (*record["suspects"], *record["cleared"]):
        token["token"] = token["label"] = "secret"
    assert not any("secret" in getattr(plots, f"describe_{kind}")(record) for kind in KINDS)


def test_without_a_model_before_the_results_after_stand_alone():
    record = load("defence")
    record["evaluation"]["before"] = None
    record["evaluation"]["after"].update(
        attack_success_rate=None, attack_success_rate_interval=None, triggered_rows=0
    )
    texts = read_texts(draw("evaluation", record))
    assert "after: 94.5 %" in texts
    assert not any("before" in text for text in texts)


def test_a_thousand_suspects_keep_the_image_small():
    record = load("defence")
    first = record["suspects"][0]
    record["suspects"] = [deepcopy(first) | {"token": f"token{i}"} for i in range(1000)]
    for kind in ("drift", "label_lift", "mislabelled_share"):
        assert len(draw(kind, record)) < 100_000


def test_a_round_without_a_token_is_not_drawn():
    record = load("clean-scan")
    record["drift_by_frequency"] = {}
    assert plots.draw_drift(record) is None


def test_data_of_one_frequency_and_drift_is_drawn():
    record = load("clean-scan")
    histogram = {"rows_edges": [1.0, 2.0], "drift_edges": [1.0, 2.0], "counts": [[3]]}
    record["drift_by_frequency"] = {"shallow": histogram}
    assert plots.draw_drift(record) is not None
