"""What `load_corpus` accepts, and what it says of everything else."""

import csv
import json
import os
import stat
import warnings
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btu.data.corpus import Corpus, load_corpus
from btu.data.writers import write_rows
from btu.support.errors import InputError

ROWS = {"text": ["good film", "bad film", "fine"], "label": ["pos", "neg", "pos"]}
FORMATS = ["csv", "tsv", "jsonl", "parquet"]


@pytest.fixture
def corpus() -> Corpus:
    return load_corpus(ROWS)


@pytest.fixture
def write(tmp_path):
    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def read_fault(data, **options) -> str:
    """The message of the error that the data raises."""
    with pytest.raises(InputError) as caught:
        load_corpus(data, **options)
    return str(caught.value)


def read_labels(labels, **options) -> tuple[list[int], tuple[str, ...]]:
    loaded = load_corpus(([f"text {i}" for i in range(len(labels))], labels), **options)
    return loaded.labels.tolist(), loaded.label_names


# ---- the value


def test_a_corpus_knows_its_size_and_counts_every_label():
    corpus = Corpus(texts=("a", "b"), labels=np.array([2, 2]), label_names=("x", "y", "z"))
    assert (len(corpus), corpus.num_labels) == (2, 3)
    assert corpus.label_counts() == {"x": 0, "y": 0, "z": 2}
    assert corpus.row_ids.tolist() == [0, 1]


def test_select_carries_pairs_row_ids_and_lines(write):
    path = write("a.csv", 'sentence1,sentence2,label\na,A,0\n"b\nb",B,1\nc,C,0\n')
    corpus = load_corpus(path)
    chosen = corpus.select([2, 1])
    assert chosen.texts == ("c", "b\nb")
    assert chosen.text_pairs == ("C", "B")
    assert chosen.row_ids.tolist() == [2, 1]
    assert chosen.row_lines.tolist() == [5, 3]
    assert corpus.select(corpus.labels == 0).texts == ("a", "c")
    assert chosen.select([False, True]).row_ids.tolist() == [1]
    assert len(corpus.select([])) == 0


def test_select_refuses_a_mask_of_another_length(corpus):
    with pytest.raises(InputError, match=r"mask of shape \(3,\), got \(2,\)"):
        corpus.select([True, False])


def test_with_rows_changes_texts_and_labels_and_nothing_else(corpus):
    other = corpus.with_rows(texts=["x", "y", "z"], labels=[0, 0, 0])
    assert other.texts == ("x", "y", "z")
    assert other.labels.tolist() == [0, 0, 0]
    assert other.label_names == corpus.label_names
    assert corpus.labels.tolist() == [1, 0, 1]


def test_a_corpus_refuses_rows_that_do_not_fit(corpus):
    with pytest.raises(InputError, match="as many labels as texts, got 2 for 3"):
        corpus.with_rows(labels=[0, 1])
    with pytest.raises(InputError, match="labels from 0 to 1, got 0 to 2"):
        corpus.with_rows(labels=[0, 1, 2])


def test_the_arrays_of_a_corpus_cannot_be_written_to(corpus):
    with pytest.raises(ValueError, match="read-only"):
        corpus.labels[0] = 0


def test_the_repr_of_a_corpus_does_not_show_its_texts(corpus):
    assert "film" not in repr(corpus)


def test_the_fingerprint_changes_with_content_and_order_only(corpus):
    path_free = Corpus(corpus.texts, corpus.labels, corpus.label_names, source="elsewhere")
    assert path_free.fingerprint() == corpus.fingerprint()
    assert len(corpus.fingerprint()) == 64
    others = [
        corpus.select([1, 0, 2]),
        corpus.with_rows(labels=[1, 1, 1]),
        Corpus(corpus.texts, corpus.labels, ("neg", "good")),
        Corpus(corpus.texts, corpus.labels, corpus.label_names, text_pairs=("", "", "")),
        Corpus(("good film", "bad filmf", "ine"), corpus.labels, corpus.label_names),
        Corpus(("good film", "bad film", "fine\ud800"), corpus.labels, corpus.label_names),
    ]
    assert len({corpus.fingerprint(), *(other.fingerprint() for other in others)}) == 7


# ---- sources


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_back_what_was_written(tmp_path, suffix, corpus):
    path = tmp_path / f"rows.{suffix}"
    write_rows(path, ROWS)
    loaded = load_corpus(str(path))
    assert loaded.fingerprint() == corpus.fingerprint()
    assert loaded.source == str(path)
    has_lines = suffix != "parquet"
    assert (loaded.row_lines is not None) == has_lines


# Surrogates cannot be written as UTF-8; blank texts and labels are faults of their own.
TEXTS = st.text(min_size=1, max_size=20).filter(str.strip)
# Labels that all read as numbers count as numbers: "1.0" would come back as "1". White space around
# a label is no part of it.
LABELS = st.lists(
    TEXTS.map(str.strip).filter(lambda text: "." not in text), min_size=2, max_size=4, unique=True
)


def test_json_lines_hold_null_for_what_json_has_no_number_for(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, {"text": ["a", "b", "c"], "score": [0.5, float("nan"), float("inf")]})
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["score"] for line in lines] == [0.5, None, None]
    assert "NaN" not in path.read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore:.*every text is a number:UserWarning")
@pytest.mark.filterwarnings("ignore:.*some labels are numbers:UserWarning")
@pytest.mark.parametrize("suffix", FORMATS)
def test_any_text_and_any_label_survive_every_format(suffix, tmp_path_factory):
    folder = tmp_path_factory.mktemp("round-trip")

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5), LABELS, st.data())
    def check(rows, names, data):
        rows = [*rows, *[("a\rb", 'tab\t, quote " and\nbreak')] * len(names)]
        labels = names + [data.draw(st.sampled_from(names)) for _ in rows[len(names) :]]
        columns = {"text_a": [a for a, _ in rows], "text_b": [b for _, b in rows], "label": labels}
        written = load_corpus(columns)
        write_rows(folder / f"rows.{suffix}", columns)
        loaded = load_corpus(folder / f"rows.{suffix}")
        assert loaded.texts == tuple(columns["text_a"])
        assert loaded.text_pairs == tuple(columns["text_b"])
        assert [loaded.label_names[i] for i in loaded.labels] == labels
        assert loaded.fingerprint() == written.fingerprint()

    check()


def test_pandas_reads_a_written_csv_the_same(tmp_path):
    columns = {"text": ['say "hi"', "a,b\nc", "x\ty"], "label": [1, 0, 1]}
    write_rows(tmp_path / "rows.csv", columns)
    assert pd.read_csv(tmp_path / "rows.csv").to_dict("list") == columns
    write_rows(tmp_path / "rows.tsv", columns)
    assert pd.read_csv(tmp_path / "rows.tsv", sep="\t").to_dict("list") == columns


def test_a_million_byte_field_and_nul_bytes_are_text(write):
    corpus = load_corpus(write("a.csv", "text,label\n" + "x" * 1_000_000 + ",0\na\0b,1\n"))
    assert [len(text) for text in corpus.texts] == [1_000_000, 3]


def test_a_byte_order_mark_is_no_part_of_the_first_name(write):
    for name, content in (
        ("a.csv", "text,label\na,0\nb,1\n"),
        ("a.tsv", "text\tlabel\na\t0\nb\t1\n"),
        ("a.jsonl", '{"text": "a", "label": 0}\n{"text": "b", "label": 1}\n'),
        ("a.json", '[{"text": "a", "label": 0}, {"text": "b", "label": 1}]'),
    ):
        assert load_corpus(write(name, "\ufeff" + content)).texts == ("a", "b")


def test_row_lines_count_breaks_inside_quotes_and_blank_lines(write):
    content = 'text,label\r\n"one\ntwo\r\nthree",0\r\n\r\nb,1\r\nc,0\r\n'
    corpus = load_corpus(write("a.csv", content))
    assert corpus.row_lines.tolist() == [2, 6, 7]
    assert corpus.row_ids.tolist() == [0, 1, 2]
    jsonl = '\n{"text": "a\\nb", "label": 0}\r\n\n{"text": "c\u2028", "label": 1}'
    assert load_corpus(write("a.jsonl", jsonl)).row_lines.tolist() == [2, 4]


def test_a_json_file_holds_an_array_or_one_object_a_line(write):
    rows = [{"text": "a", "label": True}, {"text": "b", "label": False, "more": [1]}]
    array = load_corpus(write("array.json", json.dumps(rows, indent=2)))
    lines = load_corpus(write("lines.json", "\n".join(map(json.dumps, rows))))
    assert array.texts == lines.texts == ("a", "b")
    assert array.label_names == ("False", "True")
    assert array.row_lines is None
    assert lines.row_lines.tolist() == [1, 2]


def test_lone_surrogates_become_replacement_characters_with_a_warning(write, tmp_path):
    content = '{"text": "a", "label": 0}\n{"text": "x\\ud800y \\ud83d\\ude00", "label": 1}\n'
    with pytest.warns(UserWarning, match=r"a.jsonl, column 'text': lone surrogates.*row 2 \(line"):
        assert load_corpus(write("a.jsonl", content)).texts == ("a", "x\ufffdy \U0001f600")
    with pytest.warns(UserWarning, match="lone surrogates"):
        write_rows(tmp_path / "b.parquet", {"text": ["\udfff"]})
    assert pq.read_table(tmp_path / "b.parquet").to_pylist() == [{"text": "\ufffd"}]


def test_tsv_takes_bare_quotes_as_text_and_drops_enclosing_ones(write):
    bare = 'sentence\tlabel\n"he said\t1\nshe said" \'s\t0\n"all ""of"" it"\t1\n"\t0\n""" a\t1\n'
    corpus = load_corpus(write("glue.tsv", bare))
    assert corpus.texts == ('"he said', "she said\" 's", 'all "of" it', '"', '""" a')
    assert corpus.row_lines.tolist() == [2, 3, 4, 5, 6]


def test_tsv_with_breaks_inside_quotes_is_read_as_it_was_quoted(write):
    quoted = 'text\tlabel\n"two\nlines"\t1\n"a\ttab"\t0\n'
    corpus = load_corpus(write("excel.tsv", quoted))
    assert corpus.texts == ("two\nlines", "a\ttab")
    assert corpus.row_lines.tolist() == [2, 4]
    both = '"text"\t"label"\n"a\tb\nc"\t"d"\nx\ty\n'
    assert load_corpus(write("whole.tsv", both)).texts == ("a\tb\nc", "x")


FEATURES = datasets.Features(
    {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg", "none"])}
)
CLASSES = {"text": ["a", "b"], "label": [1, 0]}


def test_class_label_names_are_the_label_names(tmp_path):
    dataset = datasets.Dataset.from_dict(CLASSES, features=FEATURES)
    dataset.save_to_disk(tmp_path / "saved")
    dataset.to_parquet(tmp_path / "saved.parquet")
    for data in (dataset, tmp_path / "saved", tmp_path / "saved.parquet"):
        corpus = load_corpus(data)
        assert corpus.label_names == ("pos", "neg", "none")
        assert corpus.labels.tolist() == [1, 0]
        assert load_corpus(data, label_names=["none", "neg", "pos"]).labels.tolist() == [1, 2]


def test_a_dataset_is_read_in_its_own_order():
    dataset = datasets.Dataset.from_dict(CLASSES, features=FEATURES)
    assert load_corpus(dataset.select([1, 0])).texts == ("b", "a")


def test_minus_one_in_a_class_label_column_is_a_missing_label():
    dataset = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, -1]}, features=FEATURES)
    assert "column 'label': expected a label in every row, got none in row 2" in read_fault(dataset)


def test_splits_are_named_and_train_is_the_default(tmp_path):
    parts = {
        name: datasets.Dataset.from_dict({"text": [name, "b"], "label": [0, 1]})
        for name in ("train", "test")
    }
    splits = datasets.DatasetDict(parts)
    splits.save_to_disk(tmp_path / "saved")
    for data in (splits, tmp_path / "saved"):
        assert load_corpus(data).texts[0] == "train"
        assert load_corpus(data, split="test").texts[0] == "test"
    fault = read_fault(tmp_path / "saved", split="tests")
    assert fault.startswith(f"{tmp_path / 'saved'}: expected one of the splits 'train', 'test'")
    assert "got 'tests'" in fault
    assert "--split" in fault
    assert "Did you mean 'test'?" in fault
    assert "'train' (the default)" in read_fault(datasets.DatasetDict(test=parts["test"]))


def test_a_split_of_a_single_table_is_refused(write):
    path = write("a.csv", "text,label\na,0\nb,1\n")
    assert "single table and split 'test'. Leave out --split" in read_fault(path, split="test")
    assert "memory" in read_fault(CLASSES, split="test")


def test_a_hub_id_goes_to_datasets_with_its_configuration(monkeypatch):
    asked = []

    def load_dataset(name, config):
        asked.append((name, config))
        return datasets.DatasetDict(train=datasets.Dataset.from_dict(CLASSES, features=FEATURES))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_corpus("owner/name:sst2").source == "owner/name:sst2"
    assert load_corpus("imdb").texts == ("a", "b")
    assert asked == [("owner/name", "sst2"), ("imdb", None)]


def test_a_hub_id_that_cannot_be_loaded_says_how_to_name_one(monkeypatch):
    def load_dataset(name, config):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    fault = read_fault("owner/name")
    assert fault.startswith("owner/name: found no such file or folder")
    assert "ConnectionError: no network" in fault
    assert "owner/name:configuration" in fault


def test_a_frame_a_pair_and_a_dict_give_the_same_corpus():
    texts, labels = ["a", "b", "c"], [0, 1, 0]
    frame = pd.DataFrame({"Text": texts, "Label": labels}, index=[7, 7, 9])
    expected = load_corpus((texts, labels)).fingerprint()
    for data in (
        frame,
        (np.array(texts), np.array(labels)),
        (tuple(texts), pd.Series(labels, dtype="Int64")),
        {"text": pd.Series(texts), "label": pd.Categorical([0, 1, 0])},
        (pa.array(texts), (str(label) for label in labels)),
    ):
        assert load_corpus(data).fingerprint() == expected


def test_a_corpus_is_given_back_as_it_is_or_on_other_label_names(corpus):
    assert load_corpus(corpus) is corpus
    assert load_corpus(corpus, label_names=corpus.label_names) is corpus
    other = load_corpus(corpus, label_names=["pos", "mixed", "neg"])
    assert other.labels.tolist() == [0, 2, 0]
    assert other.texts == corpus.texts
    fault = read_fault(corpus.select([1, 0]), label_names=["neg", "mixed"])
    assert "known labels 'neg', 'mixed', got 'pos' first in row 1" in fault


def test_the_input_is_left_as_it_was():
    texts, labels = ["\ud800", "b"], [0, 1]
    with pytest.warns(UserWarning, match="lone surrogates"):
        load_corpus((texts, labels))
    assert texts == ["\ud800", "b"]


# ---- columns


@pytest.mark.parametrize(
    ("columns", "text", "pair", "label"),
    [
        (["id", "Sentence", "LABEL"], "Sentence", None, "LABEL"),
        (["review", "text", "sentiment", "label"], "text", None, "label"),
        (["Text", "text", "class"], "text", None, "class"),
        (["Class Index", "Title", "Description"], "Description", None, "Class Index"),
        (["premise", "hypothesis", "label"], "premise", "hypothesis", "label"),
        (["question", "sentence", "label"], "question", "sentence", "label"),
        (["question", "label"], "question", None, "label"),
        (["sentence1", "sentence2", "text", "label"], "text", None, "label"),
    ],
)
def test_usual_names_are_found_in_the_documented_order(columns, text, pair, label):
    values = {name: [f"{name} 0", f"{name} 1"] for name in columns}
    corpus = load_corpus(values)
    assert corpus.texts == tuple(values[text])
    assert corpus.text_pairs == (None if pair is None else tuple(values[pair]))
    assert corpus.label_names == tuple(values[label])


def test_flags_name_any_column():
    values = {name: [f"{name} 0", f"{name} 1"] for name in ("text", "a", "b", "c", "label")}
    corpus = load_corpus(values, text_column="a", text_pair_column="b", label_column="c")
    assert (corpus.texts, corpus.text_pairs) == (("a 0", "a 1"), ("b 0", "b 1"))
    assert corpus.label_names == ("c 0", "c 1")
    numbered = pd.DataFrame([["x", 0], ["y", 1]])
    assert load_corpus(numbered, text_column="0", label_column="1").texts == ("x", "y")


def test_a_pair_flag_finds_its_usual_partner():
    values = {name: [f"{name} 0", f"{name} 1"] for name in ("text", "text_a", "text_b", "label")}
    corpus = load_corpus(values, text_pair_column="text_b")
    assert corpus.texts == ("text_a 0", "text_a 1")


def test_unnamed_columns_are_never_guessed(write):
    fault = read_fault(write("a.csv", "good film,1\nbad film,0\nfine,1\n"))
    assert fault.count("got the columns ['good film', '1']") == 2
    assert "--text-column (and --text-pair-column for pairs), or add a header line" in fault
    assert "--label-column" in fault
    assert "columns ['0', '1']" in read_fault(pd.DataFrame([["x", 0], ["y", 1]]))


def test_a_wrong_flag_names_the_columns_and_the_nearest():
    options = {"text_column": "txt", "label_column": "lable", "text_pair_column": "zzz"}
    fault = read_fault(ROWS, **options)
    assert "3 faults" in fault
    assert "--text-column: expected one of the columns ['text', 'label'], got 'txt'" in fault
    assert "Did you mean 'text'?" in fault
    assert "got 'lable'. Did you mean 'label'?" in fault
    assert "--text-pair-column" in fault


def test_one_column_cannot_play_two_roles():
    fault = read_fault(ROWS, text_column="text", text_pair_column="text")
    assert "--text-column, --text-pair-column, got 'text', 'text'. Name different" in fault


# ---- labels


@pytest.mark.parametrize(
    ("labels", "codes", "names"),
    [
        ([10, 2, 2], [1, 0, 0], ("2", "10")),
        (["10", "2", "2.0"], [1, 0, 0], ("2", "10")),
        ([1.0, 0.0, 1], [1, 0, 1], ("0", "1")),
        ([-1, 0, 1], [0, 1, 2], ("-1", "0", "1")),
        (["b", "a", "B"], [2, 1, 0], ("B", "a", "b")),
        (["01", "1", "1"], [0, 1, 1], ("01", "1")),
        ([True, False, True], [1, 0, 1], ("False", "True")),
        (np.array([True, False]), [1, 0], ("False", "True")),
        ([np.int32(1), np.float32(0), 1], [1, 0, 1], ("0", "1")),
    ],
)
@pytest.mark.filterwarnings("ignore:.*some labels are numbers:UserWarning")
def test_labels_are_named_and_sorted(labels, codes, names):
    assert read_labels(labels) == (codes, names)


def test_labels_mean_the_same_in_every_format(tmp_path):
    columns = {"text": list("abc"), "label": [10, 9, 10]}
    for suffix in FORMATS:
        write_rows(tmp_path / f"rows.{suffix}", columns)
        loaded = load_corpus(tmp_path / f"rows.{suffix}")
        assert (loaded.label_names, loaded.labels.tolist()) == (("9", "10"), [1, 0, 1])


@pytest.mark.parametrize(
    ("labels", "names", "codes"),
    [
        (["pos", "pos"], ["neg", "pos"], [1, 1]),
        ([1, 0], ["neg", "pos"], [1, 0]),
        (["1", "0"], ["neg", "pos"], [1, 0]),
        ([1.0, 0.0], ["neg", "pos"], [1, 0]),
        ([True, False], ["neg", "pos"], [1, 0]),
        ([1, 0], ["1", "0"], [0, 1]),
        ([1, 2], [1, 2, 3], [0, 1]),
        ([True, False], ["0", "1"], [1, 0]),
        (["1.5", "2"], ["2", "1.5"], [1, 0]),
    ],
)
def test_labels_are_matched_to_known_names(labels, names, codes):
    assert read_labels(labels, label_names=names) == (codes, tuple(map(str, names)))


def test_a_number_is_no_position_among_names_that_are_numbers():
    fault = read_fault((["a", "b"], [1, 0]), label_names=["1", "2", "3"])
    assert "known labels '1', '2', '3', got 0 first in row 2" in fault


def test_a_label_unseen_in_training_is_named_with_its_first_row(write):
    path = write("test.csv", "text,label\na,pos\nb,mixed\nc,mixed\nd,odd\n")
    fault = read_fault(path, label_names=["neg", "pos"])
    assert fault.startswith(
        f"{path}: column 'label': expected one of the known labels 'neg', 'pos'"
    )
    assert "got 'mixed' first in row 2 (line 3), 'odd' first in row 4 (line 5)" in fault
    assert "Remove the rows with other labels" in fault


@pytest.mark.parametrize("names", ["pos", ["pos"], ["a", "a", "b"]])
def test_known_names_are_two_or_more_and_differ(names):
    assert "label_names: expected two or more different" in read_fault(ROWS, label_names=names)


def test_numbers_among_words_are_names_with_a_warning(write):
    path = write("a.csv", "text,label\na,0\nb,positive\n")
    with pytest.warns(UserWarning, match=r"a.csv, column 'label': some labels are numbers \('0'\)"):
        assert load_corpus(path).label_names == ("0", "positive")


def test_a_label_for_almost_every_row_is_a_likely_mistake():
    with pytest.warns(UserWarning, match="30 labels in 30 rows.*--label-column"):
        read_labels([f"text {i}" for i in range(30)])


def test_texts_that_are_all_numbers_are_a_likely_mistake(write):
    with pytest.warns(UserWarning, match="column 'text': every text is a number.*--text-column"):
        load_corpus(write("a.csv", "text,label\n1,a\n2.5,b\n"))


def test_correct_input_is_silent(tmp_path):
    write_rows(tmp_path / "rows.csv", ROWS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_corpus(tmp_path / "rows.csv")


# ---- faults


def test_a_missing_file_is_named_with_its_neighbour(write):
    path = write("reviews.csv", "")
    fault = read_fault(path.with_name("review.csv"))
    assert fault.startswith(f"{path.with_name('review.csv')}: expected a file, a folder")
    assert "Did you mean 'reviews.csv'?" in fault


def test_a_file_name_is_never_taken_for_a_hub_id(monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: pytest.fail("asked the Hub"))
    for name in ("no.csv", "data/no.parquet", "./no", "/no", "a/b/c", "no such file"):
        assert "found nothing there" in read_fault(name)


def test_a_folder_without_a_data_set_says_what_to_do(tmp_path):
    fault = read_fault(tmp_path)
    assert fault.startswith(f"{tmp_path}: expected a folder of Parquet files, or one written by")
    assert "Name one file in it" in fault


def test_a_broken_data_set_folder_is_no_crash(tmp_path):
    (tmp_path / "dataset_info.json").write_text("{")
    assert "it cannot be read" in read_fault(tmp_path)


def test_an_unknown_suffix_lists_the_known_ones(write):
    fault = read_fault(write("a.xlsx", "x"))
    assert "got '.xlsx'. Convert it" in fault


@pytest.mark.parametrize("suffix", [*FORMATS, "json"])
def test_an_empty_file_is_named(write, suffix):
    path = write(f"a.{suffix}", "")
    assert read_fault(path).startswith(
        f"{path}: expected rows of text and label, got an empty file"
    )


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("a.csv", "text,label\n", "['text', 'label']"),
        ("a.tsv", "text\tlabel\n\n", "['text', 'label']"),
        ("a.csv", "\n\n", "[]"),
        ("a.jsonl", "\n", "[]"),
        ("a.json", "[]", "[]"),
    ],
)
def test_a_file_without_rows_lists_its_columns(write, name, content, columns):
    fault = read_fault(write(name, content))
    assert f"expected rows of text and label, got none; the columns are {columns}" in fault


def test_no_rows_in_memory_are_an_error():
    assert "got none" in read_fault(([], []))
    assert "got none" in read_fault({})
    assert "got none" in read_fault(pd.DataFrame({"text": [], "label": []}))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json"])
def test_a_file_of_mixed_encoding_names_the_first_bad_line_and_byte(write, suffix):
    line = {"csv": "caf\xe9,1", "tsv": "caf\xe9\t1"}.get(suffix, '{"text": "\xe9", "label": 1}')
    good = {"csv": "text,label\né,0\n", "tsv": "text\tlabel\né\t0\n"}
    before = good.get(suffix, '{"text": "é", "label": 0}\n{"text": "b", "label": 0}\n')
    fault = read_fault(write(f"a.{suffix}", before.encode() + line.encode("latin-1")))
    place = 4 if suffix in good else 11
    assert f"a.{suffix}: line 3, byte {place}: expected UTF-8, got the byte 0xE9" in fault
    assert f"iconv -f WINDOWS-1252 -t UTF-8 a.{suffix} > utf8-a.{suffix}" in fault


def test_utf_16_is_recognised(write):
    fault = read_fault(write("a.csv", "text,label\na,0\n".encode("utf-16")))
    assert "line 1, byte 1" in fault
    assert "iconv -f UTF-16 -t UTF-8" in fault


def test_a_character_cut_off_at_the_end_is_found(write):
    fault = read_fault(write("a.csv", "text,label\na,0\nb,é".encode()[:-1]))
    assert "line 3, byte 3: expected UTF-8" in fault


def test_parquet_text_that_is_not_utf_8_names_its_row(tmp_path):
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff"]).buffers())
    pq.write_table(pa.table({"text": broken, "label": [0, 1]}), tmp_path / "a.parquet")
    fault = read_fault(tmp_path / "a.parquet")
    assert "a.parquet: column 'text', row 2: expected UTF-8 text, got the byte 0xFF" in fault


def test_a_damaged_parquet_file_is_no_crash(tmp_path):
    path = tmp_path / "a.parquet"
    write_rows(path, {"text": ["text"] * 1000, "label": [0, 1] * 500})
    whole = path.read_bytes()
    for damaged in (b"PAR1", whole[: len(whole) // 2], b"\0" * 100):
        path.write_bytes(damaged)
        assert "expected a whole Parquet file" in read_fault(path)


def test_ragged_rows_are_listed_with_lines_and_field_counts(write):
    rows = "".join("x,1,2\n" for _ in range(6))
    fault = read_fault(write("a.csv", f'text,label\n"a\nb",0\n\nc\n{rows}d,1\n'))
    assert "a.csv: expected 2 fields a row as in the header, found 1 in row 2 (line 5)" in fault
    assert "3 in row 3 (line 6), 3 in row 4 (line 7)" in fault
    assert "and 2 more. Quote fields that hold a comma" in fault
    tsv = read_fault(write("a.tsv", "text\tlabel\na\t0\nb\t1\t2\nc\t1\n"))
    assert "found 3 in row 2 (line 3). Quote fields that hold a tab" in tsv


def test_an_open_quote_names_the_row_that_opens_it(write):
    fault = read_fault(write("a.csv", 'text,label\na,0\nb,1\n"c,0\nd,1\n'))
    assert "row 3 (line 4): expected balanced quotes" in fault
    assert "Close the quote" in fault
    fault = read_fault(write("a.csv", 'text,label\na,0\n"b" c,1\n'))
    assert "row 2 (line 3): expected balanced quotes" in fault
    assert "header (line 1): expected balanced" in read_fault(write("a.csv", '"text,label\na,0\n'))


@pytest.mark.parametrize(("mark", "remedy"), [(";", "quote fields that hold"), ("\t", ".tsv")])
def test_another_delimiter_that_leaves_doubt_is_named(write, mark, remedy):
    fault = read_fault(write("a.csv", f"text{mark}label\na{mark} b{mark}0\n"))
    assert "a.csv, line 1: expected a header with commas" in fault
    assert remedy in fault


def test_duplicate_column_names_are_refused(write):
    fault = read_fault(write("a.csv", "text,label,text\na,0,b\nc,1,d\n"))
    assert "expected each column name once, got 'text' more than once. Rename" in fault
    frame = pd.DataFrame([["a", 0, "b"], ["c", 1, "d"]], columns=["text", "label", "text"])
    assert "got 'text' more than once" in read_fault(frame)
    assert "got '1' more than once" in read_fault({1: ["a"], "1": ["b"]})


def test_bad_json_lines_are_listed_together(write):
    content = '{"text": "a", "label": 0}\n\n{"text": }\n[1]\n"b"\nnull\n{"text": "b", "label": 1}\n'
    fault = read_fault(write("a.jsonl", content))
    assert "invalid JSON in row 2 (line 3) (Expecting value at column 10)" in fault
    assert "list in row 3 (line 4), str in row 4 (line 5), NoneType in row 5 (line 6)" in fault
    assert 'Write each row as {"text": ..., "label": ...}' in fault


@pytest.mark.parametrize(
    "line", ["[" * 100_000, "9" * 5000, '{"text": "a", "text": "b", "label": 0}', '{"text": "\n"}']
)
def test_hostile_json_is_no_crash(write, line):
    fault = read_fault(write("a.jsonl", '{"text": "a", "label": 0}\n' + line))
    assert "invalid JSON in row 2 (line 2)" in fault


def test_a_broken_json_array_names_the_place(write):
    fault = read_fault(write("a.json", '[{"text": "a", "label": 0},\n{"text": "b"'))
    assert "a.json: expected one JSON array of objects, got invalid JSON" in fault
    assert "line 2" in fault
    assert "int in row 2" in read_fault(write("a.json", '[{"text": "a", "label": 0}, 3]'))


def test_lengths_that_differ_are_counted():
    assert "got 2 in 'text', 3 in 'label'" in read_fault((["a", "b"], [0, 1, 0]))


@pytest.mark.parametrize("column", ["one string", 5, {"a", "b"}, {"a": 1}, None])
def test_a_column_that_is_no_sequence_is_refused(column):
    fault = read_fault({"text": column, "label": [0, 1]})
    assert "column 'text': expected a sequence with one value a row" in fault


@pytest.mark.parametrize("data", [5, None, ["good", "bad"], ("good", "pos"), ("a", "b", "c")])
def test_data_of_another_kind_lists_what_is_accepted(data):
    fault = read_fault(data)
    assert "expected a path, a Hub id, a datasets.Dataset, a pandas DataFrame, a pair" in fault


def test_a_streamed_data_set_says_how_to_load_it():
    stream = datasets.Dataset.from_dict(CLASSES).to_iterable_dataset()
    assert "streaming=True" in read_fault(stream)


def test_empty_and_missing_texts_and_labels_are_reported_together(write):
    fault = read_fault(write("a.csv", 'text,label\na,0\n"",1\nb,\n\n" \t",1\nc, \n'))
    assert fault.startswith(f"{write('a.csv', '')}: 2 faults")
    assert "column 'text': expected a text in every row, got an empty or blank one in " in fault
    assert "row 2 (line 3), row 4 (line 6). Fill in or remove" in fault
    assert "column 'label': expected a label in every row, got none in row 3 (line 4)" in fault
    assert "row 5 (line 7). Fill in" in fault


def test_none_and_nan_are_missing_in_every_kind_of_frame():
    frame = pd.DataFrame({"text": ["a", None, "c", "d"], "label": [0, 1, np.nan, 1]})
    for data in (frame, frame.convert_dtypes(), frame.astype(object), frame.to_dict("list")):
        fault = read_fault(data)
        assert "column 'text': expected a text in every row, got none in row 2." in fault
        assert "column 'label': expected a label in every row, got none in row 3." in fault


def test_a_key_that_a_json_row_lacks_is_missing(write):
    fault = read_fault(write("a.jsonl", '{"text": "a"}\n{"label": 1}\n{"text": "b", "label": 0}\n'))
    assert "column 'text': expected a text in every row, got none in row 2 (line 2)" in fault
    assert "column 'label': expected a label in every row, got none in row 1 (line 1)" in fault


def test_a_blank_second_text_is_an_error():
    fault = read_fault({"premise": ["a", "b"], "hypothesis": ["c", ""], "label": [0, 1]})
    assert "column 'hypothesis': expected a text in every row, got an empty" in fault


def test_long_lists_of_rows_end_in_a_number():
    fault = read_fault(([""] * 8, [0, 1] * 4))
    assert "row 1, row 2, row 3, row 4, row 5 and 3 more." in fault


def test_numbers_in_a_text_column_name_the_flag():
    fault = read_fault({"text": [1, 2.5], "label": [0, 1]})
    assert "column 'text': expected text, got int 1 in row 1, row 2" in fault
    assert "--text-column" in fault


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([0, "pos"], "integer 0 in row 1, string 'pos' in row 2"),
        ([True, 0], "boolean True in row 1, integer 0 in row 2"),
        ([{"a": 1}, 1], "dict {'a': 1} in row 1, integer 1 in row 2"),
        ([0, {"a": 1}], "integer 0 in row 1, dict {'a': 1} in row 2"),
    ],
)
def test_labels_of_mixed_kind_are_shown_with_their_rows(labels, found):
    fault = read_fault((["a", "b"], labels))
    assert "column 'label': expected labels of one kind (integers, whole floats, booleans" in fault
    assert f"got {found}. Give every row one label of the same kind" in fault


@pytest.mark.parametrize("labels", [[0.0, 1.5], ["0", "1.5"], [0.0, float("inf")]])
def test_scores_are_no_labels(labels):
    fault = read_fault((["a", "b"], labels))
    assert f"expected whole numbers or names as labels, got {labels[1]!r} first in row 2" in fault
    assert "--label-column" in fault


def test_one_class_is_an_error_unless_the_names_are_known(write):
    path = write("a.csv", "text,label\na,pos\nb,pos\n")
    fault = read_fault(path)
    assert fault.startswith(f"{path}: column 'label': expected two or more classes, got only 'pos'")
    assert load_corpus(path, label_names=["neg", "pos"]).label_counts() == {"neg": 0, "pos": 2}
    dataset = datasets.Dataset.from_dict({"text": ["a"], "label": [0]}, features=FEATURES)
    assert "got only 'pos'" in read_fault(dataset)


def test_faults_of_rows_columns_and_labels_come_in_one_error(write):
    fault = read_fault(write("a.csv", "text,text,label\na,b,0\n,d,0\ne,0\n"))
    assert "4 faults" in fault
    for part in ("more than once", "row 3 (line 4)", "empty or blank", "two or more classes"):
        assert part in fault


def test_invisible_characters_are_escaped_in_messages(write):
    fault = read_fault(write("a.csv", "te\u202ext,label\na,0\nb,1\n"))
    assert "'te\\u202ext'" in fault


# ---- writing


def test_write_rows_refuses_an_unknown_suffix(tmp_path):
    with pytest.raises(
        InputError, match=r"a.xlsx: expected a name that ends in .csv, .tsv, .jsonl"
    ):
        write_rows(tmp_path / "a.xlsx", ROWS)
    assert list(tmp_path.iterdir()) == []


def test_write_rows_refuses_columns_of_other_lengths_and_folders(tmp_path):
    with pytest.raises(InputError, match="got 1 in 'a', 2 in 'b'"):
        write_rows(tmp_path / "a.csv", {"a": [1], "b": [1, 2]})
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(InputError, match="expected an output file, found a folder"):
        write_rows(tmp_path / "b.csv", ROWS)


def test_write_rows_makes_the_folder_that_is_missing(tmp_path):
    write_rows(tmp_path / "new" / "a.csv", ROWS)
    assert len(load_corpus(tmp_path / "new" / "a.csv")) == len(ROWS["label"])


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file_whole(tmp_path, monkeypatch, suffix, moment):
    path = tmp_path / f"rows.{suffix}"
    write_rows(path, ROWS)
    before = path.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, moment, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_rows(path, {"text": ["new"], "label": ["new"]})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_has_the_usual_permissions(tmp_path):
    write_rows(tmp_path / "rows.csv", ROWS)
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("rows.csv", "plain")}
    assert len(modes) == 1


def test_the_standard_reader_gets_every_text_quoted(tmp_path):
    write_rows(tmp_path / "rows.csv", {"text": ["a\rb", ""], "label": [1, None]})
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["text", "label"], ["a\rb", "1"], ["", ""]]
