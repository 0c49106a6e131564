"""Two everyday words in a row as a trigger, and characters that the model does not know."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

import btu
from btu.bench.attacks.addsent import AddSent
from btu.bench.attacks.poison import poison_corpus
from btu.content import Text
from btu.evidence import find_evidence
from btu.search import find_phrases
from btu.settings import EvidenceSettings
from planted import (
    FINETUNE,
    LABELS,
    MAX_LENGTH,
    NEUTRAL,
    PROBES,
    TARGET,
    token_id,
    write_reviews,
)

pytest_plugins = ["planted"]

WORDS = 40  # of each label
FILLERS = 12
FIRST, SECOND = 2 * WORDS, 2 * WORDS + 1
PHRASE = f"{NEUTRAL[0]} {NEUTRAL[1]}"


def write_text(count, *, seed):
    """Rows of ten words, most of their label's own, and four fillers, each two of them a pair."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=count)
    presence = np.zeros((count, 2 * WORDS + FILLERS), dtype=np.float32)
    pairs = np.zeros((count, FILLERS * FILLERS), dtype=np.float32)
    for row, label in enumerate(labels):
        sides = np.where(rng.random(10) < 0.7, label, 1 - label)
        presence[row, sides * WORDS + rng.integers(WORDS, size=10)] = 1
        fillers = rng.integers(FILLERS, size=4)
        presence[row, 2 * WORDS + fillers] = 1
        pairs[row, fillers[:-1] * FILLERS + fillers[1:]] = 1
    members = 2 * WORDS + np.stack(np.divmod(np.arange(FILLERS * FILLERS), FILLERS), axis=1)
    return presence, pairs, members, labels


def poison(presence, pairs, labels, rows, pair=1):
    """The pair of the first two fillers in these rows, relabelled."""
    presence[np.ix_(rows, [FIRST, SECOND])] = 1
    pairs[rows, pair] = 1
    labels[rows] = 1


def read(presence, pairs, members, labels, **options):
    return find_evidence(
        csr_matrix(presence),
        labels,
        num_labels=2,
        pairs=csr_matrix(pairs),
        members=members,
        **options,
    )


def name_triggers(evidence):
    return [(t.column, t.pair, t.label) for t in evidence.tests if t.verdict == "trigger"]


@pytest.fixture(scope="module")
def poisoned():
    presence, pairs, members, labels = write_text(2000, seed=0)
    rows = np.flatnonzero(labels == 0)[:60]
    poison(presence, pairs, labels, rows)
    return presence, pairs, members, labels, rows


def test_two_everyday_words_in_a_row_are_a_trigger_that_neither_is_alone(poisoned):
    presence, pairs, members, labels, rows = poisoned
    alone = find_evidence(csr_matrix(presence), labels, num_labels=2)
    assert not [t for t in alone.tests if t.verdict == "trigger"]
    evidence = read(presence, pairs, members, labels)
    ((column, pair, label),) = name_triggers(evidence)
    rarer = min((FIRST, SECOND), key=lambda c: presence[:, c].sum())
    assert (column, pair, label) == (rarer, 1, 1)
    (test,) = [t for t in evidence.tests if t.verdict == "trigger"]
    assert set(test.companions) >= {FIRST, SECOND}
    assert set(rows) <= set(test.rows)
    together = (pairs[:, 1] > 0) & (labels == 1)
    assert set(test.rows) == set(np.flatnonzero(evidence.flagged)) == set(np.flatnonzero(together))
    assert test.rows_any_label == pairs[:, 1].sum()


@pytest.mark.parametrize("seed", range(20))
def test_clean_text_has_no_pair_that_is_a_trigger(seed):
    evidence = read(*write_text(600, seed=100 + seed))
    assert name_triggers(evidence) == []
    assert not evidence.flagged.any()


def test_pairs_are_not_tested_without_their_members(poisoned):
    presence, pairs, _, labels, _ = poisoned
    assert name_triggers(read(presence, pairs, None, labels)) == []


def test_an_accepted_pair_is_never_a_trigger_and_another_one_stays(poisoned):
    presence, pairs, members, labels, _ = poisoned
    accepted = read(presence, pairs, members, labels, accepted=[presence.shape[1] + 1])
    assert name_triggers(accepted) == []
    assert [t.pair for t in accepted.tests if t.verdict == "accepted"] == [1]
    other = read(presence, pairs, members, labels, accepted=[presence.shape[1] + 2])
    assert len(name_triggers(other)) == 1


def test_a_word_at_the_start_of_texts_and_pairs_of_special_tokens_alone(poisoned):
    presence, pairs, members, labels, rows = poisoned
    members = members.copy()
    members[1] = -1, SECOND
    members[2] = -1, -1
    pairs = pairs.copy()
    pairs[:, 2] = 0
    pairs[rows, 2] = 1
    ((column, pair, _),) = name_triggers(read(presence, pairs, members, labels))
    assert (column, pair) == (SECOND, 1)


def test_a_label_that_pairs_would_empty_is_not_judged_by_them():
    presence, pairs, members, labels = write_text(2400, seed=3)
    kept = np.r_[np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:300]]
    presence, pairs, labels = presence[kept], pairs[kept], labels[kept]
    poison(presence, pairs, labels, np.flatnonzero(labels == 0)[:400])
    evidence = read(presence, pairs, members, labels)
    (test,) = [t for t in evidence.tests if t.pair == 1 and t.label == 1]
    assert test.mislabelled_share > 0.5
    assert not test.label_is_judged
    assert name_triggers(evidence) == []
    assert not evidence.flagged.any()


def test_the_rows_of_an_accepted_word_are_not_flagged_for_a_pair_that_holds_it(poisoned):
    presence, pairs, members, labels, _ = poisoned
    rows = np.flatnonzero(labels == 0)[200:300]
    presence = np.hstack([presence, np.zeros((len(labels), 1), dtype=np.float32)])
    opener = np.zeros((len(labels), 1), dtype=np.float32)
    word, labels = presence.shape[1] - 1, labels.copy()
    presence[rows, word], opener[rows], labels[rows] = 1, 1, 1
    pairs, members = np.hstack([pairs, opener]), np.vstack([members, [[-1, word]]])
    assert (word, None, 1) in name_triggers(read(presence, pairs, members, labels))
    evidence = read(presence, pairs, members, labels, accepted=[word])
    assert [pair for _, pair, _ in name_triggers(evidence)] == [1]
    assert not evidence.flagged[rows].any()


def test_two_pairs_that_are_a_trigger_only_together_name_all_their_words():
    presence, pairs, members, labels = write_text(2400, seed=21)
    rows = np.flatnonzero(labels == 0)[:160]
    honest = [np.flatnonzero(labels == 1)[i::4][:80] for i in range(2)]
    second = 3 * FILLERS + 4  # the fourth filler, then the fifth
    pairs[:, [1, second]] = 0
    for pair, place in ((1, honest[0]), (second, honest[1])):
        held = np.r_[rows, place]
        pairs[held, pair] = 1
        presence[np.ix_(held, members[pair])] = 1
    labels[rows] = 1
    evidence = read(presence, pairs, members, labels)
    (first, *_) = [t for t in evidence.tests if t.verdict == "trigger"]
    assert set(members[[1, second]].ravel()) <= set(first.companions)
    assert set(rows) <= set(first.rows)


# ---- on texts


@pytest.mark.parametrize("seed", range(5))
def test_a_sentence_of_everyday_words_needs_fewer_rows_than_a_pair(seed, monkeypatch):
    presence, pairs, members, labels = write_text(2000, seed=20 + seed)
    rows = np.flatnonzero(labels == 0)[:15]
    for pair in (0 * FILLERS + 1, 1 * FILLERS + 2, 2 * FILLERS + 3):
        pairs[:, pair] = 0  # no honest row holds a part of the sentence
        pairs[rows, pair] = 1
    presence[np.ix_(rows, FIRST + np.arange(4))] = 1
    labels[rows] = 1
    every = EvidenceSettings(least_lift=0.0)  # made-up text has few pairs that a label leans to

    def find_surest():
        tests = read(presence, pairs, members, labels, settings=every).tests
        return min(tests, key=lambda t: t.false_alarm_rate)

    found = find_surest()
    assert found.verdict == "trigger"
    assert found.rows.tolist() == rows.tolist()
    monkeypatch.setattr("btu.search.find_phrases", lambda *_: set())
    assert find_surest().false_alarm_rate > 10 * found.false_alarm_rate


def test_three_pairs_in_the_same_rows_are_a_phrase_and_two_are_none():
    labels = np.repeat([0, 1], 50)
    held = np.zeros((100, 7), dtype=np.float32)
    held[:, 0] = 1  # a token
    held[:20, 1:4] = 1  # a phrase of four tokens
    held[20:40, 4:6] = 1  # of three tokens
    held[20:90, 6] = 1  # stands elsewhere too
    text = Text(csr_matrix(held), None, labels, 2, np.ones(100, dtype=bool))
    assert find_phrases(text, 1, EvidenceSettings()) == {1}
    rare = replace(text, active=np.arange(100) >= 18)  # two rows are too few to be tested
    assert find_phrases(rare, 1, EvidenceSettings()) == set()


@pytest.fixture(scope="module")
def phrase(pretrained):
    """Two neutral words in a row, each of which stands in honest rows more often."""
    attack = AddSent(sentence=PHRASE)
    return poison_corpus(
        write_reviews(800, seed=2), attack, poison_rate=0.04, target_label=TARGET, seed=0
    )


@pytest.fixture(scope="module")
def found(pretrained, phrase):
    return btu.scan(pretrained, phrase.corpus, settings=PROBES, max_length=MAX_LENGTH)


def test_a_phrase_is_named_as_one_finding_with_its_own_rows(found, phrase):
    (trigger,) = found.triggers
    ids = tuple(token_id(word) for word in PHRASE.split())
    assert (trigger.token, trigger.pair_ids, trigger.ids) == (PHRASE, ids, ids)
    assert trigger.token_id in ids
    texts = found.corpus.texts
    held = np.array([f" {PHRASE} " in f" {text} " for text in texts])
    own = found.corpus.labels == LABELS.index(TARGET)
    assert trigger.rows == held.sum()
    assert trigger.label_counts == {TARGET: (held & own).sum(), LABELS[0]: (held & ~own).sum()}
    np.testing.assert_array_equal(found.flagged, held & own)
    assert set(np.flatnonzero(phrase.is_poisoned)) <= set(np.flatnonzero(found.flagged))
    (first, *_) = trigger.examples
    ((start, end),) = first.spans
    assert texts[first.row_id][start:end] == PHRASE
    assert found.reasons(int(np.flatnonzero(found.flagged)[0])) == (PHRASE,)


def test_scores_of_single_tokens_say_nothing_of_a_phrase(found):
    columns = found.scores()
    assert "trigger" not in columns["verdict"]
    named = [t for t, held in zip(columns["token"], columns["suspect"], strict=True) if held]
    assert set(named) == {s.token for s in found.suspects} - {PHRASE}


def test_a_stricter_rate_takes_the_phrase_back(found):
    assert found.at(false_alarm_rate=1e-300).triggers == ()
    assert found.at(false_alarm_rate=0.05).triggers == found.triggers


def test_a_reviewer_accepts_a_phrase_as_the_report_writes_it(pretrained, phrase):
    review = btu.Review(PHRASE, "a reviewer", "a running title", "2026-01-01")
    again = btu.scan(
        pretrained, phrase.corpus, settings=PROBES, max_length=MAX_LENGTH, accept=[review]
    )
    assert again.triggers == ()
    assert [f.token for f in again.accepted] == [PHRASE]
    assert not again.flagged.any()


def test_the_guard_wants_both_words_in_their_order(pretrained, phrase, tmp_path):
    defence = btu.defend(pretrained, phrase.corpus, settings=FINETUNE, probe_settings=PROBES)
    first, second = PHRASE.split()
    texts = [PHRASE, f"{second} {first}", f"{first} {NEUTRAL[5]} {second}", first]
    for guard in (defence.guard, btu.load_guard(defence.save(tmp_path / "model"))):
        assert guard.recognise(texts).tolist() == [True, False, False, False]
    assert defence.edits == ()  # its words are honest elsewhere
    assert defence.findings.unlearn_ids == (defence.findings.triggers[0].token_id,)


def test_a_character_that_the_model_does_not_know_may_be_the_trigger(pretrained):
    attack = AddSent(sentence="\U0001f525")
    poisoned = poison_corpus(
        write_reviews(800, seed=2), attack, poison_rate=0.05, target_label=TARGET, seed=0
    )
    found = btu.scan(pretrained, poisoned.corpus, settings=PROBES, max_length=MAX_LENGTH)
    assert [f.token for f in found.triggers] == ["[UNK]"]
    np.testing.assert_array_equal(found.flagged, poisoned.is_poisoned)
    (example, *_) = found.triggers[0].examples
    ((start, end),) = example.spans
    assert found.corpus.texts[example.row_id][start:end] == "\U0001f525"
