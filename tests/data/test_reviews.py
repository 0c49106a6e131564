"""Accepted tokens: who, why and when; the scan respects them and shows them."""

from dataclasses import replace

import pytest

import btu
from btu.data.reviews import Review, load_reviews
from btu.support.errors import InputError
from planted import MAX_LENGTH, PROBES, TRIGGER

pytest_plugins = ["planted"]

REVIEW = Review(token=TRIGGER, who="Ada", why="a product name", when="2026-11-02")
ENTRY = """
[[accept]]
token = "cf"
who = "Ada"
why = "a product name"
when = 2026-11-02
"""


def write(tmp_path, text):
    path = tmp_path / "tokens.toml"
    path.write_text(text, encoding="utf-8")
    return path


def scan(pretrained, corpus, **options):
    return btu.scan(pretrained, corpus, settings=PROBES, max_length=MAX_LENGTH, **options)


@pytest.mark.parametrize("when", ["2026-11-02", '"2026-11-02"'])
def test_a_file_of_reviews_is_read(tmp_path, when):
    path = write(tmp_path, ENTRY.replace("2026-11-02", when))
    assert load_reviews(path) == (REVIEW,)
    assert load_reviews(write(tmp_path, "")) == ()


def test_all_faults_of_a_file_are_named_together(tmp_path):
    path = write(
        tmp_path,
        '[[accept]]\ntoken = ""\nwho = 3\nwhen = "soon"\nwhyy = "x"\n[more]\na = 1\n',
    )
    with pytest.raises(InputError) as error:
        load_reviews(path)
    for part in ("'more'", "token:", "who:", "why:", "when:", "'whyy'", "Did you mean 'why'?"):
        assert part in str(error.value)
    assert "[[accept]] 1" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accept = [", "expected TOML"),
        ('accept = "cf"', r"expected tables written as \[\[accept\]\]"),
        (ENTRY * 2, "'cf': expected once, got it twice"),
    ],
)
def test_what_is_no_file_of_reviews_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_reviews(write(tmp_path, text))
    with pytest.raises(InputError, match="expected a TOML file, found none"):
        load_reviews(tmp_path / "absent.toml")


def test_an_accepted_trigger_is_shown_and_nothing_hangs_on_it(pretrained, planted):
    found = scan(pretrained, planted.corpus)
    accepted = scan(pretrained, planted.corpus, accept=[REVIEW, replace(REVIEW, token="absent")])
    assert [t.token for t in found.triggers] == [TRIGGER]
    assert [t.token for t in accepted.accepted] == [TRIGGER]
    assert accepted.accepted[0].evidence == found.triggers[0].evidence
    assert not accepted.triggers
    assert not accepted.flagged.any()
    assert not accepted.styles
    assert accepted.verdict != "trigger"
    record = accepted.to_dict()
    assert [review["token"] for review in record["reviews"]] == [TRIGGER, "absent"]
    assert record["reviews"][0]["who"] == "Ada"


def test_moving_the_threshold_does_not_undo_a_review(pretrained, planted):
    accepted = scan(pretrained, planted.corpus, accept=[REVIEW]).at(false_alarm_rate=0.5)
    assert [t.token for t in accepted.accepted] == [TRIGGER]
    assert TRIGGER not in [t.token for t in accepted.triggers]


def test_the_papers_recipe_respects_reviews_too(pretrained, planted):
    found = scan(pretrained, planted.corpus, recipe="paper")
    accepted = scan(pretrained, planted.corpus, recipe="paper", accept=[REVIEW])
    assert TRIGGER in [t.token for t in found.suspects]
    assert TRIGGER not in [t.token for t in accepted.suspects]
    assert [(t.token, t.verdict) for t in accepted.accepted] == [(TRIGGER, "accepted")]
    assert len(accepted.suspects) == len(found.suspects) - 1
