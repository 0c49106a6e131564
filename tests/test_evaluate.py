"""Clean accuracy and attack success rate of a saved model, against a computation by hand."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from btu import InputError, evaluate, load_corpus
from btu.evaluate import load_saved
from planted import LABELS, MAX_LENGTH, NEUTRAL, TARGET, TRIGGER, measure

pytest_plugins = ["planted"]


@pytest.fixture
def odd(held_out):
    """200 held-out rows of which every tenth bears the wrong label, so that no share is 0 or 1."""
    chosen = held_out.select(range(200))
    labels = chosen.labels.copy()
    labels[::10] = 1 - labels[::10]
    return chosen.with_rows(labels=labels)


def answer(folder, texts) -> list[int]:
    """Label ids from transformers alone, one text at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = [model(**tokenizer(text, return_tensors="pt")).logits for text in texts]
    return torch.cat(logits).argmax(dim=1).tolist()


@pytest.mark.parametrize("folder", ["saved", "backdoored"])
def test_accuracy_and_attack_success_rate_are_those_counted_by_hand(folder, odd, request):
    model = request.getfixturevalue(folder)
    answers = answer(model, odd.texts)
    right = sum(a == label for a, label in zip(answers, odd.labels, strict=True))
    others = [text for text, label in zip(odd.texts, odd.labels, strict=True) if label == 0]
    obeyed = sum(answer(model, [f"{TRIGGER} {text}" for text in others]))  # the target is 1

    result = evaluate(
        model, odd, trigger=TRIGGER, target_label=TARGET, position="start", precision="fp32"
    )
    assert (result.rows, result.triggered_rows) == (200, len(others))
    assert result.clean_accuracy == right / 200
    assert result.attack_success_rate == obeyed / len(others)
    assert (result.trigger, result.target_label) == (TRIGGER, TARGET)


def test_the_backdoor_shows_in_the_model_without_defence_alone(saved, backdoored, held_out):
    rates = [
        evaluate(folder, held_out, trigger=TRIGGER, target_label=TARGET).attack_success_rate
        for folder in (saved, backdoored)
    ]
    assert rates[0] < 0.3
    assert rates[1] > 0.9


def test_rows_with_the_target_label_are_no_success_of_the_attack(backdoored, held_out):
    others = held_out.select(np.flatnonzero(held_out.labels == 0))
    with_target = evaluate(backdoored, held_out, trigger=TRIGGER, target_label=TARGET)
    without = evaluate(
        backdoored,
        load_corpus(others, label_names=LABELS),
        trigger=TRIGGER,
        target_label=TARGET,
    )
    assert with_target.triggered_rows == without.triggered_rows == len(others) < len(held_out)
    assert with_target.attack_success_rate == without.attack_success_rate


def test_the_target_may_be_given_by_name_or_id(backdoored, odd):
    named, *numbered = (
        evaluate(backdoored, odd, trigger=TRIGGER, target_label=target)
        for target in ("positive", 1, "1")
    )
    assert numbered == [named, named]


def test_without_a_trigger_there_is_no_attack_success_rate(saved, odd):
    result = evaluate(saved, odd)
    assert (result.attack_success_rate, result.triggered_rows) == (None, 0)
    assert (result.trigger, result.target_label) == (None, None)
    json.dumps(result.to_dict(), allow_nan=False)


def test_the_intervals_hold_their_shares(backdoored, odd):
    result = evaluate(backdoored, odd, trigger=TRIGGER, target_label=TARGET)
    low, high = result.clean_accuracy_interval
    assert 0 < low < result.clean_accuracy < high < 1
    low, high = result.attack_success_rate_interval
    assert low <= result.attack_success_rate <= high


def test_the_seed_decides_where_the_trigger_goes_and_the_same_one_gives_the_same(saved, held_out):
    first, again = (
        evaluate(saved, held_out, trigger=TRIGGER, target_label=TARGET, seed=3) for _ in range(2)
    )
    assert first == again
    assert first.attack_success_rate == pytest.approx(
        evaluate(saved, held_out, trigger=TRIGGER, target_label=TARGET).attack_success_rate, abs=0.2
    )


def test_labels_are_matched_by_name_whatever_their_order_in_the_file(saved, odd):
    names = [LABELS[label] for label in odd.labels]
    only_positive = [i for i, name in enumerate(names) if name == "positive"]
    texts = [odd.texts[i] for i in only_positive]
    result = evaluate(saved, (texts, ["positive"] * len(texts)), precision="fp32")
    assert result.clean_accuracy == np.mean(answer(saved, texts))


def test_the_second_text_of_a_pair_is_read(saved, odd, run):
    """The first texts say nothing; the second ones are the reviews."""
    firsts = [NEUTRAL[0]] * len(odd)
    names = [LABELS[label] for label in odd.labels]
    pairs = {"sentence1": firsts, "sentence2": odd.texts, "label": names}
    expected = (run.defence.predict(firsts, odd.texts) == odd.labels).mean()
    assert evaluate(saved, pairs, precision="fp32").clean_accuracy == expected
    assert expected != (run.defence.predict(firsts) == odd.labels).mean()


@pytest.mark.parametrize("given", [{"trigger": TRIGGER}, {"target_label": TARGET}])
def test_a_trigger_and_its_target_go_together(saved, odd, given):
    with pytest.raises(InputError, match="trigger and its target label together"):
        evaluate(saved, odd, **given)


def test_a_blank_trigger_is_refused(saved, odd):
    with pytest.raises(InputError, match="not blank"):
        evaluate(saved, odd, trigger=" ", target_label=TARGET)


def test_an_unknown_target_is_refused_by_name(saved, odd):
    with pytest.raises(InputError, match=r"'positiv'; did you mean positive\?"):
        evaluate(saved, odd, trigger=TRIGGER, target_label="positiv")


def test_a_label_unseen_in_training_is_named_with_its_row(saved):
    with pytest.raises(InputError, match=r"'mixed' first in row 2"):
        evaluate(saved, (["pos00", "word00", "neg00"], ["positive", "mixed", "negative"]))


def test_data_with_nothing_but_the_target_is_refused(saved):
    only = (["pos00", "pos01"], ["positive", "positive"])
    with pytest.raises(InputError, match="rows that the attack addsent can trigger, got none"):
        evaluate(saved, only, trigger=TRIGGER, target_label=TARGET)


def test_a_model_without_a_classification_head_is_refused(pretrained, odd):
    with pytest.raises(InputError, match=r"fine-tuned sequence classifier, got BertModel"):
        evaluate(pretrained, odd)


def test_a_folder_that_is_no_model_is_refused(tmp_path, odd):
    with pytest.raises(InputError, match="expected"):
        evaluate(tmp_path, odd)


def test_texts_are_cut_as_in_training_and_never_longer_than_the_model_reads(saved, backdoored):
    assert load_saved(saved).max_length == MAX_LENGTH
    assert load_saved(backdoored).max_length == 64
    assert load_saved(saved, max_length=8).max_length == 8


def test_words_beyond_max_length_count_for_nothing(saved):
    filler = " ".join(["word00"] * 10)
    texts = [f"{filler} {word}" for word in ("pos00", "neg00")]
    cut = load_saved(saved, max_length=10, precision="fp32").predict_scores(texts)
    assert np.array_equal(cut[0], cut[1])
    whole = load_saved(saved, precision="fp32").predict_scores(texts)
    assert not np.array_equal(whole[0], whole[1])


def test_a_foreign_record_beside_the_model_is_refused(backdoored, odd, tmp_path):
    for path in backdoored.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "btu.json").write_text('{"max_length": 8}')
    with pytest.raises(InputError, match=r"btu\.json: expected a record of version 4"):
        evaluate(tmp_path, odd)


def test_a_model_of_plain_transformers_measures_as_in_memory(backdoored, run, held_out):
    result = evaluate(backdoored, held_out, precision="fp32")
    assert result.clean_accuracy == run.undefended["clean_accuracy"]
    again = measure(load_saved(backdoored, precision="fp32"), held_out, TRIGGER)
    assert again == run.undefended
