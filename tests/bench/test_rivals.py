"""Where a rival does better is said, and compared on the same seeds only."""

from typing import Any

import pytest

from btu.bench.experiment import Benchmark, load_benchmark
from btu.bench.rivals import find_duels, render_rivals
from btu.bench.table import render_document
from toy_benchmark import Toy, build_toy

EXPERIMENT = """
attacks = ["badnets", "addsent", "none"]
defences = ["none", "oracle", "btu-verified", "onion", "strip"]
seeds_of = { oracle = [0, 1], btu-verified = [0, 1] }
"""
# Attack success rate and clean accuracy at seed 0; at seed 1 all have ten points more of both.
MEASURED = {
    "badnets": {
        "none": (1.0, 0.89),
        "oracle": (0.1, 0.8),
        "btu-verified": (0.1, 0.8),
        "onion": (0.05, 0.8),
        "strip": (0.9, 0.85),
    },
    "addsent": {
        "none": (1.0, 0.89),
        "oracle": (0.1, 0.8),
        "btu-verified": (0.1, 0.8),
        "onion": (0.1, 0.8),
        "strip": (0.02, 0.7),
    },
}


@pytest.fixture
def benchmark_of_two(tmp_path: Any) -> tuple[Toy, Benchmark]:
    toy = build_toy(tmp_path)
    toy.add("one", EXPERIMENT)
    (toy.root / "targets.toml").write_text('defence = "btu-verified"\nexperiments = ["one"]\n')
    return toy, load_benchmark([toy.root])


def build_results(benchmark: Benchmark) -> dict[str, dict[str, Any]]:
    results: dict[str, dict[str, Any]] = {}
    for cell in benchmark.cells:
        success, accuracy = MEASURED.get(cell.attack.name, MEASURED["badnets"])[cell.defence.name]
        numbers = {
            "attack_success_rate": success + 0.1 * cell.seed,
            "clean_accuracy": accuracy + 0.1 * cell.seed,
        }
        results[cell.key] = {"status": "ok", "error": None, "commit": None, **numbers}
    return results


def test_a_rival_is_compared_on_the_seeds_that_it_has(benchmark_of_two: tuple[Toy, Any]) -> None:
    _, benchmark = benchmark_of_two
    duels = {(d.name, d.rival): d for d in find_duels(benchmark, build_results(benchmark))}
    assert len(duels) == 4  # two attacks, two rivals; neither none nor the clean control
    duel = duels["toys, badnets 10 %", "onion"]
    assert (duel.seeds, duel.ours, duel.theirs) == (1, (0.1, 0.8), (0.05, 0.8))
    assert duel.has_less_success
    assert not duel.has_more_accuracy
    assert duel.is_lost
    assert not duels["toys, addsent 10 %", "onion"].is_lost  # equal in both
    assert not duels["toys, badnets 10 %", "strip"].is_lost  # more accuracy, more success
    assert not duels["toys, addsent 10 %", "strip"].is_lost


def test_a_variant_of_ours_is_no_rival_and_stands_beside_ours(tmp_path: Any) -> None:
    toy = build_toy(tmp_path)
    given = '{ defence = "btu-verified", name = "ours-too", options = { restore = true } }'
    toy.add(
        "one", EXPERIMENT.replace('"btu-verified", "onion"', f'"btu-verified", {given}, "onion"')
    )
    targets = toy.root / "targets.toml"
    targets.write_text('defence = "btu-verified"\nvariant = "ours-too"\nexperiments = ["one"]\n')
    benchmark = load_benchmark([toy.root])
    numbers = MEASURED["badnets"] | {"ours-too": (0.04, 0.81)}
    results = {
        cell.key: {
            "status": "ok",
            "error": None,
            "commit": None,
            "attack_success_rate": numbers[cell.defence.name][0],
            "clean_accuracy": numbers[cell.defence.name][1],
        }
        for cell in benchmark.cells
    }
    duels = list(find_duels(benchmark, results))
    assert {duel.rival for duel in duels} == {"onion", "strip"}
    onion = next(duel for duel in duels if duel.rival == "onion")
    assert onion.variant == (0.04, 0.81)
    assert onion.is_lost
    assert not onion.is_lost_by_variant
    text = render_rivals(benchmark, results)
    assert "ours-too was measured in 2 of the cells, and in 0 of those a rival is better" in text
    assert "4.0 (81.0)" in text
    results = {key: r for key, r in results.items() if "ours-too" not in key}
    assert next(iter(find_duels(benchmark, results))).variant is None


def test_cells_are_counted_and_the_lost_ones_listed(benchmark_of_two: tuple[Toy, Any]) -> None:
    _, benchmark = benchmark_of_two
    results = build_results(benchmark)
    text = render_rivals(benchmark, results)
    assert "measured in 2 cells. In 2 of them one leaves less attack success" in text
    assert "in 1 one has more clean accuracy, and in 1 one is better" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| toys")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    title = "toys, badnets 10 %"
    assert cells == [title, "10.0 (80.0)", "10.0 (80.0)", "onion", "5.0 (80.0)", "1"]
    document = "<!-- bench: rivals -->\n<!-- /bench -->\n"
    assert text in render_document(document, benchmark, results)


def test_without_a_rival_there_is_nothing_to_compare(benchmark_of_two: tuple[Toy, Any]) -> None:
    _, benchmark = benchmark_of_two
    results = {k: v for k, v in build_results(benchmark).items() if "oracle" not in k}
    assert render_rivals(benchmark, results) == "No rival measured yet."
