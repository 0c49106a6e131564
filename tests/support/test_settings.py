"""Settings: the paper's defaults, all faults at once, one sentence of help a field."""

from dataclasses import fields

import numpy as np
import pytest

from btu.evidence.settings import EvidenceSettings, check_recipe
from btu.model.settings import FineTuneSettings, ProbeSettings, check_run
from btu.repair.settings import RecoverySettings
from btu.support.errors import InputError
from btu.support.settings import option_help

ALL = (ProbeSettings, EvidenceSettings, FineTuneSettings, RecoverySettings)


def test_the_defaults_of_the_probes_are_the_papers():
    settings = ProbeSettings()
    assert (settings.alpha, settings.learning_rate, settings.epochs) == (0.0005, 2e-5, 1)
    assert (settings.shallow_batch_size, settings.full_batch_size) == (256, 64)
    assert FineTuneSettings().max_length == 128


@pytest.mark.parametrize(
    ("settings", "subject", "faulty"),
    [
        (
            ProbeSettings,
            "probe settings: 7 faults",
            {
                "alpha": 1.5,
                "learning_rate": -1e-5,
                "epochs": 0,
                "shallow_batch_size": -4,
                "full_batch_size": 0,
                "precision": "fp8",
                "seed": -1,
            },
        ),
        (
            FineTuneSettings,
            "fine-tuning settings: 6 faults",
            {
                "epochs": -0.5,
                "learning_rate": 0,
                "batch_size": 0,
                "max_length": -1,
                "precision": "bf-16",
                "seed": 2**32,
            },
        ),
    ],
)
def test_all_faults_are_listed_together_each_with_what_came(settings, subject, faulty):
    with pytest.raises(InputError) as caught:
        settings(**faulty)
    first, *rest = str(caught.value).splitlines()
    assert first == subject
    assert len(rest) == len(faulty)
    for name, value in faulty.items():
        (line,) = [line for line in rest if line.startswith(f"  - {name}: expected ")]
        assert line.endswith(f"got {value!r}")


def test_a_single_fault_stands_on_one_line_with_its_subject():
    with pytest.raises(InputError) as caught:
        ProbeSettings(alpha=0)
    expected = "probe settings: alpha: expected a share of the vocabulary in (0, 1], got 0"
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", ["alpha", "learning_rate"])
def test_not_a_number_is_refused(name):
    with pytest.raises(InputError, match=f"{name}: expected .*, got nan"):
        ProbeSettings(**{name: float("nan")})


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
def test_every_precision_that_a_message_offers_is_accepted(precision):
    assert ProbeSettings(precision=precision).precision == precision
    with pytest.raises(InputError, match=rf"precision: expected .*{precision}.*, got 'fp64'"):
        FineTuneSettings(precision="fp64")


@pytest.mark.parametrize("settings", [ProbeSettings, FineTuneSettings])
def test_a_seed_that_no_generator_takes_is_refused(settings):
    assert settings(seed=0).seed == 0
    for seed in (-1, 2**32):
        with pytest.raises(InputError, match=f"seed: expected 0 to .*, got {seed}"):
            settings(seed=seed)


def test_length_and_seed_of_a_run_are_checked_together():
    check_run(max_length=1, seed=2**31)
    with pytest.raises(InputError) as caught:
        check_run(max_length=0, seed=-1)
    assert "2 faults" in str(caught.value)
    assert "max_length: expected at least 1 token, got 0" in str(caught.value)
    assert "seed: expected 0 to " in str(caught.value)


def test_no_recovery_is_a_choice_and_less_than_none_is_not():
    assert RecoverySettings(epochs=0).epochs == 0
    with pytest.raises(InputError, match=r"epochs: expected 0 or more, got -1"):
        RecoverySettings(epochs=-1)


@pytest.mark.parametrize("rate", [0, 1, -0.1, float("nan")])
def test_a_false_alarm_rate_is_a_fraction(rate):
    with pytest.raises(InputError, match=r"false_alarm_rate: expected above 0 and below 1, got"):
        EvidenceSettings(false_alarm_rate=rate)


def test_an_unknown_recipe_is_refused_by_name():
    check_recipe("paper")
    with pytest.raises(InputError, match="recipe: expected verified or paper, got 'papre'"):
        check_recipe("papre")


@pytest.mark.parametrize("settings", ALL)
def test_every_field_has_one_sentence_of_help(settings):
    for field in fields(settings):
        text = option_help(settings, field.name)
        assert text.endswith(".")
        assert len(text) > 20


@pytest.mark.parametrize(
    ("settings", "given", "said"),
    [
        (ProbeSettings, {"epochs": 1.5}, "epochs: expected a whole number, got 1.5"),
        (ProbeSettings, {"seed": True}, "seed: expected a whole number, got True"),
        (ProbeSettings, {"alpha": "small"}, "alpha: expected a number, got 'small'"),
        (FineTuneSettings, {"epochs": None}, "epochs: expected a number, got None"),
        (EvidenceSettings, {"styles": "no"}, "styles: expected True or False, got 'no'"),
        (EvidenceSettings, {"false_alarm_rate": None}, "false_alarm_rate: expected a number"),
        (RecoverySettings, {"epochs": "1"}, "epochs: expected a number, got '1'"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(settings, given, said):
    with pytest.raises(InputError) as caught:
        settings(**given)
    assert said in str(caught.value)


def test_numbers_of_numpy_are_numbers():
    assert ProbeSettings(alpha=np.float32(0.5), epochs=np.int64(2)).epochs == 2
    assert FineTuneSettings(epochs=2).epochs == 2


def test_values_of_another_kind_and_out_of_range_are_told_together():
    with pytest.raises(InputError) as caught:
        ProbeSettings(epochs=1.5, alpha=2, learning_rate=0, seed=-1)
    for name in ("epochs", "alpha", "learning_rate", "seed"):
        assert f"{name}: expected" in str(caught.value)
