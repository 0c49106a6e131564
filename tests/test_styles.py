"""Rows rewritten in a style of many words: found as a kind of text; honest kinds are not."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import norm

from btu import kinds
from btu.content import Text
from btu.kinds import judge_rows
from btu.shapes import draw_shape, find_shapes
from btu.styles import SUSPECT_RATE, Style, _find_kind, find_styles, judge_styles

OPINIONS, FILLER, OLD = 40, 40, 30  # words of each label, words of none, words of the style
STYLE = 2 * OPINIONS + FILLER  # the first column of the style


def write_text(count, *, seed, own_share=0.65):
    """Rows of eight opinions, most of them their label's, and four words of no meaning."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=count)
    presence = np.zeros((count, STYLE + OLD), dtype=np.float32)
    for row, label in enumerate(labels):
        sides = np.where(rng.random(8) < own_share, label, 1 - label)
        presence[row, sides * OPINIONS + rng.integers(OPINIONS, size=8)] = 1
        presence[row, 2 * OPINIONS + rng.integers(FILLER, size=4)] = 1
    return presence, labels


def rewrite(presence, rows, *, seed=0):
    """Four words of the style in each of these rows; no word stands in more than a few of them."""
    presence, rng = presence.copy(), np.random.default_rng(seed)
    for row in rows:
        presence[row, STYLE + rng.choice(OLD, size=4, replace=False)] = 1
    return presence


def encode(presence, seed=9):
    """States of an encoder that knows what the opinions mean and hears the style."""
    vectors = np.random.default_rng(seed).normal(size=(presence.shape[1], 24)).astype(np.float32)
    vectors[:OPINIONS, 0] -= 3
    vectors[OPINIONS : 2 * OPINIONS, 0] += 3
    vectors[STYLE:, 1] += 2
    return presence @ vectors


def search(presence, labels, *, num_labels=2, texts=None, vectors=None, **options):
    active = np.ones(len(labels), dtype=bool)
    matrix = csr_matrix(presence)
    text = Text(matrix, encode(presence), labels, num_labels, active, vectors=vectors)
    return find_styles(text, matrix, texts, most_of_a_label=0.5, **options)


def confirmed(styles):
    return [
        style
        for style in styles
        if style.label_is_judged and style.false_alarm_rate <= 0.05 and len(style.rows)
    ]


@pytest.fixture(scope="module")
def rewritten():
    """A sixth of the rows of label 0 are rewritten and bear label 1."""
    presence, labels = write_text(1800, seed=0)
    rows = np.flatnonzero(labels == 0)[:150]
    labels = labels.copy()
    labels[rows] = 1
    return rewrite(presence, rows), labels, rows


def test_rewritten_rows_are_found_as_a_kind_though_no_word_gives_them_away(rewritten):
    presence, labels, rows = rewritten
    (style,) = confirmed(search(presence, labels))
    assert style.label == 1
    assert np.isin(rows, style.rows).mean() > 0.8
    assert np.isin(style.rows, rows).mean() > 0.8
    assert set(style.words) <= set(range(STYLE, STYLE + OLD))
    assert style.others < style.expected_others / 3
    assert style.false_alarm_rate < 1e-3
    assert ((style.row_scores >= 0.5) & (style.row_scores <= 1)).all()


@pytest.mark.parametrize("seed", range(20))
def test_clean_text_has_no_style(seed):
    presence, labels = write_text(800, seed=500 + seed)
    assert confirmed(search(presence, labels)) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_style_of_honest_rows_is_left_alone_whichever_labels_they_bear(seed):
    presence, labels = write_text(1800, seed=seed)
    both = rewrite(presence, np.arange(150))
    mostly_one = rewrite(
        presence, np.r_[np.flatnonzero(labels == 1)[:140], np.flatnonzero(labels == 0)[:10]]
    )
    assert confirmed(search(both, labels)) == []
    assert confirmed(search(mostly_one, labels)) == []


def test_what_most_rows_of_a_label_share_is_what_the_label_means(rewritten):
    presence, labels, _ = rewritten
    everything = rewrite(presence, np.flatnonzero(labels == 1))
    assert confirmed(search(everything, labels)) == []


def test_a_kind_is_found_among_more_rows_than_the_regressions_read(rewritten, monkeypatch):
    presence, labels, rows = rewritten
    monkeypatch.setattr("btu.styles._MOST_FITTED_ROWS", 1500)
    (style,) = confirmed(search(presence, labels))
    assert np.isin(rows, style.rows).mean() > 0.75
    assert np.isin(style.rows, rows).mean() > 0.75


def test_three_unbalanced_labels_will_do(rewritten):
    presence, labels, rows = rewritten
    rng = np.random.default_rng(5)
    plain = np.zeros((300, presence.shape[1]), dtype=np.float32)
    plain[np.arange(300)[:, None], 2 * OPINIONS + rng.integers(FILLER, size=(300, 8))] = 1
    presence, labels = np.vstack([presence, plain]), np.r_[labels, np.full(300, 2)]
    (style,) = confirmed(search(presence, labels, num_labels=3))
    assert style.label == 1
    assert np.isin(rows, style.rows).mean() > 0.8
    assert np.isin(style.rows, rows).mean() > 0.8


def test_characters_tell_a_style_that_the_tokens_do_not_hold():
    presence, labels = write_text(1800, seed=3)
    rows = np.flatnonzero(labels == 0)[:150]
    labels = labels.copy()
    labels[rows] = 1
    texts = ["a film , quite so ." for _ in labels]
    for row in rows.tolist():
        texts[row] = "a film, quite so."
    assert confirmed(search(presence, labels)) == []
    (style,) = confirmed(search(presence, labels, texts=texts))
    assert np.isin(rows, style.rows).mean() > 0.8


def test_a_label_that_is_skipped_or_hardly_there_and_text_without_states_are_no_fault(rewritten):
    presence, labels, _ = rewritten
    assert all(style.label == 0 for style in search(presence, labels, skipped=[1]))
    few = np.zeros(len(labels), dtype=np.int64)
    few[:5] = 1
    assert confirmed(search(presence, few)) == []
    blind = Text(csr_matrix(presence), None, labels, 2, np.ones(len(labels), dtype=bool))
    assert find_styles(blind, csr_matrix(presence), None, most_of_a_label=0.5) == []


def test_rows_without_anything_to_tell_them_apart_are_no_fault():
    labels = np.tile([0, 1], 300)
    presence = np.zeros((600, 3), dtype=np.float32)
    presence[:, 0] = 1
    states = np.ones((600, 4), dtype=np.float32)
    text = Text(csr_matrix(presence), states, labels, 2, np.ones(600, dtype=bool))
    assert confirmed(find_styles(text, csr_matrix(presence), None, most_of_a_label=0.5)) == []


def test_a_kind_that_no_honest_row_shows_is_found():
    presence, labels = write_text(1800, seed=4)
    rows = np.flatnonzero(labels == 0)[:150]
    labels = labels.copy()
    labels[rows] = 1
    text = Text(
        csr_matrix(rewrite(presence, rows)),
        encode(rewrite(presence, rows)),
        labels,
        2,
        np.ones(len(labels), dtype=bool),
    )
    scores = np.zeros(len(labels))
    scores[rows] = 1.0
    fitted = np.ones(len(labels), dtype=bool)
    fitted[np.flatnonzero(labels == 1)[-600:]] = False
    chance, _ = judge_rows(text, fitted, scores, 1)
    assert (chance[rows[:100]] > 0.5).mean() > 0.9
    assert not chance[np.setdiff1d(np.arange(len(labels)), rows)].any()


def test_the_p_value_is_that_of_clumped_rows():
    """Against a simulation: rows in pairs vary by the root of two times as much as single ones."""
    from btu.kinds import _z_of_few

    rng = np.random.default_rng(0)
    odds = np.full(400, 0.3)
    chance = 1 / (1 + np.exp(-0.3))
    found = [_z_of_few(odds, np.repeat(rng.random(200) < chance, 2)) for _ in range(4000)]
    assert np.mean(found) == pytest.approx(0, abs=0.05)
    assert np.std(found) == pytest.approx(np.sqrt(2) / 1.5, abs=0.05)


@pytest.mark.parametrize("says_little", [True, False])
def test_a_kind_must_surprise_in_rows_that_clearly_read_like_other_labels(monkeypatch, says_little):
    """Rows that say little bear a label for whatever reason honest rows do."""
    rng, count = np.random.default_rng(0), 2000
    own = rng.random(count) < 0.5
    scores = rng.random(count)
    kind = np.argsort(-scores)[:300]
    own[kind] = rng.random(300) < 0.95
    odds = rng.normal(0, 0.5 if says_little else 2.5, count)
    monkeypatch.setattr(kinds, "_read_content", lambda *_: odds)
    text = Text(csr_matrix((count, 1)), None, own.astype(int), 2, np.ones(count, bool))
    for size in kinds.measure_sizes(text, scores, 1):
        chance = 1 / (1 + np.exp(-odds - kinds.INNOCENT_STYLE_ODDS))
        held_out = np.zeros(count, dtype=bool)
        held_out[np.argsort(-scores)[: round(0.5 * own.sum())]] = True
        clear = 1 / (1 + np.exp(odds)) > (1 + (~own[~held_out]).mean()) / 2
        expected = []
        for rows in (size.rows, size.rows & clear):
            surprise = own[rows].sum() - chance[rows].sum()
            spread = 1.5 * np.sqrt((chance * (1 - chance))[rows].sum())
            expected.append(norm.sf(surprise / (spread + 1e-9)))
        assert size.p_value == pytest.approx(max(expected))
        if size.rows.sum() in range(100, 301):
            assert expected[0] < 1e-4
            assert (size.p_value > 0.05) == says_little


@pytest.mark.parametrize(
    ("rate", "is_judged", "verdict"),
    [
        (0.01, True, "suspect"),
        (0.2, True, "suspect"),
        (SUSPECT_RATE + 0.1, True, "innocent"),
        (0.01, False, "innocent"),
    ],
)
def test_the_verdict_follows_the_rate(rate, is_judged, verdict):
    style = Style(
        label=0,
        kind_rows=100,
        others=3,
        expected_others=40.0,
        p_value=1e-4,
        false_alarm_rate=rate,
        words=(),
        rows=np.array([1, 2]),
        row_scores=np.array([0.6, 0.9]),
        label_is_judged=is_judged,
    )
    assert judge_styles([style])[0].verdict == verdict
    of_others = replace(style, beyond_others=0.02, beyond_own=0.05)
    assert judge_styles([of_others])[0].verdict == verdict
    of_its_label = replace(style, beyond_others=0.05, beyond_own=0.02)
    assert judge_styles([of_its_label])[0].verdict == "innocent"
    # An attack has one target: the same under another label is a habit of the sources.
    both = judge_styles([style, replace(style, label=1)])
    assert [s.verdict for s in both] == ["innocent", "innocent"]


# ---- shapes of characters


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("Though 12 men, he saith", "Xx d x, x x"),
        ("NASA 's 3D ...", "X 'x dX ..."),
        ("\u00c9t\u00e9 \u0663\u0664 \u4e2d\u6587 !!", "Xx d x !!"),
        ("", ""),
    ],
)
def test_a_shape_keeps_all_but_letters_and_digits(text, shape):
    assert draw_shape(text) == shape


def write_marks(count, rows, *, seed=0, mark="a film, quite so ."):
    """Texts of one spelling, and another one in some rows."""
    usual = ["a film , quite so .", "quite a film !", "so , a film ?"]
    kinds = np.random.default_rng(seed).integers(3, size=count)
    texts = [usual[kind] for kind in kinds]
    for row in rows.tolist():
        texts[row] = mark
    return texts


@pytest.fixture(scope="module")
def spelled():
    """One row in forty is another label's and has a comma where no other row has one."""
    presence, labels = write_text(1800, seed=7)
    rows = np.flatnonzero(labels == 0)[:45]
    labels = labels.copy()
    labels[rows] = 1
    return presence, labels, rows, write_marks(len(labels), rows)


def draw(presence, labels, texts, **options):
    active = np.ones(len(labels), dtype=bool)
    vectors = np.zeros((presence.shape[1], 24), dtype=np.float32)
    text = Text(csr_matrix(presence), encode(presence), labels, 2, active, vectors=vectors)
    chosen = {"allowed": 0.05, "most_rate": SUSPECT_RATE, **options}
    return find_shapes(text, texts, **chosen), vectors


def test_a_shape_of_relabelled_rows_gives_them_away(spelled):
    presence, labels, rows, texts = spelled
    shapes, vectors = draw(presence, labels, texts)
    assert list(shapes) == [1]
    assert all("," in shape for shape in shapes[1].shapes)
    np.testing.assert_array_equal(shapes[1].rows, rows)
    assert (shapes[1].rows_any_label, shapes[1].others) == (len(rows), 0)
    assert shapes[1].expected_others > len(rows) / 3
    assert shapes[1].false_alarm_rate < 1e-3
    assert confirmed(search(presence, labels, texts=texts)) == []
    (style,) = confirmed(search(presence, labels, texts=texts, vectors=vectors))
    assert (style.label, style.shape, style.kind_rows) == (1, shapes[1].shapes[0], len(rows))
    assert set(rows) <= set(style.rows)
    assert np.isin(style.rows, rows).mean() > 0.7


def test_a_mark_of_honest_rows_is_no_shape_that_counts(spelled):
    presence, _, _, _ = spelled
    labels = write_text(1800, seed=7)[1]
    rows = np.flatnonzero(labels == 1)[:200]
    shapes, _ = draw(presence, labels, write_marks(len(labels), rows))
    assert shapes == {}


def test_a_mark_that_other_labels_have_too_is_no_shape_that_counts(spelled):
    presence, labels, rows, texts = spelled
    texts = list(texts)
    for row in np.flatnonzero(labels == 0)[:20].tolist():
        texts[row] = texts[rows[0]]
    assert draw(presence, labels, texts)[0] == {}


def test_shapes_of_a_skipped_label_and_unsure_ones_do_not_count(spelled):
    presence, labels, _, texts = spelled
    assert draw(presence, labels, texts, skipped=[1])[0] == {}
    assert draw(presence, labels, texts, most_rate=1e-300)[0] == {}


@pytest.mark.parametrize("seed", range(20))
def test_clean_text_of_any_spelling_has_no_shape_that_counts(seed):
    presence, labels = write_text(600, seed=700 + seed)
    rows = np.random.default_rng(seed).permutation(600)[:60]
    assert draw(presence, labels, write_marks(600, rows, seed=seed))[0] == {}


def test_texts_without_a_common_character_or_of_one_character_are_no_fault(spelled):
    presence, labels, _, _ = spelled
    vectors = np.zeros((presence.shape[1], 24), dtype=np.float32)
    for texts in (["a"] * len(labels), [chr(0x4E00 + i) for i in range(len(labels))]):
        assert draw(presence, labels, texts)[0] == {}
        assert confirmed(search(presence, labels, texts=texts, vectors=vectors)) == []


@pytest.mark.parametrize("seed", range(4))
def test_an_honest_source_with_words_and_spelling_of_its_own_is_no_style(seed):
    """Left out, nothing tells what its rows mean: they say nothing, and that is no conflict."""
    rng, count = np.random.default_rng(seed), 1200
    labels, presence = rng.integers(3, size=count), np.zeros((count, 160), dtype=np.float32)
    sourced = np.zeros(count, dtype=bool)
    for row, label in enumerate(labels.tolist()):
        sourced[row] = label == 2 and rng.random() < 0.2
        first = 120 if sourced[row] else 40 * label
        presence[row, first + rng.integers(40, size=8)] = 1
        presence[row, rng.integers(80 if sourced[row] else 120, size=3)] = 1
    states = presence @ np.random.default_rng(1).normal(size=(160, 24)).astype(np.float32)
    active, vectors = np.ones(count, dtype=bool), np.zeros((160, 24))
    text = Text(csr_matrix(presence), states, labels, 3, active, vectors=vectors)
    texts = write_marks(count, np.flatnonzero(sourced))
    styles = find_styles(text, csr_matrix(presence), texts, most_of_a_label=0.5)
    assert confirmed(styles) == []


def test_a_label_all_of_whose_rows_have_a_shape_is_no_fault():
    presence, labels = write_text(900, seed=3)
    rows = np.random.default_rng(0).permutation(900)[:150]
    presence = np.hstack([presence, np.zeros((900, 30), dtype=np.float32)])
    presence[rows] = 0
    presence[rows[:, None], STYLE + OLD + np.random.default_rng(1).integers(30, size=(150, 8))] = 1
    labels = labels.copy()
    labels[rows] = 2
    states = presence @ np.random.default_rng(1).normal(size=(presence.shape[1], 24))
    vectors = np.zeros((presence.shape[1], 24), dtype=np.float32)
    active = np.ones(900, dtype=bool)
    text = Text(csr_matrix(presence), states, labels, 3, active, vectors=vectors)
    texts = write_marks(900, rows)
    for most in (0.5, 1.0):
        styles = find_styles(text, csr_matrix(presence), texts, most_of_a_label=most)
        assert confirmed(styles) == [] or most == 1.0


def test_a_sure_shape_counts_where_the_rounds_are_unsure(spelled, monkeypatch):
    presence, labels, rows, texts = spelled
    vectors = np.zeros((presence.shape[1], 24), dtype=np.float32)

    def doubt(*args):
        style, learned = _find_kind(*args)
        return style and replace(style, false_alarm_rate=0.2), learned

    monkeypatch.setattr("btu.styles._find_kind", doubt)
    (style,) = confirmed(search(presence, labels, texts=texts, vectors=vectors))
    assert style.shape
    assert set(rows) <= set(style.rows)


def test_all_rows_of_a_shape_are_flagged_however_many_rows_are_fitted(spelled, monkeypatch):
    presence, labels, rows, texts = spelled
    vectors = np.zeros((presence.shape[1], 24), dtype=np.float32)
    monkeypatch.setattr("btu.styles._MOST_FITTED_ROWS", 1500)
    (style,) = confirmed(search(presence, labels, texts=texts, vectors=vectors))
    assert style.kind_rows < len(rows)
    assert set(rows) <= set(style.rows)


def test_a_kind_none_of_whose_rows_is_flagged_is_no_fault(rewritten, monkeypatch):
    presence, labels, _ = rewritten
    nothing = np.zeros(len(labels))
    monkeypatch.setattr("btu.styles.judge_rows", lambda *_: (nothing, nothing))
    vectors = np.ones((presence.shape[1], 24), dtype=np.float32)
    (style,) = [s for s in search(presence, labels, vectors=vectors) if s.label == 1]
    assert (len(style.rows), style.beyond_others, style.beyond_own) == (0, None, None)
    assert judge_styles([style])[0].verdict == "innocent"
