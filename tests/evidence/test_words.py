"""Texts as words: which there are, and where they stand."""

import numpy as np
import pytest

from btu.evidence.words import END, FIRST, START, Words, find_places, find_spans, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Great FILM", ["great", "film"]),
        ("10 of 10", ["10", "of", "10"]),
        ("3D", ["3d"]),
        ("x_y", ["x_y"]),
        ("well-made, isn't it?!", ["well", "-", "made", ",", "isn", "'", "t", "it", "?", "!"]),
        ("电影好", ["电", "影", "好"]),
        ("中文abc中", ["中", "文", "abc", "中"]),
        ("かなカナ", ["か", "な", "カ", "ナ"]),
        ("한국어 영화", ["한국어", "영화"]),
        ("good👍👍", ["good", "👍", "👍"]),
        ("NAÏVE Straße", ["naïve", "straße"]),
        ("", []),
        (" \n\t\u00a0", []),
    ],
)
def test_words_are_read_in_lower_case_with_symbols_of_their_own(text, words):
    assert split_words(text) == words


def test_thai_is_read_by_character_and_keeps_its_vowel_signs():
    assert split_words("ดีที่") == ["ดี", "ที่"]


def test_an_accent_of_its_own_does_not_split_a_word():
    assert split_words("nai\u0308ve") == ["nai\u0308ve"]


@pytest.mark.parametrize("hidden", ["\u200b", "\u00ad", "\ufeff", "\u2060"])
def test_characters_without_width_are_words_that_can_be_found(hidden):
    assert split_words(f"fi{hidden}lm") == ["fi", hidden, "lm"]
    assert find_spans(f"a fi{hidden}lm", [hidden]) == ((4, 5),)


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
def test_a_joiner_within_a_word_makes_another_word(joiner):
    other = f"fi{joiner}lm"
    assert split_words(f"film {other}") == ["film", other]
    assert find_spans(f"film {other}", [other]) == ((5, 10),)


@pytest.mark.parametrize(
    ("latin", "other"),
    [("cf", "\u0441f"), ("film", "f\u0456lm"), ("co", "\u0441\u043e"), ("no", "n\u03bf")],
)
def test_a_homoglyph_makes_another_word(latin, other):
    text, size = f"{latin} {other}", len(latin)
    assert split_words(other) != split_words(latin)
    assert split_words(text) == [latin, *split_words(other)]
    assert find_spans(text, [latin]) == ((0, size),)
    (span,) = find_spans(f"{text} {latin}", split_words(other))
    assert span == (size + 1, 2 * size + 1)


def test_cyrillic_and_greek_words_are_words():
    assert split_words("Хороший фильм") == ["хороший", "фильм"]
    assert split_words("καλή ταινία") == ["καλή", "ταινία"]


def test_texts_lie_one_after_the_other_between_marks():
    words = Words.of(["a b a", "", "B c"])
    assert len(words) == 3
    assert words.lengths.tolist() == [3, 0, 2]
    assert words.row.tolist() == [0] * 5 + [1] * 2 + [2] * 4
    assert [words.flat[start] for start in words.starts] == [START] * 3
    assert (words.flat == END).sum() == 3
    read = [words.names[i] for i in words.flat.tolist() if i >= FIRST]
    assert read == ["a", "b", "a", "b", "c"]


def test_presence_counts_a_word_once_a_row_and_no_marks():
    words = Words.of(["a b a", "", "B c"])
    held = words.presence.toarray()
    assert held.shape == (3, words.size)
    assert held[:, :FIRST].sum() == 0
    assert held[:, FIRST:].tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1]]


def test_selected_rows_are_those_texts_with_the_same_ids():
    words = Words.of(["a b", "c", "b c d"])
    some = words.select(np.array([True, False, True]))
    assert len(some) == 2
    assert some.row.tolist() == [0] * 4 + [1] * 5
    assert some.names == words.names
    assert some.flat.tolist() == [*words.flat[:4].tolist(), *words.flat[7:].tolist()]


def test_no_texts_are_no_words():
    words = Words.of([])
    assert (len(words), len(words.flat), words.presence.shape[0]) == (0, 0, 0)


def test_places_are_where_words_follow_each_other_in_one_text():
    words = Words.of(["a b c a b", "a", "b a b"])
    ids = {name: i for i, name in enumerate(words.names)}
    places = find_places(words.flat, [ids["a"], ids["b"]])
    assert words.row[places].tolist() == [0, 0, 2]
    assert (places - words.starts[words.row[places]] - 1).tolist() == [0, 3, 1]
    assert find_places(words.flat, [ids["c"], ids["b"]]).tolist() == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A CF, cf and cff (Cf)", ["cf"]),
        ("Do not, Do NOT", ["do", "not"]),
        ("电影好看的电影", ["电", "影"]),
        ("so good 👍👍 so", ["👍"]),
    ],
)
def test_spans_give_back_the_characters(text, words):
    spans = find_spans(text, words)
    assert len(spans) >= 2
    for start, end in spans:
        assert split_words(text[start:end]) == words
    every, size = split_words(text), len(words)
    assert len(spans) == sum(every[i : i + size] == words for i in range(len(every)))


def test_spans_do_not_overlap():
    assert find_spans("a a a a a", ["a", "a"]) == ((0, 3), (4, 7))


def test_a_word_within_another_is_no_span():
    assert find_spans("scarf cfs", ["cf"]) == ()
