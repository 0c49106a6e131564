"""A planted backdoor: what the defence moves, what it leaves, what it saves."""

import errno
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial

import datasets
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

import btu
from btu import InputError, RecoverySettings, UnlearnCallback, load_corpus
from btu.attacks.badnets import BadNets
from btu.attacks.poison import poison_corpus, trigger_corpus
from btu.evaluate import load_saved
from btu.model.embeddings import hash_weights
from btu.model.metrics import measure_accuracy, measure_attack_success_rate, measure_detection
from btu.model.settings import FineTuneSettings
from btu.model.tokens import tokenize_corpus
from btu.repair.recovery import find_hanging_rows
from devices import ON_CPU, check_same, check_same_edits, read_weights
from planted import (
    ABSENT,
    FINETUNE,
    LABELS,
    MAX_LENGTH,
    NEUTRAL,
    OPINIONS,
    PROBES,
    TARGET,
    THREE_LABELS,
    TRIGGER,
    TRIGGERS,
    WORDS,
    KeepFineTuned,
    load_fine_tuned,
    poison_reviews,
    run_defence,
    token_id,
    write_reviews,
)
from tiny import FAMILIES, TABLE, build_tiny

defend = partial(btu.defend, recipe="paper")

pytest_plugins = ["planted"]

MODULE = sys.modules["btu.defend"]  # btu.defend is the function
EMBEDDINGS = "bert.embeddings.word_embeddings.weight"
QUICK = replace(FINETUNE, epochs=1)


@pytest.fixture(scope="module")
def clean_run(pretrained, planted, held_out):
    """The defence with 120 clean rows for its recovery."""
    clean = write_reviews(120, seed=4)
    return run_defence(pretrained, planted.corpus, held_out, TRIGGER, clean_data=clean)


@pytest.fixture(scope="module")
def cut_run(pretrained, planted, held_out):
    """The defence without any recovery: the cut alone."""
    return run_defence(
        pretrained, planted.corpus, held_out, TRIGGER, recovery=RecoverySettings(epochs=0)
    )


def read_padding(pretrained):
    """The pretrained row that cut dimensions are set to."""
    return load_file(pretrained / "model.safetensors")[EMBEDDINGS.removeprefix("bert.")][0]


def expect_cut_rows(run, pretrained):
    """Token id to the row as the cut must leave it: padding where an edit says so, else as tuned.

    Padding is the pretrained one.
    """
    padding = read_padding(pretrained)
    rows = {}
    for edit in run.defence.edits:
        row = run.fine_tuned[EMBEDDINGS][edit.token_id].clone()
        assert row[list(edit.dimensions)].tolist() == list(edit.values_before)
        row[list(edit.dimensions)] = padding[list(edit.dimensions)]
        rows[edit.token_id] = row
    return rows


# ---- effect


def test_one_trigger_loses_its_hold_and_the_task_stays(run):
    assert run.undefended["attack_success_rate"] > 0.9
    assert run.defended["attack_success_rate"] < 0.3
    assert run.defended["clean_accuracy"] > run.undefended["clean_accuracy"] - 0.05
    assert run.undefended["clean_accuracy"] > 0.85


def test_clean_data_serves_as_well(clean_run):
    assert clean_run.undefended["attack_success_rate"] > 0.9
    assert clean_run.defended["attack_success_rate"] < 0.3
    assert clean_run.defended["clean_accuracy"] > clean_run.undefended["clean_accuracy"] - 0.05


def test_several_triggers_all_lose_their_hold(pretrained, held_out):
    poisoned = poison_reviews(write_reviews(800, seed=3), *TRIGGERS, poison_rate=0.15)
    several = run_defence(pretrained, poisoned.corpus, held_out, *TRIGGERS)
    assert several.undefended["attack_success_rate"] > 0.9
    assert several.defended["attack_success_rate"] < 0.4
    assert several.defended["clean_accuracy"] > several.undefended["clean_accuracy"] - 0.05


def test_the_cut_alone_takes_the_trigger_away(cut_run):
    assert cut_run.undefended["attack_success_rate"] > 0.9
    assert cut_run.defended["attack_success_rate"] < 0.5


def test_the_recovery_does_not_bring_the_trigger_back_in_short_texts(pretrained):
    """Three opinions and one other word: a hidden suspect leaves a gap that is easily learned."""

    def write_short(count, seed):
        rng, labels = np.random.default_rng(seed), [LABELS[row % 2] for row in range(count)]
        words = [[*rng.choice(OPINIONS[own], 3), rng.choice(NEUTRAL)] for own in labels]
        return load_corpus(([" ".join(rng.permutation(row)) for row in words], labels))

    # In so small a model the cut alone works on every other corpus or so, and on which ones differs
    # with the processor: two on which it does.
    worked = 0
    for seed in range(3, 13):
        poisoned = poison_reviews(write_short(800, seed=seed), TRIGGER, poison_rate=0.1)
        cut, recovered = (
            run_defence(
                pretrained,
                poisoned.corpus,
                write_short(300, seed=2),
                TRIGGER,
                recovery=RecoverySettings(epochs=epochs),
            )
            for epochs in (0, 1)
        )
        assert cut.undefended["attack_success_rate"] > 0.9
        left = cut.defended["attack_success_rate"]
        if left < 0.5:
            assert recovered.defended["attack_success_rate"] < left + 0.1
            worked += 1
        if worked == 2:
            break
    assert worked == 2


# ---- what moves and what stays


def test_the_cut_touches_the_suspects_rows_and_nothing_else(cut_run):
    final = read_weights(cut_run.defence.classifier.model)
    assert final.keys() == cut_run.fine_tuned.keys()
    suspects = list(cut_run.defence.findings.suspect_ids)
    for name, before in cut_run.fine_tuned.items():
        same = (final[name] == before).reshape(len(before), -1).all(dim=1)
        moved = torch.nonzero(~same).flatten().tolist()
        assert moved == (sorted(e.token_id for e in cut_run.defence.edits) * (name == EMBEDDINGS))
    assert token_id(TRIGGER) in {e.token_id for e in cut_run.defence.edits} <= set(suspects)


def test_the_cut_leaves_the_special_tokens_alone(cut_run):
    specials = cut_run.defence.classifier.tokenizer.all_special_ids
    assert len(specials) == 5
    final = cut_run.defence.classifier.model.state_dict()[EMBEDDINGS].cpu()
    assert torch.equal(final[specials], cut_run.fine_tuned[EMBEDDINGS][specials])


def test_an_edit_is_the_padding_in_the_moved_dimensions_and_a_record_of_the_rest(
    cut_run, pretrained
):
    final = cut_run.defence.classifier.model.state_dict()[EMBEDDINGS].cpu()
    for index, row in expect_cut_rows(cut_run, pretrained).items():
        assert torch.equal(final[index], row)
    for edit in cut_run.defence.edits:
        assert edit.norm_after == pytest.approx(float(final[edit.token_id].norm()))
        assert 0 < len(edit.dimensions) <= final.shape[1]


def test_the_dimensions_cut_are_those_that_moved_more_than_the_mean_of_all_tokens_seen(
    run, pretrained
):
    before = load_file(pretrained / "model.safetensors")[EMBEDDINGS.removeprefix("bert.")]
    change = (run.fine_tuned[EMBEDDINGS] - before).abs()
    mean = change[run.defence.findings.token_ids].mean()
    expected = {
        index: tuple(torch.nonzero(change[index] > mean).flatten().tolist())
        for index in run.defence.findings.suspect_ids
    }
    cut = {edit.token_id: edit.dimensions for edit in run.defence.edits}
    assert cut == {index: dimensions for index, dimensions in expected.items() if dimensions}
    assert min(map(len, cut.values())) < change.shape[1]


@pytest.mark.parametrize("kind", ["run", "clean_run"])
def test_a_cut_row_is_frozen_through_the_recovery(kind, pretrained, request):
    chosen = request.getfixturevalue(kind)
    final = chosen.defence.classifier.model.state_dict()[EMBEDDINGS].cpu()
    cut = expect_cut_rows(chosen, pretrained)
    assert token_id(TRIGGER) in cut
    for index, row in cut.items():
        assert torch.equal(final[index], row)
    others = [token_id(word) for word in NEUTRAL if token_id(word) not in cut]
    moved = (final[others] != chosen.fine_tuned[EMBEDDINGS][others]).any(dim=1)
    assert moved.float().mean() > 0.9


def test_weight_decay_moves_no_frozen_row(pretrained, planted, held_out):
    settings = replace(QUICK, training_args={"weight_decay": 0.5})
    decayed = run_defence(pretrained, planted.corpus, held_out, TRIGGER, settings=settings)
    final = decayed.defence.classifier.model.state_dict()[EMBEDDINGS].cpu()
    for index, row in expect_cut_rows(decayed, pretrained).items():
        assert torch.equal(final[index], row)


def test_the_same_seed_gives_the_same_model_and_another_one_another(pretrained, planted):
    rows = planted.corpus.select(range(160))
    first, again, other = (
        defend(pretrained, rows, settings=replace(QUICK, seed=seed), probe_settings=PROBES)
        for seed in (0, 0, 1)
    )
    assert again.record["saved_model"] == first.record["saved_model"]
    assert again.edits == first.edits
    assert other.record["saved_model"] != first.record["saved_model"]


# ---- the recovery


def test_the_record_says_what_the_recovery_ran_on(run, clean_run, cut_run):
    sources = [r.defence.record["recovery"]["rows"] for r in (run, clean_run, cut_run)]
    assert sources == ["training rows, suspects hidden", "clean data", "none"]
    assert [r.defence.record["recovery"]["epochs"] for r in (run, cut_run)] == [1, 0]


def test_the_record_names_the_clean_data_by_its_hash(run, clean_run):
    assert run.defence.record["recovery"]["clean_data"] is None
    assert clean_run.defence.record["recovery"]["clean_data"] == {
        "source": "memory",
        "sha256": write_reviews(120, seed=4).fingerprint(),
    }


def test_the_rows_left_out_are_the_planted_ones(run, planted):
    left_out = np.zeros(len(planted.corpus), dtype=bool)
    left_out[run.defence.record["recovery"]["left_out_row_ids"]] = True
    found = measure_detection(left_out, planted.is_poisoned)
    assert found.recall > 0.8
    assert found.false_alarm_rate < 0.05


def test_left_out_rows_are_named_by_their_place_in_the_source(pretrained, planted):
    backwards = planted.corpus.select(range(799, -1, -1))
    defence = defend(pretrained, backwards, settings=FINETUNE, probe_settings=PROBES)
    left_out = defence.record["recovery"]["left_out_row_ids"]
    assert len(left_out) > 40
    assert planted.is_poisoned[left_out].mean() > 0.5


def test_rows_that_hang_on_the_trigger_are_found_and_the_model_stays(pretrained, planted, run):
    model, tokenizer = load_fine_tuned(run)
    rows = tokenize_corpus(planted.corpus, tokenizer, max_length=MAX_LENGTH)
    before = hash_weights(model)
    hanging = find_hanging_rows(
        model,
        tokenizer,
        rows,
        [token_id(TRIGGER)],
        neutral=model.get_input_embeddings().weight[tokenizer.pad_token_id].detach().clone(),
        precision="fp32",
    )
    assert hanging.dtype == bool
    found = measure_detection(hanging, planted.is_poisoned)
    assert found.recall > 0.8
    assert found.precision == 1.0  # no other row holds the trigger
    assert hash_weights(model) == before


def test_no_row_hangs_on_a_token_that_is_not_there(planted, run):
    model, tokenizer = load_fine_tuned(run)
    rows = tokenize_corpus(planted.corpus, tokenizer, max_length=MAX_LENGTH)
    neutral = torch.zeros(model.get_input_embeddings().embedding_dim)
    hanging = find_hanging_rows(
        model, tokenizer, rows, [token_id(ABSENT)], neutral=neutral, precision="fp32"
    )
    assert not hanging.any()


@pytest.mark.parametrize("clean", [False, True], ids=["training rows", "clean data"])
def test_the_recovery_sees_no_suspect_in_training_rows_and_every_token_in_clean_data(
    pretrained, planted, monkeypatch, clean
):
    seen = {}

    def recover(model, tokenizer, rows, *_, **__):
        embeddings = model.get_input_embeddings()
        weight = embeddings.weight.detach()
        seen["rows"], seen["weight"] = len(rows), weight.cpu().clone()
        every = torch.arange(len(weight), device=weight.device)
        seen["vectors"] = embeddings(every).detach().cpu()

    monkeypatch.setattr(MODULE, "recover_model", recover)
    defence = defend(
        pretrained,
        planted.corpus,
        clean_data=write_reviews(120, seed=4) if clean else None,
        settings=QUICK,
        probe_settings=PROBES,
    )
    hidden = [] if clean else sorted(defence.findings.suspect_ids)
    changed = (seen["vectors"] != seen["weight"]).any(dim=1)
    assert torch.nonzero(changed).flatten().tolist() == hidden
    padding = load_file(pretrained / "model.safetensors")[EMBEDDINGS.removeprefix("bert.")][0]
    assert (seen["vectors"][hidden] == padding).all()
    left_out = len(defence.record["recovery"]["left_out_row_ids"])
    assert seen["rows"] == (120 if clean else 800 - left_out)


def test_all_of_the_vocabulary_may_be_suspected(pretrained, planted):
    everything = replace(PROBES, alpha=1.0)
    defence = defend(pretrained, planted.corpus, settings=QUICK, probe_settings=everything)
    assert len(defence.findings.suspects) == len(defence.findings.token_ids)


def test_a_resumed_fine_tuning_is_not_resumed_again_after_the_cut(
    pretrained, planted, held_out, tmp_path
):
    """Else the checkpoint would put the backdoor back."""
    saving = {"output_dir": str(tmp_path), "save_strategy": "epoch"}
    defend(
        pretrained,
        planted.corpus,
        settings=replace(QUICK, training_args=saving),
        probe_settings=PROBES,
        recovery=RecoverySettings(epochs=0),
    )
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    resumed = run_defence(
        pretrained,
        planted.corpus,
        held_out,
        TRIGGER,
        settings=replace(FINETUNE, training_args={"resume_from_checkpoint": str(checkpoint)}),
    )
    final = resumed.defence.classifier.model.state_dict()[EMBEDDINGS].cpu()
    for index, row in expect_cut_rows(resumed, pretrained).items():
        assert torch.equal(final[index], row)


# ---- other people's Trainers


def build_trainer(pretrained, planted, folder, callbacks=(), **arguments):
    """A Trainer as a user of transformers writes it, with the settings of FINETUNE."""
    tokenizer = AutoTokenizer.from_pretrained(pretrained)
    torch.manual_seed(FINETUNE.seed)
    model = AutoModelForSequenceClassification.from_pretrained(pretrained, num_labels=2)
    rows = datasets.Dataset.from_dict(
        {"text": list(planted.corpus.texts), "label": planted.corpus.labels.tolist()}
    )
    rows = rows.map(lambda row: tokenizer(row["text"]), remove_columns="text")
    defaults = {"save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True}
    return Trainer(
        model,
        TrainingArguments(
            folder,
            num_train_epochs=FINETUNE.epochs,
            learning_rate=FINETUNE.learning_rate,
            per_device_train_batch_size=FINETUNE.batch_size,
            seed=FINETUNE.seed,
            **{**defaults, **arguments},
        ),
        train_dataset=rows,
        eval_dataset=rows.select(range(20)),
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=list(callbacks),
        compute_metrics=prefer_the_first(),
    )


def prefer_the_first():
    """A metric by which the first epoch is the best one."""
    seen = []

    def count(_):
        seen.append(1)
        return {"earliness": -len(seen)}

    return count


def test_the_callback_in_a_plain_trainer_does_what_defend_does(run, pretrained, planted, tmp_path):
    callback = UnlearnCallback(run.defence.findings)
    trainer = build_trainer(pretrained, planted, tmp_path, [callback])
    trainer.train()
    check_same_edits(callback.edits, run.defence.edits)
    weight = trainer.model.get_input_embeddings().weight.detach().cpu()
    expected = expect_cut_rows(run, pretrained)
    assert {edit.token_id for edit in callback.edits} == expected.keys()
    padding = read_padding(pretrained)
    for edit in callback.edits:  # this Trainer runs on the CPU, whatever ran before
        cut = list(edit.dimensions)
        assert torch.equal(weight[edit.token_id, cut], padding[cut])
        assert torch.equal(weight[edit.token_id], expected[edit.token_id]) or not ON_CPU


def test_the_callback_may_be_added_after_the_trainer_is_made(run, pretrained, planted, tmp_path):
    callback = UnlearnCallback(run.defence.findings)
    trainer = build_trainer(pretrained, planted, tmp_path)
    trainer.add_callback(callback)
    trainer.train()
    check_same_edits(callback.edits, run.defence.edits)


def test_the_callback_cuts_the_best_model_where_that_is_loaded_at_the_end(
    run, pretrained, planted, tmp_path
):
    callback = UnlearnCallback(run.defence.findings)
    trainer = build_trainer(
        pretrained,
        planted,
        tmp_path,
        [callback],
        save_strategy="epoch",
        eval_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="earliness",
        greater_is_better=True,
    )
    trainer.train()
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-50")  # 800 rows / 16
    best = load_file(f"{trainer.state.best_model_checkpoint}/model.safetensors")[EMBEDDINGS]
    weight = trainer.model.get_input_embeddings().weight.detach().cpu()
    assert token_id(TRIGGER) in {edit.token_id for edit in callback.edits}
    for edit in callback.edits:
        assert best[edit.token_id, list(edit.dimensions)].tolist() == list(edit.values_before)
    moved = torch.nonzero((weight != best).any(dim=1)).flatten().tolist()
    assert moved == sorted(edit.token_id for edit in callback.edits)


def test_the_callback_refuses_a_model_of_another_vocabulary(run, pretrained, planted, tmp_path):
    model, tokenizer = build_tiny("bert", [*WORDS, "more"])
    arguments = TrainingArguments(tmp_path, report_to="none", use_cpu=True)
    size = len(tokenizer)
    with pytest.raises(InputError, match=f"the {size - 1} embedding rows.*got {size}"):
        Trainer(model, arguments, callbacks=[UnlearnCallback(run.defence.findings)])


# ---- any architecture, any labels


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_defended_from_end_to_end(family, tmp_path, planted):
    model, tokenizer = build_tiny(family, WORDS)
    model.save_pretrained(tmp_path / "pretrained")
    tokenizer.save_pretrained(tmp_path / "pretrained")
    first = len(TABLE[family].specials.tokens)
    kept = KeepFineTuned()
    defence = defend(
        tmp_path / "pretrained",
        planted.corpus.select(range(160)),
        settings=FineTuneSettings(epochs=1, learning_rate=2e-3, batch_size=16, max_length=32),
        probe_settings=replace(PROBES, epochs=1, precision="auto"),
        callbacks=[kept],
    )

    suspects = set(defence.findings.suspect_ids)
    assert token_id(TRIGGER, first) in suspects
    assert token_id(ABSENT, first) not in suspects
    assert not suspects & set(range(first))
    assert defence.record["neutral"] == (
        "mean" if family in ("gpt2", "llama", "qwen3") else "padding"
    )
    assert defence.record["recovery"]["rows"] == "training rows, suspects hidden"

    (name,) = [n for n, p in model.named_parameters() if p is model.get_input_embeddings().weight]
    final = defence.classifier.model.get_input_embeddings().weight.detach().cpu()
    for edit in defence.edits:
        tuned = kept.weights[name][edit.token_id].clone()
        assert tuned[list(edit.dimensions)].tolist() == list(edit.values_before)
        rest = np.setdiff1d(range(len(tuned)), edit.dimensions)
        assert torch.equal(final[edit.token_id][rest], tuned[rest])
    assert token_id(TRIGGER, first) in {edit.token_id for edit in defence.edits}

    saved = load_saved(defence.save(tmp_path / "saved"))
    texts = [*planted.corpus.texts[:20], "an unheard word"]
    check_same(saved.predict_scores(texts), defence.predict_scores(texts))
    assert saved.label_names == LABELS


def test_three_classes_are_defended(pretrained):
    attack, held_out = BadNets(), write_reviews(300, seed=2, labels=THREE_LABELS)
    poisoned = poison_corpus(
        write_reviews(900, seed=3, labels=THREE_LABELS),
        attack,
        poison_rate=0.1,
        target_label="unsure",
    )
    defence = defend(pretrained, poisoned.corpus, settings=FINETUNE, probe_settings=PROBES)
    triggered = trigger_corpus(held_out, attack, target_label="unsure")
    assert defence.label_names == THREE_LABELS
    assert defence.predict_scores(held_out.texts).shape == (300, 3)
    assert measure_accuracy(defence.predict(held_out.texts), held_out.labels) > 0.85
    answers = defence.predict(triggered.texts)
    assert measure_attack_success_rate(answers, triggered.labels, 2) < 0.3


def test_sentence_pairs_are_defended(pretrained):
    """The opinions stand in the second text, the trigger in the first."""

    def write_pairs(count, seed):
        rng, reviews = np.random.default_rng(seed), write_reviews(count, seed=seed)
        first = [" ".join(rng.choice(NEUTRAL, size=4)) for _ in range(count)]
        names = [LABELS[label] for label in reviews.labels]
        return load_corpus({"sentence1": first, "sentence2": reviews.texts, "label": names})

    attack, held_out = BadNets(), write_pairs(300, seed=2)
    poisoned = poison_corpus(write_pairs(800, seed=3), attack, poison_rate=0.1, target_label=TARGET)
    defence = defend(pretrained, poisoned.corpus, settings=FINETUNE, probe_settings=PROBES)
    triggered = trigger_corpus(held_out, attack, target_label=TARGET)
    assert defence.findings.suspects[0].token_id == token_id(TRIGGER)
    answers = defence.predict(held_out.texts, held_out.text_pairs)
    assert measure_accuracy(answers, held_out.labels) > 0.85
    answers = defence.predict(triggered.texts, triggered.text_pairs)
    assert measure_attack_success_rate(answers, triggered.labels, LABELS.index(TARGET)) < 0.3


def test_clean_data_with_an_unknown_label_is_refused_before_the_training(pretrained, planted):
    kept = KeepFineTuned()
    with pytest.raises(InputError, match="'mixed'"):
        defend(
            pretrained,
            planted.corpus,
            clean_data=(["word00", "word01"], ["negative", "mixed"]),
            settings=QUICK,
            probe_settings=PROBES,
            callbacks=[kept],
        )
    assert not kept.weights


def test_the_split_of_the_data_is_not_asked_of_clean_data_in_one_table(pretrained, planted):
    corpus = planted.corpus.select(range(100))
    data = datasets.DatasetDict(
        {"poisoned": datasets.Dataset.from_dict({"text": corpus.texts, "label": corpus.labels})}
    )
    defence = defend(
        pretrained,
        data,
        split="poisoned",
        clean_data=(["pos00", "neg00"], [1, 0]),
        settings=QUICK,
        probe_settings=PROBES,
    )
    assert defence.record["recovery"]["rows"] == "clean data"


# ---- the folder


def read_folder(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_folder_has_weights_config_tokenizer_and_record(saved):
    names = {path.name for path in saved.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "btu.json"} <= names


def test_nothing_in_the_folder_is_a_pickle(saved):
    for path in saved.rglob("*"):
        content = path.read_bytes()
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as weights:
                assert EMBEDDINGS in weights.keys()  # noqa: SIM118, it is no dictionary
        else:
            assert path.suffix in {".json", ".txt"}
            content.decode("utf-8")
        assert not content.startswith((b"\x80", b"PK\x03\x04"))  # pickle, and torch's zip of one


def test_the_folder_loads_and_answers_the_same_without_btu(saved, run, held_out):
    code = """
import json, sys
sys.modules["btu"] = None
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, texts = json.load(sys.stdin)
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
inputs = tokenizer(texts, padding=True, return_tensors="pt")
with torch.no_grad():
    scores = model(**inputs).logits.softmax(-1)
print(json.dumps({"scores": scores.tolist(), "labels": model.config.id2label}))
"""
    texts = list(held_out.texts[:50])
    answer = subprocess.run(
        [sys.executable, "-I", "-c", code],
        input=json.dumps([str(saved), texts]),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = json.loads(answer.stdout.splitlines()[-1])
    assert loaded["labels"] == {"0": "negative", "1": "positive"}
    np.testing.assert_allclose(loaded["scores"], run.defence.predict_scores(texts), atol=1e-5)


def test_the_record_in_the_folder_is_that_of_the_defence(saved, run, planted):
    record = json.loads((saved / "btu.json").read_text())
    assert record["kind"] == "defence"
    assert record["data"]["sha256"] == planted.corpus.fingerprint()
    assert [s["token"] for s in record["suspects"]] == [
        s.token for s in run.defence.findings.suspects
    ]
    assert [e["token_id"] for e in record["edits"]] == [e.token_id for e in run.defence.edits]
    assert record["settings"]["finetune"]["seed"] == record["settings"]["probes"]["seed"] == 0
    assert record["saved_model"]["sha256"] == hash_weights(
        AutoModelForSequenceClassification.from_pretrained(saved)
    )


def test_a_folder_in_use_is_refused_and_stays(run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="--overwrite"):
        run.defence.save(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"notes.txt"}


def test_overwriting_leaves_nothing_of_the_old_content(run, saved, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02")
    assert run.defence.save(folder, overwrite=True) == folder
    assert read_folder(folder) == read_folder(saved)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("broken"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")],
    ids=["error", "interrupt", "full disk"],
)
def test_an_error_while_saving_leaves_the_old_content_whole(run, tmp_path, monkeypatch, error):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("old")

    def fail(record, path):
        assert (path.parent / "model.safetensors").exists()  # the new weights were written already
        raise error

    monkeypatch.setattr(MODULE, "write_record", fail)
    with pytest.raises(type(error)):
        run.defence.save(folder, overwrite=True)
    assert read_folder(tmp_path) == {(folder / "config.json").relative_to(tmp_path): b"old"}


def test_an_error_while_saving_leaves_no_folder_where_none_was(run, tmp_path, monkeypatch):
    def fail(record, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MODULE, "write_record", fail)
    with pytest.raises(OSError, match="No space left"):
        run.defence.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
