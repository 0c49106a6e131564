"""Rated sentences as files that a census reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from btu.bench.census.files import load_census
from btu.data.corpus import load_corpus
from tools import held_out

LINES = "1\t2.5\tA &amp; B  did well.\n2\t-0.4\tno good\n3\t0\tneither\n4\t1\tfine\n"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    for name in held_out.CORPORA.values():
        (tmp_path / f"{name}_GroundTruth.txt").write_text(LINES, encoding="utf-8")
    monkeypatch.setattr(held_out, "load_files", lambda package: tmp_path)
    return held_out.write_corpora(tmp_path / "new" / "folder")


def test_the_sign_of_a_rating_is_the_label(written: list[Path]) -> None:
    corpus = load_corpus(str(written[0]))
    assert corpus.texts == ("A & B did well.", "no good", "fine")
    assert [corpus.label_names[label] for label in corpus.labels] == [
        "positive",
        "negative",
        "positive",
    ]


def test_the_census_knows_the_files_as_held_out(written: list[Path]) -> None:
    census = load_census([Path(__file__).parents[1] / "benchmark" / "census"])
    known = {case.source.files: case.source.held_out for case in census.cases}
    for path in written:
        assert known[path.name,] is True
