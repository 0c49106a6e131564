"""CUBE: poisoned rows form clusters of their own in the hidden states of the undefended model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA

from btu.bench.defences.base import Outcome, Workbench
from btu.bench.defences.filtering import finetune_without, measure_states
from btu.data.corpus import Corpus


@dataclass(frozen=True)
class Cube:
    """Of each label only the rows in its largest cluster train the model.

    All rows are clustered together by their hidden states; those that HDBSCAN leaves without a
    cluster count as one more cluster.

    Source: Cui et al., "A Unified Evaluation of Textual Backdoor Learning: Frameworks and
    Benchmarks" (NeurIPS 2022 Datasets and Benchmarks), section 5, with the settings of its toolkit
    OpenBackdoor. Differences: principal components instead of UMAP, which would be one more heavy
    dependency, to as many dimensions; the states are those of the cell's undefended model, not of
    a RoBERTa trained for 10 epochs.
    """

    components: int = field(
        default=10, metadata={"help": "Dimensions that the hidden states are reduced to."}
    )
    min_samples: int = field(
        default=100,
        metadata={"help": "Rows around a row, itself included, that make its surroundings dense."},
    )
    min_cluster_size: int = field(default=5, metadata={"help": "Rows in the smallest cluster."})

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        """Cluster, keep the largest cluster of each label, train on it."""
        states = measure_states(bench.undefended(), bench.tokenize(corpus))
        reducer = PCA(min(self.components, *states.shape), random_state=bench.seed)
        clusters = HDBSCAN(
            min_cluster_size=self.min_cluster_size,
            min_samples=min(self.min_samples, len(corpus)),
            copy=True,
        ).fit_predict(reducer.fit_transform(states))
        flagged = flag_minorities(clusters, corpus.labels)
        return Outcome(
            predictor=finetune_without(flagged, corpus, bench),
            flagged_rows=flagged,
            details={
                "rows_by_label_and_cluster": {
                    name: _count(clusters[corpus.labels == label])
                    for label, name in enumerate(corpus.label_names)
                },
                "explained_variance": float(reducer.explained_variance_ratio_.sum()),
            },
        )


def flag_minorities(clusters: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows outside the largest cluster of their label, shape (N,).

    Args:
        clusters: Cluster of each row, shape (N,); -1 for none, which counts as a cluster.
        labels: Label of each row, shape (N,).

    Example:
        >>> flag_minorities(np.array([0, 0, 1, 1, 1]), np.array([0, 0, 0, 1, 1])).tolist()
        [False, False, True, False, False]
    """
    flagged = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        bears = labels == label
        found, counts = np.unique(clusters[bears], return_counts=True)
        flagged |= bears & (clusters != found[counts.argmax()])
    return flagged


def _count(clusters: NDArray[np.int64]) -> dict[str, int]:
    found, counts = np.unique(clusters, return_counts=True)
    return dict(zip(map(str, found.tolist()), counts.tolist(), strict=True))
