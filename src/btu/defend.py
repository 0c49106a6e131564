"""Conductor: findings, fine-tuning, unlearning, recovery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, TrainerCallback

from btu.data.corpus import Corpus, load_corpus
from btu.data.reviews import Review
from btu.evidence.settings import EvidenceSettings, Recipe, check_recipe, check_with_model
from btu.findings import Findings
from btu.guard import Guard, build_guard
from btu.model.adapters import add_adapter, check_adapter, describe_adapter
from btu.model.embeddings import hash_weights, hide_tokens
from btu.model.finetune import Classifier, check_training_args, finetune, without_evaluation
from btu.model.material import Material, load_material
from btu.model.metrics import Evaluation
from btu.model.processes import share
from btu.model.resume import begin_run
from btu.model.rows import has_adapter
from btu.model.settings import AdapterSettings, FineTuneSettings, ProbeSettings
from btu.model.tokens import TokenRows, tokenize_corpus
from btu.repair.recovery import Snapshot, find_hanging_rows, recover_model, unlearn_model
from btu.repair.restore import restore_rows
from btu.repair.settings import Action, RecoverySettings, check_action
from btu.repair.unlearn import RowEdit
from btu.report.record import build_reported
from btu.scan import describe_scan, read_reviews, scan_material
from btu.support.errors import InputError
from btu.support.folders import replace_folder
from btu.support.processes import is_main
from btu.support.record import RECORD_NAME, write_record
from btu.support.unfinished import Unfinished

_HARDLY_ANY = 0.05

Train = Callable[[Material, Corpus], Sequence[Mapping[str, float]] | None]
"""Fine-tunes the material's model in place on these rows; what was evaluated on the way."""


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
        return build_guard(self.record)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write weights (safetensors), config, tokenizer and the record (`btu.json`).

        `AutoModelForSequenceClassification.from_pretrained` loads it without btu; where an adapter
        was trained, `AutoPeftModelForSequenceClassification.from_pretrained`. The folder
        appears as a whole or not at all. Of several processes the main one alone writes.

        Args:
            folder: New or empty.
            overwrite: Replace what is there.

        Returns:
            The folder.

        Raises:
            InputError: The folder is in use and `overwrite` is False.
        """
        if not is_main():
            return Path(folder)
        with replace_folder(folder, overwrite=overwrite) as fresh:
            self.classifier.save(fresh)
            write_record(self.record, fresh / RECORD_NAME)
        return Path(folder)


def defend(
    model: str | Path,
    data: Any,
    *,
    clean_data: Any = None,
    eval_data: Any = None,
    recipe: Recipe = "verified",
    action: Action = "both",
    restore: bool = False,
    drop_suspects: bool = False,
    probe_settings: ProbeSettings | None = None,
    evidence_settings: EvidenceSettings | None = None,
    accept: str | Path | Sequence[Review] = (),
    settings: FineTuneSettings | None = None,
    adapter: AdapterSettings | None = None,
    recovery: RecoverySettings | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    unfinished: Unfinished | None = None,
    **columns: Any,
) -> Defence:
    """Fine-tune a clean classifier on data that may be poisoned.

    Args:
        model: Folder or Hub id of a clean pretrained model.
        data: Training data that may be poisoned; see `load_corpus`.
        clean_data: Data known to be clean, for the recovery; its columns are named as those of
            `data`, its split is "train". Without it the recovery takes the training rows that were
            not judged poisoned, with the unlearned tokens hidden.
        eval_data: Rows to evaluate on during the training, once an epoch unless the training
            arguments say otherwise. They may be as poisoned as `data`, and would then favour a
            model with the backdoor: rows with a confirmed trigger are left out.
        recipe: Which method decides what is suspicious: `verified` or `paper`.
        action: What is done with it in the recipe `verified`. `drop` leaves the rows judged
            poisoned out of the fine-tuning, `unlearn` trains on all rows and cuts the triggers'
            embeddings afterwards, `both` leaves the rows out and cuts what moved all the same.
            Suspects are only reported. The recipe `paper` judges no rows: it always unlearns.
        drop_suspects: Whether rows of suspects are left out, too, for who has looked at them.
        restore: Whether rows that are left out come back without their triggers, under the label
            that the rest of the text bears, where that is clear; see `btu.repair.restore`.
        probe_settings: Of the probes; they take their seed from `settings`.
        evidence_settings: How strict the evidence is, in the recipe `verified`.
        accept: Tokens that a reviewer accepted, or a file of them; see `scan`.
        settings: Of the fine-tuning.
        adapter: Train an adapter of peft (LoRA, say) and leave the base as it is. Where rows with
            a trigger stay in the training, it carries the embedding rows of the trigger's tokens,
            in which they are cut.
        recovery: Of the short fine-tuning after the cut.
        callbacks: Of the Trainer in the ordinary fine-tuning.
        unfinished: Keeps what is done, the fine-tuning once an epoch unless the training arguments
            say otherwise, so that a killed run can be continued; see `Unfinished`.
        **columns: `text_column`, `label_column`, `text_pair_column`, `split` of `load_corpus`.

    Returns:
        The clean model with findings, edits and record.

    Raises:
        InputError: Data or model cannot be used; what is unfinished is another run.

    Source: Jiang et al., AAAI 2025; docs/limits.md says where this differs.
    """
    check_recipe(recipe)
    check_with_model(evidence_settings)
    check_action(action)
    settings = settings or FineTuneSettings()
    check_training_args(settings, evaluates=eval_data is not None)
    check_adapter(adapter or AdapterSettings())
    reviews = read_reviews(accept)
    material = load_material(
        model, data, max_length=settings.max_length, seed=settings.seed, **columns
    )

    eval_corpus = _load_beside(eval_data, material.corpus, columns)
    material = replace(material, eval_corpus=eval_corpus)
    clean_corpus = _load_beside(clean_data, material.corpus, columns)
    probe_settings = replace(probe_settings or ProbeSettings(), seed=settings.seed)
    begin_run(
        unfinished,
        "defence",
        material,
        precision={"probes": probe_settings.precision, "finetune": settings.precision},
        **describe_scan(recipe, probe_settings, evidence_settings, reviews),
        action=action,
        restore=restore,
        drop_suspects=drop_suspects,
        finetune=asdict(settings),
        adapter=_describe_adapter_settings(adapter or AdapterSettings()),
        recovery=asdict(recovery or RecoverySettings()),
        clean_data=None if clean_corpus is None else clean_corpus.fingerprint(),
        eval_data=None if eval_corpus is None else eval_corpus.fingerprint(),
        callbacks=[type(callback).__name__ for callback in callbacks],
    )

    def train(material: Material, corpus: Corpus) -> Sequence[Mapping[str, float]]:
        evaluated = material.eval_corpus
        eval_rows = None
        if evaluated is not None:
            eval_rows = tokenize_corpus(
                evaluated, material.tokenizer, max_length=material.max_length
            )
        return finetune(
            material.model,
            material.tokenizer,
            material.rows if corpus is material.corpus else material.pick_rows(corpus),
            settings=settings,
            eval_rows=eval_rows,
            callbacks=callbacks,
            unfinished=unfinished,
        )

    return defend_material(
        material,
        train=train,
        clean_corpus=clean_corpus,
        recipe=recipe,
        action=action,
        restore=restore,
        drop_suspects=drop_suspects,
        probe_settings=probe_settings,
        evidence_settings=evidence_settings,
        reviews=reviews,
        settings=settings,
        adapter=adapter,
        recovery=recovery,
        unfinished=unfinished,
    )


def defend_material(
    material: Material,
    *,
    train: Train,
    settings: FineTuneSettings,
    adapter: AdapterSettings | None = None,
    clean_corpus: Corpus | None = None,
    recipe: Recipe = "verified",
    action: Action = "both",
    restore: bool = False,
    drop_suspects: bool = False,
    probe_settings: ProbeSettings | None = None,
    evidence_settings: EvidenceSettings | None = None,
    reviews: Sequence[Review] = (),
    recovery: RecoverySettings | None = None,
    unfinished: Unfinished | None = None,
) -> Defence:
    """The steps of `defend`, with the fine-tuning left to the caller.

    Args:
        material: Checked data and pretrained model; the model becomes the defended one.
        train: Fine-tunes the material's model in place on the rows that it is given.
        settings: Of the fine-tuning, as `train` does it, and of the recovery.
        adapter: As in `defend`.
        clean_corpus: Rows known to be clean, for the recovery.
        recipe: As in `defend`.
        action: As in `defend`.
        restore: As in `defend`.
        drop_suspects: As in `defend`.
        probe_settings: Of the probes; they take their seed from `settings`.
        evidence_settings: How strict the evidence is.
        reviews: What a reviewer accepted.
        recovery: Of the short fine-tuning after the cut.
        unfinished: As in `defend`; what `train` keeps there is its own affair.

    Raises:
        InputError: No row of a label is kept.
    """
    recovery = recovery or RecoverySettings()
    settings = replace(settings, max_length=material.max_length)
    findings = scan_material(
        material,
        recipe=recipe,
        settings=replace(probe_settings or ProbeSettings(), seed=settings.seed),
        evidence=evidence_settings,
        reviews=reviews,
        unfinished=unfinished,
    )
    kept = np.ones(len(material.rows), dtype=bool)
    if action != "unlearn":
        kept = ~(findings.flagged | findings.suspected) if drop_suspects else ~findings.flagged
    unlearn_ids = _pick_unlearned(findings, material.rows, kept, action)
    before, timer = Snapshot.of(material.model, findings), _Timer()
    if adapter is not None and adapter.is_on:
        carried = _pick_standing(unlearn_ids, material.rows.select(kept))
        wrapped = add_adapter(material.model, adapter, carried, seed=settings.seed)
        material = replace(material, model=wrapped)
    classifier, tokenizer = material.model, material.tokenizer
    restored, corpus = None, material.corpus
    if not kept.all():
        restored = restore_rows(findings) if restore else None
        corpus = restored.join(corpus, kept) if restored else corpus.select(kept)
        _check_all_labels_kept(corpus)
    timer.lap("restore")
    given = material.eval_corpus
    if given is not None:
        material = replace(material, eval_corpus=_leave_triggered_out(given, findings))
    evaluations = train(material, corpus)
    timer.lap("finetune")
    # Where rows were left out, what was trained on is what is judged clean: nothing to recover.
    recovers = kept.all() and bool(unlearn_ids) and clean_corpus is None
    hung = findings.flagged & kept
    if recovers:
        hung |= share(
            lambda: find_hanging_rows(
                classifier,
                tokenizer,
                material.rows,
                unlearn_ids,
                neutral=before.neutral,
                precision=settings.precision,
            )
        )
    timer.lap("find_hanging_rows")
    edits = unlearn_model(classifier, before, unlearn_ids)
    timer.lap("unlearn")

    def recover(rows: TokenRows) -> None:
        recover_model(
            classifier, tokenizer, rows, edits, recovery, settings=settings, unfinished=unfinished
        )

    source = "none"
    if not edits or not recovery.epochs:
        pass
    elif clean_corpus is not None:
        source = "clean data"
        clean_rows = tokenize_corpus(clean_corpus, tokenizer, max_length=settings.max_length)
        recover(clean_rows)
    elif recovers and not hung.all():
        source = "training rows, suspects hidden"
        with hide_tokens(classifier, unlearn_ids, before.neutral):
            rows = material.rows.select(~hung)
            recover(rows)
    timer.lap("recovery")
    row_ids = material.corpus.row_ids
    record = build_reported(
        "defence",
        {
            **findings.to_dict(),
            "action": "unlearn" if recipe == "paper" else action,
            "restore": restore and recipe == "verified",
            "drop_suspects": drop_suspects and recipe == "verified",
            "dropped_row_ids": row_ids[~kept].tolist(),
            "restored_rows": [] if restored is None else restored.to_list(material.corpus),
            "settings": {
                **findings.facts.settings_to_dict(),
                "finetune": asdict(settings),
                **({"adapter": asdict(adapter)} if adapter is not None and adapter.is_on else {}),
            },
            "training_evaluation": _describe_evaluations(
                given, material.eval_corpus, evaluations or ()
            ),
            "edits": [edit.to_dict() for edit in edits],
            "recovery": {
                "rows": source,
                "epochs": recovery.epochs,
                "left_out_row_ids": row_ids[hung].tolist(),
                "clean_data": None
                if clean_corpus is None
                else {"source": clean_corpus.source, "sha256": clean_corpus.fingerprint()},
            },
            "saved_model": _describe_model(classifier),
            "evaluation": None,
            "timings": {**findings.facts.timings, **timer.seconds},
            **({"resumed": [*unfinished.resumed]} if unfinished and unfinished.resumed else {}),
        },
    )
    return Defence(
        classifier=Classifier(
            classifier,
            tokenizer,
            settings.max_length,
            settings.precision,
            merge=adapter is not None and adapter.merge,
        ),
        findings=findings,
        edits=edits,
        record=record,
    )


def _leave_triggered_out(corpus: Corpus, findings: Findings) -> Corpus:
    """Rows to evaluate on without those that hold a confirmed trigger."""
    guard = build_guard(findings.to_dict())
    kept = corpus.select(~guard.recognise(corpus.texts, corpus.text_pairs))
    if not len(kept):
        raise InputError(
            f"{corpus.source}: expected rows to evaluate on, got none without a confirmed trigger. "
            "Give other rows with --eval-data."
        )
    return kept


def _describe_evaluations(
    given: Corpus | None, kept: Corpus | None, evaluations: Sequence[Mapping[str, float]]
) -> dict[str, Any] | None:
    if given is None or kept is None:
        return None
    return {
        "source": given.source,
        "sha256": given.fingerprint(),
        "rows": len(given),
        "left_out_rows": len(given) - len(kept),
        "evaluations": [dict(evaluation) for evaluation in evaluations],
    }


def _describe_adapter_settings(adapter: AdapterSettings) -> dict[str, Any]:
    """With what its file says."""
    file = adapter.peft_config
    content = None if file is None else Path(file).read_text(encoding="utf-8")
    return {**asdict(adapter), "peft_config": content}


def _describe_model(model: PreTrainedModel) -> dict[str, Any]:
    described: dict[str, Any] = {"sha256": hash_weights(model)}
    return {**described, "adapter": describe_adapter(model)} if has_adapter(model) else described


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


def _pick_standing(token_ids: Sequence[int], rows: TokenRows) -> tuple[int, ...]:
    """Those that some row holds: no others can move, and no adapter need carry them."""
    return tuple(i for i in token_ids if i in rows.token_ids)


def _check_all_labels_kept(corpus: Corpus) -> None:
    left = np.bincount(corpus.labels, minlength=len(corpus.label_names))
    lost = [name for name, count in zip(corpus.label_names, left, strict=True) if not count]
    if lost:
        raise InputError(
            f"defend: expected rows of every label after leaving out those judged poisoned, got "
            f"none of {', '.join(lost)}. Look at the flagged rows (btu scan), or keep all rows "
            "with the action unlearn."
        )


def train_plain(
    model: str | Path,
    corpus: Corpus,
    settings: FineTuneSettings,
    description: str,
    adapter: AdapterSettings | None = None,
    unfinished: Unfinished | None = None,
) -> Classifier:
    """Ordinary fine-tuning of the pretrained model on these rows, no defence.

    Args:
        model: Folder or Hub id of a pretrained model.
        corpus: What to train on.
        settings: Of the fine-tuning.
        description: Of the progress bar.
        adapter: Which one is trained, where it is not all weights.
        unfinished: Keeps the training, under a name made of its description; see `defend`.
    """
    material = load_material(model, corpus, max_length=settings.max_length, seed=settings.seed)
    trained = material.model
    if adapter is not None and adapter.is_on:
        trained = add_adapter(trained, adapter, seed=settings.seed)
    finetune(
        trained,
        material.tokenizer,
        material.rows,
        settings=without_evaluation(settings),
        description=description,
        unfinished=unfinished,
        part=description,
    )
    return Classifier(trained, material.tokenizer, material.max_length, settings.precision)


class _Timer:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = perf_counter()

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.seconds[name], self._start = now - self._start, now


def _load_beside(data: Any, corpus: Corpus, columns: Mapping[str, Any]) -> Corpus | None:
    """Other rows with the columns and labels of the training data; None where none are given."""
    if data is None:
        return None
    named = {name: column for name, column in columns.items() if name != "split"}
    return load_corpus(data, **named, label_names=corpus.label_names)
