"""What a defence did, against the truth: accuracy, attack success, detection of rows and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from btu.bench.defences import REFUSED, Outcome
from btu.bench.defences.language_models import BigramModel
from btu.bench.trial import Trial
from btu.model.metrics import (
    Detection,
    measure_accuracy,
    measure_attack_success_rate,
    measure_detection,
)


def measure_predictions(
    trial: Trial, clean: NDArray[np.int64], triggered: NDArray[np.int64] | None
) -> dict[str, Any]:
    """Clean accuracy and attack success rate, fractions in [0, 1].

    An input that the defence refused counts as a wrong answer on a clean row, and as no success of
    the attack on a triggered one.

    Args:
        trial: Has the true labels.
        clean: Answers on the clean test rows.
        triggered: Answers on the triggered ones; None in the clean control.
    """
    measured: dict[str, Any] = {
        "clean_accuracy": measure_accuracy(clean, trial.test.labels),
        "test_rows": len(clean),
        "refused_clean_rows": int((clean == REFUSED).sum()),
        "attack_success_rate": None,
        "triggered_rows": 0,
        "refused_triggered_rows": 0,
    }
    if triggered is not None and trial.triggered is not None and trial.target is not None:
        measured |= {
            "attack_success_rate": measure_attack_success_rate(
                triggered, trial.triggered.labels, trial.target
            ),
            "triggered_rows": len(triggered),
            "refused_triggered_rows": int((triggered == REFUSED).sum()),
        }
    return measured


def measure_stealth(trial: Trial) -> dict[str, Any] | None:
    """How much more surprising the trigger makes a text.

    Args:
        trial: Has test rows as they are and with the trigger.

    Returns:
        The median over the triggered test rows of perplexity with the trigger divided by perplexity
        without, by pairs of neighbouring words counted in the held-out clean rows; None where
        nothing is triggered or counted.
    """
    if trial.triggered is None or not len(trial.triggered) or not len(trial.clean):
        return None
    model = BigramModel(trial.clean.texts)
    originals = dict(zip(trial.test.row_ids.tolist(), trial.test.texts, strict=True))
    before = model.measure_perplexity([originals[i] for i in trial.triggered.row_ids.tolist()])
    after = model.measure_perplexity(trial.triggered.texts)
    return {
        "language_model": "pairs of words in the held-out clean rows",
        "perplexity_ratio": float(np.median(after / before)),
    }


def measure_flags(
    outcome: Outcome, trial: Trial, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """The rows and tokens that were flagged, and how well they match the truth."""
    rows, tokens = outcome.flagged_rows, outcome.flagged_tokens
    detection = {
        "rows": None if rows is None else describe(measure_detection(rows, trial.is_poisoned)),
        "tokens": None if tokens is None else measure_tokens(tokens, trial, tokenizer),
    }
    return {
        "flagged_row_ids": None if rows is None else trial.train.row_ids[rows].tolist(),
        "flagged_tokens": None if tokens is None else list(tokens),
        "detection": detection,
    }


def measure_tokens(
    flagged: Sequence[str], trial: Trial, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """How well the flagged tokens match the trigger's word pieces.

    A defence may flag tokens or words. Precision is the share of its flags that are trigger
    tokens; recall is the share of the trigger's word pieces that some flag covers; a false alarm
    is a flag that is none, out of all other tokens of the training rows. Where an attack has no
    fixed trigger text (syntax, style) no token is right or wrong: only the count is told.

    Args:
        flagged: Tokens or words.
        trial: Has the trigger texts and the training rows.
        tokenizer: Of the model.
    """
    names = list(dict.fromkeys(flagged))
    pieces = find_trigger_pieces(trial.trigger_texts, tokenizer)
    used = count_tokens(trial.train.texts, tokenizer)
    if trial.target is not None and not pieces:
        return {"flagged": len(names)}
    right = [is_trigger_token(name, pieces, tokenizer) for name in names]
    covered = {piece for name in names for piece in {name, *tokenizer.tokenize(name)}} & pieces
    wrong, others = len(names) - sum(right), used - len(pieces)
    return {
        "flagged": len(names),
        "hits": sum(right),
        "trigger_tokens": sorted(pieces),
        "precision": sum(right) / len(names) if names else None,
        "recall": len(covered) / len(pieces) if pieces else None,
        "false_alarm_rate": wrong / others if others > 0 else None,
    }


def find_trigger_pieces(
    trigger_texts: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> frozenset[str]:
    """The tokens that the model reads where a trigger stands, special tokens left out.

    Byte-level tokenizers read a word in another way at the start of a text than after a space;
    both readings count.
    """
    spellings = [s for text in trigger_texts for s in (text, f" {text}")]
    pieces = {piece for text in spellings for piece in tokenizer.tokenize(text)}
    return frozenset(pieces - set(tokenizer.all_special_tokens))


def is_trigger_token(
    token: str, pieces: frozenset[str], tokenizer: PreTrainedTokenizerBase
) -> bool:
    """Whether a token is one of the trigger's pieces, or a word that is made of them."""
    parts = set(tokenizer.tokenize(token))
    return token in pieces or (bool(parts) and parts <= pieces)


def count_tokens(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> int:
    """Different tokens in these texts, special tokens left out."""
    ids = {i for row in tokenizer(list(texts), add_special_tokens=False)["input_ids"] for i in row}
    return len(ids - set(tokenizer.all_special_ids))


def describe(detection: Detection) -> dict[str, Any]:
    """Counts and rates as JSON types."""
    return {
        "flagged": detection.flagged,
        "poisoned": detection.poisoned,
        "hits": detection.hits,
        "rows": detection.rows,
        "precision": detection.precision,
        "recall": detection.recall,
        "false_alarm_rate": detection.false_alarm_rate,
    }
