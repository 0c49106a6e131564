"""Runs: whole results or none, shared models, failures kept, and SIGKILL at any moment."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from btu.bench import group
from btu.bench.defences import DEFENCES, REFUSED, Outcome, Workbench
from btu.bench.defences.btu_verified import BtuVerified
from btu.bench.experiment import load_benchmark
from btu.bench.group import GroupBench, Places
from btu.bench.results import load_results, read_commit
from btu.bench.run import Summary, run_benchmark, run_with_executor, run_with_jobs
from btu.bench.table import TableView, render_view
from btu.data.corpus import Corpus
from btu.defend import defend
from btu.model.embeddings import hash_weights
from btu.support.errors import InputError
from toy_benchmark import Toy, build_toy

THREE = 'attacks = ["badnets", "addsent"]\ndefences = ["none", "oracle", "clean-finetuning"]'


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return build_toy(tmp_path)


def run(toy: Toy, **options: object) -> Summary:
    return run_benchmark([toy.root], corpora=toy.corpora, **options)


def read(toy: Toy, key: str) -> dict:
    return json.loads((toy.results / f"{key}.json").read_text())


@dataclass(frozen=True)
class Answers:
    """Refuses everything, or gives one label."""

    label: int = REFUSED

    def predict(self, texts):
        return np.full(len(texts), self.label)


@dataclass(frozen=True)
class Refusing:
    """A defence that flags the first row and a trigger, and answers nothing."""

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        rows = np.zeros(len(corpus), dtype=bool)
        rows[0] = True
        return Outcome(Answers(), rows, ("cf", "film"), {"scores": [0.5] * 50_000})


@dataclass(frozen=True)
class Failing:
    """A defence with a fault."""

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        bench.undefended()
        raise ZeroDivisionError("this defence has a fault")


@pytest.fixture
def rivals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEFENCES, "refusing", Refusing)
    monkeypatch.setitem(DEFENCES, "failing", Failing)


def test_a_result_says_what_was_measured_and_how(toy: Toy, rivals: None) -> None:
    toy.add("one", 'defences = ["none", "refusing", "clean-finetuning"]')
    summary = run(toy)
    assert len(summary.done) == 3
    plain = read(toy, "one/toys-badnets-0.1-none-s0")
    assert (plain["status"], plain["error"]) == ("ok", None)
    assert plain["cell"]["seed"] == 0
    assert plain["cell"]["settings"]["max_train_rows"] == 60
    assert plain["commit"] == read_commit().id
    assert plain["dirty"] == read_commit().is_dirty
    assert plain["versions"]["torch"]
    assert len(plain["model"]["sha256"]) == 64
    assert plain["data"]["train"]["rows"] == 60
    assert len(plain["poisoned_row_ids"]) == 6
    assert 0 <= plain["clean_accuracy"] <= 1
    timings, cost = plain["timings"], plain["cost"]
    assert cost["seconds"] == pytest.approx(timings["shared_training"] + timings["defend"])
    assert cost["relative_time"] == pytest.approx(cost["seconds"] / timings["shared_training"])
    assert cost["relative_memory"] > 0
    assert not plain["used_clean_rows"]
    assert read(toy, "one/toys-badnets-0.1-clean-finetuning-s0")["used_clean_rows"]

    refusing = read(toy, "one/toys-badnets-0.1-refusing-s0")
    assert refusing["clean_accuracy"] == refusing["attack_success_rate"] == 0
    assert refusing["refused_clean_rows"] == 30
    assert refusing["flagged_tokens"] == ["cf", "film"]
    assert refusing["detection"]["tokens"]["precision"] == 0.5
    assert refusing["timings"]["shared_training"] == 0
    assert refusing["details"] == {"left_out_characters": pytest.approx(500_000, rel=0.5)}
    for path in toy.results.rglob("*.json"):
        assert path.stat().st_size < 200_000


def test_what_is_done_is_not_run_again(toy: Toy) -> None:
    toy.add("one", THREE)
    first = run(toy)
    stamps = {path: path.stat().st_mtime_ns for path in toy.results.rglob("*.json")}
    with patch.object(group, "measure_cell", side_effect=AssertionError("ran again")):
        second = run(toy)
    assert second.kept == first.done
    assert not second.done
    assert stamps == {path: path.stat().st_mtime_ns for path in toy.results.rglob("*.json")}


def test_a_failed_cell_is_kept_with_its_error_and_the_rest_goes_on(toy: Toy, rivals: None) -> None:
    toy.add("one", 'defences = ["failing", "none", "clean-finetuning"]')
    summary = run(toy)
    assert summary.failed == ("one/toys-badnets-0.1-failing-s0",)
    assert len(summary.done) == 2
    failed = read(toy, "one/toys-badnets-0.1-failing-s0")
    assert failed["status"] == "failed"
    assert failed["error"] == "ZeroDivisionError: this defence has a fault"
    assert "raise ZeroDivisionError" in failed["traceback"]
    assert not run(toy).failed
    assert run(toy, retry_failed=True).failed == summary.failed


def test_rows_that_cannot_be_prepared_fail_every_cell_of_their_group_only(toy: Toy) -> None:
    toy.add("one", THREE)
    prepare = group.prepare_trial

    def fail(cell, corpora):
        if cell.attack.kind == "addsent":
            raise InputError("no such rows")
        return prepare(cell, corpora)

    with patch.object(group, "prepare_trial", fail):
        summary = run(toy)
    assert len(summary.failed) == len(summary.done) == 3


def test_the_undefended_model_is_trained_once_for_all_defences(toy: Toy) -> None:
    toy.add("one", 'defences = ["none", "oracle", "clean-finetuning"]')
    with patch.object(
        Workbench, "finetune", autospec=True, side_effect=Workbench.finetune
    ) as train:
        run(toy, cache=toy.root.parent / "cache")
        assert [len(call.args[1]) for call in train.call_args_list] == [60, 54]
        run(toy, cache=toy.root.parent / "cache", again=True)
        assert train.call_count == 2


def test_a_defence_cannot_change_the_shared_model(toy: Toy) -> None:
    (cell,) = load_benchmark([toy.add("one", "")]).cells
    bench = GroupBench(cell, Places(toy.corpora, toy.results))
    workbench = bench.workbench(bench.trial.train)
    shared = workbench.train_undefended()
    before = hash_weights(shared.model)
    for weight in workbench.undefended().model.parameters():
        weight.data.zero_()
    assert workbench.train_undefended() is shared
    assert hash_weights(shared.model) == before


def test_rows_that_were_trained_on_before_are_not_trained_on_again(toy: Toy) -> None:
    (cell,) = load_benchmark([toy.add("one", "")]).cells
    bench = GroupBench(cell, Places(toy.corpora, toy.results))
    rows, seen = bench.trial.untouched, []
    settings = cell.settings.finetuning(cell.seed)
    alone = Workbench(bench.store.model, settings, lambda: seen.append("undefended")).finetune(rows)
    for _ in range(2):
        workbench = bench.workbench(bench.trial.train)
        trained = workbench.finetune(rows)
        assert hash_weights(trained.model) == hash_weights(alone.model)
        # What it cost counts for each who asks, and the waiting for it for nobody.
        facts = bench.store.find_facts(rows, settings)
        assert workbench.borrowed == {rows.fingerprint(): facts}
        assert len(workbench.waits) == 1
        for weight in trained.model.parameters():
            weight.data.zero_()
    assert workbench.waits[0] < facts.seconds
    assert hash_weights(workbench.finetune(rows, epochs=2).model) != hash_weights(alone.model)
    assert not seen


def test_the_bench_measures_the_model_that_defend_gives(toy: Toy) -> None:
    (cell,) = load_benchmark([toy.add("one", 'defences = ["btu-verified"]')]).cells
    bench = GroupBench(cell, Places(toy.corpora, toy.results))
    workbench = bench.workbench(bench.trial.train)
    outcome = BtuVerified().run(bench.trial.train, workbench)
    settings = cell.settings.finetuning(cell.seed)
    defence = defend(workbench.model, bench.trial.train, settings=settings)
    assert np.array_equal(outcome.flagged_rows, defence.findings.flagged)
    assert hash_weights(outcome.predictor.model) == hash_weights(defence.classifier.model)
    assert workbench.borrowed.keys() == {
        bench.trial.train.select(~outcome.flagged_rows).fingerprint()
    }


def test_a_cell_without_published_text_is_marked_and_not_run(toy: Toy) -> None:
    toy.add("one", 'attacks = ["style"]')
    summary = run(toy)
    assert summary.done == ("one/toys-style-0.1-none-s0",)
    marked = read(toy, "one/toys-style-0.1-none-s0")
    assert (marked["status"], marked["error"]) == ("not-available", "nobody rewrote toys")


def test_another_experiments_result_of_the_same_cell_is_copied(toy: Toy) -> None:
    toy.add("one", "")
    run(toy)
    toy.add("two", "poison_rates = [0.1, 0.2]")
    summary = run(toy)
    assert summary.done == ("two/toys-badnets-0.2-none-s0",)
    copied = read(toy, "two/toys-badnets-0.1-none-s0")
    assert copied["copied_from"] == "one"
    assert copied["cell"]["experiment"] == "two"
    assert not run(toy).done


def test_a_result_of_other_settings_is_measured_again(toy: Toy) -> None:
    path = toy.add("one", "")
    run(toy)
    path.write_text("batch_size = 8")
    assert len(run(toy).done) == 1
    assert read(toy, "one/toys-badnets-0.1-none-s0")["cell"]["settings"]["batch_size"] == 8


def test_only_some_cells_can_be_run(toy: Toy) -> None:
    toy.add("one", THREE)
    assert run(toy, only="*-oracle-*").done == (
        "one/toys-badnets-0.1-oracle-s0",
        "one/toys-addsent-0.1-oracle-s0",
    )


def test_nothing_trains_while_there_is_a_fault(toy: Toy) -> None:
    toy.add("good", "")
    toy.add("other", 'corpora = ["games"]\nattacks = ["syntactic"]\nmodel = "no/such"')
    with (
        patch.object(group, "measure_cell", side_effect=AssertionError("trained")),
        pytest.raises(InputError) as caught,
    ):
        run(toy)
    assert "2 faults" in str(caught.value)
    assert "other.toml: syntactic on games" in str(caught.value)
    assert "got 'no/such'" in str(caught.value)
    assert not toy.results.exists()


def test_a_file_that_is_no_result_is_named(toy: Toy) -> None:
    toy.add("one", "")
    (toy.results / "one").mkdir(parents=True)
    (toy.results / "one" / "toys-badnets-0.1-none-s0.json").write_text("{")
    with pytest.raises(InputError, match="expected a result of `btu bench run`"):
        run(toy)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_table(tmp_path: Path) -> None:
    toys = [build_toy(tmp_path / name) for name in ("whole", "killed")]
    # Both read one model folder, so that nothing but the kills differs.
    settings = (toys[0].root / "settings.toml").read_text()
    (toys[1].root / "settings.toml").write_text(settings)
    for toy in toys:
        toy.add("one", THREE)
    whole, killed = toys
    run(whole, cache=tmp_path / "cache-1")

    start = partial(
        run_benchmark, [killed.root], corpora=killed.corpora, cache=tmp_path / "cache-2"
    )
    moments: list[Callable[[], bool]] = [
        lambda: (tmp_path / "cache-2").exists(),  # a model is being saved
        lambda: len(list(killed.results.rglob("*.json"))) >= 2,  # between two results
        lambda: len(list(killed.results.rglob("*.json"))) >= 4,
    ]
    for moment in moments:
        kill_when(moment, start)
        for path in killed.results.rglob("*.json"):
            assert json.loads(path.read_text())["status"] == "ok"
    assert 0 < len(start().kept) < 6
    assert read_table(killed) == read_table(whole)


def kill_when(moment: Callable[[], bool], start: Callable[[], object]) -> None:
    """Start in another process and end it with SIGKILL at this moment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["btu.bench.run"])
    process = context.Process(target=start)
    process.start()
    while not moment() and process.is_alive():
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def read_table(toy: Toy) -> list[dict]:
    """Everything measured but time and memory."""
    benchmark = load_benchmark([toy.root])
    results = load_results(toy.results, benchmark.cells)
    overview = render_view(TableView("one", ("overview",)), benchmark, results)
    timed = ("created", "timings", "cost", "hardware", "details")
    measured = [{k: v for k, v in r.items() if k not in timed} for r in results.values()]
    return [{"overview": overview}, *measured]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_several_processes_give_the_same_table(toy: Toy, tmp_path: Path) -> None:
    toy.add("one", THREE)
    run(toy)
    alone = read_table(toy)
    summary = run(toy, again=True, runner=partial(run_with_jobs, jobs=2))
    assert len(summary.done) == 6
    assert read_table(toy) == alone


@pytest.mark.slow
def test_a_submitit_executor_gives_the_same_table(toy: Toy, tmp_path: Path) -> None:
    import submitit

    toy.add("one", 'defences = ["none", "oracle"]')
    run(toy)
    alone = read_table(toy)
    executor = submitit.AutoExecutor(folder=tmp_path / "logs", cluster="local")
    executor.update_parameters(timeout_min=5)
    summary = run(toy, again=True, runner=partial(run_with_executor, executor=executor))
    assert len(summary.done) == 2
    assert read_table(toy) == alone
