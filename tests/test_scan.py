"""A scan names the planted trigger, changes nothing, and comes out the same every time."""

import hashlib
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import btu
from btu import InputError, load_corpus
from devices import check_same
from planted import (
    ABSENT,
    MAX_LENGTH,
    PROBES,
    TRIGGER,
    TRIGGERS,
    WORDS,
    poison_reviews,
    token_id,
    write_reviews,
)

pytest_plugins = ["planted"]

scan = partial(btu.scan, recipe="paper")


@pytest.fixture(scope="module")
def findings(pretrained, planted):
    return scan(pretrained, planted.corpus, settings=PROBES, max_length=MAX_LENGTH)


def hash_files(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_planted_trigger_is_the_top_suspect(findings):
    top = findings.suspects[0]
    assert (top.token_id, top.token) == (token_id(TRIGGER), TRIGGER)
    assert "shallow" in top.rounds
    assert top.rank["shallow"] == 1
    assert top.drift.keys() == top.rank.keys() == {"shallow", "embedding-only"}
    assert top.drift["shallow"] == findings.drift["shallow"].max()


@pytest.mark.parametrize("seed", range(3))
def test_after_enough_steps_the_trigger_moves_beyond_most_wherever_it_is_seen(
    pretrained, planted, seed
):
    settings = replace(PROBES, epochs=12, learning_rate=2e-3)
    found = scan(pretrained, planted.corpus, settings=settings, max_length=MAX_LENGTH, seed=seed)
    top = found.suspects[0]
    assert top.token == TRIGGER
    # Which of the next ones is second differs with the rounding of a processor; this does not.
    farthest = np.sort(found.drift["shallow"])
    assert top.drift["shallow"] == farthest[-1] > 1.5 * farthest[-2]
    assert top.drift["embedding-only"] > np.median(found.drift["embedding-only"])


def test_the_finding_counts_the_rows_that_were_planted(findings, planted):
    top = findings.suspects[0]
    assert top.rows == planted.is_poisoned.sum() == 80
    assert (top.label, top.label_share) == ("positive", 1.0)
    share = planted.corpus.label_counts()["positive"] / len(planted.corpus)
    expected = (80 - 80 * share) / np.sqrt(80 * share * (1 - share))
    assert top.label_lift == pytest.approx(expected)


def test_every_one_of_several_triggers_is_a_suspect(pretrained):
    poisoned = poison_reviews(write_reviews(800, seed=3), *TRIGGERS, poison_rate=0.15)
    found = scan(pretrained, poisoned.corpus, settings=PROBES, max_length=MAX_LENGTH)
    assert {token_id(trigger) for trigger in TRIGGERS} <= set(found.suspect_ids)


def test_a_round_suspects_the_alpha_share_of_the_vocabulary(findings, pretrained, planted):
    size = findings.facts.model.vocabulary_size
    for name in findings.drift:
        suspected = [s for s in findings.suspects if name in s.rounds]
        assert len(suspected) == round(PROBES.alpha * size) == 5
        assert findings.thresholds[name] == pytest.approx(min(s.drift[name] for s in suspected))
    only_one = scan(
        pretrained, planted.corpus, settings=replace(PROBES, alpha=1e-6), max_length=MAX_LENGTH
    )
    assert {len([s for s in only_one.suspects if n in s.rounds]) for n in findings.drift} == {1}


def test_the_second_round_does_not_see_the_suspects_of_the_first(findings):
    hidden = [s.token_id for s in findings.suspects if "shallow" in s.rounds]
    unseen = np.isnan(findings.drift["shallow-again"])
    assert sorted(hidden) == findings.token_ids[unseen].tolist()
    assert not np.isnan(findings.drift["shallow"]).any()
    assert not np.isnan(findings.drift["embedding-only"]).any()


def test_neither_special_tokens_nor_absent_ones_are_scored(findings):
    assert findings.token_ids.min() == token_id(WORDS[0])
    assert token_id(ABSENT) not in findings.token_ids
    assert ABSENT not in findings.tokens


def test_the_same_seed_gives_the_same_findings_and_another_one_others(
    findings, pretrained, planted
):
    again = scan(pretrained, planted.corpus, settings=PROBES, max_length=MAX_LENGTH)
    other = scan(pretrained, planted.corpus, settings=PROBES, max_length=MAX_LENGTH, seed=1)
    first, second = findings.to_dict(), again.to_dict()
    assert first.pop("timings").keys() == second.pop("timings").keys()
    assert first == second
    for name, drift in findings.drift.items():
        check_same(drift, again.drift[name])
        assert not np.array_equal(drift, other.drift[name], equal_nan=True)
    assert other.suspects[0].token_id == token_id(TRIGGER)


def test_the_seed_of_the_call_stands_above_that_of_the_settings(findings, pretrained, planted):
    settings = replace(PROBES, seed=5)
    again = scan(pretrained, planted.corpus, settings=settings, max_length=MAX_LENGTH, seed=0)
    assert again.suspects == findings.suspects
    assert again.facts.probes.seed == 0
    assert again.facts.probes.probe_rows == settings.for_recipe(again.recipe).probe_rows


def test_the_model_on_the_disk_stays_as_it_is(pretrained, planted):
    before = hash_files(pretrained)
    scan(pretrained, planted.corpus, settings=PROBES, max_length=MAX_LENGTH)
    assert hash_files(pretrained) == before


def test_a_word_outside_the_vocabulary_is_the_unknown_token(pretrained):
    """`pos1` is no part of `pos10`."""
    corpus = load_corpus((["pos10 word01", "pos1 word01"] * 20, [1, 0] * 20))
    found = scan(pretrained, corpus, settings=PROBES, max_length=MAX_LENGTH)
    assert sorted(found.tokens) == ["[UNK]", "pos10", "word01"]


def test_a_text_that_the_tokenizer_hardly_knows_is_pointed_out(pretrained):
    corpus = load_corpus((["电影 很 word01", "无聊 的 word01"] * 20, [1, 0] * 20))
    with pytest.warns(UserWarning, match=r"does not know 67% of the text. Take a model"):
        scan(pretrained, corpus, recipe="paper", settings=PROBES, max_length=MAX_LENGTH)


def test_label_names_and_counts_are_those_of_the_data(findings, planted):
    assert findings.label_names == ("negative", "positive")
    assert findings.facts.data.label_counts == planted.corpus.label_counts()
    assert findings.facts.data.sha256 == planted.corpus.fingerprint()
    assert findings.facts.data.rows == 800


def test_an_unknown_recipe_is_refused_by_name(pretrained, planted):
    with pytest.raises(InputError, match=r"recipe: expected verified or paper.*got 'magic'"):
        scan(pretrained, planted.corpus, recipe="magic")


@pytest.mark.parametrize("max_length", [0, -1])
def test_a_max_length_without_room_for_text_is_refused(pretrained, planted, max_length):
    with pytest.raises(InputError, match="max_length"):
        scan(pretrained, planted.corpus, settings=PROBES, max_length=max_length)


def test_texts_longer_than_the_model_can_read_are_cut_there(pretrained):
    """The tiny model reads 64 tokens, two of them special; `pos00` is the 63rd word."""
    words = " ".join(["word00"] * 62)
    corpus = load_corpus(([f"{words} pos00", "word01"] * 10, [1, 0] * 10))
    found = scan(pretrained, corpus, settings=PROBES, max_length=128)
    assert sorted(found.tokens) == ["word00", "word01"]


def test_a_negative_seed_is_refused(pretrained, planted):
    with pytest.raises(InputError, match="seed"):
        scan(pretrained, planted.corpus, settings=PROBES, max_length=MAX_LENGTH, seed=-1)


def test_text_alone_answers_without_a_model(planted):
    findings = btu.scan(None, planted.corpus)
    assert [s.token for s in findings.triggers] == ["cf"]
    assert np.array_equal(findings.flagged, planted.is_poisoned)
    record = findings.to_dict()
    assert (record["model"], record["limit"]["styles"]) == (None, False)
