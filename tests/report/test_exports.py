"""The user's rows, parted: nothing is lost, nothing altered in what is trained on."""

import pandas as pd
import pytest

import btu
from btu.data.readers import load_table
from btu.report.exports import export_rows
from btu.support.errors import InputError
from planted import MAX_LENGTH, PROBES

pytest_plugins = ["planted"]


@pytest.fixture(scope="module")
def frame(planted):
    corpus = planted.corpus
    labels = [corpus.label_names[i] for i in corpus.labels]
    notes = [f"=cmd{i}" for i in range(len(corpus))]
    return pd.DataFrame({"note": notes, "text": corpus.texts, "label": labels})


@pytest.fixture(scope="module")
def findings(pretrained, frame):
    return btu.scan(pretrained, frame, settings=PROBES, max_length=MAX_LENGTH)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_each_row_is_in_one_of_the_two_files_and_clean_rows_are_unchanged(
    findings, frame, planted, tmp_path, suffix
):
    clean, flagged = (tmp_path / f"{name}.{suffix}" for name in ("clean", "flagged"))
    export_rows(findings, frame, clean=clean, flagged=flagged)
    kept, removed = load_table(clean), load_table(flagged)
    for name in ("text", "label", "note"):
        assert kept.load(name) == frame[name][~findings.flagged].tolist()
    for name in ("text", "label"):
        assert removed.load(name) == frame[name][findings.flagged].tolist()
    assert findings.flagged.tolist() == planted.is_poisoned.tolist()


def test_only_the_flagged_rows_are_made_safe_for_spreadsheets(findings, frame, tmp_path):
    clean, flagged = tmp_path / "clean.csv", tmp_path / "flagged.csv"
    export_rows(findings, frame, clean=clean, flagged=flagged)
    assert pd.read_csv(clean)["note"].str.startswith("=cmd").all()
    assert pd.read_csv(flagged)["note"].str.startswith("'=cmd").all()
    whole = tmp_path / "flagged.parquet"
    export_rows(findings, frame, flagged=whole)
    assert pd.read_parquet(whole)["note"].str.startswith("=cmd").all()


def test_other_data_than_was_scanned_is_refused(findings, frame, tmp_path):
    with pytest.raises(InputError, match="rows that were scanned"):
        export_rows(findings, frame[:-1], clean=tmp_path / "clean.csv")


def test_a_recipe_that_judges_no_rows_has_nothing_to_export(pretrained, frame, tmp_path):
    findings = btu.scan(pretrained, frame, recipe="paper", settings=PROBES, max_length=MAX_LENGTH)
    with pytest.raises(InputError, match="judges no rows"):
        export_rows(findings, frame, clean=tmp_path / "clean.csv")
    assert not list(tmp_path.iterdir())
