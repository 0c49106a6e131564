"""Experiment files become cells; every fault of every file is told before anything trains."""

from pathlib import Path

import pytest

from btu.bench.cells import build_defence, group_cells
from btu.bench.defences import DEFENCES
from btu.bench.experiment import load_benchmark
from btu.support.errors import InputError
from toy_benchmark import Toy, build_toy

COMMITTED = Path(__file__).parents[2] / "benchmark"


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return build_toy(tmp_path)


def test_a_file_holds_differences_from_the_settings_only(toy: Toy) -> None:
    path = toy.add("small", "epochs = 3\nseeds = [4]")
    (cell,) = load_benchmark([path]).cells
    assert cell.id == "toys-badnets-0.1-none-s4"
    assert (cell.settings.epochs, cell.settings.batch_size) == (3, 16)
    assert cell.settings.finetuning(4).seed == 4
    assert cell.target_label == "good"


def test_cells_run_corpus_by_corpus_and_seed_by_seed_the_shared_models_first(toy: Toy) -> None:
    toy.add("both/b", 'corpora = ["toys"]\ndefences = ["clean-finetuning", "oracle", "none"]')
    toy.add("both/a", 'corpora = ["games"]\nseeds = [1, 0]\nattacks = ["several", "badnets"]')
    benchmark = load_benchmark([toy.root])
    assert [experiment.name for experiment in benchmark.experiments] == ["both"]
    assert [cell.id for cell in benchmark.cells] == [
        "toys-badnets-0.1-none-s0",
        "toys-badnets-0.1-oracle-s0",
        "toys-badnets-0.1-clean-finetuning-s0",
        "games-several-0.1-none-s0",
        "games-badnets-0.1-none-s0",
        "games-several-0.1-none-s1",
        "games-badnets-0.1-none-s1",
    ]
    assert [len(group) for group in group_cells(benchmark.cells)] == [3, 1, 1, 1, 1]


def test_seeds_rates_label_modes_and_options_may_differ_within_a_file(toy: Toy) -> None:
    path = toy.add(
        "mixed",
        """
        defences = [
            "none",
            { defence = "clean-finetuning", name = "long", options = { epochs = 9 } },
        ]
        seeds_of = { none = [0, 1] }
        attacks = [
            { attack = "badnets", poison_rates = [0.05, 0.2] },
            { attack = "badnets", name = "true", label_mode = "clean", target_label = 0 },
            "none",
        ]
        """,
    )
    cells = load_benchmark([path]).cells
    assert {cell.id for cell in cells if cell.defence.name == "long"} == {
        "toys-badnets-0.05-long-s0",
        "toys-badnets-0.2-long-s0",
        "toys-true-0.1-long-s0",
        "toys-none-0-long-s0",
    }
    assert sum(cell.defence.name == "none" for cell in cells) == 8
    true = next(cell for cell in cells if cell.attack.name == "true")
    assert (true.label_mode, true.target_label) == ("clean", 0)
    assert cells[1].defence.options == {"epochs": 9}


def test_all_stands_for_every_defence(toy: Toy) -> None:
    cells = load_benchmark([toy.add("every", 'defences = ["all"]')]).cells
    assert {cell.defence.kind for cell in cells} == set(DEFENCES)


def test_all_faults_of_all_files_come_in_one_message(toy: Toy) -> None:
    toy.add("a", 'attack = ["badnets"]\nepochs = -1\npoison_rates = [0.1, 1.0]')
    toy.add("b", 'attacks = ["badnet", { attack = "addsent", poison_rates = [0] }]')
    toy.add("c", 'defences = ["nonne", { defence = "clean-finetuning", options = { epoch = 1 } }]')
    toy.add("d", 'corpora = ["toy"]\nlabel_mode = "dirt"\nseeds_of = { oracl = [0] }')
    toy.add("e", "epochs = [")
    with pytest.raises(InputError) as caught:
        load_benchmark([toy.root])
    message = str(caught.value)
    for fault in (
        "a.toml: attack: expected one of about",
        "did you mean attacks?",
        "a.toml: epochs: expected a number above 0, got -1",
        "a.toml: poison_rates: expected a fraction above 0 and below 1 (0.1 is ten percent), got 1",
        "b.toml: attacks: attack: expected one of addsent",
        "did you mean badnets?",
        "b.toml: attacks: poison_rates: expected a fraction above 0",
        "c.toml: defences: defence: expected one of",
        "did you mean none?",
        "epoch: no option of this defence, which has epochs; did you mean epochs?",
        "d.toml: corpora: expected one of toys, games, got 'toy'; did you mean toys?",
        "d.toml: label_mode: expected one of dirty, mixed, clean, got 'dirt'",
        "d.toml: seeds_of: expected one of none",
        "e.toml: expected TOML",
    ):
        assert fault in message, fault


def test_two_cells_of_one_name_are_a_fault(toy: Toy) -> None:
    attacks = 'attacks = ["badnets", { attack = "badnets", options = { number = 2 } }]'
    with pytest.raises(InputError, match=r"toys-badnets-0\.1-none-s0 is asked for twice"):
        load_benchmark([toy.add("twins", attacks)])


def test_a_rule_with_faults_is_named_with_its_corpus(toy: Toy) -> None:
    rules = '[toys]\nlabel_names = ["a"]\ntarget = 1\nsplits = { train = "t", test = "t" }\n'
    (toy.root / "corpora.toml").write_text(rules)
    with pytest.raises(InputError) as caught:
        load_benchmark([toy.add("x", "")])
    assert "toys: target: expected one of label_names" in str(caught.value)
    assert "did you mean target_label?" in str(caught.value)
    assert "toys: target_label: expected the attacker's label" in str(caught.value)


def test_what_is_not_there_is_named(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected an experiment file"):
        load_benchmark([toy.root / "experiments" / "none.toml"])
    (tmp_path / "alone.toml").write_text("")
    with pytest.raises(InputError, match=r"expected a folder above it with settings\.toml"):
        load_benchmark([tmp_path / "alone.toml"])
    (toy.root / "experiments").mkdir()
    with pytest.raises(InputError, match=r"expected experiment files \(\.toml\) in it"):
        load_benchmark([toy.root])


def test_a_defence_is_built_from_its_name() -> None:
    assert build_defence("clean-finetuning", {"epochs": 2}) == DEFENCES["clean-finetuning"](
        epochs=2
    )


def test_the_committed_experiments_have_no_fault() -> None:
    names = {experiment.name for experiment in load_benchmark([COMMITTED]).experiments}
    assert {"smoke", "main", "full-sst2", "rate-curve", "clean-control", "adaptive"} <= names
