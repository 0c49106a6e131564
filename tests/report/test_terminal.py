"""Tables in 80 columns; what an attacker wrote never reaches the terminal raw."""

import io
import unicodedata
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from btu.findings import TokenEvidence, TokenFinding
from btu.model.metrics import Evaluation
from btu.report.record import load_record
from btu.report.stories import STORIES, say_limit
from btu.report.summary import say_uncertainty
from btu.report.terminal import render_evaluation, render_lines, render_record
from btu.report.text import show_text

RECORDS = Path(__file__).parent / "records"
ROUNDS = ("shallow", "shallow-again", "embedding-only")
HOSTILE = {
    "\x1b[2J": r"\x1b[2J",
    "\x9b31m": r"\x9b31m",
    "a\u202eb": r"a\u202eb",
    "a\u2066b\u2069": r"a\u2066b\u2069",
    "c\u200bf": r"c\u200bf",
    "c\u200df": r"c\u200df",
    "\ufeffcf": r"\ufeffcf",
    "c\u00adf": r"c\xadf",
    "c\u00a0f": r"c\xa0f",
    "a\nb\rc\td\x00": r"a\x0ab\x0dc\x09d\x00",
    "\U000e0041": r"\U000e0041",
    "\u2028": r"\u2028",
}


def make_finding(token, *, label="positive", rows=120, ranks=None, share=0.915, lift=12.34):
    ranks = dict.fromkeys(ROUNDS, 1) if ranks is None else ranks
    return TokenFinding(
        token_id=7,
        token=token,
        verdict="suspect",
        rounds=tuple(ranks),
        drift=dict.fromkeys(ranks, 0.5),
        rank=ranks,
        rows=rows,
        label=label,
        label_share=share,
        label_lift=lift,
    )


def make_record(*suspects, rows=1000, tokens=2500, recipe="paper", flagged=0):
    verdicts = [s.verdict for s in suspects]
    return {
        "kind": "scan",
        "recipe": recipe,
        "verdict": "trigger" if "trigger" in verdicts else "suspect" if verdicts else "none",
        "suspects": [asdict(s) for s in suspects],
        "accepted": [],
        "styles": [],
        "units_tested": 700 if recipe == "verified" else None,
        "limit": None,
        "tokens_probed": tokens,
        "thresholds": dict.fromkeys(ROUNDS, 0.1),
        "data": {"rows": rows},
        "settings": {"evidence": {"false_alarm_rate": 0.05}},
        "flagged_rows": [{}] * flagged,
    }


def render(what):
    """The lines, as a terminal of 80 columns without colours would get them."""
    file = io.StringIO()
    Console(width=80, file=file, force_terminal=False, color_system=None).print(what)
    return file.getvalue().split("\n")


# ---- text


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_invisible_control_and_bidirectional_characters_are_escaped(text):
    assert show_text(text) == HOSTILE[text]


@pytest.mark.parametrize(
    "text", ["cf", "##ing", "naïve", "電影", "фильм", "😀", "Ġthe", "two words"]
)
def test_what_can_be_seen_stays_as_it_is(text):
    assert show_text(text) == text


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_escaped_text_holds_visible_characters_and_blanks_alone(text):
    shown = show_text(text)
    assert all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in shown)
    assert len(shown) >= len(text)


# ---- findings


@pytest.mark.parametrize("token", HOSTILE, ids=ascii)
def test_a_hostile_token_or_label_is_shown_escaped_in_the_table(token):
    for finding in (make_finding(token), make_finding("cf", label=token)):
        lines = render(render_record(make_record(finding)))
        # A long spelling goes on in the next line.
        assert any(HOSTILE[token][:9] in line for line in lines)
        assert all(c.isprintable() for line in lines for c in line)


def test_markup_in_a_token_is_text():
    lines = render(render_record(make_record(make_finding("[red]x[/red]"))))
    assert any("[red]x[/red]" in line for line in lines)
    assert any("[/]" in line for line in render(render_record(make_record(make_finding("[/]")))))


@settings(deadline=None, max_examples=50)
@given(
    token=st.text(max_size=60),
    label=st.text(max_size=60),
    rows=st.integers(0, 10**9),
    rank=st.integers(1, 10**7),
    lift=st.floats(-1e5, 1e5),
)
def test_no_line_is_wider_than_80_columns_and_none_holds_a_control_character(
    token, label, rows, rank, lift
):
    finding = make_finding(
        token, label=label, rows=rows, lift=lift, ranks=dict.fromkeys(ROUNDS, rank)
    )
    for line in render(render_record(make_record(*[finding] * 20, rows=10**9))):
        assert cell_len(line) <= 80
        assert not any(unicodedata.category(c) in ("Cc", "Cf") for c in line)


@pytest.mark.parametrize("character", ["x", "電", "😀", "\u202e", "é"])
def test_a_very_long_token_keeps_the_other_columns_in_sight(character):
    finding = make_finding(character * 400, label=character * 400, rows=1234)
    lines = render(render_record(make_record(finding)))
    (line,) = [line for line in lines if "1,234" in line]
    assert "92%" in line or "91%" in line
    assert "+12.3" in line
    assert cell_len(line) <= 80


def test_a_suspect_stands_in_a_line_with_its_numbers_and_its_place_in_each_round():
    ranks = {"shallow": 3, "embedding-only": 1}
    lines = render(render_record(make_record(make_finding("cf", ranks=ranks), rows=6920)))
    said = " ".join(lines[:2])
    assert said.startswith("1 suspicious token among the 2,500 tokens in 6,920 rows")
    assert lines[3].split() == ["token", "rows", "label", "share", "lift", "#1", "#2", "#3"]
    assert lines[4].split() == ["cf", "120", "positive", "92%", "+12.3", "3", "-", "1"]


def test_more_suspects_than_the_limit_are_counted_not_hidden():
    suspects = [make_finding(f"token{i}") for i in range(20)]
    lines = render(render_record(make_record(*suspects), limit=8))
    shown = [line.split()[0] for line in lines if line.startswith("token") and "rows" not in line]
    assert shown == [f"token{i}" for i in range(8)]
    assert "... and 12 more; --json shows all." in [line.strip() for line in lines]
    all_lines = render(render_record(make_record(*suspects), limit=20))
    assert not any("more;" in line for line in all_lines)


def test_the_papers_recipe_says_that_it_always_names_tokens():
    notes = " ".join(render(render_record(make_record(make_finding("cf")))))
    assert "fixed share of the vocabulary, on clean data too" in notes
    verified = " ".join(render(render_record(make_verified())))
    assert "fixed share" not in verified


# ---- verdicts


def make_verified(*verdicts, flagged=0):
    """A record in which each (token, verdict) was tested on two rows of its own."""
    suspects = [
        replace(
            make_finding(token),
            verdict=verdict,
            evidence=TokenEvidence(
                label="positive",
                rows=2,
                rows_any_label=3,
                flagged_rows=2,
                story="inserted",
                part=1.0,
                false_alarm_rate=1e-7,
                mislabelled_share=1.2,
                spread=0.1,
                label_base=0.5,
                placed=0.2,
                placed_if_planted=0.3,
                placement_odds=4.0,
                label_odds=3.0,
                content_odds=2.0,
                reason="",
            ),
        )
        for token, verdict in verdicts
    ]
    return make_record(*suspects, recipe="verified", flagged=flagged)


def test_the_verdict_counts_triggers_and_their_rows():
    record = make_verified(("cf", "trigger"), ("fun", "suspect"), flagged=2)
    lines = render(render_record(record))
    text = " ".join(" ".join(lines).split())
    assert "1 trigger (cf) pointing to positive; 2 of 1,000 rows (0.2 %) judged" in text
    assert "Of the 2 rows with cf and the label positive, an estimated 100 %" in text
    assert "1 suspect: reported only" in text
    (line,) = [line for line in lines if line.startswith("cf ")]
    assert line.split() == ["cf", "trigger", "inserted", "positive", "2", "100%", "+12.3", "1e-07"]
    assert max(map(len, lines)) <= 80


def test_a_word_in_rows_that_keep_their_label_says_that_it_may_be_honest():
    record = make_verified(("cf", "trigger"), flagged=2)
    record["suspects"][0]["evidence"] |= {"story": "kept"}
    text = " ".join(" ".join(render(render_record(record))).split())
    assert "a mark of an honest source can look the same" in text
    assert "an estimated" not in text


@pytest.mark.parametrize("story", STORIES)
def test_each_story_of_a_listed_word_is_told_once(story):
    record = make_verified(("cf", "trigger"), ("mn", "trigger"), flagged=2)
    for suspect in record["suspects"]:
        suspect["evidence"] |= {"story": story}
    text = " ".join(" ".join(render(render_record(record))).split())
    assert text.lower().count(STORIES[story].lower()) == 1


def test_what_could_have_been_missed_stands_last():
    record = make_verified()
    record["limit"] = {
        "word_rows": 16,
        "sentence_rows": 12,
        "kept_rows": None,
        "word_rows_by_label": {"negative": 16, "positive": 24},
        "styles": False,
    }
    text = " ".join(" ".join(render(render_record(record))).split())
    assert say_limit(record) in text
    assert text.endswith("Rewritten rows were not looked for.")


def test_clean_data_has_no_trigger_and_no_table():
    lines = render(render_record(make_verified()))
    text = " ".join(" ".join(lines).split())
    assert "No trigger found among the 700 words and phrases tested in 1,000 rows." in text
    assert "at most 0.05 false triggers are expected" in text
    assert not [line for line in lines if "verdict" in line or "reported only" in line]


def test_a_bold_attacker_cannot_paint_the_verdict_table():
    text = " ".join(render(render_record(make_verified(("\x1b[J", "trigger")))))
    assert r"\x1b[J" in text


# ---- committed records


@pytest.mark.parametrize("name", ["poisoned-scan", "clean-scan", "paper-scan", "defence"])
def test_the_view_of_a_committed_record_is_as_committed(name, snapshot):
    shown = "\n".join(render(render_record(load_record(RECORDS / f"{name}.json"))))
    assert max(map(cell_len, shown.splitlines())) <= 80
    assert shown == snapshot


# ---- lines


def test_lines_are_escaped_one_by_one_and_folded_without_a_loss():
    lines = render(render_lines("saved in [a]\x1b[2J", "x" * 200, "last"))
    assert lines[0] == r"saved in [a]\x1b[2J"
    assert "".join(lines[1:-2]) == "x" * 200
    assert lines[-2:] == ["last", ""]
    assert max(map(len, lines)) == 80


# ---- evaluation


def test_an_evaluation_shows_its_rates_in_percent_with_intervals_and_rows():
    result = Evaluation(
        rows=1821,
        clean_accuracy=0.8765,
        clean_accuracy_interval=(0.86, 0.89),
        triggered_rows=912,
        attack_success_rate=1.0,
        attack_success_rate_interval=(0.995, 1.0),
        trigger="cf",
        target_label="positive",
    )
    lines = [line.split() for line in render(render_evaluation(result))]
    assert ["clean", "accuracy", "87.6%", "86.0%", "-", "89.0%", "1,821"] in lines
    assert ["attack", "success", "rate", "100.0%", "99.5%", "-", "100.0%", "912"] in lines


def test_without_a_trigger_there_is_no_attack_success_rate():
    result = Evaluation(rows=10, clean_accuracy=0.0, clean_accuracy_interval=(0.0, 0.0))
    lines = render(render_evaluation(result))
    assert any("0.0%" in line for line in lines)
    assert not any("attack" in line for line in lines)


@pytest.mark.parametrize("rate", [0.04, 0.09])
def test_a_trigger_beyond_the_budget_says_why_it_is_one(rate):
    record = load_record(RECORDS / "poisoned-scan.json")
    trigger = next(s for s in record["suspects"] if s["verdict"] == "trigger")
    weaker = trigger | {"evidence": trigger["evidence"] | {"false_alarm_rate": rate}}
    said = say_uncertainty(record | {"suspects": [trigger, weaker]})
    assert f"In clean data at most {rate} such triggers are expected." in said
    assert ("A trigger beside surer ones may have more than 0.05." in said) == (rate > 0.05)
