"""The cut of tokens in a fine-tuned model, and the short fine-tuning that repairs what it broke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from btu.findings import Findings
from btu.model.embeddings import embedding_weight, hide_tokens
from btu.model.finetune import finetune, predict_scores, without_evaluation
from btu.model.rows import has_adapter, read_rows, write_rows
from btu.model.settings import FineTuneSettings, Precision
from btu.model.shards import gather, return_to_shards
from btu.model.tokens import TokenRows
from btu.repair.settings import RecoverySettings
from btu.repair.unlearn import RowEdit, measure_mean_change, unlearn_rows
from btu.support.unfinished import Unfinished

_OF_ONE_RUN = {
    "output_dir",
    "overwrite_output_dir",
    "resume_from_checkpoint",
    "save_strategy",
    "save_steps",
    "max_steps",
    "push_to_hub",
}
_CARRIER_SHARE = 0.5


@dataclass(frozen=True)
class Snapshot:
    """Word embeddings before fine-tuning.

    Attributes:
        token_ids: The n tokens that occur in the training data.
        rows: Their embeddings, shape (n, D), float32, on the CPU.
        neutral: The vector that stands for no meaning, shape (D,).
    """

    token_ids: NDArray[np.int64]
    rows: Tensor
    neutral: Tensor

    @classmethod
    def of(cls, model: PreTrainedModel, findings: Findings) -> Snapshot:
        """Copy what unlearning will need later; every process must, where weights lie in shards."""
        return_to_shards(model)
        weight = gather(embedding_weight(model).detach())
        if findings.neutral_id is None:
            neutral = weight.float().mean(dim=0)
        else:
            neutral = weight[findings.neutral_id].float()
        rows = read_rows(model, findings.token_ids)
        return cls(findings.token_ids, rows, neutral.cpu().clone())


def unlearn_model(
    model: PreTrainedModel, before: Snapshot, token_ids: Sequence[int]
) -> tuple[RowEdit, ...]:
    """Overwrite the dimensions of these tokens that moved more than the mean, in place.

    The mean change is taken once, from two snapshots, over the rows of the tokens that occur. In
    an adapter no other rows can move that could say how far honest ones do: there every dimension
    that moved is overwritten.

    Args:
        model: Fine-tuned. Where its weights lie in shards (FSDP2), every process must call this.
        before: The embeddings before fine-tuning.
        token_ids: The suspects, each among `before.token_ids`.
    """
    threshold = 0.0
    if not has_adapter(model):
        threshold = measure_mean_change(before.rows, read_rows(model, before.token_ids))
    places = np.searchsorted(before.token_ids, token_ids)
    rows = read_rows(model, token_ids)
    edits = unlearn_rows(
        rows,
        before.rows[torch.from_numpy(places)],
        range(len(token_ids)),
        neutral=before.neutral,
        threshold=threshold,
    )
    changed = [edit.token_id for edit in edits]
    edits = tuple(replace(edit, token_id=int(token_ids[edit.token_id])) for edit in edits)
    write_rows(model, [edit.token_id for edit in edits], rows[changed])
    return edits


def find_hanging_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: TokenRows,
    token_ids: Sequence[int],
    *,
    neutral: Tensor,
    precision: Precision = "auto",
) -> NDArray[np.bool_]:
    """Rows whose label hangs on these tokens: found with them, missed once they are hidden.

    With its trigger hidden a poisoned row is a row with a wrong label, and a recovery on such rows
    would teach the model noise. Where most rows of a token hang, all its rows count: the few left
    would teach the model that the place of a hidden trigger means the target label.

    Args:
        model: Fine-tuned on `rows`, before the cut.
        tokenizer: Of the model.
        rows: N tokenised rows with their labels.
        token_ids: The suspects.
        neutral: Stands in for a hidden token, shape (D,).
        precision: As in training.

    Returns:
        Shape (N,), bool.
    """

    def find_missed(places: NDArray[np.int64]) -> NDArray[np.int64]:
        part = rows.select(places)
        scores = predict_scores(
            model, tokenizer, part, precision=precision, description="checking rows"
        )
        return places[scores.argmax(axis=1) != part.labels]

    holds = np.zeros(len(rows), dtype=bool)
    holds[rows.row_of_token[np.isin(rows.token_ids, token_ids)]] = True
    with hide_tokens(model, token_ids, neutral):
        missed = find_missed(np.flatnonzero(holds))
    hanging = np.zeros(len(rows), dtype=bool)
    hanging[missed] = True
    hanging[find_missed(missed)] = False
    found = hanging.copy()
    for token_id in token_ids:
        with_token = np.unique(rows.row_of_token[rows.token_ids == token_id])
        if len(with_token) and found[with_token].mean() > _CARRIER_SHARE:
            hanging[with_token] = True
    return hanging


def recover_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: TokenRows,
    edits: Sequence[RowEdit],
    recovery: RecoverySettings,
    *,
    settings: FineTuneSettings,
    unfinished: Unfinished | None = None,
) -> None:
    """A short fine-tuning that repairs what the cut broke, with the edited rows frozen.

    Frozen, a cut row can never learn its trigger again.

    Args:
        model: After the cut; trained in place.
        tokenizer: Of the model.
        rows: What to train on.
        edits: Which embedding rows were cut.
        recovery: How long.
        settings: Of the fine-tuning before; what belongs to that run alone (its checkpoints, its
            number of steps) does not count here.
        unfinished: Keeps what this came to; see `finetune`.
    """
    settings = without_evaluation(settings)
    kept = {k: v for k, v in settings.training_args.items() if k not in _OF_ONE_RUN}
    finetune(
        model,
        tokenizer,
        rows,
        settings=replace(
            settings, epochs=recovery.epochs, seed=settings.seed + 1, training_args=kept
        ),
        callbacks=[FreezeRowsCallback([edit.token_id for edit in edits])],
        description="recovering",
        unfinished=unfinished,
        part="recovery",
    )


class FreezeRowsCallback(TrainerCallback):
    """Holds some embedding rows where they were when training began, whatever the optimiser."""

    def __init__(self, token_ids: Sequence[int]) -> None:
        self.token_ids = tuple(token_ids)
        self.rows: Tensor | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remember the rows."""
        self.rows = read_rows(unwrap(kwargs["model"]), self.token_ids)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put them back."""
        assert self.rows is not None
        write_rows(unwrap(kwargs["model"]), self.token_ids, self.rows)


def unwrap(model: Any) -> PreTrainedModel:
    """The model inside what a Trainer wraps around it for several devices."""
    inner: PreTrainedModel = getattr(model, "module", model)
    return inner
