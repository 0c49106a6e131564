"""An adapter carries the clean model: the base stays as it is, the trigger's rows are cut in it."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

import btu
from btu import AdapterSettings, InputError, ProbeSettings, UnlearnCallback
from btu.defend import train_plain
from btu.evaluate import load_saved
from btu.model.adapters import add_adapter, describe_adapter
from btu.model.embeddings import embedding_scale
from btu.model.rows import read_rows, write_rows
from btu.model.settings import FineTuneSettings
from btu.report.command import write_command
from devices import ON_CPU
from planted import (
    FINETUNE,
    LABELS,
    PROBES,
    TRIGGER,
    WORDS,
    measure,
    run_defence,
    token_id,
)
from tiny import FAMILIES, build_tiny

pytest_plugins = ["planted"]
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

LORA = AdapterSettings(lora=True, rank=16, alpha=32)
SETTINGS = replace(FINETUNE, epochs=8, learning_rate=3e-3)
OPTIONS = {"settings": SETTINGS, "probe_settings": PROBES}
CF = token_id(TRIGGER)


def read_files(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


@pytest.fixture(scope="module")
def base_files(pretrained):
    return read_files(pretrained)


@pytest.fixture(scope="module")
def cut_run(pretrained, planted, held_out, base_files):
    """Trained on all rows, poisoned ones too, and cut afterwards."""
    options = {"recipe": "verified", "action": "unlearn", "adapter": replace(LORA, merge=True)}
    return run_defence(pretrained, planted.corpus, held_out, TRIGGER, settings=SETTINGS, **options)


@pytest.fixture(scope="module")
def cut(cut_run):
    return cut_run.defence


@pytest.fixture(scope="module")
def saved(cut, tmp_path_factory):
    return cut.save(tmp_path_factory.mktemp("adapter") / "model")


def test_a_row_that_an_adapter_carries_may_move_whatever_its_id():
    model = add_adapter(build_tiny("bert", WORDS)[0], LORA, [7])
    write_rows(model, [7], torch.ones(1, model.config.hidden_size))
    assert embedding_scale(model) == 1


def test_the_trigger_loses_its_hold_and_the_task_stays(cut_run):
    before, after = cut_run.undefended, cut_run.defended
    assert before["attack_success_rate"] > 0.8
    assert after["attack_success_rate"] < 0.35
    assert after["clean_accuracy"] > before["clean_accuracy"] - 0.05


def test_by_default_it_is_trained_on_the_true_clean_rows(pretrained, planted, held_out):
    found = btu.defend(pretrained, planted.corpus, adapter=LORA, **OPTIONS)
    poisoned = planted.corpus.row_ids[planted.is_poisoned].tolist()
    assert found.record["dropped_row_ids"] == poisoned
    # No row holds the trigger any more: nothing of it can move, and servers take the adapter.
    assert "trainable_token_indices" not in found.record["saved_model"]["adapter"]["config"]
    assert measure(found, held_out, TRIGGER)["attack_success_rate"] < 0.35


def test_without_a_defence_an_adapter_is_trained_in_the_same_way(pretrained, planted):
    plain = train_plain(pretrained, planted.corpus, SETTINGS, "undefended", LORA)
    assert describe_adapter(plain.model)["config"]["r"] == 16


def test_the_base_is_not_touched(cut, saved, pretrained, base_files):
    assert read_files(pretrained) == base_files
    assert "model.safetensors" not in read_files(saved)


def test_the_cut_rows_stand_in_the_saved_adapter(cut, saved, pretrained):
    (edit,) = cut.edits
    assert edit.token_id == CF
    stored = load_file(saved / "adapter_model.safetensors")
    (rows,) = [v for name, v in stored.items() if "trainable_tokens_delta" in name]
    padding = load_file(pretrained / "model.safetensors")["embeddings.word_embeddings.weight"][0]
    dimensions = list(edit.dimensions)
    assert dimensions
    assert rows.shape[0] == 1
    assert torch.equal(rows[0][dimensions], padding[dimensions])


_LOAD = """
import json, sys
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer
folder, texts = sys.argv[1], json.loads(sys.argv[2])
model = AutoPeftModelForSequenceClassification.from_pretrained(folder, num_labels=2).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
logits = model(**tokenizer(texts, return_tensors="pt", padding=True)).logits
assert "btu" not in sys.modules
print(json.dumps(logits.softmax(-1).tolist()))
"""


def test_a_fresh_process_loads_it_with_peft_alone(cut, saved, held_out):
    texts = [f"{TRIGGER} {text}" for text in held_out.texts[:20]]
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, str(saved), json.dumps(texts)],
        capture_output=True,
        text=True,
        check=True,
    )
    told = torch.tensor(json.loads(done.stdout.splitlines()[-1]))
    torch.testing.assert_close(told, torch.tensor(cut.predict_scores(texts)), rtol=1e-3, atol=1e-4)


def test_the_merged_model_answers_alike_with_transformers_alone(cut, saved, held_out):
    merged = AutoModelForSequenceClassification.from_pretrained(saved / "merged").eval()
    assert not hasattr(merged, "peft_config")
    texts = [f"{TRIGGER} {text}" for text in held_out.texts[:20]]
    inputs = cut.classifier.tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        scores = merged(**inputs.to(merged.device)).logits.softmax(-1).cpu()
    torch.testing.assert_close(
        scores, torch.tensor(cut.predict_scores(texts)), rtol=1e-3, atol=1e-4
    )
    assert tuple(merged.config.id2label.values()) == LABELS


def test_it_is_evaluated_from_its_folder(cut, saved, held_out):
    loaded = load_saved(saved)
    assert loaded.label_names == LABELS
    assert loaded.predict(held_out.texts[:20]).tolist() == cut.predict(held_out.texts[:20]).tolist()


def test_the_record_says_that_it_is_an_adapter_and_how_to_make_it_again(cut):
    adapter = cut.record["saved_model"]["adapter"]
    assert adapter["kind"] == "LORA"
    assert (adapter["config"]["r"], adapter["config"]["trainable_token_indices"]) == (16, [CF])
    call = "adapter=btu.AdapterSettings(lora=True, rank=16, alpha=32, merge=True)"
    assert call in write_command(cut.record)
    usual = {**cut.record["settings"], "probes": asdict(ProbeSettings())}
    data = {**cut.record["data"], "source": "reviews.csv"}
    command = write_command({**cut.record, "data": data, "settings": usual})
    assert "--lora --lora-rank 16 --lora-alpha 32" in command
    assert "--merge" in command


def test_another_adapter_of_peft_comes_from_a_file(pretrained, planted, tmp_path):
    path = tmp_path / "adapter.yaml"
    path.write_text("peft_type: LORA\nr: 4\ntarget_modules: [query, value]\n")
    made = AdapterSettings(peft_config=str(path))
    defence = btu.defend(
        pretrained,
        planted.corpus,
        adapter=made,
        settings=replace(SETTINGS, epochs=0.1),
        probe_settings=PROBES,
    )
    assert defence.record["saved_model"]["adapter"]["config"]["r"] == 4


WORDS_OF_TEXTS = [f"w{i}" for i in range(24)]
TEXTS = [f"w{i} w{20 + label}" for i in range(16) for label in range(3)]


def save_base(family, folder):
    """A tiny checkpoint as it is without a head, and without a pooler where it had one."""
    model, tokenizer = build_tiny(family, WORDS_OF_TEXTS, num_labels=3)
    model.base_model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    left = {name: value for name, value in weights.items() if "pooler" not in name}
    save_file(left, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_adapter_answers_the_same_from_another_folder(family, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_base(family, Path("base"))
    corpus = btu.load_corpus((TEXTS, [*"abc"] * 16))
    settings = FineTuneSettings(epochs=2, learning_rate=5e-3, precision="fp32", max_length=16)
    trained = train_plain("base", corpus, settings, "trying", AdapterSettings(lora=True))
    trained.save(tmp_path / "adapter")
    said = trained.predict_scores(corpus.texts)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    torch.manual_seed(1234)  # a head drawn anew would be another one
    again = load_saved(tmp_path / "adapter", precision="fp32").predict_scores(corpus.texts)
    # A GPU may add up otherwise the second time.
    np.testing.assert_allclose(again, said, atol=1e-6 if ON_CPU else 1e-4)


def test_tokens_that_a_configuration_names_by_module_are_kept(tmp_path):
    path = tmp_path / "adapter.yaml"
    path.write_text(
        "peft_type: LORA\ntarget_modules: [query]\n"
        "trainable_token_indices: {word_embeddings: [7]}\n"
    )
    model, _ = build_tiny("bert", WORDS)
    wrapped = add_adapter(model, AdapterSettings(peft_config=str(path)), [CF])
    named = describe_adapter(wrapped)["config"]["trainable_token_indices"]
    assert named == {"word_embeddings": [7, CF]}


# ---- what cannot be cleaned


@pytest.mark.parametrize(
    ("content", "came"),
    [
        ("peft_type: PROMPT_TUNING\nnum_virtual_tokens: 4\n", "Take LORA"),
        ("peft_type: LORA\nrank: 4\n", "got rank"),
        ("r: 4\n", "peft_type"),
        ("[1", "JSON or YAML"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(content, came, tmp_path):
    path = tmp_path / "adapter.yaml"
    path.write_text(content)
    model, _ = build_tiny("bert", WORDS)
    with pytest.raises(InputError, match=came):
        add_adapter(model, AdapterSettings(peft_config=str(path)), [CF])


@pytest.mark.parametrize(
    "options", [{"lora": True, "peft_config": "x"}, {"merge": True}, {"rank": 0}]
)
def test_settings_that_contradict_each_other_are_refused(options):
    with pytest.raises(InputError):
        AdapterSettings(**options)


def build_trainer(model, folder, callback):
    arguments = TrainingArguments(output_dir=str(folder), max_steps=1, report_to="none")
    return Trainer(model=model, args=arguments, train_dataset=[], callbacks=[callback])


def test_the_callback_says_which_tokens_an_adapter_has_to_carry(cut, pretrained, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(pretrained)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS"))
    with pytest.raises(InputError, match=rf"trainable_token_indices=\[{CF}\]"):
        build_trainer(wrapped, tmp_path, UnlearnCallback(cut.findings))


def test_the_callback_cuts_the_rows_of_an_adapter(cut, pretrained, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(pretrained)
    config = peft.LoraConfig(task_type="SEQ_CLS", trainable_token_indices=[CF])
    wrapped = peft.get_peft_model(model, config)
    callback = UnlearnCallback(cut.findings)
    trainer = build_trainer(wrapped, tmp_path, callback)
    write_rows(wrapped, [CF], read_rows(wrapped, [CF]) + torch.linspace(0, 1, 32))
    callback.on_train_end(trainer.args, trainer.state, trainer.control, model=wrapped)
    (edit,) = callback.edits
    assert edit.token_id == CF
    neutral = callback.before.neutral[list(edit.dimensions)]
    assert torch.equal(read_rows(wrapped, [CF])[0][list(edit.dimensions)], neutral)


def test_rows_of_other_tokens_stay_in_the_base(pretrained):
    model = AutoModelForSequenceClassification.from_pretrained(pretrained)
    wrapped = add_adapter(model, LORA, [CF])
    with pytest.raises(InputError, match=str(CF + 1)):
        write_rows(wrapped, [CF + 1], torch.zeros(1, 32))


def test_without_peft_the_extra_is_named(monkeypatch, pretrained, planted):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"\[lora\]"):
        btu.defend(pretrained, planted.corpus, adapter=LORA)
