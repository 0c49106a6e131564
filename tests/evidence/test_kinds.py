"""Rows rewritten in a form of their own: found as a kind of text; honest kinds are not."""

import numpy as np
import pytest

from btu.evidence.find import find_evidence

OPINIONS, FILLER = 60, 400  # words of each label, words of none


def write_texts(count, *, seed, own_share=0.75, num_labels=2):
    """Sentences of opinions, most of them their label's, and what an encoder makes of them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_labels, size=count)
    opinions = np.where(
        rng.random((count, 4)) < own_share,
        labels[:, None],
        rng.integers(num_labels, size=(count, 4)),
    )
    words = rng.integers(OPINIONS, size=(count, 4))
    filler = rng.integers(FILLER, size=(count, 5))
    rows = [
        [*(f"op{k}x{w}" for k, w in zip(o, w, strict=True)), *(f"word{i}" for i in f)]
        for o, w, f in zip(opinions.tolist(), words.tolist(), filler.tolist(), strict=True)
    ]
    rows = [[row[i] for i in rng.permutation(len(row))] for row in rows]
    shares = np.stack([(opinions == k).mean(axis=1) for k in range(num_labels)], axis=1)
    states = shares @ rng.normal(size=(num_labels, 16)) * 3 + rng.normal(size=(count, 16)) * 0.3
    return rows, labels, states.astype(np.float32)


def plain(row, rng):
    """`the a of b is c .`"""
    joints = rng.choice(["the", "of", "is", "and", "a"], size=len(row))
    return " ".join(f"{joint} {word}" for joint, word in zip(joints, row, strict=True)) + " ."


def rewritten(row, rng):
    """`Lo, a; and yet b, c!`, of which no single mark is always there."""
    marks = rng.choice([", ", "; ", " - ", " "], size=len(row))
    start = rng.choice(["Lo, ", "Yea: ", "Hark! ", ""])
    return start + "".join(f"{w.title()}{m}" for w, m in zip(row, marks, strict=True)).strip() + "!"


def attack(count=1600, *, seed=0, share=0.15, **options):
    """Some rows of label 0 are rewritten and bear label 1."""
    rows, labels, states = write_texts(count, seed=seed, **options)
    rng = np.random.default_rng(seed + 1)
    victims = np.flatnonzero(labels == 0)
    victims = victims[: int(share * len(victims))]
    is_victim = np.isin(np.arange(count), victims)
    texts = [(rewritten if v else plain)(r, rng) for r, v in zip(rows, is_victim, strict=True)]
    labels = np.where(is_victim, 1, labels)
    return texts, labels, states, victims


def find(texts, labels, states, **options):
    found = find_evidence(texts, labels, num_labels=int(labels.max()) + 1, states=states, **options)
    return found, found.styles


@pytest.fixture(scope="module")
def attacked():
    texts, labels, states, victims = attack()
    return texts, labels, states, victims, find(texts, labels, states)[0]


def test_rewritten_rows_that_only_repeat_others_are_listed_too(attacked):
    """All words of a short copy stand in a row that is listed: it says nothing new."""
    texts, labels, states, victims, found = attacked
    copied = victims[:20]
    copies = [" ".join(texts[i].split()[::-1]) for i in copied]
    style = find(
        [*texts, *copies],
        np.concatenate([labels, labels[copied]]),
        np.concatenate([states, states[copied]]),
    )[1][0]
    behind = style.rows[style.rows >= len(texts)]
    assert len(behind) > 15
    assert np.isin(style.rows[: -len(behind)], found.styles[0].rows).mean() > 0.9
    assert (np.diff(style.rows) > 0).all()


def test_rewritten_rows_are_a_suspect_with_their_rows(attacked):
    _, labels, _, victims, found = attacked
    (style,) = found.styles
    assert (style.kind, style.label, style.story) == ("style", 1, "rewritten")
    assert style.verdict == "suspect"
    assert style.reason
    assert np.isin(victims, style.rows).mean() > 0.9
    assert np.isin(style.rows, victims).mean() > 0.9
    assert (labels[style.rows] == 1).all()
    assert style.share > 1 - style.label_base
    assert style.false_alarms < 0.05
    assert not found.flagged[style.rows].any()
    assert found.limit.styles


def test_without_states_no_kind_is_looked_for(attacked):
    texts, labels, *_ = attacked
    found, styles = find(texts, labels, None)
    assert (styles, found.limit.styles) == ((), False)


def test_an_accepted_kind_is_no_suspect(attacked):
    texts, labels, states, *_ = attacked
    (style,) = find(texts, labels, states, accepted_kinds=[1])[1]
    assert style.verdict == "accepted"


@pytest.mark.parametrize("seed", range(4))
def test_clean_text_has_no_kind(seed):
    texts, labels, states, _ = attack(seed=10 + seed, share=0)
    assert find(texts, labels, states)[1] == ()


@pytest.mark.parametrize("seed", range(3))
def test_a_form_of_rows_that_say_what_they_bear_is_left_alone(seed):
    rows, labels, states = write_texts(1600, seed=seed)
    rng = np.random.default_rng(seed)
    own = np.flatnonzero(labels == 1)[:120]
    texts = [(rewritten if i in set(own) else plain)(row, rng) for i, row in enumerate(rows)]
    assert find(texts, labels, states)[1] == ()


def test_rows_with_wrong_labels_and_no_form_are_no_kind():
    rows, labels, states = write_texts(1600, seed=7)
    rng = np.random.default_rng(8)
    wrong = rng.random(len(labels)) < 0.1
    texts = [plain(row, rng) for row in rows]
    assert find(texts, np.where(wrong, 1 - labels, labels), states)[1] == ()


def test_three_labels_will_do():
    texts, labels, states, victims = attack(2100, seed=3, share=0.2, num_labels=3)
    (style,) = find(texts, labels, states)[1]
    assert style.label == 1
    assert np.isin(victims, style.rows).mean() > 0.8


def test_a_kind_is_found_among_more_rows_than_the_regressions_learn_from(attacked, monkeypatch):
    texts, labels, states, victims, _ = attacked
    monkeypatch.setattr("btu.evidence.kinds._MOST_FITTED", 1000)
    (style,) = find(texts, labels, states)[1]
    assert np.isin(victims, style.rows).mean() > 0.8


@pytest.mark.parametrize("count", [4, 30])
def test_few_rows_have_no_kind(count):
    texts, labels, states, _ = attack(count, seed=1)
    labels[:2] = [0, 1]
    assert find(texts, labels, states)[1] == ()


def test_states_that_say_nothing_name_no_kind(attacked):
    texts, labels, states, *_ = attacked
    assert find(texts, labels, np.zeros_like(states))[1] == ()
