"""What changed between two records: every kind of change, made by hand."""

import copy
import io
import json
import time
import unicodedata
from dataclasses import FrozenInstanceError

import pytest
from rich.cells import cell_len
from rich.console import Console

from btu.report.compare import (
    compare_records,
    comparison_to_dict,
    render_comparison,
    render_comparison_markdown,
)
from btu.support.record import render_json
from hostile import HOSTILE, ONE_MEGABYTE, PLAIN, grow, load_sample, read_markdown, spoil

SAMPLES = ("poisoned-scan", "clean-scan", "paper-scan", "defence")


def render(comparison):
    """As a terminal of 80 columns without colours would get it."""
    file = io.StringIO()
    console = Console(width=80, file=file, force_terminal=False, color_system=None)
    console.print(render_comparison(comparison))
    return file.getvalue()


def make_token(token, *, verdict="trigger", label="positive", share=0.9, spread=0.03):
    sample = load_sample("poisoned-scan")["suspects"][0]
    evidence = {**sample["evidence"], "label": label}
    evidence |= {"mislabelled_share": share, "spread": spread}
    return {**sample, "token": token, "verdict": verdict, "evidence": evidence}


def make_record(*suspects, accepted=(), cleared=(), flagged=()):
    record = load_sample("poisoned-scan")
    row = record["flagged_rows"][0]
    record |= {"suspects": list(suspects), "accepted": list(accepted), "cleared": list(cleared)}
    record["verdict"] = suspects[0]["verdict"] if suspects else "none"
    record["flagged_rows"] = [{**row, "row_id": row_id} for row_id in flagged]
    return record


def names(changes):
    return [change.token for change in changes]


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_changed_from_a_record_to_itself(name):
    comparison = compare_records(load_sample(name), load_sample(name))
    found = comparison.new, comparison.gone, comparison.changed, comparison.differences
    assert not any(found)
    assert comparison.old_verdict == comparison.new_verdict
    assert not comparison.newly_flagged
    assert not comparison.no_longer_flagged
    assert "As before" in render(comparison)


def test_scans_of_text_alone_are_compared():
    """No model was asked: the record has none."""
    old, new = load_sample("clean-scan"), load_sample("clean-scan")
    old["model"] = None
    comparison = compare_records(old, old)
    assert not comparison.differences
    assert any(name.startswith("model") for name, *_ in compare_records(old, new).differences)


def test_a_comparison_cannot_be_written_to():
    comparison = compare_records(load_sample("clean-scan"), load_sample("clean-scan"))
    with pytest.raises(FrozenInstanceError):
        comparison.new = ()


def test_new_gone_and_lasting_tokens_are_told_apart_by_their_spelling():
    old = make_record(make_token("cf"), make_token("mn"))
    new = make_record(make_token("bb"), {**make_token("cf"), "token_id": 9999})
    comparison = compare_records(old, new)
    assert names(comparison.new) == ["bb"]
    assert names(comparison.gone) == ["mn"]
    assert comparison.changed == ()
    assert comparison.new[0].old is None
    assert comparison.gone[0].new is None


def test_a_token_that_a_reviewer_accepted_or_the_evidence_cleared_is_gone_with_its_verdict():
    old = make_record(make_token("cf"), make_token("mn"))
    new = make_record(
        accepted=[make_token("cf", verdict="accepted")],
        cleared=[make_token("mn", verdict="innocent")],
    )
    comparison = compare_records(old, new)
    assert [change.new.verdict for change in comparison.gone] == ["accepted", "innocent"]
    assert [change.old.verdict for change in compare_records(new, old).new] == [
        "accepted",
        "innocent",
    ]


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({"verdict": "suspect"}, ("verdict",)),
        ({"label": "negative"}, ("label",)),
        ({"share": 0.8, "spread": 0.03}, ("mislabelled share",)),
        ({"share": 0.82, "spread": 0.03}, ()),
        ({"share": 1.0, "spread": 0.04}, ()),
        ({"share": 1.01, "spread": 0.04}, ("mislabelled share",)),
        ({"verdict": "suspect", "label": "negative", "share": 0.1}, None),
    ],
    ids=str,
)
def test_a_token_changed_where_verdict_label_or_share_did(change, reasons):
    """0.9 with a standard error of 0.03: 2 * hypot(0.03, 0.03) = 0.085, with 0.04 it is 0.1."""
    old, new = make_record(make_token("cf")), make_record(make_token("cf", **change))
    comparison = compare_records(old, new)
    expected = ("verdict", "label", "mislabelled share") if reasons is None else reasons
    assert names(comparison.changed) == (["cf"] if expected else [])
    assert [c.reasons for c in comparison.changed] == ([expected] if expected else [])
    assert not comparison.new
    assert not comparison.gone


def test_of_two_tokens_that_are_spelled_alike_the_gravest_counts():
    twice = make_record(make_token("cf"), make_token("cf", verdict="suspect", share=0.2))
    comparison = compare_records(make_record(make_token("cf")), twice)
    assert not any((comparison.new, comparison.gone, comparison.changed))


def test_rows_of_the_same_data_are_matched():
    old, new = make_record(flagged=[1, 5, 9]), make_record(flagged=[5, 2, 9, 11])
    comparison = compare_records(old, new)
    assert comparison.newly_flagged == (2, 11)
    assert comparison.no_longer_flagged == (1,)
    assert (comparison.old_flagged, comparison.new_flagged) == (3, 4)
    for text in (render(comparison), render_comparison_markdown(comparison)):
        assert "Newly: row 3, row 12." in text
        assert "No longer: row 2." in text


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"row_ids": [1, 2]}])
def test_rows_of_other_data_are_counted_only(change):
    old, new = make_record(flagged=[1, 5]), make_record(flagged=[5])
    new["data"] |= change
    comparison = compare_records(old, new)
    assert comparison.newly_flagged is comparison.no_longer_flagged is None
    assert (comparison.old_flagged, comparison.new_flagged) == (2, 1)
    assert "cannot be matched" in " ".join(render(comparison).split())


def test_the_recipe_paper_has_no_rows_to_compare():
    comparison = compare_records(load_sample("poisoned-scan"), load_sample("paper-scan"))
    assert comparison.newly_flagged is None
    assert (comparison.old_flagged, comparison.new_flagged) == (40, None)
    assert "40 rows before, no judgement now" in " ".join(render(comparison).split())
    assert ("recipe", "verified", "paper") in comparison.differences


def test_verdicts_stand_in_words():
    comparison = compare_records(load_sample("clean-scan"), load_sample("poisoned-scan"))
    assert comparison.old_verdict == "no trigger found"
    assert comparison.new_verdict == "trigger found"
    for text in (render(comparison), render_comparison_markdown(comparison)):
        assert "Before: no trigger found. Now: trigger found." in text


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (("data", "sha256"), "data.sha256", "f" * 64),
        (("data", "columns", "text_column"), "data.columns.text_column", "words"),
        (("model", "revision"), "model.revision", "abc"),
        (("recipe",), "recipe", "paper"),
        (("seed",), "seed", 7),
        (("settings", "probes", "alpha"), "settings.probes.alpha", 0.5),
        (("settings", "finetune", "training_args", "x"), "settings.finetune.training_args.x", [1]),
        (("versions", "torch"), "versions.torch", None),
        (("action",), "action", "drop"),
    ],
    ids=str,
)
def test_every_circumstance_that_differs_is_named_with_both_values(place, name, value):
    old = load_sample("defence")
    new = copy.deepcopy(old)
    *path, last = place
    inner = new
    for key in path:
        inner = inner[key]
    before = inner.get(last)
    inner[last] = value
    assert compare_records(old, new).differences == ((name, before, value),)


def test_time_and_hardware_are_no_difference():
    old, new = load_sample("defence"), load_sample("defence")
    new |= {"created": "2030-01-01T00:00:00+00:00", "timings": {"scan": 1.0}}
    new["hardware"]["cpu_count"] = 64
    assert compare_records(old, new).differences == ()


def test_as_a_dict_it_is_json():
    comparison = compare_records(load_sample("clean-scan"), load_sample("defence"))
    plain = comparison_to_dict(comparison)
    assert json.loads(json.dumps(plain)) == json.loads(render_json(plain))
    assert plain["new"][0]["token"] == "cf"
    assert plain["new"][0]["old"] is None
    assert plain["new"][0]["new"]["verdict"] == "trigger"
    assert {"name": "kind", "old": "scan", "new": "defence"} in plain["differences"]


def make_hostile_pair(text, name="defence", row_text=None):
    """Records whose comparison has a new, a gone and a changed token, and other circumstances."""
    sample = load_sample(name)
    old = spoil(sample, text, row_text=row_text)
    new = copy.deepcopy(old)
    first = old["suspects"][0] if old["suspects"] else make_token(text)
    state = {**first, "verdict": "suspect"}
    old["suspects"] = [first, {**first, "token": f"{text}old"}]
    new["suspects"] = [state, {**first, "token": f"{text}new"}]
    new["data"] |= {"source": f"{text}2"}
    new["settings"]["probes"][text] = text
    return old, new


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_the_data_make_no_tag_in_markdown(name, text):
    rendered = render_comparison_markdown(compare_records(*make_hostile_pair(text, name)))
    plain = render_comparison_markdown(compare_records(*make_hostile_pair(PLAIN, name)))
    assert read_markdown(rendered).shape == read_markdown(plain).shape
    assert all(c == "\n" or unicodedata.category(c)[0] != "C" for c in rendered)
    assert "<!--" not in rendered
    assert "{{" not in rendered


@pytest.mark.parametrize("text", [*HOSTILE, "[red]x[/red]", "[/]", "電" * 400], ids=ascii)
def test_the_terminal_gets_visible_characters_in_80_columns(text):
    for line in render(compare_records(*make_hostile_pair(text))).split("\n"):
        assert cell_len(line) <= 80
        assert all(c.isprintable() for c in line)


def test_a_hostile_comparison_is_json_too():
    for text in HOSTILE:
        plain = comparison_to_dict(compare_records(*make_hostile_pair(text)))
        assert json.loads(render_json(plain))["gone"][0]["token"] == f"{text}old"


def test_large_records_are_compared_quickly_and_shown_small():
    sample = load_sample("poisoned-scan")
    old, new = grow(sample), grow(sample, flagged=50_000)
    new["data"] = old["data"]
    new["suspects"] = new["suspects"][1500:] + [make_token(f"more{i}") for i in range(1500)]
    start = time.perf_counter()
    comparison = compare_records(old, new)
    markdown, terminal = render_comparison_markdown(comparison), render(comparison)
    assert time.perf_counter() - start < 10
    assert len(comparison.new) == len(comparison.gone) == 1500
    assert len(comparison.no_longer_flagged) == 50_000
    assert len(markdown) < 10_000
    assert len(terminal) < 10_000
    assert "And 1,485 more." in markdown
    assert "49,980 more." in " ".join(terminal.split())


def test_very_long_names_and_rows_are_cut():
    pair = make_hostile_pair("<|\u202e" * 300_000, row_text=ONE_MEGABYTE)
    comparison = compare_records(*pair)
    assert len(render_comparison_markdown(comparison)) < 20_000
    assert len(render(comparison)) < 10_000


@pytest.mark.parametrize("name", ["poisoned-scan", "defence"])
def test_the_views_stay_as_they_were(name, snapshot):
    comparison = compare_records(load_sample("clean-scan"), load_sample(name))
    assert render_comparison_markdown(comparison) == snapshot
    assert render(comparison) == snapshot
    assert comparison_to_dict(comparison) == snapshot
