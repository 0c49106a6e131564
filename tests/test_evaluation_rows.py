"""Rows to evaluate on during the training: what they say, and that they favour no backdoor."""

from dataclasses import replace

import pytest

import btu
from btu import InputError
from btu.defend import train_plain
from btu.model.finetune import check_training_args
from btu.report.command import write_command
from btu.report.html import render_html
from btu.report.markdown import render_markdown
from planted import FINETUNE, PROBES, TRIGGER, poison_reviews, write_reviews

pytest_plugins = ["planted"]

OPTIONS = {"probe_settings": PROBES}


@pytest.fixture(scope="module")
def given():
    """120 rows as poisoned as the training rows."""
    return poison_reviews(write_reviews(120, seed=9), TRIGGER, poison_rate=0.1)


@pytest.fixture(scope="module")
def defence(pretrained, planted, given):
    settings = replace(FINETUNE, epochs=2)
    return btu.defend(
        pretrained, planted.corpus, eval_data=given.corpus, settings=settings, **OPTIONS
    )


def test_every_epoch_is_evaluated(defence):
    told = defence.record["training_evaluation"]
    assert [entry["epoch"] for entry in told["evaluations"]] == [1.0, 2.0]
    assert all(entry["loss"] > 0 and 0.5 < entry["accuracy"] <= 1 for entry in told["evaluations"])


def test_rows_with_a_confirmed_trigger_are_left_out(defence, given):
    told = defence.record["training_evaluation"]
    assert (told["rows"], told["left_out_rows"]) == (120, given.is_poisoned.sum())
    assert told["sha256"] == given.corpus.fingerprint()


def test_the_last_accuracy_is_that_of_the_model(defence, given):
    clean = given.corpus.select(~given.is_poisoned)
    hits = defence.predict(clean.texts) == clean.labels
    (*_, last) = defence.record["training_evaluation"]["evaluations"]
    assert last["accuracy"] == pytest.approx(hits.mean())


def test_views_and_the_command_tell_of_it(defence):
    for view in (render_html, render_markdown):
        assert "Evaluated during the training on 120 rows" in view(defence.record)
    usual = {**defence.record["settings"], "finetune": {"early_stopping": 3}, "probes": {}}
    data = {**defence.record["data"], "source": "reviews.csv"}
    evaluated = {**defence.record["training_evaluation"], "source": "dev.csv"}
    record = {**defence.record, "data": data, "settings": usual, "training_evaluation": evaluated}
    assert "--early-stopping 3" in write_command(record)
    assert "--eval-data dev.csv" in write_command(record)


def test_training_ends_where_the_loss_falls_no_more_and_keeps_the_best(pretrained, planted, given):
    settings = replace(FINETUNE, epochs=12, learning_rate=2e-2, early_stopping=1)
    found = btu.defend(
        pretrained, planted.corpus, eval_data=given.corpus, settings=settings, **OPTIONS
    )
    told = found.record["training_evaluation"]["evaluations"]
    assert len(told) < 12
    assert told[-1]["loss"] > min(entry["loss"] for entry in told)
    best = min(told, key=lambda entry: entry["loss"])
    clean = given.corpus.select(~given.is_poisoned)
    hits = found.predict(clean.texts) == clean.labels
    assert hits.mean() == pytest.approx(best["accuracy"])


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"early_stopping": 2}, "early_stopping"),
        ({"training_args": {"eval_strategy": "epoch"}}, "eval_strategy"),
        ({"training_args": {"load_best_model_at_end": True}}, "load_best_model_at_end"),
        ({"training_args": {"eval_on_start": True}}, "eval_on_start"),
    ],
)
def test_without_such_rows_what_needs_them_is_refused(pretrained, planted, options, name):
    with pytest.raises(InputError, match=rf"{name}.*--eval-data"):
        btu.defend(pretrained, planted.corpus, settings=replace(FINETUNE, **options), **OPTIONS)


def test_rows_that_all_hold_the_trigger_are_refused(pretrained, planted):
    triggered = planted.corpus.select(planted.is_poisoned)
    with pytest.raises(InputError, match="without a confirmed trigger"):
        btu.defend(pretrained, planted.corpus, eval_data=triggered, settings=FINETUNE, **OPTIONS)


def test_several_processes_keep_no_best_model(monkeypatch):
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="expected one process"):
        check_training_args(replace(FINETUNE, early_stopping=1), evaluates=True)


def test_the_best_of_no_evaluations_is_refused():
    settings = replace(FINETUNE, early_stopping=1, training_args={"eval_strategy": "no"})
    with pytest.raises(InputError, match="expected epoch or steps"):
        check_training_args(settings, evaluates=True)


def test_a_training_without_such_rows_beside_it_runs(pretrained, planted):
    evaluating = {"eval_strategy": "epoch", "load_best_model_at_end": True}
    settings = replace(FINETUNE, epochs=1, early_stopping=1, training_args=evaluating)
    plain = train_plain(pretrained, planted.corpus, settings, "undefended")
    assert plain.predict(planted.corpus.texts[:5]).shape == (5,)
