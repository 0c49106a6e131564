"""The tests for conflict on tokens that cannot be triggers: what they call one is a false alarm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from btu.content import Text
from btu.evidence import find_evidence
from btu.settings import EvidenceSettings


@dataclass(frozen=True)
class Control:
    """The tests for conflict on the same text, every tested token innocent by construction.

    The tokens are dealt anew among the rows of each label, rows judged poisoned left out: they
    keep how often they stand under each label and lose every tie to the rest of the text.

    Attributes:
        tokens: Dealt anew and tested.
        triggers: Called triggers all the same.
        suspects: Called suspects all the same.
    """

    tokens: int
    triggers: int
    suspects: int


def measure_control(
    presence: csr_matrix,
    labels: NDArray[np.int64],
    *,
    num_labels: int,
    flagged: NDArray[np.bool_],
    states: NDArray[np.floating] | None = None,
    settings: EvidenceSettings | None = None,
    seed: int = 0,
) -> Control:
    """Test tokens that cannot be triggers: what the tests still call one is a false alarm.

    It says whether the tests hold on this text; it does not say how often honest words that stand
    in odd rows are called triggers, which only clean data of the same kind can. Purity is not
    tested: a word of one label alone, dealt anew, is what clean-label poison is.

    Args:
        presence: As in `find_evidence`.
        labels: Label ids, shape (N,).
        num_labels: K.
        flagged: Rows judged poisoned, shape (N,); they are left out.
        states: As in `find_evidence`.
        settings: The ones that the verdicts were made with.
        seed: Of the dealing.
    """
    settings, kept = settings or EvidenceSettings(), ~flagged
    own, rng = labels[kept], np.random.default_rng(seed)
    columns = presence[kept].tocsc()
    text = Text(csr_matrix(columns), None, own, num_labels, np.ones(len(own), dtype=bool))
    counts, _ = text.measure_lift()
    stands_out = np.asarray(
        text.find_outstanding(settings.least_rows, settings.least_lift).any(axis=1)
    )
    rows_of = [np.flatnonzero(own == c) for c in range(num_labels)]
    rows, places = [], []
    for column in np.flatnonzero(stands_out).tolist():
        for c in range(num_labels):
            rows.append(rng.permutation(rows_of[c])[: int(counts[column, c])])
            places.append(np.full(len(rows[-1]), column))
    dealt = columns[:, np.flatnonzero(~stands_out)].tocoo()
    rows.append(dealt.row)
    places.append(np.flatnonzero(~stands_out)[dealt.col])
    index = (np.concatenate(rows), np.concatenate(places))
    anew = csr_matrix((np.ones(len(index[0]), dtype=np.float32), index), shape=columns.shape)
    evidence = find_evidence(
        anew,
        own,
        num_labels=num_labels,
        states=None if states is None else states[kept],
        settings=settings,
    )
    verdicts = [t.verdict for t in evidence.tests if stands_out[t.column]]
    return Control(int(stands_out.sum()), verdicts.count("trigger"), verdicts.count("suspect"))
