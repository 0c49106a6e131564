"""p-values of honest units, and what half and double of the deciding numbers do."""

import json

import numpy as np
import pytest

from btu.bench.census.bars import render_ablation, render_bars
from btu.bench.census.null import LEVELS, add_up, count_null, draw_null, read_null, render_null
from btu.bench.census.null import render_null_table as render_table
from btu.data.corpus import load_corpus
from btu.evidence.bars import BARS
from btu.support.errors import InputError
from evidence.texts import write_rows


@pytest.fixture(scope="module")
def counts():
    rows = write_rows(700, seed=5)
    corpus = load_corpus((list(rows.texts), ["no" if label else "yes" for label in rows.labels]))
    return add_up([c for seed in range(3) for c in count_null("made up", corpus, seed=seed)])


def test_no_more_honest_units_are_sure_than_their_p_values_say(counts):
    assert {c.kind for c in counts} == {"word", "phrase", "pair"}
    for c in counts:
        assert c.tested > 100
        for level, below in zip(LEVELS, c.below, strict=True):
            chance = c.tested * level
            assert below <= chance + 4 * np.sqrt(chance) + 1, (c.kind, level)


def test_counts_are_read_as_they_were_written(counts, tmp_path):
    path = tmp_path / "null.json"
    path.write_text(render_null(counts))
    assert read_null(path) == counts
    assert draw_null(counts).startswith(b"<?xml")
    assert "made up, 700 rows: pair" in render_table(counts)
    path.write_text("{}")
    with pytest.raises(InputError, match="expected counts of p-values"):
        read_null(path)


def write_result(folder, *, triggers, found):
    folder.mkdir(parents=True, exist_ok=True)
    clean = {"planted": 0, "num_triggers": triggers, "found": 0}
    attacked = {"planted": 20, "num_triggers": 1, "found": found}
    (folder / "toy.json").write_text(json.dumps({"cases": [clean, attacked, {"skipped": "few"}]}))


def test_the_table_of_numbers_says_what_half_and_double_do(tmp_path):
    write_result(tmp_path, triggers=0, found=19)
    write_result(tmp_path / "picked=2", triggers=1, found=20)
    write_result(tmp_path / "without-pairs", triggers=0, found=3)
    table = render_bars(tmp_path)
    assert "As they are: 0 of 1; 1 of 1" in table
    (picked,) = [line for line in table.splitlines() if line.startswith("| picked")]
    assert [cell.strip() for cell in picked.split("|")][3:5] == ["–", "1 of 1; 1 of 1"]
    assert all(bar.why in table for bar in BARS)
    (pairs,) = [line for line in render_ablation(tmp_path).splitlines() if "pairs" in line]
    assert "0 of 1; 0 of 1" in pairs
