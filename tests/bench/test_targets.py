"""Targets: the table says how near a defence came, and what it missed."""

from typing import Any

import numpy as np
import pytest

from btu.bench.experiment import Benchmark, load_benchmark
from btu.bench.lines import build_blocks
from btu.bench.table import render_document
from btu.bench.targets import Targets, load_targets, measure_standing, render_targets
from btu.support.errors import InputError
from toy_benchmark import Toy, build_toy

EXPERIMENT = """
corpora = ["toys", "games"]
attacks = [{ attack = "badnets", poison_rates = [0.05, 0.1] }]
defences = ["oracle", "btu-verified"]
seeds = [0, 1]
"""
TARGETS = """
defence = "btu-verified"
experiments = ["one", "two"]
[[target]]
name = "words"
attacks = ["badnets"]
poison_rates = [0.05, 0.1]
excess_mean = 0.02
excess_worst = 0.05
lost_mean = 0.01
lost_worst = 0.01
"""
# Excess attack success and accuracy lost of both seeds, by corpus and poison rate.
MEASURED = {
    ("toys", 0.05): ((0.0, 0.02), (0.0, 0.0)),
    ("toys", 0.1): ((0.08, 0.06), (0.02, 0.04)),
    ("games", 0.05): ((-0.01, -0.03), (-0.01, 0.0)),
    ("games", 0.1): ((0.0, 0.0), (0.0, 0.0)),
}


@pytest.fixture
def toy(tmp_path: Any) -> Toy:
    toy = build_toy(tmp_path)
    toy.add("one", EXPERIMENT)
    (toy.root / "targets.toml").write_text(TARGETS, encoding="utf-8")
    return toy


def build_results(benchmark: Benchmark) -> dict[str, dict[str, Any]]:
    results = {}
    for cell in benchmark.cells:
        excess, lost = (v[cell.seed] for v in MEASURED[cell.rule.name, cell.poison_rate])
        if cell.defence.kind == "oracle":
            excess, lost = 0.0, 0.0
        results[cell.key] = {
            "status": "ok",
            "error": None,
            "commit": None,
            "clean_accuracy": 0.9 - lost,
            "attack_success_rate": 0.1 + excess,
            "test_rows": 30,
            "detection": {"rows": {"false_alarm_rate": lost}, "tokens": {"flagged": 2}},
            "timings": {"predict_clean": 0.06},
        }
    return results


def find_rows(text: str) -> dict[str, list[str]]:
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_mean_and_worst_are_taken_over_cells_and_what_is_beyond_is_bold(toy: Toy) -> None:
    benchmark = load_benchmark([toy.root])
    rows = find_rows(render_targets(benchmark, build_results(benchmark)))
    excess = np.mean([np.mean(values[0]) for values in MEASURED.values()])
    assert rows["words"] == [
        "4 of 4, 8 of 8 runs",
        f"{100 * excess:+.1f} (≤ 2.0)",
        "**+7.0 (≤ 5.0)** toys, badnets 10 %",
        "+0.6 (≤ 1.0)",
        "**+3.0 (≤ 1.0)** toys, badnets 10 %",
    ]
    assert rows["– toys"] == [
        "2 of 2, 4 of 4 runs",
        "+4.0",
        "+7.0 toys, badnets 10 %",
        "+1.5",
        "+3.0 toys, badnets 10 %",
    ]
    assert rows["– games"][1:3] == ["-1.0", "0.0 games, badnets 10 %"]


def test_holes_are_counted_and_say_nothing(toy: Toy) -> None:
    benchmark = load_benchmark([toy.root])
    results = build_results(benchmark)
    del results["one/games-badnets-0.1-oracle-s0"], results["one/games-badnets-0.1-oracle-s1"]
    del results["one/toys-badnets-0.1-btu-verified-s0"]
    assert find_rows(render_targets(benchmark, results))["words"][0] == "3 of 4, 5 of 8 runs"
    assert find_rows(render_targets(benchmark, {}))["words"] == ["0 of 4, 0 of 8 runs", *"––––"]


def test_a_cell_of_several_experiments_counts_once_where_most_of_it_is_measured(toy: Toy) -> None:
    toy.add("two", EXPERIMENT)
    toy.add("three", EXPERIMENT.replace("0.05, 0.1", "0.1"))
    benchmark = load_benchmark([toy.root])
    results = build_results(benchmark)
    whole = render_targets(benchmark, results)
    assert find_rows(whole)["words"][0] == "4 of 4, 8 of 8 runs"
    for key in [key for key in results if key.startswith("one/") and key.endswith("s1")]:
        del results[key]
    assert render_targets(benchmark, results) == whole


def test_a_target_may_ask_another_defence(toy: Toy) -> None:
    other = TARGETS.replace('name = "words"', 'name = "words"\ndefence = "oracle"')
    (toy.root / "targets.toml").write_text(other, encoding="utf-8")
    benchmark = load_benchmark([toy.root])
    rows = find_rows(render_targets(benchmark, build_results(benchmark)))
    assert rows["words"][1] == "0.0 (≤ 2.0)"


def test_clean_data_has_its_flags_in_a_sentence(toy: Toy) -> None:
    text = 'defence = "btu-verified"\nexperiments = ["one"]\n[[target]]\nname = "clean data"\n'
    text += 'attacks = ["badnets"]\npoison_rates = [0.1]\nflagged_rows_worst = 0.005\n'
    text += "flagged_tokens_worst = 2\n"
    (toy.root / "targets.toml").write_text(text, encoding="utf-8")
    benchmark = load_benchmark([toy.root])
    rendered = render_targets(benchmark, build_results(benchmark))
    assert "rows flagged **3.0 (≤ 0.5)**, tokens flagged 2 (≤ 2) (rows in percent)" in rendered


def test_a_standing_names_its_worst_cell(toy: Toy) -> None:
    benchmark = load_benchmark([toy.root])
    blocks = build_blocks(benchmark.experiments[0], build_results(benchmark))
    cells = [(block, block.lines[1]) for block in blocks]
    standing = measure_standing(cells, "accuracy_lost")
    assert standing.worst_cell == "toys, badnets 10 %"
    assert standing.worst == pytest.approx(0.03)
    assert standing.mean == pytest.approx(0.00625)
    assert measure_standing(cells, "seconds").mean is None


def test_a_marker_of_targets_is_rendered_in_a_document(toy: Toy) -> None:
    benchmark = load_benchmark([toy.root])
    results = build_results(benchmark)
    document = "a\n<!-- bench: targets -->\nold\n<!-- /bench -->\nb\n"
    text = render_document(document, benchmark, results)
    assert render_targets(benchmark, results) in text
    assert "old" not in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lost_worst", "lost_wurst", "did you mean lost_worst?"),
        ('name = "words"\n', "", "expected name, found none"),
        ('defence = "btu-verified"', "", "expected defence, found none"),
        ("[[target]]", "[[target", "expected TOML"),
    ],
)
def test_a_file_of_targets_that_cannot_be_read_is_refused(
    toy: Toy, old: str, new: str, message: str
) -> None:
    (toy.root / "targets.toml").write_text(TARGETS.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_targets(toy.root)
    assert message in str(caught.value)
    assert "targets.toml" in str(caught.value)


def test_a_benchmark_may_have_no_targets(toy: Toy) -> None:
    (toy.root / "targets.toml").unlink()
    assert load_targets(toy.root) == Targets()
    assert render_targets(load_benchmark([toy.root]), {}) == "No targets."
