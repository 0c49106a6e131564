"""What counts as a hit: of answers, of rows, and of tokens through the tokenizer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from btu.bench.defences import REFUSED, Outcome
from btu.bench.defences.language_models import BigramModel
from btu.bench.measure import (
    find_trigger_pieces,
    is_trigger_token,
    measure_flags,
    measure_predictions,
    measure_stealth,
)
from btu.bench.trial import Trial
from btu.data.corpus import Corpus
from tiny import build_tokenizer

NAMES = ("bad", "good")


def build_trial(trigger_texts: tuple[str, ...] = ("cf",), *, control: bool = False) -> Trial:
    """Four training rows, two of them poisoned; four test rows, three of them triggered."""
    texts = ("cf the film", "the film", "the dull film", "film cf")
    train = Corpus(texts, np.array([1, 1, 0, 1]), NAMES, row_ids=np.array([5, 7, 11, 13]))
    test = Corpus(("a", "b", "c", "d"), np.array([0, 0, 0, 1]), NAMES)
    return Trial(
        train=train,
        is_poisoned=np.array([not control, False, False, not control]),
        untouched=train,
        clean=test,
        test=test,
        triggered=None if control else test.select([0, 1, 2]),
        target=None if control else 1,
        trigger_texts=() if control else trigger_texts,
    )


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    """Word pieces: `zing` is read as `z` and `##ing`."""
    return build_tokenizer("bert", ["the", "film", "dull", "cf", "z", "##ing", "sing", "movie"])


def test_a_refused_clean_row_is_wrong_and_a_refused_triggered_row_is_no_success() -> None:
    clean, triggered = np.array([0, 0, REFUSED, 1]), np.array([1, REFUSED, 0])
    measured = measure_predictions(build_trial(), clean, triggered)
    assert measured == {
        "clean_accuracy": 0.75,
        "test_rows": 4,
        "refused_clean_rows": 1,
        "attack_success_rate": 1 / 3,
        "triggered_rows": 3,
        "refused_triggered_rows": 1,
    }


def test_stealth_is_the_median_ratio_of_perplexity_with_and_without_the_trigger() -> None:
    clean = Corpus(("a fine film", "a dull film"), np.array([1, 0]), NAMES)
    test = Corpus(("a fine film", "a dull film"), np.array([0, 0]), NAMES, row_ids=np.array([3, 8]))
    texts = ("a cf dull film", "a fine film")
    triggered = Corpus(texts, np.array([0, 0]), NAMES, row_ids=np.array([8, 3]))
    measured = measure_stealth(replace(build_trial(), clean=clean, test=test, triggered=triggered))
    model = BigramModel(clean.texts)
    before, after = (model.measure_perplexity([t])[0] for t in (test.texts[1], texts[0]))
    assert measured is not None
    assert after > before
    assert measured["perplexity_ratio"] == pytest.approx((after / before + 1) / 2)
    assert measure_stealth(build_trial(control=True)) is None


def test_a_clean_control_has_no_attack_success_rate() -> None:
    measured = measure_predictions(build_trial(control=True), np.array([0, 0, 0, 1]), None)
    assert measured["clean_accuracy"] == 1
    assert measured["attack_success_rate"] is None


def test_flagged_rows_are_compared_with_the_truth(tokenizer: PreTrainedTokenizerBase) -> None:
    trial, flagged = build_trial(), np.array([True, False, True, True])
    measured = measure_flags(Outcome(None, flagged_rows=flagged), trial, tokenizer)
    rows = measured["detection"]["rows"]
    assert measured["flagged_row_ids"] == [5, 11, 13]
    assert measured["flagged_tokens"] is None
    assert rows["precision"] == precision_score(trial.is_poisoned, flagged)
    assert rows["recall"] == recall_score(trial.is_poisoned, flagged)
    assert rows["false_alarm_rate"] == 0.5


def test_flags_for_other_rows_than_the_training_rows_are_refused(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    with pytest.raises(ValueError, match="3 and 4"):
        measure_flags(Outcome(None, flagged_rows=np.ones(3, bool)), build_trial(), tokenizer)


def test_a_word_piece_of_the_trigger_is_a_trigger_token(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    pieces = find_trigger_pieces(("zing",), tokenizer)
    assert pieces == {"z", "##ing"}
    for token, right in {
        "##ing": True,
        "z": True,
        "zing": True,
        "sing": False,
        "cf": False,
    }.items():
        assert is_trigger_token(token, pieces, tokenizer) == right, token


def test_a_trigger_that_the_model_cannot_read_has_no_pieces(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    assert not find_trigger_pieces(("qqq",), tokenizer)


def test_byte_level_tokens_with_and_without_a_space_are_the_same_trigger(minilm: Path) -> None:
    gpt = build_tokenizer("gpt2", ["cf"])
    assert find_trigger_pieces(("cf",), gpt) == {"cf"}
    real = AutoTokenizer.from_pretrained(minilm)
    assert find_trigger_pieces(("I watch this 3D movie",), real) == {
        *("i", "watch", "this", "3d", "movie")
    }


def test_flagged_tokens_are_compared_with_the_trigger(tokenizer: PreTrainedTokenizerBase) -> None:
    trial = build_trial(("cf", "zing"))
    flagged = ("cf", "the", "##ing", "cf")
    tokens = measure_flags(Outcome(None, flagged_tokens=flagged), trial, tokenizer)["detection"][
        "tokens"
    ]
    assert tokens == {
        "flagged": 3,
        "hits": 2,
        "trigger_tokens": ["##ing", "cf", "z"],
        "precision": 2 / 3,
        "recall": 2 / 3,  # of cf, z and ##ing
        "false_alarm_rate": 1.0,  # one of the four used tokens is left beside three trigger tokens
    }


def test_a_flagged_word_covers_all_its_pieces(tokenizer: PreTrainedTokenizerBase) -> None:
    outcome = Outcome(None, flagged_tokens=("zing",))
    measured = measure_flags(outcome, build_trial(("zing",)), tokenizer)
    assert measured["detection"]["tokens"]["recall"] == 1


def test_an_attack_without_trigger_words_has_no_right_or_wrong_token(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    outcome = Outcome(None, flagged_tokens=("the", "cf"))
    assert measure_flags(outcome, build_trial(()), tokenizer)["detection"]["tokens"] == {
        "flagged": 2
    }


def test_every_flag_on_clean_rows_is_a_false_alarm(tokenizer: PreTrainedTokenizerBase) -> None:
    outcome = Outcome(None, np.array([True, False, False, False]), ("the",))
    detection = measure_flags(outcome, build_trial(control=True), tokenizer)["detection"]
    assert (detection["rows"]["false_alarm_rate"], detection["rows"]["recall"]) == (0.25, None)
    assert detection["tokens"]["false_alarm_rate"] == 0.25  # of the, film, dull, cf
    assert detection["tokens"]["recall"] is None
