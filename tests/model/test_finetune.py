"""Fine-tuning, prediction and the classifier that is saved."""

import logging
import tempfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback

from btu.model.embeddings import embedding_weight
from btu.model.finetune import (
    Classifier,
    autocast,
    check_training_args,
    finetune,
    pick_precision,
    predict_scores,
)
from btu.model.settings import FineTuneSettings
from btu.model.tokens import tokenize_texts
from btu.support.errors import InputError
from btu.support.progress import show_progress
from devices import is_same, read_weights
from tiny import FAMILIES, build_tiny

FILL = [f"word{i}" for i in range(20)]
WORDS = ["good", "bad", *FILL, "absent"]


def make_texts(count=32):
    """Separable: "good" stands in every row of label 1, "bad" in every other."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    texts = []
    for label in labels:
        words = rng.choice(FILL, rng.integers(2, 9)).tolist()
        texts.append(" ".join([*words[:1], "good" if label else "bad", *words[1:]]))
    return texts, labels


TEXTS, LABELS = make_texts()


def build(family="bert", **options):
    """A tiny model that can pad, and the tokenised rows."""
    model, tokenizer = build_tiny(family, WORDS, **options)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        model.config.pad_token_id = tokenizer.pad_token_id
    rows = tokenize_texts(TEXTS, tokenizer, max_length=32, labels=LABELS)
    return model, tokenizer, rows


def options(**changed):
    chosen = {"epochs": 1, "learning_rate": 3e-3, "batch_size": 8, "precision": "fp32", **changed}
    return FineTuneSettings(**chosen)


# Forty steps in which every family learns to tell "good" from "bad".
LEARNING = options(epochs=10, learning_rate=5e-3, training_args={"lr_scheduler_type": "constant"})


def measure_loss(model, tokenizer, rows):
    scores = predict_scores(model, tokenizer, rows, precision="fp32")
    return float(functional.nll_loss(torch.from_numpy(scores).log(), torch.from_numpy(rows.labels)))


# ---- training arguments


def test_known_training_arguments_pass_in_silence():
    named = {"weight_decay": 0.01, "warmup_steps": 10, "lr_scheduler_type": "cosine"}
    check_training_args(FineTuneSettings(training_args=named))


def test_unknown_and_reserved_training_arguments_are_refused_together():
    names = {"warmup_step": 1, "learning_rate": 1e-5, "bf16": True, "zzz": 0, "weight_decay": 0.1}
    with pytest.raises(InputError) as caught:
        check_training_args(FineTuneSettings(training_args=names))
    first, *rest = str(caught.value).splitlines()
    assert first == "training arguments: 4 faults"
    lines = {line.removeprefix("  - ").split(":")[0]: line for line in rest}
    assert lines.keys() == names.keys() - {"weight_decay"}
    assert lines["warmup_step"].endswith("; did you mean warmup_steps?")
    assert lines["learning_rate"].endswith("give learning_rate")
    assert lines["bf16"].endswith("give precision")
    assert "did you mean" not in lines["zzz"]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("num_train_epochs", "epochs"),
        ("per_device_train_batch_size", "batch_size"),
        ("seed", "seed"),
        ("fp16", "precision"),
    ],
)
def test_a_reserved_training_argument_names_the_setting_to_give_instead(name, ours):
    with pytest.raises(InputError, match=f"{name}: .* give {ours}$"):
        check_training_args(FineTuneSettings(training_args={name: 1}))


@pytest.mark.parametrize(
    "named",
    [
        {"lr_scheduler_type": "nonsense"},
        {"optim": "nonsense"},
        {"warmup_steps": "many"},
        {"weight_decay": "0.1"},
        {"warmup_steps": -1},
        {"eval_strategy": "epoch"},
    ],
    ids=str,
)
def test_a_value_that_the_trainer_does_not_take_is_refused_before_the_training(named):
    before = dict(AcceleratorState._shared_state)
    with pytest.raises(InputError, match=r"^training arguments: "):
        check_training_args(FineTuneSettings(training_args=named, precision="bf16"))
    assert dict(AcceleratorState._shared_state) == before


def test_training_arguments_reach_the_trainer():
    model, tokenizer, rows = build()
    before = read_weights(model)
    seen = Steps()
    finetune(
        model,
        tokenizer,
        rows,
        settings=options(epochs=5, training_args={"max_steps": 3, "weight_decay": 0.5}),
        callbacks=[seen],
    )
    assert seen.steps == 3
    # Decay alone moves a row that never occurs.
    absent = tokenizer.convert_tokens_to_ids("absent")
    after = embedding_weight(model).detach().cpu()
    assert not torch.equal(after[absent], before["bert.embeddings.word_embeddings.weight"][absent])


# ---- precision


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_precision_that_was_asked_for_is_taken(precision):
    assert pick_precision(precision) == precision


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "avx2": True}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_auto_takes_bf16_on_a_cpu_that_computes_in_it(monkeypatch, capabilities, expected):
    device = SimpleNamespace(device=torch.device("cpu"))
    monkeypatch.setattr("btu.model.finetune.PartialState", lambda: device)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: capabilities, raising=False)
    assert pick_precision("auto") == expected


@pytest.mark.parametrize(
    ("kind", "native", "expected"),
    [("cuda", True, "bf16"), ("cuda", False, "fp32"), ("mps", True, "fp32")],
)
def test_auto_takes_bf16_on_a_gpu_that_computes_in_it(monkeypatch, kind, native, expected):
    device = SimpleNamespace(device=torch.device(kind))
    monkeypatch.setattr("btu.model.finetune.PartialState", lambda: device)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: native)
    assert pick_precision("auto") == expected


def test_autocast_computes_in_the_precision_that_was_picked(monkeypatch):
    device = SimpleNamespace(device=torch.device("cpu"))
    monkeypatch.setattr("btu.model.finetune.PartialState", lambda: device)
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    matrix = torch.eye(4)
    for precision, dtype in dtypes.items():
        with autocast(precision):
            assert (matrix @ matrix).dtype == dtype, precision


# ---- fine-tuning


@pytest.fixture(scope="module", params=FAMILIES)
def learned(request):
    """A family before and after fine-tuning; shared read-only."""
    model, tokenizer, rows = build(request.param)
    before = SimpleNamespace(
        weight=embedding_weight(model).detach().cpu().clone(),
        loss=measure_loss(model, tokenizer, rows),
    )
    finetune(model, tokenizer, rows, settings=LEARNING)
    return model, tokenizer, rows, before


def test_fine_tuning_lowers_the_loss_and_leaves_the_model_ready_to_predict(learned):
    model, tokenizer, rows, before = learned
    assert not model.training
    loss = measure_loss(model, tokenizer, rows)
    assert loss < 0.75 * before.loss


def test_fine_tuning_moves_the_words_that_occur_and_no_other(learned):
    model, tokenizer, _, before = learned
    moved = (embedding_weight(model).detach().cpu() - before.weight).abs().amax(dim=1)
    good, bad, absent = tokenizer.convert_tokens_to_ids(["good", "bad", "absent"])
    assert min(moved[good], moved[bad]) > 0
    assert moved[absent] == 0


def test_fine_tuning_moves_every_layer():
    model, tokenizer, rows = build()
    before = read_weights(model)
    finetune(model, tokenizer, rows, settings=options())
    still = {
        name for name, value in read_weights(model).items() if torch.equal(value, before[name])
    }
    assert {name for name in still if "position_ids" not in name} == set()


def test_the_seed_decides_what_is_learned():
    results = []
    for seed in (1, 1, 2):
        model, tokenizer, rows = build()
        finetune(model, tokenizer, rows, settings=options(seed=seed))
        results.append(read_weights(model))
    first, again, other = results
    assert all(is_same(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


@pytest.mark.parametrize(("precision", "flags"), [("fp32", (0, 0)), ("bf16", (1, 0))])
def test_settings_reach_the_trainer(precision, flags):
    seen = Steps()
    chosen = options(epochs=0.25, seed=3, learning_rate=2e-4, batch_size=4, precision=precision)
    finetune(*build(), settings=chosen, callbacks=[seen])
    assert (seen.args.seed, seen.args.learning_rate) == (3, 2e-4)
    assert (seen.args.per_device_train_batch_size, seen.args.num_train_epochs) == (4, 0.25)
    assert (seen.args.bf16, seen.args.fp16) == flags


def test_fp32_is_the_same_before_and_after_a_fine_tuning_in_bf16():
    results = []
    for precision in ("fp32", "bf16", "fp32"):
        model, tokenizer, rows = build()
        finetune(model, tokenizer, rows, settings=options(epochs=0.5, precision=precision))
        results.append(embedding_weight(model).detach().cpu().clone())
    assert is_same(results[0], results[2])
    assert not torch.equal(results[0], results[1])


def test_the_caller_keeps_the_precision_of_their_own_accelerator():
    # Accelerate holds one precision a process and would hand ours on.
    before = dict(AcceleratorState._shared_state)
    finetune(*build(), settings=options(epochs=0.25, precision="bf16"))
    assert dict(AcceleratorState._shared_state) == before


@pytest.mark.parametrize(
    ("chosen", "strategy"),
    [
        ({}, "group_by_length"),
        ({"group_by_length": False}, "random"),
        ({"training_args": {"train_sampling_strategy": "sequential"}}, "sequential"),
    ],
)
def test_batches_hold_rows_of_like_length_unless_it_is_turned_off(chosen, strategy):
    seen = Steps()
    finetune(*build(), settings=options(**chosen), callbacks=[seen])
    assert seen.args.train_sampling_strategy == strategy
    assert seen.steps == 4


def test_bf16_learns_too():
    model, tokenizer, rows = build()
    before = measure_loss(model, tokenizer, rows)
    finetune(model, tokenizer, rows, settings=replace(LEARNING, precision="bf16"))
    after = measure_loss(model, tokenizer, rows)
    assert after < 0.5 * before
    assert {p.dtype for p in model.parameters()} == {torch.float32}


class Steps(TrainerCallback):
    """Counts the optimiser's steps and keeps the Trainer's arguments."""

    steps, args = 0, None

    def on_step_end(self, args, state, control, **_):
        self.steps += 1
        self.args = args


@pytest.mark.parametrize(("epochs", "steps"), [(2, 8), (0.5, 2)])
def test_callbacks_see_one_step_a_batch(epochs, steps):
    seen = Steps()
    finetune(*build(), settings=options(epochs=epochs), callbacks=[seen])
    assert seen.steps == steps


def test_fine_tuning_prints_nothing_and_leaves_no_file(capfd, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    logged = {"logging_strategy": "steps", "logging_steps": 1, "save_strategy": "epoch"}
    finetune(*build(), settings=options(training_args=logged))
    assert capfd.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_fine_tuning_shows_its_bar_on_standard_error(capsys, monkeypatch):
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    with show_progress():
        finetune(*build(), settings=options(), description="learning")
    out, err = capsys.readouterr()
    assert out == ""
    assert "learning" in err


def test_fine_tuning_logs_no_warning(caplog):
    with caplog.at_level(logging.WARNING):
        finetune(*build(), settings=options())
    assert not [r.getMessage() for r in caplog.records if r.name.startswith(("btu", "accelerate"))]


# ---- prediction


def test_scores_sum_to_one_and_are_those_of_each_row_alone(learned):
    model, tokenizer, rows, _ = learned
    scores = predict_scores(model, tokenizer, rows, precision="fp32")
    assert scores.shape == (len(TEXTS), 2)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    with torch.no_grad():
        alone = [
            model(**tokenizer(text, return_tensors="pt").to(model.device)).logits for text in TEXTS
        ]
    expected = torch.cat(alone).softmax(dim=1).cpu().numpy()
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_scores_do_not_depend_on_the_batch_size_or_the_order_of_rows(learned):
    model, tokenizer, rows, _ = learned
    scores = predict_scores(model, tokenizer, rows, precision="fp32")
    order = np.random.default_rng(1).permutation(len(rows))
    for batch_size in (1, 7):
        shuffled = predict_scores(
            model, tokenizer, rows.select(order), batch_size=batch_size, precision="fp32"
        )
        np.testing.assert_allclose(shuffled, scores[order], atol=1e-5)


def test_no_rows_give_no_scores():
    model, tokenizer, rows = build(num_labels=3)
    assert predict_scores(model, tokenizer, rows.select(np.arange(0))).shape == (0, 3)


def test_prediction_changes_no_weight_and_switches_dropout_off():
    model, tokenizer, rows = build()
    before = read_weights(model)
    model.train()
    first, again = (predict_scores(model, tokenizer, rows) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert all(torch.equal(value, before[name]) for name, value in read_weights(model).items())


# ---- the classifier


@pytest.fixture(scope="module")
def trained():
    """A trained classifier, shared read-only."""
    model, tokenizer, rows = build()
    finetune(model, tokenizer, rows, settings=LEARNING)
    model.config.id2label = {0: "negative", 1: "positive"}
    return Classifier(model, tokenizer, max_length=32, precision="fp32")


def test_the_classifier_answers_with_the_likeliest_label(trained):
    assert trained.predict(["word1 good word2", "word2 bad word3"]).tolist() == [1, 0]
    assert trained.predict_scores(["word1 good word2"])[0].argmax() == 1
    np.testing.assert_array_equal(trained.predict(TEXTS), LABELS)


def test_the_classifier_reads_pairs_and_cuts_long_texts(trained):
    first = trained.predict_scores(["word1"], ["good"])
    assert not np.allclose(first, trained.predict_scores(["word1"], ["bad"]), atol=1e-3)
    cut = trained.predict_scores(["word1 " * 30 + "good"])
    np.testing.assert_allclose(cut, trained.predict_scores(["word1 " * 40 + "bad"]), atol=1e-6)


def test_label_names_stand_in_the_order_of_their_ids():
    model, tokenizer, _ = build(num_labels=12)
    names = tuple(f"class {i}" for i in range(12))
    model.config.id2label = dict(reversed(list(enumerate(names))))
    assert Classifier(model, tokenizer).label_names == names


def test_a_saved_classifier_loads_without_btu_and_holds_no_pickle(trained, tmp_path):
    trained.save(tmp_path)
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".txt", ".jinja"}
    assert (tmp_path / "model.safetensors").is_file()

    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    expected = read_weights(trained.model)
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in read_weights(model).items())
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert tokenizer(TEXTS).data == trained.tokenizer(TEXTS).data
