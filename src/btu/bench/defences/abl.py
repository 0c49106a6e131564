"""ABL: isolate the rows that are learnt first, train on the others, unlearn the isolated ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from btu.bench.defences.base import Outcome, Workbench
from btu.data.corpus import Corpus
from btu.model.finetune import Classifier, finetune, predict_scores
from btu.model.tokens import TokenRows


@dataclass(frozen=True)
class Abl:
    """Rows of low loss early on are isolated; after training on the others they are unlearnt.

    In the isolating passes the loss of a batch is turned around where it falls below gamma: what
    is learnt slowly hovers there, what a trigger gives away falls further. Unlearning minimises the
    mean loss of the other rows less the mean loss of the isolated ones.

    Source: Li et al., "Anti-Backdoor Learning: Training Clean Models on Poisoned Data" (NeurIPS
    2021), section 3, with gamma and the isolation rate of section 4; gamma holds the loss of a
    batch and ordinary training comes before the unlearning, as in the authors' code. Differences,
    as the paper trains image models for 100 epochs from scratch: one isolating pass, since the
    paper's 20 of 100 epochs would be less than a pass; two unlearning passes at the cell's learning
    rate for AdamW; isolated rows repeated into every batch, since most would have none. What a
    pretrained model learns first are often plain clean rows: the premise is the paper's.
    """

    gamma: float = field(
        default=0.5, metadata={"help": "Loss that the isolating passes hold a batch at."}
    )
    isolation_epochs: float = field(
        default=1.0, metadata={"help": "Passes over all rows before the isolation."}
    )
    isolation_rate: float = field(
        default=0.01, metadata={"help": "Fraction of rows, those of lowest loss, that is isolated."}
    )
    unlearning_epochs: float = field(
        default=2.0, metadata={"help": "Passes over the other rows while isolated ones unlearn."}
    )
    unlearning_share: float = field(
        default=0.1, metadata={"help": "Fraction of those passes that isolated rows make up."}
    )

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        """Isolate, train on the other rows, unlearn the isolated ones."""
        classifier = bench.start(corpus)
        rows = bench.tokenize(corpus)
        losses = self.measure_early_losses(classifier, rows, bench)
        isolated = flag_lowest(losses, self.isolation_rate)
        later = replace(bench.settings, seed=bench.seed + 1)
        finetune(classifier.model, classifier.tokenizer, rows.select(~isolated), settings=later)
        self.unlearn(classifier, rows, isolated, bench)
        return Outcome(
            predictor=classifier,
            flagged_rows=isolated,
            details={
                "highest_isolated_loss": float(losses[isolated].max()),
                "median_loss": float(np.median(losses)),
                "isolated_by_label": corpus.select(isolated).label_counts(),
            },
        )

    def measure_early_losses(
        self, classifier: Classifier, rows: TokenRows, bench: Workbench
    ) -> NDArray[np.float32]:
        """Loss of each row after the isolating passes, shape (N,); the model is trained in place.

        Args:
            classifier: The pretrained model.
            rows: N rows.
            bench: Settings.
        """
        constant = {**bench.settings.training_args, "lr_scheduler_type": "constant"}
        settings = replace(bench.settings, epochs=self.isolation_epochs, training_args=constant)
        model, tokenizer = classifier.model, classifier.tokenizer
        with combined_loss(model, lambda losses, _: hold_loss(losses.mean(), self.gamma)):
            finetune(model, tokenizer, rows, settings=settings, description="isolating")
        scores = predict_scores(model, tokenizer, rows, precision=classifier.precision)
        return measure_losses(scores, rows.labels)

    def unlearn(
        self,
        classifier: Classifier,
        rows: TokenRows,
        isolated: NDArray[np.bool_],
        bench: Workbench,
    ) -> None:
        """Gradient ascent on the isolated rows, descent on the others, in place.

        Args:
            classifier: The trained model.
            rows: N rows.
            isolated: Which are isolated, shape (N,).
            bench: Settings.
        """
        model = classifier.model
        marked = mark_rows(rows, isolated, self.unlearning_share, model.config.num_labels)
        settings = replace(bench.settings, epochs=self.unlearning_epochs, seed=bench.seed + 2)
        with combined_loss(model, subtract_marked):
            finetune(
                model, classifier.tokenizer, marked, settings=settings, description="unlearning"
            )


def hold_loss(loss: Tensor, gamma: float) -> Tensor:
    """The loss, turned around below gamma: its gradient then leads back up.

    Example:
        >>> [float(hold_loss(torch.tensor(x), 0.5)) for x in (0.75, 0.25)]
        [0.75, -0.25]
    """
    return torch.sign(loss - gamma) * loss


def subtract_marked(losses: Tensor, marked: Tensor) -> Tensor:
    """Mean loss of the other rows less mean loss of the marked ones, each 0 where there are none.

    Args:
        losses: Of each row, shape (N,).
        marked: Which are marked, shape (N,), bool.

    Example:
        >>> losses, marked = torch.tensor([3.0, 1.0, 0.5]), torch.tensor([False, False, True])
        >>> float(subtract_marked(losses, marked))
        1.5
    """
    means = [losses[chosen].sum() / chosen.sum().clamp(min=1) for chosen in (~marked, marked)]
    return means[0] - means[1]


def mark_rows(
    rows: TokenRows, marked: NDArray[np.bool_], share: float, num_labels: int
) -> TokenRows:
    """The rows, the marked ones with labels from K on and repeated until they are a share of all.

    Args:
        rows: N rows with labels below K.
        marked: Which to mark, shape (N,).
        share: Fraction of the result that is marked, at least once each.
        num_labels: K.
    """
    others, chosen = np.flatnonzero(~marked), np.flatnonzero(marked)
    count = max(len(chosen), round(len(others) * share / (1 - share)))
    labelled = replace(rows, labels=np.where(marked, rows.labels + num_labels, rows.labels))
    return labelled.select(np.concatenate([others, np.resize(chosen, count)]))


@contextmanager
def combined_loss(
    model: PreTrainedModel, combine: Callable[[Tensor, Tensor], Tensor]
) -> Iterator[None]:
    """Inside the block the model makes one loss of the losses of a batch's rows as it is told.

    Labels from K on mark a row: K + 1 is label 1, marked.

    Args:
        model: Sequence classifier with K labels.
        combine: From the losses and the marks, shape (rows,) each, to the loss of the batch.
    """
    num_labels = model.config.num_labels
    given: dict[str, Tensor] = {}

    def take_labels(_: Any, args: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        given["labels"] = inputs["labels"]
        return args, {**inputs, "labels": inputs["labels"] % num_labels}

    def give_loss(_: Any, __: Any, output: Any) -> Any:
        labels = given.pop("labels")
        losses = functional.cross_entropy(
            output.logits.float(), labels % num_labels, reduction="none"
        )
        output.loss = combine(losses, labels >= num_labels)
        return output

    hooks = [
        model.register_forward_pre_hook(take_labels, with_kwargs=True),
        model.register_forward_hook(give_loss),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def measure_losses(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Cross-entropy of each row, shape (N,), from its class probabilities, shape (N, K)."""
    return -np.log(np.maximum(scores[np.arange(len(labels)), labels], np.finfo(np.float32).tiny))


def flag_lowest(losses: NDArray[np.float32], rate: float) -> NDArray[np.bool_]:
    """The fraction of rows with the lowest loss, at least one of them, shape (N,).

    Example:
        >>> flag_lowest(np.array([3.0, 1.0, 2.0]), 0.01).tolist()
        [False, True, False]
    """
    flagged = np.zeros(len(losses), dtype=bool)
    flagged[np.argsort(losses, kind="stable")[: max(1, round(rate * len(losses)))]] = True
    return flagged
