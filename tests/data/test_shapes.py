"""Data as other tools write it: read, or refused with the way to go."""

import bz2
import gzip
import json
import lzma
import warnings
import zipfile

import pytest

from btu.data.corpus import load_corpus
from btu.support.errors import InputError

TEXTS = ("a good film", "a bad film", "a fine plot", "a poor plot")
LABELS = ("good", "bad", "good", "bad")
CSV = "text,label\n" + "".join(f"{t},{n}\n" for t, n in zip(TEXTS, LABELS, strict=True))


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def check(corpus, names=("bad", "good")):
    assert corpus.texts == TEXTS
    assert corpus.label_names == names
    assert corpus.labels.tolist() == [1, 0, 1, 0]


def warn_of(data, **options):
    """The corpus, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        corpus = load_corpus(data, **options)
    return corpus, [str(warning.message) for warning in caught]


# ---- labels


def test_white_space_around_labels_is_no_part_of_them():
    corpus, (said,) = warn_of({"text": TEXTS, "label": ("good ", "bad", " good", "bad\t")})
    check(corpus)
    assert "white space around the label in row 1, row 3, row 4 is left out" in said


def test_names_that_a_model_knows_are_matched_as_they_stand():
    """A model from before was trained on a label with a blank behind it."""
    columns = {"text": TEXTS, "label": ("good ", "bad", "good ", "bad")}
    corpus, said = warn_of(columns, label_names=("bad", "good "))
    assert corpus.labels.tolist() == [1, 0, 1, 0]
    assert not said


def test_labels_that_differ_in_case_or_white_space_alone_are_pointed_out():
    corpus, (said,) = warn_of({"text": TEXTS, "label": ("Good", "very bad", "good", "verybad")})
    assert corpus.num_labels == 4
    assert "the labels 'Good', 'good'; 'very bad', 'verybad' differ in case" in said


def test_a_label_in_a_list_of_its_own_is_that_label(tmp_path):
    rows = [{"text": t, "label": [n]} for t, n in zip(TEXTS, LABELS, strict=True)]
    check(load_corpus(write_lines(tmp_path / "a.jsonl", rows)))


def test_several_labels_a_row_and_none_are_named_by_row():
    with pytest.raises(InputError) as refused:
        load_corpus({"text": TEXTS, "label": [["good"], ["bad", "sad"], [], ["bad"]]})
    assert "expected one label a row, got ['bad', 'sad'] and the like in row 2" in str(
        refused.value
    )
    assert "expected a label in every row, got none in row 3" in str(refused.value)


def test_names_beside_the_numbers_of_labels_are_used():
    columns = {"text": TEXTS, "label": (1, 0, 1, 0), "label_text": LABELS}
    check(load_corpus(columns))
    columns["label_text"] = ("good", "bad", "bad", "bad")
    assert load_corpus(columns).label_names == ("0", "1")


def test_names_beside_keep_the_order_of_the_numbers_so_that_numbers_alone_mean_the_same():
    named = load_corpus({"text": TEXTS, "label": (0, 1, 2, 1), "label_text": (*"zay", "a")})
    assert named.label_names == ("z", "a", "y")
    assert named.labels.tolist() == [0, 1, 2, 1]
    numbers = load_corpus({"text": TEXTS, "label": (0, 1, 2, 1)}, label_names=named.label_names)
    assert numbers.labels.tolist() == [0, 1, 2, 1]


def test_labels_that_do_not_count_from_0_stay_numbers():
    columns = {"text": TEXTS, "label": (1, 2, 3, 2), "label_text": (*"zay", "a")}
    assert load_corpus(columns).label_names == ("1", "2", "3")


def test_where_all_rows_bear_one_label_the_column_that_tells_them_apart_is_named():
    answers = ("accept", "reject", "accept", "reject")
    columns = {"text": TEXTS, "label": ["GOOD"] * 4, "answer": answers}
    with pytest.raises(InputError, match="--label-column answer takes it"):
        load_corpus(columns)
    assert load_corpus(columns, label_column="answer").label_names == ("accept", "reject")


def test_lists_of_one_choice_are_proposed_and_taken_as_labels():
    columns = {"text": TEXTS, "options": [["x", "y"]] * 4, "accept": [[n] for n in LABELS]}
    with pytest.raises(InputError, match="--label-column accept takes it"):
        load_corpus(columns)
    check(load_corpus(columns, label_column="accept"))


# ---- texts


def test_words_for_nothing_and_control_characters_are_read_and_pointed_out():
    texts = ("null", "a bad\x00film", " N/A ", "none of it is good")
    corpus, said = warn_of({"text": texts, "label": LABELS})
    assert corpus.texts == texts
    assert len(said) == 2
    assert "a word for nothing is the whole text in row 1, row 3" in said[0]
    assert "control characters in the text in row 2." in said[1]


# ---- files


def test_semicolons_divide_columns_where_the_header_leaves_no_doubt(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(CSV.replace(",", ";"), encoding="utf-8")
    corpus = load_corpus(path)
    check(corpus)
    assert corpus.row_lines.tolist() == [2, 3, 4, 5]
    path.write_text("text;label\n" + "a; b; c\n" * 4, encoding="utf-8")
    with pytest.raises(InputError, match="do not divide every row into 2 fields"):
        load_corpus(path)


def pack_zip(path, text, name="rows.csv"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._rows.csv", "resource fork")
        archive.writestr(name, text)


@pytest.mark.parametrize("ending", ["csv.gz", "csv.bz2", "csv.xz", "csv.zst", "zip"])
def test_compressed_files_are_read(tmp_path, ending):
    path = tmp_path / f"rows.{ending}"
    if ending == "zip":
        pack_zip(path, CSV)
    elif ending == "csv.zst":
        import pyarrow as pa

        with pa.CompressedOutputStream(str(path), "zstd") as file:
            file.write(CSV.encode())
    else:
        opened = {"csv.gz": gzip.open, "csv.bz2": bz2.open, "csv.xz": lzma.open}[ending]
        with opened(path, "wt") as file:
            file.write(CSV)
    check(load_corpus(path))


def test_what_unpacks_to_far_more_than_text_does_is_refused(tmp_path):
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(66):
            file.write(b"0" * 2**20)
    with pytest.raises(InputError, match=r"unpacks to at most 100 times.*more than 64 MiB"):
        load_corpus(path)


def test_archives_of_several_files_and_of_archives_are_refused(tmp_path):
    several, inside = tmp_path / "several.zip", tmp_path / "inside.zip"
    with zipfile.ZipFile(several, "w") as archive:
        archive.writestr("a.csv", CSV)
        archive.writestr("b.csv", CSV)
    with pytest.raises(InputError, match="expected an archive of one file, got 2"):
        load_corpus(several)
    pack_zip(inside, "PK", name="again.zip")
    with pytest.raises(InputError, match=r"got again\.zip, which is compressed again"):
        load_corpus(inside)


@pytest.mark.parametrize("ending", ["csv.gz", "csv.bz2", "csv.xz", "csv.zst", "zip"])
def test_what_only_looks_compressed_is_refused(tmp_path, ending):
    path = tmp_path / f"rows.{ending}"
    path.write_text(CSV)
    with pytest.raises(InputError, match="cannot be unpacked"):
        load_corpus(path)


def test_lines_of_fasttext_are_read(tmp_path):
    path = tmp_path / "rows.txt"
    lines = [f"__label__{n} {t}\n" for t, n in zip(TEXTS, LABELS, strict=True)]
    path.write_text("".join(lines), encoding="utf-8")
    check(load_corpus(path))
    path.write_text("".join([*lines, "__label__a __label__b text\n", "no label\n"]))
    with pytest.raises(InputError) as refused:
        load_corpus(path)
    assert "expected one label a row, got others in row 5 (line 5)" in str(refused.value)
    assert "at the start of each line, got others in row 6 (line 6)" in str(refused.value)
    path.write_text("a diary\nof days\n")
    with pytest.raises(InputError, match=r"expected lines of fastText.*Write the rows as CSV"):
        load_corpus(path)


def test_a_zip_with_a_password_is_refused(tmp_path):
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.csv", CSV)
    packed = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(mark) + flags] |= 1  # the bit that says: encrypted
    path.write_bytes(packed)
    with pytest.raises(InputError, match=r"cannot be unpacked .*password"):
        load_corpus(path)


def test_another_encoding_inside_is_named_by_the_file_inside(tmp_path):
    path = tmp_path / "rows.csv.gz"
    with gzip.open(path, "wb") as file:
        file.write(CSV.replace("fine", "f\xefne").encode("latin-1"))
    with pytest.raises(InputError, match=r"line 4, byte 4: expected UTF-8, got the byte 0xEF"):
        load_corpus(path)


# ---- JSON


def test_dotted_paths_lead_into_objects_and_lists(tmp_path):
    rows = [
        {"data": {"text": t}, "annotations": [{"result": [{"choices": [n]}]}]}
        for t, n in zip(TEXTS, LABELS, strict=True)
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(InputError, match=r"name a path into them, one of 'data\.text', 'annot"):
        load_corpus(path)
    named = {"text_column": "data.text", "label_column": "annotations.0.result.0.choices.0"}
    check(load_corpus(path, **named))
    with pytest.raises(InputError, match=r"--text-column: expected one of .*'data'"):
        load_corpus(path, text_column="data.txt", label_column=named["label_column"])


def test_a_row_without_the_path_has_no_value(tmp_path):
    rows = [{"in": {"text": t}, "label": n} for t, n in zip(TEXTS, LABELS, strict=True)]
    rows[2]["in"] = {}
    path = write_lines(tmp_path / "a.jsonl", rows)
    with pytest.raises(InputError, match="expected a text in every row, got none in row 3"):
        load_corpus(path, text_column="in.text")


def test_an_object_of_columns_is_read(tmp_path):
    path = tmp_path / "columns.json"
    path.write_text(json.dumps({"text": TEXTS, "label": LABELS}))
    check(load_corpus(path))
    path.write_text(json.dumps({"text": TEXTS, "label": LABELS[:3]}))
    with pytest.raises(InputError, match="got 4 in 'text', 3 in 'label'"):
        load_corpus(path)


def test_the_one_list_of_rows_below_the_top_is_read(tmp_path):
    rows = [{"text": t, "label": n} for t, n in zip(TEXTS, LABELS, strict=True)]
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"version": "1.1", "data": rows}))
    check(load_corpus(path))
    path.write_text(json.dumps({"train": rows, "test": rows}))
    with pytest.raises(InputError, match="expected one list of objects, got several"):
        load_corpus(path)
