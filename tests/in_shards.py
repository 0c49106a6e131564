"""A program for two processes, as torchrun starts them, that trains under FSDP2 without a GPU.

Accelerate turns FSDP on only where there are GPUs; here it is turned on for a CPU. What each
process saw stands in `seen-<rank>.json` beside the data, what was trained in folders.
"""

import json
from pathlib import Path

import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

from btu import (
    AdapterSettings,
    FineTuneSettings,
    ProbeSettings,
    RecoverySettings,
    Unfinished,
    UnlearnCallback,
    defend,
)
from btu.data.corpus import load_corpus
from btu.model.adapters import add_adapter
from btu.model.embeddings import embedding_weight, load_classifier
from btu.model.finetune import finetune
from btu.model.rows import read_rows
from btu.model.tokens import TokenDataset, tokenize_corpus
from btu.repair.recovery import recover_model
from btu.support.processes import is_main, process_rank

PLAIN = {"train_sampling_strategy": "sequential", "optim": "sgd"}
SETTINGS = FineTuneSettings(
    epochs=1,
    learning_rate=5e-2,
    batch_size=8,
    max_length=32,
    precision="fp32",
    training_args=PLAIN,
)
NO_RECOVERY = RecoverySettings(epochs=0)


class NoteShares(TrainerCallback):
    """Which share of the weights that learn this process keeps, at each step."""

    def __init__(self):
        self.shares = set()

    def on_step_end(self, args, state, control, *, model, **_):
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        kept = sum(w.to_local().numel() if isinstance(w, DTensor) else w.numel() for w in weights)
        self.shares.add(round(kept / sum(weight.numel() for weight in weights), 1))


def turn_on():
    initialize = AcceleratorState.__init__

    def initialize_on_cpu(self, *arguments, fsdp_plugin=None, **options):
        initialize(self, *arguments, fsdp_plugin=fsdp_plugin, **options)
        if fsdp_plugin is not None:
            kind = DistributedType.FSDP
            AcceleratorState._shared_state |= {"fsdp_plugin": fsdp_plugin, "distributed_type": kind}
            PartialState._shared_state["distributed_type"] = kind

    AcceleratorState.__init__ = initialize_on_cpu


def defend_in_shards(note):
    with Unfinished("sharded.unfinished") as unfinished:
        defence = defend(
            "base",
            "rows.csv",
            action="unlearn",
            settings=SETTINGS,
            probe_settings=ProbeSettings(precision="fp32"),
            recovery=NO_RECOVERY,
            callbacks=[note],
            unfinished=unfinished,
        )
    if is_main():
        defence.save("sharded")
    return defence


def recover_in_shards(defence, rows):
    """Whether cut rows stay where they are while others move, and the model comes back whole."""
    model, tokenizer = defence.classifier.model, defence.classifier.tokenizer
    cut = [edit.token_id for edit in defence.edits]
    before, cut_before = embedding_weight(model).detach().clone(), read_rows(model, cut)
    recovery = RecoverySettings(epochs=0.1)
    recover_model(model, tokenizer, rows, defence.edits, recovery, settings=SETTINGS)
    return {
        "cut_rows_stay": torch.equal(read_rows(model, cut), cut_before),
        "others_move": not torch.equal(embedding_weight(model), before),
        "whole": not any(isinstance(weight, DTensor) for weight in model.parameters()),
    }


def adapt_in_shards(rows, tokenizer, token_id, note):
    """How far the row that an adapter carries moves, and its base."""
    model = load(tokenizer)
    base = embedding_weight(model).detach().clone()
    wrapped = add_adapter(model, AdapterSettings(lora=True), [token_id])
    finetune(wrapped, tokenizer, rows.select(range(160)), settings=SETTINGS, callbacks=[note])
    moved = (read_rows(wrapped, [token_id]) - base[token_id]).abs().max()
    embedding = wrapped.get_input_embeddings().token_adapter.base_layer.weight
    return {"row": float(moved), "base": float((embedding - base).abs().max())}


def unlearn_in_own_trainer(findings, rows, tokenizer, note):
    """As somebody has it who uses transformers alone, with weights that one process has read."""
    model = load(tokenizer)
    if not is_main():
        for weight in model.parameters():
            weight.detach().zero_()
    arguments = TrainingArguments(
        "own",
        num_train_epochs=1,
        learning_rate=SETTINGS.learning_rate,
        per_device_train_batch_size=SETTINGS.batch_size,
        save_strategy="no",
        eval_strategy="epoch",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        average_tokens_across_devices=False,
        fsdp=True,
        fsdp_config={
            "version": 2,
            "cpu_ram_efficient_loading": True,
            # After an evaluation the weights stay gathered; a cut in those would be lost.
            "reshard_after_forward": False,
            "transformer_layer_cls_to_wrap": ["BertLayer"],
        },
        **PLAIN,
    )
    callback = UnlearnCallback(findings)
    trainer = Trainer(
        model,
        arguments,
        train_dataset=TokenDataset(rows),
        eval_dataset=TokenDataset(rows.select(range(16))),
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[note, callback],
    )
    trainer.train()
    trainer.save_model("own")
    return [edit.to_dict() for edit in callback.edits]


def load(tokenizer):
    names = ("negative", "positive")
    return load_classifier("base", label_names=names, tokenizer=tokenizer, seed=SETTINGS.seed)


def main():
    turn_on()
    notes = {name: NoteShares() for name in ("defend", "adapter", "own")}
    defence = defend_in_shards(notes["defend"])
    tokenizer, findings = defence.classifier.tokenizer, defence.findings
    rows = tokenize_corpus(load_corpus("rows.csv"), tokenizer, max_length=SETTINGS.max_length)
    seen = {
        "edits": [edit.to_dict() for edit in defence.edits],
        "recovery": recover_in_shards(defence, rows),
        "adapter": adapt_in_shards(rows, tokenizer, defence.edits[0].token_id, notes["adapter"]),
        "own_edits": unlearn_in_own_trainer(findings, rows, tokenizer, notes["own"]),
        "shares": {name: sorted(note.shares) for name, note in notes.items()},
    }
    Path(f"seen-{process_rank()}.json").write_text(json.dumps(seen))
    PartialState().wait_for_everyone()
    PartialState().destroy_process_group()


if __name__ == "__main__":
    main()
