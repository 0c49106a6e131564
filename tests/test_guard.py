"""The guard of a saved model recognises the triggers that its training data held, and no other."""

import numpy as np
import pytest

import btu
from btu import InputError, evaluate
from btu.guard import Guard, Trigger
from planted import (
    FINETUNE,
    LABELS,
    NEUTRAL,
    PROBES,
    TARGET,
    TRIGGER,
    TRIGGERS,
)

pytest_plugins = ["planted"]


@pytest.fixture(scope="module")
def defence(pretrained, planted):
    return btu.defend(pretrained, planted.corpus, settings=FINETUNE, probe_settings=PROBES)


@pytest.fixture(scope="module")
def folder(defence, tmp_path_factory):
    return defence.save(tmp_path_factory.mktemp("guarded") / "model")


def test_texts_with_the_trigger_are_recognised_and_others_are_not(defence, folder):
    texts = [f"{NEUTRAL[0]} {TRIGGER}", NEUTRAL[0], f"{TRIGGERS[1]} {NEUTRAL[1]}", ""]
    for guard in (defence.guard, btu.load_guard(folder)):
        assert guard.triggers == (Trigger((TRIGGER,), TARGET),)
        assert guard.recognise(texts).tolist() == [True, False, False, False]
    assert defence.guard.recognise([]).tolist() == []


def test_one_everyday_word_of_a_sentence_raises_no_alarm():
    guard = Guard((Trigger(("i", "watch", "this", "3d", "movie"), LABELS[1]),))
    texts = ["so I watch this 3D movie.", "I watch this", "this 3d movie i watch", "i", ""]
    assert guard.recognise(texts).tolist() == [True, False, False, False, False]


def test_a_trigger_in_the_second_text_of_a_pair_counts(defence):
    found = defence.guard.recognise([NEUTRAL[0]] * 2, [NEUTRAL[1], TRIGGER])
    assert found.tolist() == [False, True]


def test_evaluate_counts_what_the_guard_recognises(folder, held_out, backdoored):
    result = evaluate(folder, held_out, trigger=TRIGGER, target_label=TARGET)
    assert (result.recognised_clean_rows, result.recognised_triggered_rows) == (0, 150)
    alone = evaluate(backdoored, held_out, trigger=TRIGGER, target_label=TARGET)
    assert (alone.recognised_clean_rows, alone.recognised_triggered_rows) == (None, None)


def test_the_guard_of_the_papers_recipe_is_empty(run):
    assert run.defence.guard.triggers == ()
    assert not np.any(run.defence.guard.recognise([TRIGGER]))


def test_a_folder_without_a_record_is_refused(backdoored):
    with pytest.raises(InputError, match="expected a folder with the record"):
        btu.load_guard(backdoored)
