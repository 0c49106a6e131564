"""Rows that lie in several Parquet files."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from btu import InputError, load_corpus
from btu.data.shards import ShardTexts, is_sharded, list_shards


def write(path: Path, texts, labels=None, **columns) -> Path:
    labels = [i % 2 for i in range(len(texts))] if labels is None else labels
    pq.write_table(pa.table({"text": list(texts), "label": list(labels), **columns}), path)
    return path


@pytest.fixture
def folder(tmp_path):
    for part in range(3):
        write(tmp_path / f"part-{part}.parquet", [f"row {part} {i}" for i in range(4)])
    return tmp_path


def test_a_folder_of_files_is_one_corpus_in_the_order_of_their_names(folder):
    corpus = load_corpus(folder)
    assert list(corpus.texts) == [f"row {part} {i}" for part in range(3) for i in range(4)]
    assert (corpus.source, corpus.row_ids.tolist()) == (str(folder), list(range(12)))


def test_several_paths_stand_in_the_order_in_which_they_are_given(folder):
    paths = [folder / "part-2.parquet", str(folder / "part-0.parquet")]
    corpus = load_corpus(paths)
    assert (corpus.texts[0], corpus.texts[4]) == ("row 2 0", "row 0 0")
    assert corpus.source == f"{paths[0]} + {paths[1]}"


def test_the_fingerprint_is_that_of_the_same_rows_in_one_file(folder, tmp_path):
    whole = write(tmp_path / "whole.bin", load_corpus(folder).texts)
    whole = whole.rename(tmp_path.parent / "whole.parquet")
    assert load_corpus(folder).fingerprint() == load_corpus(whole).fingerprint()


def test_a_label_that_one_file_alone_holds_counts(tmp_path):
    a = write(tmp_path / "a.parquet", ["one", "two"], ["bad", "bad"])
    b = write(tmp_path / "b.parquet", ["three"], ["good"])
    assert load_corpus([a, b]).label_counts() == {"bad": 2, "good": 1}


def test_a_large_file_is_cut_between_its_row_groups(tmp_path):
    table = pa.table({"text": [f"t{i}" for i in range(10)], "label": [0, 1] * 5})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    shards = list_shards(tmp_path / "a.parquet", most_rows=5)
    assert [(s.first, s.rows, s.groups) for s in shards] == [
        (0, 4, (0, 1)),
        (4, 4, (2, 3)),
        (8, 2, (4,)),
    ]
    assert [text for shard in shards for text in shard.read("text")] == table["text"].to_pylist()


def test_texts_are_read_when_they_are_wanted(folder):
    texts = ShardTexts(list_shards(folder), "text")
    assert (len(texts), texts[0], texts[-1], texts[5]) == (12, "row 0 0", "row 2 3", "row 1 1")
    assert texts[3:6] == ["row 0 3", "row 1 0", "row 1 1"]
    assert list(texts) == list(load_corpus(folder).texts)
    with pytest.raises(IndexError):
        texts[12]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "part-1.parquet").write_bytes(b"PAR1"), "expected a whole Parquet file"),
        (lambda f: write(f / "part-9.parquet", ["a"], more=[1]), "got ['text', 'label', 'more']"),
        (lambda f: write(f / "part-1.parquet", ["a", None, "b"]), "row 6"),
    ],
    ids=["broken", "other columns", "no text"],
)
def test_what_is_wrong_with_a_file_is_said(folder, spoil, said):
    spoil(folder)
    with pytest.raises(InputError) as caught:
        load_corpus(folder)
    assert said in str(caught.value)


def test_no_rows_at_all_is_said(tmp_path):
    write(tmp_path / "a.parquet", [])
    with pytest.raises(InputError, match="expected rows of text and label, got none"):
        load_corpus([tmp_path / "a.parquet"])


def test_other_files_are_no_shards(folder, tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\na,1\n")
    assert not is_sharded(tmp_path / "rows.csv")
    assert not is_sharded((["a text"], [0]))
    assert not is_sharded([])
    assert not is_sharded(np.array(["a"]))
    with pytest.raises(InputError, match="expected Parquet files where there are several"):
        load_corpus([tmp_path / "rows.csv", folder / "part-0.parquet"])
    with pytest.raises(InputError, match="split"):
        load_corpus(folder, split="train")


def test_a_folder_with_several_splits_is_not_read_as_one(tmp_path):
    for name in ("train-00000-of-00002", "train-00001-of-00002"):
        write(tmp_path / f"{name}.parquet", ["a", "b"])
    assert len(load_corpus(tmp_path)) == 4
    write(tmp_path / "test-00000-of-00001.parquet", ["c", "d"])
    with pytest.raises(InputError, match="expected the files of one split, got 'test-00000"):
        load_corpus(tmp_path)
    assert len(load_corpus([tmp_path / "test-00000-of-00001.parquet"])) == 2
