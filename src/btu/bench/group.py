"""Cells that differ in the defence only, run one after the other on the same data and models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

from transformers import set_seed

from btu.bench.cells import ORACLE, Cell, build_defence
from btu.bench.defences import Workbench
from btu.bench.measure import measure_flags, measure_predictions, measure_stealth
from btu.bench.meter import Meter
from btu.bench.results import (
    FAILED,
    NOT_AVAILABLE,
    OK,
    build_result,
    describe_error,
    limit_details,
    result_path,
    write_result,
)
from btu.bench.store import ModelStore, TrainingFacts, find_model
from btu.bench.trial import Trial, prepare_trial
from btu.data.corpus import Corpus
from btu.model.finetune import Classifier


@dataclass(frozen=True)
class Places:
    """Where a run reads and writes.

    Attributes:
        corpora: Folder of corpora; None for the Hub.
        results: A folder for each experiment comes in here.
        cache: Trained models that runs share; None keeps them in memory only.
    """

    corpora: Path | None
    results: Path
    cache: Path | None = None


Group = Sequence[Cell]


def run_group(group: Group, places: Places) -> Iterator[tuple[str, str]]:
    """Run the cells of a group and write their results.

    Yields:
        Key and status of each cell, as it ends.
    """
    bench = GroupBench(group[0], places)
    for cell in group:
        result = run_cell(cell, bench)
        write_result(result, result_path(places.results, cell))
        yield cell.key, result["status"]


def run_cell(cell: Cell, bench: GroupBench) -> dict[str, Any]:
    """The result of one cell; its error, where it fails."""
    if cell.missing is not None:
        return build_result(cell, NOT_AVAILABLE, {"error": cell.missing})
    try:
        return build_result(cell, OK, measure_cell(cell, bench))
    except Exception as error:
        return build_result(cell, FAILED, describe_error(error))


def measure_cell(cell: Cell, bench: GroupBench) -> dict[str, Any]:
    """Defend, predict, measure."""
    trial, defence = bench.trial, build_defence(cell.defence.kind, cell.defence.options)
    given = trial.untouched if cell.defence.kind == ORACLE else trial.train
    workbench = bench.workbench(given)
    # What a defence draws beside its own seed must not depend on the cells before it.
    set_seed(cell.seed)
    with Meter() as defending:
        outcome = defence.run(given, workbench)
    with Meter() as answering:
        answers = outcome.predictor.predict(trial.test.texts)
    with Meter() as attacked:
        triggered = (
            None if trial.triggered is None else outcome.predictor.predict(trial.triggered.texts)
        )
    own_seconds = defending.seconds - sum(workbench.waits)
    plain = bench.store.find_facts(trial.train, workbench.settings)
    return {
        "model": {"name": cell.settings.model, "sha256": bench.store.model_sha256},
        "data": trial.describe(),
        "poisoned_row_ids": trial.train.row_ids[trial.is_poisoned].tolist(),
        **measure_predictions(trial, answers, triggered),
        **measure_flags(outcome, trial, workbench.tokenizer()),
        "stealth": measure_stealth(trial),
        "used_clean_rows": "clean" in workbench.touched,
        "timings": {
            "prepare": bench.preparing.seconds,
            "shared_training": sum(facts.seconds for facts in workbench.borrowed.values()),
            "defend": own_seconds,
            "predict_clean": answering.seconds,
            "predict_triggered": attacked.seconds,
        },
        "cost": add_up(own_seconds, defending, list(workbench.borrowed.values()), plain),
        "details": limit_details(outcome.details),
    }


def add_up(
    own_seconds: float,
    defending: Meter,
    borrowed: Sequence[TrainingFacts],
    plain: TrainingFacts | None,
) -> dict[str, float | None]:
    """What a defence costs, its share of the shared training included, beside plain fine-tuning.

    Args:
        own_seconds: Of the defence without the shared training.
        defending: Memory of the defence.
        borrowed: Cost of the shared models that the defence asked for.
        plain: Cost of plain fine-tuning on the same rows, where it was measured.
    """
    seconds = own_seconds + sum(facts.seconds for facts in borrowed)
    peak_mb = max([defending.peak_mb, *(facts.peak_mb for facts in borrowed)])
    device = [defending.peak_device_mb, *(facts.peak_device_mb for facts in borrowed)]
    return {
        "seconds": seconds,
        "peak_mb": peak_mb,
        "peak_device_mb": max((mb for mb in device if mb is not None), default=None),
        "relative_time": seconds / plain.seconds if plain else None,
        "relative_memory": peak_mb / plain.peak_mb if plain else None,
    }


@dataclass(frozen=True)
class WatchedWorkbench(Workbench):
    """A workbench that notes what a defence takes from it.

    Attributes:
        touched: Holds `clean` once the clean rows were asked for.
        borrowed: Cost of each shared model that was asked for, by the fingerprint of its rows.
        waits: Seconds spent on shared models, trained or loaded.
    """

    touched: set[str] = field(default_factory=set)
    borrowed: dict[str, TrainingFacts] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)

    def __getattribute__(self, name: str) -> Any:
        if name == "clean":
            self.touched.add(name)
        return super().__getattribute__(name)


class GroupBench:
    """Data and models of a group, each prepared when it is first asked for."""

    def __init__(self, cell: Cell, places: Places) -> None:
        self.cell = cell
        self.places = places
        self.preparing = Meter()

    @cached_property
    def trial(self) -> Trial:
        """The rows."""
        with self.preparing:
            return prepare_trial(self.cell, self.places.corpora)

    @cached_property
    def store(self) -> ModelStore:
        """The trained models."""
        return ModelStore(find_model(self.cell.settings.model), self.places.cache)

    def workbench(self, rows: Corpus) -> WatchedWorkbench:
        """What a defence is given; its undefended model is the one fine-tuned on these rows."""
        settings = self.cell.settings.finetuning(self.cell.seed)
        borrowed: dict[str, TrainingFacts] = {}
        waits: list[float] = []

        def train_shared(corpus: Corpus) -> Classifier:
            start = perf_counter()
            trained = self.store.train(corpus, settings)
            waits.append(perf_counter() - start)
            borrowed[corpus.fingerprint()] = trained.facts
            return trained.classifier

        return WatchedWorkbench(
            model=self.store.model,
            settings=settings,
            train_undefended=lambda: train_shared(rows),
            train_shared=train_shared,
            clean=self.trial.clean,
            borrowed=borrowed,
            waits=waits,
        )
