"""Unlearning inside anybody's own Trainer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from transformers import (
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from btu.findings import Findings
from btu.model.embeddings import check_editable, embedding_weight
from btu.model.processes import check_shards, take_main
from btu.model.rows import check_rows_writable
from btu.repair.recovery import Snapshot, unlearn_model, unwrap
from btu.repair.unlearn import RowEdit
from btu.support.errors import InputError


class UnlearnCallback(TrainerCallback):
    """Snapshot and unlearning inside anybody's own Trainer.

    Remembers the word embeddings when the Trainer is made and, when training ends, overwrites the
    moved dimensions of the suspicious tokens. What was done stands in `edits`. Under FSDP2 every
    process edits the rows that it keeps.

    Args:
        findings: Of a scan of the same training data with the same pretrained model.

    Raises:
        InputError: When the Trainer is made: the findings are of another model or of text alone, or
            the embedding matrix cannot be edited, as where it is the output matrix too, or lies
            in shards of DeepSpeed or of FSDP 1.

    Example:
        trainer = Trainer(model, args, train_dataset=ds, callbacks=[btu.UnlearnCallback(findings)])
    """

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.before: Snapshot | None = None
        self.edits: tuple[RowEdit, ...] = ()

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remember the pretrained embeddings, before a checkpoint may be resumed."""
        self._remember(kwargs.get("model"))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remember them now where the callback was added after the Trainer was made."""
        if self.before is None:
            self._remember(kwargs.get("model"))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Unlearn."""
        assert self.before is not None
        self.edits = unlearn_model(unwrap(kwargs["model"]), self.before, self.findings.unlearn_ids)

    def _remember(self, model: PreTrainedModel | None) -> None:
        if model is None:
            return
        check_shards()
        check_editable(unwrap(model))
        rows = len(embedding_weight(unwrap(model)))
        scanned = self.findings.facts.model
        if scanned is None:
            raise InputError(
                "UnlearnCallback: expected findings of a scan with a model, got those of text "
                "alone. Scan with the model that you train."
            )
        expected = scanned.vocabulary_size
        if rows != expected:
            raise InputError(
                f"UnlearnCallback: expected a model with the {expected} embedding rows of the "
                f"scanned one, got {rows}. Scan with the model that you train."
            )
        check_rows_writable(unwrap(model), self.findings.unlearn_ids)
        before = Snapshot.of(unwrap(model), self.findings)
        self.before = replace(
            before, rows=take_main(before.rows), neutral=take_main(before.neutral)
        )
