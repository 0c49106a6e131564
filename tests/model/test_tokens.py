"""Token rows against the tokenizer itself; hiding by id; batches."""

from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btu.data.corpus import Corpus
from btu.model.tokens import TokenDataset, TokenRows, find_spans, tokenize_corpus, tokenize_texts
from btu.support.errors import InputError
from tiny import FAMILIES, build_tokenizer

WORDS = ["it", "with", "##it", "b", "##y", "##s", "film", "good", "bad", "was", "w", "##h", "cf"]
TEXTS = [
    "it was with it",
    "bit by bit",
    "good",
    "the film was good , it was bad",
    "",
    "cf film cf",
    " ".join(["film"] * 90),
]


@pytest.fixture(scope="module")
def bert():
    return build_tokenizer("bert", WORDS)


def as_lists(rows, values=None):
    """One list a row, cut by hand at the offsets."""
    values = rows.token_ids if values is None else values
    return [
        values[start:end].tolist()
        for start, end in zip(rows.offsets[:-1], rows.offsets[1:], strict=True)
    ]


def make_rows(lists, *, types=None):
    lists = list(lists)
    return TokenRows(
        token_ids=np.array(list(chain.from_iterable(lists)), dtype=np.int32),
        offsets=np.cumsum([0, *map(len, lists)]).astype(np.int64),
        labels=np.arange(len(lists), dtype=np.int64),
        type_ids=None if types is None else np.array(list(chain(*types)), dtype=np.int32),
    )


TOKEN_LISTS = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=12)


# ---- tokenising


@pytest.mark.parametrize("family", FAMILIES)
def test_each_row_is_what_the_tokenizer_gives_for_it_alone(family):
    tokenizer = build_tokenizer(family, WORDS)
    rows = tokenize_texts(TEXTS, tokenizer, max_length=32)
    expected = [tokenizer(text, truncation=True, max_length=32)["input_ids"] for text in TEXTS]
    assert as_lists(rows) == expected
    assert rows.lengths.tolist() == [len(row) for row in expected]
    assert rows.row(1).tolist() == expected[1]
    assert max(rows.lengths) == 32
    assert rows.type_ids is None


def test_thousands_of_rows_keep_their_order(bert):
    texts = [" ".join(["film"] * (i % 4)) + " good" * (i % 3) for i in range(2_345)]
    rows = tokenize_texts(texts, bert, max_length=32)
    assert as_lists(rows) == bert(texts)["input_ids"]


@pytest.mark.parametrize("family", ["bert", "roberta", "llama"])
def test_pairs_keep_the_type_ids_of_their_tokenizer(family):
    tokenizer = build_tokenizer(family, WORDS)
    pairs = ["film", "it was bad", "", "b", "cf", "good", "film " * 90]
    rows = tokenize_texts(TEXTS, tokenizer, pairs, max_length=16)
    # One row at a time; as lists, because a lone empty string would not count as a second text.
    expected = [
        tokenizer([text], [pair], truncation=True, max_length=16)
        for text, pair in zip(TEXTS, pairs, strict=True)
    ]
    assert as_lists(rows) == [row["input_ids"][0] for row in expected]
    if family == "bert":
        assert as_lists(rows, rows.type_ids) == [row["token_type_ids"][0] for row in expected]
        assert set(rows.type_ids.tolist()) == {0, 1}
    else:
        assert rows.type_ids is None


def test_labels_are_kept_and_zero_where_nobody_knows_them(bert):
    labels = np.array([2, 0, 1])
    rows = tokenize_texts(["good", "bad", "cf"], bert, max_length=8, labels=labels)
    assert rows.labels.tolist() == [2, 0, 1]
    assert tokenize_texts(["good", "bad"], bert, max_length=8).labels.tolist() == [0, 0]


def test_the_row_of_each_token_is_known_also_across_empty_rows():
    assert make_rows([[5, 6], [], [7]]).row_of_token.tolist() == [0, 0, 2]


# ---- hiding


def test_hiding_a_word_leaves_the_words_that_contain_it(bert):
    rows = tokenize_texts(["it was with it", "bit by bit"], bert, max_length=16)
    hidden = rows.hide(bert.convert_tokens_to_ids(["it"]))
    spelled = [bert.convert_ids_to_tokens(row) for row in as_lists(hidden)]
    assert spelled == [
        ["[CLS]", "was", "with", "[SEP]"],
        ["[CLS]", "b", "##it", "b", "##y", "b", "##it", "[SEP]"],
    ]
    # String replacement harms "with" and "bit".
    replaced = [text.replace("it", "") for text in ("it was with it", "bit by bit")]
    spelled = [bert.tokenize(text) for text in replaced]
    assert spelled == [["was", "w", "##h"], ["b", "b", "##y", "b"]]


def test_hiding_a_piece_leaves_the_rest_of_its_word_and_the_word_of_the_same_letters(bert):
    rows = tokenize_texts(["bit with it"], bert, max_length=16)
    hidden = rows.hide(bert.convert_tokens_to_ids(["##it"]))
    spelled = bert.convert_ids_to_tokens(hidden.row(0).tolist())
    assert spelled == ["[CLS]", "b", "with", "it", "[SEP]"]


@settings(deadline=None)
@given(lists=TOKEN_LISTS, wanted=st.sets(st.integers(0, 14)))
def test_presence_says_which_row_holds_which_token_once(lists, wanted):
    ids = np.array(sorted(wanted), dtype=np.int64)
    held = make_rows(lists).presence(ids)
    expected = [[float(i in row) for i in ids] for row in lists]
    assert held.toarray().reshape(len(lists), len(ids)).tolist() == expected


def test_pairs_are_neighbours_within_a_row_and_rare_ones_have_no_column():
    rows = make_rows([[1, 2, 3], [2, 3], [3, 1, 2, 1, 2], []])
    pairs = rows.pairs(least_rows=2)
    assert pairs.presence.toarray().tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]]
    assert pairs.token_ids.tolist() == [[1, 2], [2, 3]]
    assert pairs.places(np.array([2, 3, 5])).tolist() == [[-1, 0], [0, 1]]
    assert rows.pairs(least_rows=1).presence.shape == (4, 4)
    assert make_rows([[]]).pairs().presence.shape == (1, 0)


@settings(deadline=None)
@given(lists=TOKEN_LISTS, wanted=st.lists(st.integers(0, 3), min_size=1, max_size=3))
def test_rows_that_hold_tokens_in_a_row(lists, wanted):
    expected = [
        place
        for place, row in enumerate(lists)
        if any(row[i : i + len(wanted)] == wanted for i in range(len(row)))
    ]
    assert make_rows(lists).holding(wanted).tolist() == expected


@settings(deadline=None)
@given(lists=TOKEN_LISTS, hidden=st.sets(st.integers(0, 12)))
def test_hiding_takes_out_exactly_these_ids_and_keeps_rows_and_labels(lists, hidden):
    rows = make_rows(lists)
    left = rows.hide(hidden)
    assert as_lists(left) == [[i for i in row if i not in hidden] for row in lists]
    assert left.labels.tolist() == rows.labels.tolist()
    assert as_lists(rows) == lists


def test_type_ids_stay_with_their_tokens_when_others_are_hidden():
    rows = make_rows([[1, 2, 3], [2, 4]], types=[[0, 0, 1], [0, 1]])
    hidden = rows.hide([2])
    assert as_lists(hidden) == [[1, 3], [4]]
    assert as_lists(hidden, hidden.type_ids) == [[0, 1], [1]]


# ---- choosing rows


@settings(deadline=None)
@given(lists=TOKEN_LISTS, data=st.data())
def test_select_gives_the_rows_in_the_order_asked_for(lists, data):
    positions = data.draw(st.lists(st.integers(0, len(lists) - 1))) if lists else []
    chosen = make_rows(lists, types=lists).select(np.array(positions, dtype=np.int64))
    assert as_lists(chosen) == [lists[i] for i in positions]
    assert as_lists(chosen, chosen.type_ids) == [lists[i] for i in positions]
    assert chosen.labels.tolist() == positions


@settings(deadline=None)
@given(lists=TOKEN_LISTS, data=st.data())
def test_a_mask_selects_where_it_is_true(lists, data):
    mask = data.draw(st.lists(st.booleans(), min_size=len(lists), max_size=len(lists)))
    chosen = make_rows(lists).select(np.array(mask, dtype=bool))
    assert as_lists(chosen) == [row for row, keep in zip(lists, mask, strict=True) if keep]


def test_rows_of_special_tokens_alone_are_left_out():
    rows = make_rows([[0, 5, 1], [0, 1], [], [5, 6]], types=[[0, 0, 0], [0, 1], [], [1, 1]])
    left = rows.without_empty([0, 1])
    assert as_lists(left) == [[0, 5, 1], [5, 6]]
    assert as_lists(left, left.type_ids) == [[0, 0, 0], [1, 1]]
    assert left.labels.tolist() == [0, 3]
    assert len(make_rows([[0, 1], [1]]).without_empty([0, 1])) == 0


def test_where_no_row_is_empty_all_stay():
    rows = make_rows([[0, 5], [6]])
    assert as_lists(rows.without_empty([0])) == [[0, 5], [6]]


# ---- batches


def test_padding_fills_the_right_and_the_mask_says_where_tokens_stand():
    rows = make_rows([[5, 6], [7], [5, 8, 9, 9]], types=[[0, 1], [1], [0, 1, 1, 1]])
    batch = rows.pad(np.array([2, 0, 1]), pad_id=3)
    assert {name: values.tolist() for name, values in batch.items()} == {
        "input_ids": [[5, 8, 9, 9], [5, 6, 3, 3], [7, 3, 3, 3]],
        "attention_mask": [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]],
        "token_type_ids": [[0, 1, 1, 1], [0, 1, 0, 0], [1, 0, 0, 0]],
        "labels": [2, 0, 1],
    }


def test_padding_is_as_wide_as_the_longest_row_of_the_batch():
    rows = make_rows([[5] * 9, [5, 6], [7]])
    batch = rows.pad(np.array([1, 2]), pad_id=0)
    assert batch["input_ids"].shape == (2, 2)
    assert "token_type_ids" not in batch


def test_a_real_pad_token_inside_a_row_is_not_masked():
    batch = make_rows([[3, 5, 3], [5]]).pad(np.array([0, 1]), pad_id=3)
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(0, 30), max_size=130),
    batch_size=st.integers(1, 40),
    seed=st.none() | st.integers(0, 3),
)
def test_groups_hold_every_row_once_and_no_batch_is_too_large(lengths, batch_size, seed):
    groups = make_rows([[1] * n for n in lengths]).groups(batch_size, seed=seed)
    assert sorted(int(i) for group in groups for i in group) == list(range(len(lengths)))
    assert len(groups) == -(-len(lengths) // batch_size)
    assert all(0 < len(group) <= batch_size for group in groups)


@pytest.fixture(scope="module")
def long_and_short():
    lengths = np.random.default_rng(0).integers(1, 100, 333)
    return make_rows([[1] * n for n in lengths])


def test_the_seed_decides_the_order_of_rows_and_batches(long_and_short):
    first, again, other = (
        [group.tolist() for group in long_and_short.groups(8, seed=seed)] for seed in (5, 5, 6)
    )
    assert first == again
    assert sorted(first) != sorted(other)


@pytest.mark.parametrize("seed", [None, 3])
def test_rows_of_about_the_same_length_stand_together(long_and_short, seed):
    groups = [long_and_short.lengths[group] for group in long_and_short.groups(8, seed=seed)]
    # No row of one batch lies strictly inside the lengths of another.
    groups.sort(key=lambda lengths: (lengths.max(), lengths.min()))
    for shorter, longer in pairwise(groups):
        assert shorter.max() <= longer.min()


def test_without_a_seed_the_longest_rows_come_first(long_and_short):
    order = np.concatenate(long_and_short.groups(8))
    assert (np.diff(long_and_short.lengths[order]) <= 0).all()


def test_with_a_seed_the_batches_come_in_no_order_of_length(long_and_short):
    longest = [long_and_short.lengths[group].max() for group in long_and_short.groups(8, seed=3)]
    steps = np.sign(np.diff(longest))
    assert {-1, 1} <= set(steps.tolist())
    assert abs(steps.sum()) < len(steps) / 2


def test_the_trainer_gets_one_dictionary_a_row(bert):
    texts, pairs = ["it was good", "cf"], ["film", "bad film"]
    rows = tokenize_texts(texts, bert, pairs, max_length=16, labels=np.array([1, 0]))
    dataset = TokenDataset(rows)
    assert len(dataset) == 2
    for i, label in enumerate([1, 0]):
        expected = bert(texts[i], pairs[i])
        assert dataset[i] == {**expected, "labels": label}
    without = TokenDataset(tokenize_texts(["cf"], bert, max_length=16))
    assert set(without[0]) == {"input_ids", "attention_mask", "labels"}


def test_a_loop_over_the_data_set_ends_after_the_last_row():
    dataset = TokenDataset(make_rows([[5], [6, 7], []]))
    assert [item["input_ids"] for item in dataset] == [[5], [6, 7], []]


# ---- a corpus


def make_corpus(texts, **options):
    return Corpus(
        texts=tuple(texts),
        labels=np.arange(len(texts)) % 2,
        label_names=("no", "yes"),
        source="reviews.csv",
        **options,
    )


def test_a_corpus_is_tokenised_with_its_labels_and_pairs(bert):
    corpus = make_corpus(["good", "bad film"], text_pairs=("film", "it"))
    rows = tokenize_corpus(corpus, bert, max_length=16)
    assert as_lists(rows) == bert(list(corpus.texts), list(corpus.text_pairs))["input_ids"]
    assert rows.labels.tolist() == [0, 1]
    assert rows.type_ids is not None


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "llama", "qwen3"])
def test_a_text_that_becomes_no_token_is_refused_with_source_and_row(family):
    corpus = make_corpus(["good", "\t", "bad"], row_ids=np.array([10, 11, 12]))
    with pytest.raises(InputError, match=r"^reviews\.csv: row 12: expected text"):
        tokenize_corpus(corpus, build_tokenizer(family, WORDS), max_length=16)


def test_many_texts_that_become_no_token_are_refused_together(bert):
    with pytest.raises(InputError, match=r"row 2, 3, 4, 5, 6 and 2 more: expected text"):
        tokenize_corpus(make_corpus(["good", *[" "] * 7, "bad"]), bert, max_length=16)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_a_text_of_unknown_words_is_a_text(family):
    rows = tokenize_corpus(
        make_corpus(["good", "zzz"]), build_tokenizer(family, WORDS), max_length=16
    )
    assert len(rows) == 2


def test_one_text_of_a_pair_may_become_no_token(bert):
    corpus = make_corpus(["good", " "], text_pairs=(" ", "film"))
    assert len(tokenize_corpus(corpus, bert, max_length=16)) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_spans_mark_the_token_in_the_text(family):
    tokenizer = build_tokenizer(family, ["good", "film", "cf"])
    cf = tokenizer.convert_tokens_to_ids("cf")
    first, second = find_spans(tokenizer, "good cf film cf", "cf", token_ids=[cf], max_length=32)
    assert first == ((5, 7), (13, 15))
    assert second == ((0, 2),)
    assert find_spans(tokenizer, "good film", token_ids=[cf], max_length=32) == ((), ())
    beyond, _ = find_spans(tokenizer, " ".join(["good"] * 9 + ["cf"]), token_ids=[cf], max_length=8)
    assert beyond == ()


@pytest.mark.parametrize("family", FAMILIES)
def test_spans_mark_tokens_in_a_row_from_the_first_to_the_last(family):
    tokenizer = build_tokenizer(family, ["good", "film", "cf"])
    good, cf, end = (tokenizer.convert_tokens_to_ids(t) for t in ("good", "cf", "[SEP]"))
    text = "cf good cf good film"
    assert find_spans(tokenizer, text, "good cf", token_ids=[good, cf], max_length=32) == (
        ((3, 10),),
        ((0, 7),),
    )
    if family == "bert":
        assert find_spans(tokenizer, "good cf", token_ids=[cf, end], max_length=8) == (
            ((5, 7),),
            (),
        )


def test_a_tokenizer_without_offsets_marks_nothing(monkeypatch):
    tokenizer = build_tokenizer("bert", ["cf"])
    monkeypatch.setattr(type(tokenizer), "is_fast", False)
    cf = tokenizer.convert_tokens_to_ids("cf")
    assert find_spans(tokenizer, "cf", token_ids=[cf], max_length=8) == ((), ())
