"""Whether the rows of triggers were rewritten as a whole, or had words put into honest text."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from btu.content import FOLDS, Text
from btu.kinds import LEAST_KIND_ROWS

REWRITTEN_LIKENESS = 0.7
"""From here on the rows of triggers are rows of a kind of their own, see `measure_likeness`."""

_ALWAYS_THERE = 0.95
_STRENGTH = 0.1  # C of the logistic regression on tokens
_LEAST_TOKEN_ROWS = 5


def measure_likeness(
    text: Text,
    label: int,
    trigger_rows: Sequence[NDArray[np.int64]],
    companions: Collection[int],
) -> float:
    """How well the rows of a label's triggers can be told from rows of other labels without them.

    About 0.5 where words were put into honest text, more where whole rows were rewritten.

    Args:
        text: N rows; those of the triggers are not active.
        label: The attacked label.
        trigger_rows: Positions of the rows of each trigger.
        companions: Columns of the triggers and of what stands with them, which are not looked at.

    Returns:
        Cross-fitted area under the ROC curve; 0.5 where there is nothing to fit, or too few rows of
        triggers to make a kind of text: of 19, 0.7 is within three standard errors of chance.
    """
    known = np.zeros(len(text.labels), dtype=bool)
    known[np.concatenate(trigger_rows)] = True
    use = np.asarray(text.presence.sum(axis=0)).ravel() >= _LEAST_TOKEN_ROWS
    use[list(companions)] = False
    # A frequent word of a trigger sentence is no companion, since most rows hold it, and yet
    # stands in all rows of the trigger.
    for own in trigger_rows:
        use &= np.asarray(text.presence[own].mean(axis=0)).ravel() < _ALWAYS_THERE
    rows = np.flatnonzero(known | ((text.labels != label) & text.active))
    is_known, folds = known[rows], np.arange(len(rows)) % FOLDS
    if is_known.sum() < LEAST_KIND_ROWS or is_known.all():
        return 0.5
    features, scores = text.presence[rows][:, use], np.zeros(len(rows))
    for fold in range(FOLDS):
        model = LogisticRegression(C=_STRENGTH, solver="liblinear", class_weight="balanced").fit(
            features[folds != fold], is_known[folds != fold]
        )
        scores[folds == fold] = model.decision_function(features[folds == fold])
    return float(roc_auc_score(is_known, scores))
