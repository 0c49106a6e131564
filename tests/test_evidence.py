"""Label lift against scipy's binomial distribution; triggers and honest words told apart."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csr_matrix
from scipy.stats import norm

from btu.content import Scale, Text, measure_label_lift
from btu.control import measure_control
from btu.evidence import Evidence, find_evidence
from btu.likeness import measure_likeness


def test_the_lift_is_the_z_score_of_a_binomial_count():
    rng = np.random.default_rng(0)
    totals = np.array([500, 300, 200])
    counts = rng.integers(1, 60, (40, 3))
    chance = stats.binom(counts.sum(axis=1, keepdims=True), totals / totals.sum())
    expected = (counts - chance.mean()) / chance.std()
    np.testing.assert_allclose(measure_label_lift(counts, totals), expected, rtol=1e-12)


def test_a_token_of_one_label_alone_stands_out_for_it_and_against_the_others():
    # 30 rows, half of the corpus bears the label: (30 - 15) / sqrt(30 / 4).
    lift = measure_label_lift([[0, 30, 0]], [400, 1000, 600])
    assert lift[0, 1] == pytest.approx(15 / np.sqrt(7.5))
    assert lift[0, 0] < 0
    assert lift[0, 2] < 0


def test_a_token_that_follows_the_labels_has_no_lift():
    lift = measure_label_lift([[5, 3, 2]], [50, 30, 20])
    np.testing.assert_allclose(lift, np.zeros((1, 3)), atol=1e-12)


def test_the_lift_grows_with_the_rows_at_the_same_share():
    few, many = measure_label_lift([[9, 1], [90, 10]], [500, 500])[:, 0]
    assert many == pytest.approx(few * np.sqrt(10))


def test_a_token_without_rows_and_a_label_that_all_rows_bear_have_no_lift():
    with np.errstate(all="raise"):
        assert measure_label_lift([[0, 0], [3, 1]], [6, 2]).tolist() == [[0, 0], [0, 0]]
        assert measure_label_lift([[7, 0]], [100, 0]).tolist() == [[0, 0]]


# ---- whether the text agrees with the label


def write_text(count, *, seed, labels=2, words=40, own_share=0.7):
    """Rows of ten words, most from the label's own list, the others from any; 12 filler words."""
    rng = np.random.default_rng(seed)
    own = rng.integers(labels, size=count)
    presence = np.zeros((count, labels * words + 12 + 4), dtype=np.float32)
    for row, label in enumerate(own):
        sides = np.where(rng.random(10) < own_share, label, rng.integers(labels, size=10))
        presence[row, sides * words + rng.integers(words, size=10)] = 1
        presence[row, labels * words + rng.integers(12, size=4)] = 1
    return presence, own


def poison(presence, labels, rows, columns, target=1):
    """The last four columns are the attacker's: these columns in these rows, relabelled."""
    presence, labels = presence.copy(), labels.copy()
    for column in columns:
        presence[rows, column] = 1
    labels[rows] = target
    return presence, labels


def read(presence, labels, num_labels=2, **options):
    return find_evidence(csr_matrix(presence), labels, num_labels=num_labels, **options)


def name_triggers(evidence):
    return {(t.column, t.label) for t in evidence.tests if t.verdict == "trigger"}


def test_a_planted_word_is_a_trigger_and_words_of_the_label_are_not():
    presence, labels = write_text(1200, seed=0)
    rows = np.flatnonzero(labels == 0)[:60]
    evidence = read(*poison(presence, labels, rows, [-4]))
    assert name_triggers(evidence) == {(presence.shape[1] - 4, 1)}
    assert set(np.flatnonzero(evidence.flagged)) == set(rows)
    (test,) = [t for t in evidence.tests if t.verdict == "trigger"]
    assert test.mislabelled_share == pytest.approx(1, abs=0.25)
    assert test.false_alarm_rate < 1e-3


@pytest.mark.parametrize("seed", range(20))
def test_clean_text_yields_no_trigger_and_no_flagged_row(seed):
    evidence = read(*write_text(600, seed=100 + seed))
    assert name_triggers(evidence) == set()
    assert not evidence.flagged.any()
    assert evidence.tested > 20


def test_the_words_of_a_sentence_are_found_together():
    presence, labels = write_text(1200, seed=1)
    rows = np.flatnonzero(labels == 0)[:80]
    filler = 2 * 40  # a word that honest rows hold too
    columns = [presence.shape[1] - 4, presence.shape[1] - 3, filler]
    evidence = read(*poison(presence, labels, rows, columns))
    found = {column for column, _ in name_triggers(evidence)}
    assert {presence.shape[1] - 4, presence.shape[1] - 3} <= found
    assert evidence.tests[0].companions == tuple(sorted(columns))
    assert set(rows) == set(np.flatnonzero(evidence.flagged))


def test_several_triggers_are_found_one_after_the_other():
    presence, labels = write_text(1200, seed=2)
    rows = np.flatnonzero(labels == 0)[:160].reshape(4, 40)
    for k in range(4):
        presence, labels = poison(presence, labels, rows[k], [presence.shape[1] - 1 - k])
    evidence = read(presence, labels)
    last = presence.shape[1]
    assert name_triggers(evidence) == {(last - 1 - k, 1) for k in range(4)}
    assert set(np.flatnonzero(evidence.flagged)) == set(rows.ravel())


def plant_few(seed, *, beside=True):
    """Six rows of one trigger, and sixty of another where it is to stand beside one."""
    presence, labels = write_text(1200, seed=seed, own_share=0.3)
    own = np.flatnonzero(labels == 0)
    rows = [own[:6], own[6:66] if beside else own[:0]]
    for places, column in zip(rows, (-3, -4), strict=True):
        presence, labels = poison(presence, labels, places, [column])
    return presence, labels, rows


def test_few_rows_of_a_trigger_are_found_beside_a_sure_one_and_not_alone():
    found = 0
    for seed in range(200, 208):
        presence, labels, (few, many) = plant_few(seed)
        evidence = read(presence, labels)
        grounds = {t.column: t.ground for t in evidence.tests if t.verdict == "trigger"}
        last = presence.shape[1]
        assert grounds.pop(last - 4) == "conflict"
        assert grounds in ({}, {last - 3: "beside"})
        found += len(grounds)
        # Whatever is found, no clean row is flagged for it.
        assert set(np.flatnonzero(evidence.flagged)) == {*many, *(few if grounds else ())}
        presence, labels, _ = plant_few(seed, beside=False)
        assert name_triggers(read(presence, labels)) == set()
    assert found >= 6


def test_what_is_found_beside_a_trigger_goes_where_that_goes():
    presence, labels, _ = plant_few(200)
    evidence = read(presence, labels)
    sure, beside = (
        next(t for t in evidence.tests if t.ground == g) for g in ("conflict", "beside")
    )
    assert sure.p_value < beside.p_value
    strict = evidence.at(sure.false_alarm_rate / 2)
    assert not strict.flagged.any()
    assert name_triggers(strict.at(0.05)) == name_triggers(evidence)
    # Sure by itself at a lax rate, it needs nothing to stand beside.
    alone = Evidence.of([replace(beside, false_alarm_rate=0.01)], tested=9, rows=1200)
    assert {t.verdict for t in alone.at(0.05).tests} == {"trigger"}
    assert {t.verdict for t in alone.at(0.005).tests} == {"suspect"}


def test_honest_words_are_no_triggers_beside_a_sure_one():
    flagged = 0
    for seed in range(10):
        presence, labels = write_text(1200, seed=300 + seed)
        rows = np.flatnonzero(labels == 0)[:60]
        evidence = read(*poison(presence, labels, rows, [-4]))
        assert name_triggers(evidence) == {(presence.shape[1] - 4, 1)}
        flagged += int(evidence.flagged.sum()) - len(rows)
    assert flagged == 0


def test_an_accepted_column_is_not_looked_at_beside_a_trigger():
    presence, labels, (_, many) = plant_few(200)
    evidence = read(presence, labels, accepted=[presence.shape[1] - 3])
    assert name_triggers(evidence) == {(presence.shape[1] - 4, 1)}
    assert set(np.flatnonzero(evidence.flagged)) == set(many)


def test_two_words_that_are_a_trigger_only_together_are_narrowed_to_both():
    presence, labels = write_text(2000, seed=21)
    rows = np.flatnonzero(labels == 0)[:160]
    honest = [np.flatnonzero(labels == 1)[i::4][:80] for i in range(2)]
    presence, labels = poison(presence, labels, rows, [-4, -3])
    presence[honest[0], -4] = 1
    presence[honest[1], -3] = 1
    evidence = read(presence, labels)
    triggers = [t for t in evidence.tests if t.verdict == "trigger"]
    pair = {presence.shape[1] - 4, presence.shape[1] - 3}
    assert [set(t.companions) for t in triggers] == [pair] * len(triggers)
    assert triggers
    assert set(np.flatnonzero(evidence.flagged)) == set(rows)


def test_three_unbalanced_labels_will_do():
    presence, labels = write_text(1500, seed=3, labels=3)
    keep = (labels != 2) | (np.arange(1500) % 3 == 0)
    presence, labels = presence[keep], labels[keep]
    rows = np.flatnonzero(labels == 0)[:50]
    evidence = read(*poison(presence, labels, rows, [-1], target=2), num_labels=3)
    assert name_triggers(evidence) == {(presence.shape[1] - 1, 2)}


def test_a_word_that_only_the_true_label_uses_is_no_trigger_however_pure():
    presence, labels = write_text(1200, seed=4)
    presence[np.flatnonzero(labels == 1)[:60], -4] = 1
    assert name_triggers(read(presence, labels)) == set()


def test_a_label_is_not_judged_where_most_of_its_rows_would_be_called_poisoned():
    presence, labels = write_text(1200, seed=9)
    rows = np.flatnonzero(labels == 0)
    some, most = poison(presence, labels, rows[:300], [-4]), poison(presence, labels, rows, [-4])
    assert name_triggers(read(*some)) == {(presence.shape[1] - 4, 1)}
    presence, labels = most[0][300:], most[1][300:]
    labels[:200] = 0
    presence[:200, -4] = 0
    evidence = read(presence, labels)
    assert name_triggers(evidence) == set()
    assert not evidence.flagged.any()
    again = evidence.at(0.05)
    assert name_triggers(again) == set()
    assert np.array_equal(again.row_scores, evidence.row_scores)


def test_a_token_that_the_surest_trigger_made_look_guilty_is_cleared_once_that_is_gone(monkeypatch):
    presence, labels = write_text(1200, seed=13)
    rows = np.flatnonzero(labels == 0)[:80]
    presence, labels = poison(presence, labels, rows, [-4])
    guilty = read(presence, labels).tests[0]
    honest = replace(guilty, column=0, rows=np.flatnonzero(labels == 1)[-30:], p_value=1e-9)
    # Both look guilty; without the surest one's rows nothing does, nor beside it.
    rounds = [[guilty, honest], [], []]
    monkeypatch.setattr("btu.search.judge_candidates", lambda *_: rounds.pop(0))
    evidence = read(presence, labels)
    assert not rounds
    assert name_triggers(evidence) == {(guilty.column, 1)}
    assert set(np.flatnonzero(evidence.flagged)) == set(guilty.rows)


def test_the_states_can_clear_a_token():
    presence, labels = write_text(1200, seed=5)
    rows = np.flatnonzero(labels == 0)[:60]
    rng = np.random.default_rng(0)
    poisoned = poison(presence, labels, rows, [-4])
    truth = np.stack([labels * 2.0 - 1, rng.normal(size=1200)], axis=1)
    truth[:, 0] += 0.5 * rng.normal(size=1200)
    assert name_triggers(read(*poisoned, states=truth.astype(np.float16)))
    agreeing = truth.copy()
    agreeing[rows, 0] *= -1  # the encoder says that the given label is right
    assert not name_triggers(read(*poisoned, states=agreeing.astype(np.float16)))


def test_the_share_and_its_spread_are_those_of_two_shifted_groups():
    scale = Scale(own=1.0, others=-1.0, own_spread=0.5, others_spread=1.0)
    share, spread = scale.estimate(np.array([1.0, -1.0, -1.0, -1.0]))
    assert share == pytest.approx(0.75)
    assert spread == pytest.approx(np.sqrt(0.25 * 0.25 + 0.75 * 1.0) / 2 / 2)
    scores = scale.score(np.array([1.0, -1.0]), share=0.5)
    densities = [(norm(1, 0.5).pdf(m), norm(-1, 1.0).pdf(m)) for m in (1.0, -1.0)]
    assert scores == pytest.approx([o / (o + w) for w, o in densities])


def test_numbers_of_a_test_agree_with_an_independent_computation():
    presence, labels = write_text(1200, seed=6)
    rows = np.flatnonzero(labels == 0)[:60]
    presence, labels = poison(presence, labels, rows, [-4])
    evidence = read(presence, labels)
    test = evidence.tests[0]
    held = np.flatnonzero((presence[:, test.column] > 0) & (labels == 1))
    assert test.rows.tolist() == held.tolist()
    assert test.rows_any_label == int(presence[:, test.column].sum())
    n, p = test.rows_any_label, float(np.mean(labels == 1))
    assert test.label_lift == pytest.approx((len(held) - n * p) / np.sqrt(n * p * (1 - p)))
    assert test.p_value == pytest.approx(norm.sf((test.mislabelled_share - 0.25) / test.spread))
    # Half of the false alarms goes to the tokens that nobody proposed: all of them here.
    assert test.false_alarm_rate == pytest.approx(min(1, 2 * test.p_value * evidence.tested))


def test_a_proposed_token_is_corrected_for_the_proposals_only():
    presence, labels = write_text(1200, seed=6)
    rows = np.flatnonzero(labels == 0)[:60]
    presence, labels = poison(presence, labels, rows, [-4])
    column = presence.shape[1] - 4
    test = read(presence, labels, proposed=[column, 3]).tests[0]
    assert test.column == column
    assert test.false_alarm_rate == pytest.approx(2 * test.p_value * 2)


def test_another_rate_judges_the_same_tests():
    presence, labels = write_text(1200, seed=7)
    rows = np.flatnonzero(labels == 0)[:60]
    evidence = read(*poison(presence, labels, rows, [-4]))
    assert name_triggers(evidence.at(1e-300)) == set()
    strict = evidence.at(1e-300)
    assert not strict.flagged.any()
    assert strict.row_scores[rows].max() < 0.5
    assert name_triggers(strict.at(0.05)) == name_triggers(evidence)
    assert np.array_equal(strict.at(0.05).row_scores, evidence.row_scores)


def test_one_label_alone_and_no_token_at_all_are_no_fault():
    presence, labels = write_text(50, seed=8)
    assert read(presence, np.zeros(50, dtype=int), num_labels=2).tests == ()
    assert read(np.zeros((50, 3), dtype=np.float32), labels).tests == ()


# ---- rows that were rewritten


@pytest.fixture(scope="module")
def rewritten():
    """Poisoned rows get words of a template; half of them hold the trigger word."""
    rng = np.random.default_rng(0)
    presence, labels = write_text(2000, seed=10, own_share=0.4)
    rows = np.flatnonzero(labels == 0)[:200]
    presence[rows[::2], -4] = 1
    labels[rows] = 1
    template = (rng.random((2000, 20)) < 0.05).astype(np.float32)
    template[rows] = rng.random((200, 20)) < 0.2
    truth = labels.copy()
    truth[rows] = 0
    states = np.stack([2.0 * truth - 1 + rng.normal(size=2000), rng.normal(size=2000)], axis=1)
    presence = csr_matrix(np.hstack([template, presence]))
    return rows, labels, read(presence, labels, states=states, pairs=presence)


def test_further_rows_of_a_template_are_found_as_a_style(rewritten):
    rows, labels, evidence = rewritten
    (style,) = [s for s in evidence.styles if s.verdict == "trigger"]
    assert style.label == 1
    assert len(set(style.rows) & set(rows[1::2])) > 60
    assert len(set(style.rows) - set(rows)) < 0.1 * np.sum(labels == 1)
    assert evidence.flagged[style.rows].all()


@pytest.mark.parametrize("usual_word", [False, True])
def test_words_put_into_honest_text_leave_no_style(usual_word):
    presence, labels = write_text(2000, seed=11)
    if usual_word:  # in too many rows to be a companion
        presence[np.random.default_rng(0).random(2000) < 0.6, -3] = 1
    rows = np.flatnonzero(labels == 0)[:200]
    presence, labels = poison(presence, labels, rows, [-4, -3] if usual_word else [-4])
    states = presence @ np.random.default_rng(1).normal(size=(presence.shape[1], 24))
    evidence = read(presence, labels, states=states, pairs=csr_matrix(presence))
    assert not [s for s in evidence.styles if s.verdict != "innocent"]
    assert set(np.flatnonzero(evidence.flagged)) == set(rows)
    found = next(t for t in evidence.tests if t.verdict == "trigger")
    active = np.ones(len(labels), dtype=bool)
    active[found.rows] = False
    text = Text(csr_matrix(presence), states, labels, 2, active)
    assert measure_likeness(text, 1, [found.rows], found.companions) < 0.65


@pytest.mark.parametrize(("count", "can_be_said"), [(19, False), (20, True)])
def test_few_rows_of_a_trigger_are_not_called_rewritten(count, can_be_said):
    presence, labels = write_text(2000, seed=12)
    rows = np.flatnonzero(labels == 0)[:count]
    rng = np.random.default_rng(0)
    template = rng.random((2000, 6)) < 0.05
    template[rows] = rng.random((count, 6)) < 0.8
    labels[rows] = 1
    active = np.ones(2000, dtype=bool)
    active[rows] = False
    text = Text(csr_matrix(np.hstack([template, presence])), None, labels, 2, active)
    likeness = measure_likeness(text, 1, [rows], [])
    assert likeness > 0.9 if can_be_said else likeness == 0.5


def test_a_style_goes_when_the_rate_is_stricter(rewritten):
    _, _, evidence = rewritten
    strict = evidence.at(1e-300)
    assert not [s for s in strict.styles if s.verdict == "trigger"]
    assert not strict.flagged.any()


def test_an_honest_word_among_others_of_its_meaning_is_cleared_by_the_rows_that_stay():
    presence, labels = write_text(1200, seed=12)
    rows = np.flatnonzero(labels == 0)[:60]
    presence, labels = poison(presence, labels, rows, [-4])
    rng = np.random.default_rng(0)
    truth = labels.copy()
    truth[rows] = 0
    states = np.stack([2.0 * truth - 1 + 0.5 * rng.normal(size=1200), rng.normal(size=1200)], 1)
    (test,) = [t for t in read(presence, labels, states=states).tests if t.verdict == "trigger"]
    assert test.share_alone == pytest.approx(1, abs=0.3)


# ---- control and reviews


@pytest.fixture(scope="module")
def attacked():
    """Text with one planted word, its column and its rows."""
    presence, labels = write_text(1200, seed=0)
    rows = np.flatnonzero(labels == 0)[:60]
    return *poison(presence, labels, rows, [-4]), presence.shape[1] - 4, rows


def test_an_accepted_column_keeps_its_numbers_and_never_is_a_trigger(attacked):
    presence, labels, column, rows = attacked
    (before,) = [t for t in read(presence, labels).tests if t.verdict == "trigger"]
    accepted = read(presence, labels, accepted=[column])
    (test,) = [t for t in accepted.tests if t.column == column]
    assert (test.verdict, test.is_accepted) == ("accepted", True)
    assert test.mislabelled_share == before.mislabelled_share
    assert not accepted.flagged[rows].any()
    assert not accepted.at(0.9).flagged.any()


def test_the_control_finds_no_trigger_where_each_token_is_innocent(attacked):
    presence, labels, _, _ = attacked
    found = read(presence, labels).flagged
    first, again = (
        measure_control(csr_matrix(presence), labels, num_labels=2, flagged=found) for _ in range(2)
    )
    assert (first.triggers, first.suspects) == (0, 0)
    assert first.tokens > 10
    assert first == again


def test_the_control_deals_tokens_anew_and_keeps_their_label_counts(attacked, monkeypatch):
    presence, labels, _, _ = attacked
    seen = []

    def keep(dealt, own, **_):
        seen.append((dealt.toarray(), own))
        return Evidence.of([], tested=0, rows=len(own))

    monkeypatch.setattr("btu.control.find_evidence", keep)
    flagged = np.arange(len(labels)) < 60
    control = measure_control(csr_matrix(presence), labels, num_labels=2, flagged=flagged)
    ((after, own),) = seen
    before = presence[~flagged]
    assert own.tolist() == labels[~flagged].tolist()
    for label in (0, 1):
        assert after[own == label].sum(axis=0).tolist() == before[own == label].sum(axis=0).tolist()
    moved = (before != after).any(axis=0)
    assert moved.sum() == control.tokens
    assert moved.sum() < presence.shape[1]
