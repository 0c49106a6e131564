"""Tables say what was measured and nothing else: holes, failures and single seeds are marked."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from btu.bench.cells import Cell
from btu.bench.experiment import Benchmark, load_benchmark
from btu.bench.figures import draw_figures
from btu.bench.lines import build_blocks
from btu.bench.results import load_results
from btu.bench.table import TableView, render_csv, render_document, render_view
from btu.support.errors import InputError
from toy_benchmark import Toy, build_toy

ROOT = Path(__file__).parents[2]
FILE = """
about = "By hand."
attacks = ["badnets", "style"]
defences = ["none", "oracle", "clean-finetuning", "btu-paper"]
seeds_of = { none = [0, 1, 2], oracle = [0, 1, 2] }
"""
# Clean accuracy and attack success rate of each cell that was measured; the seeds follow.
MEASURED = {
    "none": [(0.90, 1.0), (0.92, 0.96), (0.94, 0.98)],
    "oracle": [(0.92, 0.04), (0.92, 0.05), (0.95, 0.06)],
    "clean-finetuning": [(0.91, 0.2)],
}


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    toy = build_toy(tmp_path)
    toy.add("hand", FILE)
    return toy


def build_results(benchmark: Benchmark) -> dict[str, dict[str, Any]]:
    """By hand: one defence measured once, one failed, one attack not available."""
    results: dict[str, dict[str, Any]] = {}
    for cell in benchmark.cells:
        if cell.missing:
            results[cell.key] = {"status": "not-available", "error": cell.missing, "commit": None}
        elif cell.defence.name in MEASURED:
            results[cell.key] = measure(cell, *MEASURED[cell.defence.name][cell.seed])
        else:
            error = "ValueError: <b>a|b</b> `x`\nsecond line"
            results[cell.key] = {"status": "failed", "error": error, "commit": None}
    return results


def measure(cell: Cell, accuracy: float, success: float) -> dict[str, Any]:
    """A result with these numbers; clean fine-tuning refused rows and flagged some."""
    flags = {"flagged": 8, "precision": 0.75, "recall": 1.0, "false_alarm_rate": 0.037}
    flagging = cell.defence.name == "clean-finetuning"
    return {
        "status": "ok",
        "error": None,
        "commit": "0123456789abcdef",
        "dirty": cell.seed == 2,
        "clean_accuracy": accuracy,
        "attack_success_rate": success,
        "test_rows": 30,
        "refused_clean_rows": 3 if flagging else 0,
        "detection": {
            "rows": flags if flagging else None,
            "tokens": {"flagged": 15} if flagging else None,
        },
        "used_clean_rows": flagging,
        "timings": {"predict_clean": 0.06},
        "cost": {
            "seconds": 3.0,
            "peak_mb": 100.0,
            "relative_time": 1.25 if flagging else 1.0,
            "relative_memory": 1.0,
        },
    }


def test_the_table_is_rendered_exactly(toy: Toy) -> None:
    benchmark = load_benchmark([toy.root])
    text = render_view(TableView("hand"), benchmark, build_results(benchmark))
    assert text == Path(__file__).with_name("table.md").read_text(encoding="utf-8")


def test_what_was_not_run_is_a_hole(toy: Toy) -> None:
    text = render_view(TableView("hand"), load_benchmark([toy.root]), {})
    assert text.count("not run |") == 4
    assert "**toys, badnets 10 %** (a note about toys): not run." in text
    assert "0 of 16 cells have a result." in text
    assert "nobody rewrote toys" in text


def test_distance_to_the_oracle_is_taken_seed_by_seed(toy: Toy) -> None:
    benchmark = load_benchmark([toy.root])
    results = build_results(benchmark)
    (none, *_), *_ = (block.lines for block in build_blocks(benchmark.experiments[0], results))
    assert none.values["accuracy_lost"] == pytest.approx((0.02, 0.0, 0.01))
    assert none.values["excess_attack_success_rate"] == pytest.approx((0.96, 0.91, 0.92))
    del results["hand/toys-badnets-0.1-oracle-s1"]
    (none, *_), *_ = (block.lines for block in build_blocks(benchmark.experiments[0], results))
    assert none.values["accuracy_lost"] == pytest.approx((0.02, 0.01))
    assert len(none.values["clean_accuracy"]) == 3


def test_an_interval_spans_the_mean_over_seeds(toy: Toy) -> None:
    benchmark = load_benchmark([toy.root])
    blocks = build_blocks(benchmark.experiments[0], build_results(benchmark))
    none, _, once, failed = blocks[0].lines
    assert none.mean("clean_accuracy") == pytest.approx(0.92)
    assert none.interval("clean_accuracy") == pytest.approx((0.90, 0.94))
    assert once.interval("clean_accuracy") is None
    assert failed.mean("clean_accuracy") is None


def test_seeds_that_are_not_there_are_told(toy: Toy) -> None:
    benchmark = load_benchmark([toy.root])
    results = build_results(benchmark)
    del results["hand/toys-badnets-0.1-none-s1"]
    results["hand/toys-badnets-0.1-none-s2"] = {"status": "failed", "error": "X: y", "commit": None}
    text = render_view(TableView("hand", ("details",)), benchmark, results)
    assert "| 1 of 3 |" in text
    assert "- none, seed 2: `X: y`" in text


def test_rows_stand_by_truth_and_judgement_where_a_defence_judges_them(toy: Toy) -> None:
    benchmark = load_benchmark([toy.root])
    results = build_results(benchmark)
    for seed, hits in ((0, 30), (1, 40)):
        rows = {"flagged": 50, "hits": hits, "poisoned": 40, "rows": 400}
        results[f"hand/toys-badnets-0.1-none-s{seed}"]["detection"] = {"rows": rows}
    text = render_view(TableView("hand", ("confusion",)), benchmark, results)
    (line,) = [line for line in text.splitlines() if line.startswith("| toys, badnets 10 %")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:6] == ["none", "35", "5", "15", "345"]
    assert "By hand." not in text


def test_a_control_has_no_columns_of_an_attack(toy: Toy) -> None:
    toy.add("control", 'attacks = ["none"]\ndefences = ["none", "oracle"]')
    benchmark = load_benchmark([toy.root / "experiments" / "control.toml"])
    results = {}
    for cell in benchmark.cells:
        results[cell.key] = measure(cell, 0.9, 0.0) | {"attack_success_rate": None}
    text = render_view(TableView("control"), benchmark, results)
    assert "**toys, no attack**" in text
    details = text.partition("**toys, no attack**")[2]
    assert "accuracy lost" in details
    assert "attack success" not in details


def test_many_attacks_stand_below_each_other(toy: Toy) -> None:
    rates = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35]
    toy.add("many", f'poison_rates = {rates}\ndefences = ["none", "oracle"]')
    benchmark = load_benchmark([toy.root / "experiments" / "many.toml"])
    results = {cell.key: measure(cell, 0.9, cell.poison_rate) for cell in benchmark.cells}
    header, _, *rows = (
        render_view(TableView("many", ("overview",)), benchmark, results)
        .split("| toys")[1]
        .splitlines()[:9]
    )
    assert [cell.strip() for cell in header.split("|")[1:3]] == ["none", "oracle"]
    assert [row.split("|")[1].strip() for row in rows] == [f"badnets {100 * r:g} %" for r in rates]
    assert rows[0].split("|")[2].strip() == "5.0 (90.0)†"


def test_only_marked_parts_of_a_document_change(toy: Toy) -> None:
    benchmark = load_benchmark([toy.root])
    document = (
        "before\n<!-- bench: hand overview toys -->\nold\n<!-- /bench -->\nbetween\n"
        "<!-- bench: hand details -->\n<!-- /bench -->\nafter\n"
    )
    results = build_results(benchmark)
    once = render_document(document, benchmark, results)
    assert once == render_document(once, benchmark, results)
    assert once.startswith("before\n<!-- bench: hand overview toys -->\n\nBy hand.")
    assert once.endswith("<!-- /bench -->\nafter\n")
    assert "old" not in once
    assert once.count("**toys, badnets 10 %**") == 1


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("no marker", "expected markers"),
        ("<!-- bench: hant -->\n<!-- /bench -->", "did you mean hand?"),
        ("<!-- bench: hand overviw -->\n<!-- /bench -->", "did you mean overview?"),
        ("<!-- bench: hand toy -->\n<!-- /bench -->", "did you mean toys?"),
    ],
)
def test_a_marker_for_what_is_not_there_is_named(toy: Toy, document: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        render_document(document, load_benchmark([toy.root]), {})
    assert message in str(caught.value)


def test_a_csv_file_has_one_row_a_cell(toy: Toy) -> None:
    benchmark = load_benchmark([toy.root])
    rows = list(csv.DictReader(io.StringIO(render_csv(benchmark, build_results(benchmark)))))
    assert len(rows) == 16
    first, failed, missing = rows[0], rows[3], rows[-1]
    assert (first["defence"], first["seed"], first["status"]) == ("none", "0", "ok")
    assert float(first["excess_attack_success_rate"]) == pytest.approx(0.96)
    assert (failed["status"], failed["clean_accuracy"]) == ("failed", "")
    assert (missing["status"], missing["error"]) == ("not-available", "nobody rewrote toys")


def test_figures_are_the_same_bytes_from_the_same_results(toy: Toy, tmp_path: Path) -> None:
    benchmark = load_benchmark([toy.root])
    results = build_results(benchmark)
    drawn = [draw_figures(benchmark, results, tmp_path / name) for name in ("a", "b")]
    (first,), (second,) = (paths["hand/toys"] for paths in drawn)
    assert first.name == "hand-toys.svg"
    assert first.read_bytes() == second.read_bytes()
    svg = first.read_text(encoding="utf-8")
    for name in ("none", "oracle", "clean-finetuning", "accuracy lost, points"):
        assert f">{name}<" in svg
    assert ">btu-paper<" not in svg  # it failed


def test_rate_curves_are_drawn_where_there_are_several_rates(toy: Toy, tmp_path: Path) -> None:
    toy.add("rates", 'poison_rates = [0.05, 0.1]\ndefences = ["none", "oracle"]')
    benchmark = load_benchmark([toy.root / "experiments" / "rates.toml"])
    results = {cell.key: measure(cell, 0.9, cell.poison_rate) for cell in benchmark.cells}
    drawn = draw_figures(benchmark, results, tmp_path)
    assert [path.name for path in drawn["rates/toys"]] == ["rates-toys-rates.svg"]
    assert "poison rate, %" in (tmp_path / "rates-toys-rates.svg").read_text(encoding="utf-8")


def test_nothing_is_drawn_where_nothing_was_measured(toy: Toy, tmp_path: Path) -> None:
    assert draw_figures(load_benchmark([toy.root]), {}, tmp_path) == {}


def test_the_committed_documents_say_what_the_committed_results_say(tmp_path: Path) -> None:
    benchmark = load_benchmark([ROOT / "benchmark"])
    results = load_results(benchmark.results, benchmark.cells)
    drawn = draw_figures(benchmark, results, tmp_path)
    figures = {key: [f"figures/{path.name}" for path in paths] for key, paths in drawn.items()}
    for document in ("README.md", "docs/benchmark.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        rendered = render_document(text, benchmark, results, figures=figures)
        assert rendered == text, f"render it: btu bench table --output {document} (--figures ...)"
