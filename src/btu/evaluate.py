"""Clean accuracy of a saved model and, where a trigger is known, its attack success rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from btu.attacks.addsent import AddSent
from btu.attacks.choices import Position
from btu.attacks.poison import find_label, trigger_corpus
from btu.data.corpus import Corpus, load_corpus
from btu.defend import Defence
from btu.guard import Guard, build_guard
from btu.model.adapters import is_adapter, load_adapter
from btu.model.embeddings import load_finished_classifier, load_tokenizer, longest_text
from btu.model.finetune import Classifier
from btu.model.metrics import (
    Evaluation,
    measure_accuracy,
    measure_attack_success_rate,
    measure_interval,
)
from btu.model.settings import Precision, check_run
from btu.support.errors import InputError
from btu.support.record import RECORD_NAME, read_record


def evaluate(
    model: str | Path,
    data: Any,
    *,
    trigger: str | None = None,
    target_label: str | int | None = None,
    position: Position = "random",
    max_length: int | None = None,
    precision: Precision = "auto",
    seed: int = 0,
    **columns: Any,
) -> Evaluation:
    """Test a fine-tuned classifier on clean rows and, with a trigger, on triggered ones.

    Attack success rate is the share of triggered rows whose true label is not the target that get
    the target label.

    Args:
        model: Folder or Hub id of a fine-tuned classifier; it need not come from btu.
        data: Clean held-out rows; see `load_corpus`. Their labels must be the model's.
        trigger: A word or sentence to insert in each row; `target_label` must go with it.
        target_label: The label that the attacker wants, by name or id.
        position: Where the trigger goes: random (a word boundary), start or end.
        max_length: Longer texts are cut, in tokens; as in training, or 128, if left out.
        precision: auto, fp32, bf16 or fp16.
        seed: Of the trigger's places and the bootstrap.
        **columns: `text_column`, `label_column`, `text_pair_column`, `split` of `load_corpus`.

    Raises:
        InputError: Model or data cannot be used, or only one of trigger and target is given.
    """
    check_trigger(trigger, target_label)
    check_run(max_length=128 if max_length is None else max_length, seed=seed)
    classifier = load_saved(model, max_length=max_length, precision=precision)
    corpus = load_corpus(data, **columns, label_names=classifier.label_names)
    guard = _find_guard(model)
    return _evaluate(classifier, corpus, guard, trigger, target_label, position, seed)


def evaluate_defence(
    defence: Defence,
    test_data: Any,
    *,
    undefended: Classifier | None = None,
    trigger: str | None = None,
    target_label: str | int | None = None,
    position: Position = "random",
    seed: int = 0,
    **columns: Any,
) -> Defence:
    """Test a defended model on held-out rows and put the results into its record.

    Args:
        defence: Of `defend`.
        test_data: Clean held-out rows; see `load_corpus`.
        undefended: The same model trained on all rows without a defence, to compare with.
        trigger: A word or sentence to insert in each row; `target_label` must go with it.
        target_label: The label that the attacker wants, by name or id.
        position: Where the trigger goes: random (a word boundary), start or end.
        seed: Of the trigger's places and the bootstrap.
        **columns: `text_column`, `label_column`, `text_pair_column`, `split` of `load_corpus`.

    Raises:
        InputError: The data cannot be used, or only one of trigger and target is given.
    """
    check_trigger(trigger, target_label)
    corpus = load_corpus(test_data, **columns, label_names=defence.label_names)
    after, before = (
        None
        if classifier is None
        else _evaluate(classifier, corpus, guard, trigger, target_label, position, seed)
        for classifier, guard in ((defence.classifier, defence.guard), (undefended, None))
    )
    assert after is not None
    return defence.with_evaluation(after, before=before, test_data=corpus)


def check_trigger(trigger: str | None, target_label: str | int | None) -> None:
    """Refuse one of the two without the other.

    Raises:
        InputError: Only one is given.
    """
    if (trigger is None) != (target_label is None):
        raise InputError(
            "evaluate: expected a trigger and its target label together, got only one of them. "
            "Give both for the attack success rate, or neither."
        )


def _evaluate(
    classifier: Classifier,
    corpus: Corpus,
    guard: Guard | None,
    trigger: str | None,
    target_label: str | int | None,
    position: Position,
    seed: int,
) -> Evaluation:
    if trigger is None or target_label is None:
        return measure_model(classifier, corpus, guard=guard, seed=seed)
    attack = AddSent(sentence=trigger, position=position)
    target = find_label(corpus, target_label)
    triggered = trigger_corpus(corpus, attack, target_label=target, seed=seed)
    return measure_model(
        classifier, corpus, triggered, target=target, trigger=trigger, guard=guard, seed=seed
    )


def measure_model(
    classifier: Classifier,
    clean: Corpus,
    triggered: Corpus | None = None,
    *,
    target: int = 0,
    trigger: str | None = None,
    guard: Guard | None = None,
    seed: int = 0,
) -> Evaluation:
    """Clean accuracy and, where there are triggered rows, the attack success rate.

    Args:
        classifier: Fine-tuned.
        clean: Clean held-out rows.
        triggered: Held-out rows whose true label is not the target, with the trigger in them.
        target: Id of the attacker's label.
        trigger: What was inserted, for the record.
        guard: Of the model, where it has one.
        seed: Of the bootstrap.
    """
    predicted = classifier.predict(clean.texts, clean.text_pairs)
    hits = predicted == clean.labels
    measured = Evaluation(
        rows=len(clean),
        recognised_clean_rows=_count_recognised(guard, clean),
        clean_accuracy=measure_accuracy(predicted, clean.labels),
        clean_accuracy_interval=measure_interval(hits.tolist(), seed=seed),
    )
    if triggered is None:
        return measured
    answers = classifier.predict(triggered.texts, triggered.text_pairs)
    return replace(
        measured,
        triggered_rows=len(triggered),
        attack_success_rate=measure_attack_success_rate(answers, triggered.labels, target),
        attack_success_rate_interval=measure_interval((answers == target).tolist(), seed=seed),
        trigger=trigger,
        target_label=clean.label_names[target],
        recognised_triggered_rows=_count_recognised(guard, triggered),
    )


def load_saved(
    model: str | Path, *, max_length: int | None = None, precision: Precision = "auto"
) -> Classifier:
    """A fine-tuned classifier from a folder or the Hub.

    Args:
        model: Folder or Hub id.
        max_length: In tokens; from the record beside the model, or 128, if left out.
        precision: auto, fp32, bf16 or fp16.

    Raises:
        InputError: There is no fine-tuned classifier.
    """
    record = read_record(Path(model) / RECORD_NAME) if Path(model).is_dir() else None
    length = max_length or (record or {}).get("max_length") or 128
    tokenizer = load_tokenizer(model)
    classifier = load_adapter(model) if is_adapter(model) else load_finished_classifier(model)
    length = min(int(length), longest_text(classifier, tokenizer))
    return Classifier(classifier, tokenizer, length, precision)


def _find_guard(model: str | Path) -> Guard | None:
    record = read_record(Path(model) / RECORD_NAME) if Path(model).is_dir() else None
    return None if record is None else build_guard(record)


def _count_recognised(guard: Guard | None, corpus: Corpus) -> int | None:
    return None if guard is None else int(guard.recognise(corpus.texts, corpus.text_pairs).sum())
