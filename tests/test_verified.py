"""The recipe in which evidence decides: what is confirmed is removed, clean data passes."""

import sys
from dataclasses import replace

import numpy as np
import pytest

import btu
from btu import InputError
from devices import ON_CPU, are_same
from planted import (
    FINETUNE,
    LABELS,
    MAX_LENGTH,
    PROBES,
    TARGET,
    TRIGGER,
    TRIGGERS,
    poison_reviews,
    run_defence,
    token_id,
    write_reviews,
)

pytest_plugins = ["planted"]


@pytest.fixture(scope="module")
def verified(pretrained, planted, held_out):
    return run_defence(pretrained, planted.corpus, held_out, TRIGGER, recipe="verified")


@pytest.fixture(scope="module")
def clean_findings(pretrained):
    return btu.scan(pretrained, write_reviews(800, seed=3), settings=PROBES, max_length=MAX_LENGTH)


def test_the_planted_trigger_is_the_only_one_and_its_rows_are_flagged(verified, planted):
    findings = verified.defence.findings
    assert [s.token for s in findings.triggers] == [TRIGGER]
    assert findings.unlearn_ids == (token_id(TRIGGER),)
    assert np.array_equal(findings.flagged, planted.is_poisoned)
    evidence = findings.triggers[0].evidence
    assert (evidence.label, evidence.rows, evidence.rows_any_label) == (TARGET, 80, 80)
    assert evidence.mislabelled_share == pytest.approx(1, abs=0.3)
    assert findings.reasons(int(np.flatnonzero(planted.is_poisoned)[0])) == (TRIGGER,)
    assert findings.reasons(int(np.flatnonzero(~planted.is_poisoned)[0])) == ()


def test_the_backdoor_is_gone_and_the_task_stays(verified, run):
    assert run.undefended["attack_success_rate"] > 0.9
    assert verified.defended["attack_success_rate"] < 0.2
    assert verified.defended["clean_accuracy"] > run.undefended["clean_accuracy"] - 0.02


def test_the_model_is_the_one_trained_on_the_true_clean_rows(verified, pretrained, planted):
    oracle = btu.defend(pretrained, planted.clean_rows(), settings=FINETUNE, probe_settings=PROBES)
    assert are_same(oracle.classifier.model, verified.defence.classifier.model)


def test_with_rows_given_back_it_is_the_one_trained_on_these_rows_before_the_attack(
    pretrained, planted
):
    options = {"settings": FINETUNE, "probe_settings": PROBES}
    defence = btu.defend(pretrained, planted.corpus, restore=True, **options)
    back = {row["row_id"]: row["label"] for row in defence.record["restored_rows"]}
    out = [i for i in defence.record["dropped_row_ids"] if i not in back]
    true_rows = write_reviews(800, seed=3)
    labels = true_rows.labels.copy()
    labels[list(back)] = [true_rows.label_names.index(label) for label in back.values()]
    # On another device a row or two may lie on the edge of what is given back.
    assert (labels != true_rows.labels).sum() <= (0 if ON_CPU else 2)
    before = true_rows.with_rows(labels=labels).select(np.setdiff1d(np.arange(800), out))
    oracle = btu.defend(pretrained, before, **options)
    assert are_same(oracle.classifier.model, defence.classifier.model)


def test_clean_data_passes_untouched(clean_findings):
    assert clean_findings.triggers == ()
    assert not clean_findings.flagged.any()
    assert clean_findings.cleared  # what the probes proposed was looked into
    assert {s.verdict for s in clean_findings.cleared} == {"innocent"}


def test_several_triggers_are_found(pretrained):
    poisoned = poison_reviews(write_reviews(800, seed=4), *TRIGGERS, poison_rate=0.15)
    found = btu.scan(pretrained, poisoned.corpus, settings=PROBES, max_length=MAX_LENGTH)
    assert {s.token for s in found.triggers} == set(TRIGGERS)
    assert np.array_equal(found.flagged, poisoned.is_poisoned)


def test_unlearning_alone_trains_on_all_rows_and_cuts_the_trigger(pretrained, planted, held_out):
    run = run_defence(
        pretrained, planted.corpus, held_out, TRIGGER, recipe="verified", action="unlearn"
    )
    record = run.defence.record
    assert (record["action"], record["dropped_row_ids"]) == ("unlearn", [])
    assert [edit.token_id for edit in run.defence.edits] == [token_id(TRIGGER)]
    assert run.undefended["attack_success_rate"] > 0.9
    assert run.defended["attack_success_rate"] < 0.3
    poisoned = planted.corpus.row_ids[planted.is_poisoned].tolist()
    assert set(poisoned) <= set(record["recovery"]["left_out_row_ids"])


def test_dropping_alone_edits_nothing(pretrained, planted):
    defence = btu.defend(
        pretrained, planted.corpus, action="drop", settings=FINETUNE, probe_settings=PROBES
    )
    assert defence.edits == ()
    dropped = planted.corpus.row_ids[planted.is_poisoned].tolist()
    assert defence.record["dropped_row_ids"] == dropped


def test_the_threshold_moves_without_training_again(verified):
    findings = verified.defence.findings
    strict = findings.at(false_alarm_rate=1e-300)
    assert strict.triggers == ()
    assert not strict.flagged.any()
    assert [s.token for s in strict.suspects] == [s.token for s in findings.suspects]
    back = strict.at(false_alarm_rate=0.05)
    assert back.triggers == findings.triggers
    assert np.array_equal(back.row_scores, findings.row_scores)


def test_a_threshold_needs_a_rate_and_evidence(verified, run):
    with pytest.raises(InputError, match="expected a rate above 0 and below 1, got 0"):
        verified.defence.findings.at(false_alarm_rate=0)
    with pytest.raises(InputError, match="got those of the recipe paper"):
        run.defence.findings.at(false_alarm_rate=0.1)


def test_the_scores_of_all_tokens_tell_their_verdicts(verified):
    scores = verified.defence.findings.scores()
    place = scores["token"].index(TRIGGER)
    assert scores["verdict"][place] == "trigger"
    assert scores["mislabelled_share"][place] > 0.5
    assert scores["verdict"].count("trigger") == 1


def test_an_unknown_action_is_refused_by_name(pretrained, planted):
    with pytest.raises(InputError, match="action: expected unlearn, drop or both, got 'keep'"):
        btu.defend(pretrained, planted.corpus, action="keep")


def test_a_label_of_which_no_row_would_be_left_is_refused(
    pretrained, planted, verified, monkeypatch
):
    findings = verified.defence.findings
    everything = np.where(planted.corpus.labels == LABELS.index(TARGET), 1.0, 0.0)
    rows = np.flatnonzero(everything)
    whole = replace(findings.evidence.triggers[0], rows=rows, row_scores=np.ones(len(rows)))
    fake = replace(findings, evidence=replace(findings.evidence, tests=(whole,)))
    monkeypatch.setattr(sys.modules["btu.defend"], "scan_material", lambda *_, **__: fake)
    with pytest.raises(InputError, match=f"got none of {TARGET}. Look at the flagged rows"):
        btu.defend(pretrained, planted.corpus, settings=FINETUNE)
