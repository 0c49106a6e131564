"""What the rows of a label's triggers share beside the triggers, and the other rows that share it.

An attacker who rewrites whole rows leaves a trigger token in some of them only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from btu.content import FOLDS, Scale, Text, fit_content

_PATTERN_LIKENESS = 0.7
_ALWAYS_THERE = 0.95
_PATTERN_ALARMS = 0.1
_MOST_OF_A_PATTERN = 0.35
_SURE_PATTERN = 0.5
_PATTERN_ROUNDS = 4
_PATTERN_STRENGTH = 0.1
_LEAST_PATTERN_ROWS = 20
_LEAST_FEATURE_ROWS = 5


@dataclass(frozen=True)
class Pattern:
    """What the rows of a label's triggers share beside the triggers, and the other rows with it.

    Attributes:
        label: The label.
        likeness: How well the rows of its triggers can be told from rows of other labels by their
            other tokens, as the area under the ROC curve: about 0.5 where words were put into
            honest text, more where whole rows were rewritten.
        rows: Positions of further rows of the label that hold the pattern.
        row_scores: For each of them how far it stands above the rows of other labels, in [0, 1].
    """

    label: int
    likeness: float
    rows: NDArray[np.int64]
    row_scores: NDArray[np.float64]


def find_pattern(
    text: Text,
    contexts: csr_matrix,
    label: int,
    trigger_rows: Sequence[NDArray[np.int64]],
    companions: Collection[int],
) -> Pattern:
    """Further rows of a label that look like the rows of its triggers.

    A rewritten row holds a trigger token only where its template has one. What its kind shares is
    learned from the triggers' rows and from rows of the label whose text disagrees, against rows of
    other labels and rows of the label whose text agrees. The rows of other labels, which an
    attacker who relabels leaves alone, say how high an honest row scores.

    Args:
        text: N rows; those of the triggers are not active.
        contexts: Which row holds which pair of neighbouring tokens, shape (N, m).
        label: The attacked label.
        trigger_rows: Positions of the rows of each trigger.
        companions: Columns of the triggers and of what stands with them.
    """
    labels = text.labels
    known = np.zeros(len(labels), dtype=bool)
    for rows in trigger_rows:
        known[rows] = True
    likeness = _measure_likeness(text, known, label, trigger_rows, companions)
    none = np.zeros(0, dtype=np.int64)
    if likeness < _PATTERN_LIKENESS or known.sum() < _LEAST_PATTERN_ROWS:
        return Pattern(label, likeness, none, np.zeros(0))
    enough = np.asarray(text.presence.sum(axis=0)).ravel() >= _LEAST_FEATURE_ROWS
    features = hstack([text.presence[:, enough], contexts]).tocsr()
    others = labels != label
    open_rows = text.active & (labels == label) & ~known
    suspicion = np.zeros(len(labels))
    found = suspicion
    for _ in range(_PATTERN_ROUNDS):
        agreed = text.active & (suspicion < _SURE_PATTERN)
        bag, pooled = fit_content(text, text.active & ~agreed)
        margins = (bag if pooled is None else bag + pooled)[:, label]
        scale = Scale.of(margins, labels == label, agreed)
        agreement = (margins - scale.others) / max(scale.own - scale.others, 1e-9)
        conflict = expit(-8 * (agreement - 0.5))
        weights = 0.3 * conflict + 0.7 * suspicion if suspicion.any() else conflict
        scores = _fit_pattern(text, features, known, open_rows, weights, agreement, others)
        bar = float(np.quantile(scores[others & text.active], 1 - _PATTERN_ALARMS))
        spread = float(scores[open_rows].std()) + 1e-9
        suspicion = np.where(open_rows, expit(2 * (scores - bar) / spread), 0.0)
        if (suspicion > _SURE_PATTERN).sum() > _MOST_OF_A_PATTERN * open_rows.sum():
            break  # that is what the label itself looks like
        found = suspicion
    rows = np.flatnonzero(found > _SURE_PATTERN)
    return Pattern(label, likeness, rows, 2 * found[rows] - 1)


def _fit_pattern(
    text: Text,
    features: csr_matrix,
    known: NDArray[np.bool_],
    open_rows: NDArray[np.bool_],
    suspicion: NDArray[np.float64],
    agreement: NDArray[np.float64],
    others: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Cross-fitted score of every row: does it look like the suspicious ones and like no others?"""
    mine, theirs = np.flatnonzero(open_rows), np.flatnonzero(others & text.active)
    # Rows of other labels that read like them: the content itself must not be the pattern.
    theirs = theirs[agreement[theirs] < 0.5]
    sure = np.flatnonzero(known)
    rows = np.concatenate([mine, sure, theirs, mine])
    is_pattern = np.repeat([True, False], [len(mine) + len(sure), len(theirs) + len(mine)])
    total = suspicion[mine].sum() + len(sure)
    trust = 1 - suspicion[mine]
    weights = np.concatenate(
        [
            suspicion[mine],
            np.ones(len(sure)),
            np.full(len(theirs), total / max(1, len(theirs))),
            trust * total / max(trust.sum(), 1e-9),
        ]
    )
    folds, scores = text.folds(), np.zeros(len(text.labels))
    for fold in range(FOLDS):
        known_rows, unknown = folds[rows] != fold, folds == fold
        model = LogisticRegression(C=_PATTERN_STRENGTH, solver="liblinear").fit(
            features[rows[known_rows]], is_pattern[known_rows], sample_weight=weights[known_rows]
        )
        scores[unknown] = model.decision_function(features[unknown])
    return scores


def _measure_likeness(
    text: Text,
    known: NDArray[np.bool_],
    label: int,
    trigger_rows: Sequence[NDArray[np.int64]],
    companions: Collection[int],
) -> float:
    """Cross-fitted area under the ROC curve; 0.5 where there is nothing to fit."""
    use = np.asarray(text.presence.sum(axis=0)).ravel() >= _LEAST_FEATURE_ROWS
    use[list(companions)] = False
    # A frequent word of a trigger sentence is no companion, since most rows hold it, and yet
    # stands in all rows of the trigger.
    for own in trigger_rows:
        use &= np.asarray(text.presence[own].mean(axis=0)).ravel() < _ALWAYS_THERE
    rows = np.flatnonzero(known | ((text.labels != label) & text.active))
    is_known, folds = known[rows], np.arange(len(rows)) % FOLDS
    if is_known.sum() < FOLDS or is_known.all():
        return 0.5
    features, scores = text.presence[rows][:, use], np.zeros(len(rows))
    for fold in range(FOLDS):
        model = LogisticRegression(
            C=_PATTERN_STRENGTH, solver="liblinear", class_weight="balanced"
        ).fit(features[folds != fold], is_known[folds != fold])
        scores[folds == fold] = model.decision_function(features[folds == fold])
    return float(roc_auc_score(is_known, scores))
