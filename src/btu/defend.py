"""Conductor: findings, fine-tuning, unlearning, recovery; and the same for other Trainers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
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

from btu.corpus import Corpus, load_corpus
from btu.embeddings import embedding_weight, hash_weights, hide_tokens
from btu.errors import InputError
from btu.findings import Findings
from btu.finetune import Classifier, check_training_args, finetune, predict_scores
from btu.folders import replace_folder
from btu.guard import Guard, build_guard
from btu.metrics import Evaluation
from btu.report.record import RECORD_NAME, build_record, write_record
from btu.reviews import Review
from btu.scan import load_material, read_reviews, scan_material
from btu.settings import (
    Action,
    EvidenceSettings,
    FineTuneSettings,
    Precision,
    ProbeSettings,
    Recipe,
    RecoverySettings,
    check_action,
    check_recipe,
)
from btu.tokens import TokenRows, tokenize_corpus
from btu.unlearn import RowEdit, measure_mean_change, unlearn_rows

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
_HARDLY_ANY = 0.05


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
        """Copy what unlearning will need later."""
        weight = embedding_weight(model).detach()
        if findings.neutral_id is None:
            neutral = weight.float().mean(dim=0)
        else:
            neutral = weight[findings.neutral_id].float()
        return cls(findings.token_ids, _take(weight, findings.token_ids), neutral.cpu().clone())


@dataclass(frozen=True)
class Defence:
    """A clean model, and what was found and done on the way.

    Attributes:
        classifier: The defended model with its tokenizer.
        findings: What the scan found.
        edits: What was overwritten in the embeddings.
        record: All of it as JSON types.
    """

    classifier: Classifier
    findings: Findings
    edits: tuple[RowEdit, ...]
    record: Mapping[str, Any]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the label ids that `predict` gives."""
        return self.findings.label_names

    def predict(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None
    ) -> NDArray[np.int64]:
        """Label ids, shape (N,)."""
        return self.classifier.predict(texts, text_pairs)

    def predict_scores(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """Class probabilities, shape (N, K)."""
        return self.classifier.predict_scores(texts, text_pairs)

    def with_evaluation(
        self, after: Evaluation, *, before: Evaluation | None = None, test_data: Corpus
    ) -> Defence:
        """The same with held-out results in its record.

        Args:
            after: Of this model.
            before: Of the same model trained on all rows without a defence, where there is one.
            test_data: The clean rows that both were tested on.
        """
        evaluation = {
            "test_data": {
                "source": test_data.source,
                "sha256": test_data.fingerprint(),
                "rows": len(test_data),
            },
            "before": None if before is None else before.to_dict(),
            "after": after.to_dict(),
        }
        return replace(self, record={**self.record, "evaluation": evaluation})

    @property
    def guard(self) -> Guard:
        """Recognises texts that hold a confirmed trigger; it is saved with the model."""
        return build_guard(self.record, self.classifier.tokenizer)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write weights (safetensors), config, tokenizer and the record (`btu.json`).

        `AutoModelForSequenceClassification.from_pretrained` loads it without btu. The folder
        appears as a whole or not at all.

        Args:
            folder: New or empty.
            overwrite: Replace what is there.

        Returns:
            The folder.

        Raises:
            InputError: The folder is in use and `overwrite` is False.
        """
        with replace_folder(folder, overwrite=overwrite) as fresh:
            self.classifier.save(fresh)
            write_record(self.record, fresh / RECORD_NAME)
        return Path(folder)


def defend(
    model: str | Path,
    data: Any,
    *,
    clean_data: Any = None,
    recipe: Recipe = "verified",
    action: Action = "both",
    probe_settings: ProbeSettings | None = None,
    evidence_settings: EvidenceSettings | None = None,
    accept: str | Path | Sequence[Review] = (),
    settings: FineTuneSettings | None = None,
    recovery: RecoverySettings | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    **columns: Any,
) -> Defence:
    """Fine-tune a clean classifier on data that may be poisoned.

    Args:
        model: Folder or Hub id of a clean pretrained model.
        data: Training data that may be poisoned; see `load_corpus`.
        clean_data: Data known to be clean, for the recovery; its columns are named as those of
            `data`, its split is "train". Without it the recovery takes the training rows that were
            not judged poisoned, with the unlearned tokens hidden.
        recipe: Which method decides what is suspicious: `verified` or `paper`.
        action: What is done with it in the recipe `verified`. `drop` leaves the rows judged
            poisoned out of the fine-tuning, `unlearn` trains on all rows and cuts the triggers'
            embeddings afterwards, `both` leaves the rows out and cuts what moved all the same.
            Suspects are only reported. The recipe `paper` judges no rows: it always unlearns.
        probe_settings: Of the probes; they take their seed from `settings`.
        evidence_settings: How strict the evidence is, in the recipe `verified`.
        accept: Tokens that a reviewer accepted, or a file of them; see `scan`.
        settings: Of the fine-tuning.
        recovery: Of the short fine-tuning after the cut.
        callbacks: Of the Trainer in the ordinary fine-tuning.
        **columns: `text_column`, `label_column`, `text_pair_column`, `split` of `load_corpus`.

    Returns:
        The clean model with findings, edits and record.

    Raises:
        InputError: Data or model cannot be used.

    Source: Jiang et al., AAAI 2025; docs/how_it_works.md says where this differs.
    """
    check_recipe(recipe)
    check_action(action)
    settings, recovery = settings or FineTuneSettings(), recovery or RecoverySettings()
    check_training_args(settings)
    reviews = read_reviews(accept)
    material = load_material(
        model, data, max_length=settings.max_length, seed=settings.seed, **columns
    )
    settings = replace(settings, max_length=material.facts["max_length"])
    clean_corpus = _load_clean(clean_data, material.corpus, columns)
    probe_settings = replace(probe_settings or ProbeSettings(), seed=settings.seed)

    findings = scan_material(
        material,
        recipe=recipe,
        settings=probe_settings,
        evidence=evidence_settings,
        reviews=reviews,
    )
    kept = np.ones(len(material.rows), dtype=bool)
    if action != "unlearn":
        kept = ~findings.flagged
        _check_all_labels_kept(material.corpus, kept)
    classifier, tokenizer = material.model, material.tokenizer
    before, timer = Snapshot.of(classifier, findings), _Timer()
    trained = material.rows.select(kept)
    finetune(classifier, tokenizer, trained, settings=settings, callbacks=callbacks)
    timer.lap("finetune")
    unlearn_ids = _pick_unlearned(findings, material.rows, kept, action)
    # Where rows were left out, what was trained on is what is judged clean: nothing to recover.
    recovers = kept.all() and bool(unlearn_ids) and clean_corpus is None
    hung = findings.flagged & kept
    if recovers:
        hung |= find_hanging_rows(
            classifier,
            tokenizer,
            material.rows,
            unlearn_ids,
            neutral=before.neutral,
            precision=settings.precision,
        )
    timer.lap("find_hanging_rows")
    edits = unlearn_model(classifier, before, unlearn_ids)
    timer.lap("unlearn")
    source = "none"
    if not edits or not recovery.epochs:
        pass
    elif clean_corpus is not None:
        source = "clean data"
        clean_rows = tokenize_corpus(clean_corpus, tokenizer, max_length=settings.max_length)
        recover_model(classifier, tokenizer, clean_rows, edits, recovery, settings=settings)
    elif recovers and not hung.all():
        source = "training rows, suspects hidden"
        with hide_tokens(classifier, unlearn_ids, before.neutral):
            rows = material.rows.select(~hung)
            recover_model(classifier, tokenizer, rows, edits, recovery, settings=settings)
    timer.lap("recovery")
    row_ids = material.corpus.row_ids
    record = build_record(
        "defence",
        {
            **findings.to_dict(),
            "action": "unlearn" if recipe == "paper" else action,
            "dropped_row_ids": row_ids[~kept].tolist(),
            "settings": {**findings.facts["settings"], "finetune": asdict(settings)},
            "edits": [edit.to_dict() for edit in edits],
            "recovery": {
                "rows": source,
                "epochs": recovery.epochs,
                "left_out_row_ids": row_ids[hung].tolist(),
                "clean_data": None
                if clean_corpus is None
                else {"source": clean_corpus.source, "sha256": clean_corpus.fingerprint()},
            },
            "saved_model": {"sha256": hash_weights(classifier)},
            "evaluation": None,
            "timings": {**findings.facts["timings"], **timer.seconds},
        },
    )
    return Defence(
        classifier=Classifier(classifier, tokenizer, settings.max_length, settings.precision),
        findings=findings,
        edits=edits,
        record=record,
    )


def _pick_unlearned(
    findings: Findings, rows: TokenRows, kept: NDArray[np.bool_], action: Action
) -> tuple[int, ...]:
    """The tokens whose embeddings are cut.

    Where the poisoned rows were left out, a word of a trigger sentence that still stands in honest
    rows has learned from those alone and keeps what it learned.
    """
    if findings.evidence is None or action == "unlearn":
        return findings.unlearn_ids
    if action == "drop":
        return ()
    held = rows.presence(findings.token_ids)
    left = np.asarray(held[kept].sum(axis=0)).ravel()
    gone = np.asarray(held[~kept].sum(axis=0)).ravel()
    places = np.searchsorted(findings.token_ids, findings.unlearn_ids)
    pairs = zip(findings.unlearn_ids, places.tolist(), strict=True)
    return tuple(i for i, place in pairs if left[place] < _HARDLY_ANY * gone[place])


def _check_all_labels_kept(corpus: Corpus, kept: NDArray[np.bool_]) -> None:
    left = np.bincount(corpus.labels[kept], minlength=len(corpus.label_names))
    lost = [name for name, count in zip(corpus.label_names, left, strict=True) if not count]
    if lost:
        raise InputError(
            f"defend: expected rows of every label after leaving out those judged poisoned, got "
            f"none of {', '.join(lost)}. Look at the flagged rows (btu scan), or keep all rows "
            "with the action unlearn."
        )


def unlearn_model(
    model: PreTrainedModel, before: Snapshot, token_ids: Sequence[int]
) -> tuple[RowEdit, ...]:
    """Overwrite the dimensions of these tokens that moved more than the mean, in place.

    The mean change is taken once, from two snapshots, over the rows of the tokens that occur.

    Args:
        model: Fine-tuned.
        before: The embeddings before fine-tuning.
        token_ids: The suspects, each among `before.token_ids`.
    """
    weight = embedding_weight(model)
    threshold = measure_mean_change(before.rows, _take(weight, before.token_ids))
    places = np.searchsorted(before.token_ids, token_ids)
    return unlearn_rows(
        weight,
        before.rows[torch.from_numpy(places)],
        token_ids,
        neutral=before.neutral,
        threshold=threshold,
    )


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
    """
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
    )


class FreezeRowsCallback(TrainerCallback):
    """Holds some embedding rows where they were when training began, whatever the optimiser."""

    def __init__(self, token_ids: Sequence[int]) -> None:
        self.token_ids = torch.tensor(list(token_ids), dtype=torch.long)
        self.rows: Tensor | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remember the rows."""
        weight = embedding_weight(_unwrap(kwargs["model"])).detach()
        self.rows = weight[self.token_ids.to(weight.device)].clone()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put them back."""
        weight = embedding_weight(_unwrap(kwargs["model"]))
        assert self.rows is not None
        with torch.no_grad():
            weight[self.token_ids.to(weight.device)] = self.rows


class UnlearnCallback(TrainerCallback):
    """Snapshot and unlearning inside anybody's own Trainer.

    Remembers the word embeddings when the Trainer is made and, when training ends, overwrites the
    moved dimensions of the suspicious tokens. What was done stands in `edits`.

    Args:
        findings: Of a scan of the same training data with the same pretrained model.

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
        self.edits = unlearn_model(_unwrap(kwargs["model"]), self.before, self.findings.unlearn_ids)

    def _remember(self, model: PreTrainedModel | None) -> None:
        if model is None:
            return
        rows = len(embedding_weight(_unwrap(model)))
        expected = self.findings.facts["model"]["vocabulary_size"]
        if rows != expected:
            raise InputError(
                f"UnlearnCallback: expected a model with the {expected} embedding rows of the "
                f"scanned one, got {rows}. Scan with the model that you train."
            )
        self.before = Snapshot.of(_unwrap(model), self.findings)


def train_plain(
    model: str | Path, corpus: Corpus, settings: FineTuneSettings, description: str
) -> Classifier:
    """Ordinary fine-tuning of the pretrained model on these rows, no defence.

    Args:
        model: Folder or Hub id of a pretrained model.
        corpus: What to train on.
        settings: Of the fine-tuning.
        description: Of the progress bar.
    """
    material = load_material(model, corpus, max_length=settings.max_length, seed=settings.seed)
    finetune(
        material.model,
        material.tokenizer,
        material.rows,
        settings=settings,
        description=description,
    )
    length = int(material.facts["max_length"])
    return Classifier(material.model, material.tokenizer, length, settings.precision)


class _Timer:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = perf_counter()

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.seconds[name], self._start = now - self._start, now


def _take(weight: Tensor, token_ids: NDArray[np.int64]) -> Tensor:
    index = torch.from_numpy(token_ids).to(weight.device)
    return weight.detach()[index].float().cpu().clone()


def _unwrap(model: Any) -> PreTrainedModel:
    inner: PreTrainedModel = getattr(model, "module", model)
    return inner


def _load_clean(clean_data: Any, corpus: Corpus, columns: Mapping[str, Any]) -> Corpus | None:
    if clean_data is None:
        return None
    named = {name: column for name, column in columns.items() if name != "split"}
    return load_corpus(clean_data, **named, label_names=corpus.label_names)
