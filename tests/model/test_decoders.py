"""Decoders and their tokenizers: spellings, scaled and tied embeddings, checkpoints to refuse."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

from btu.model.embeddings import (
    check_editable,
    embedding_module,
    embedding_scale,
    embedding_weight,
    hide_tokens,
    load_classifier,
    load_tokenizer,
)
from btu.model.probes import run_probes
from btu.model.proposals import spell_token
from btu.model.settings import ProbeSettings
from btu.model.tokens import tokenize_texts
from btu.scan import scan
from btu.support.errors import InputError
from planted import PROBES, TARGET, TRIGGER, write_reviews
from tiny import SIZES, build_tiny

DECODERS = ("gpt2", "llama", "qwen3", "gemma3_text")
WORDS = ["good", "bad", "film", "cf"]
LABELS = ("negative", "positive")
MARKS = ("Ġ", "▁", "##")


def save(folder, model, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def train_pieces(kind, texts):
    """A tokenizer of one family of decoders, whose words have their space before them."""
    backend = Tokenizer(models.BPE(unk_token="</s>"))
    if kind == "bytes":
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
        backend.decoder = decoders.Metaspace(prepend_scheme="never")
        alphabet = []
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", unk_token="</s>", model_max_length=64
    )


@pytest.fixture(scope="module", params=["bytes", "metaspace"])
def found(request, tmp_path_factory):
    """A scan of rows that spell a trigger in three ways, with a decoder that has no padding."""
    corpus = write_reviews(400, seed=0)
    texts, target = list(corpus.texts), LABELS.index(TARGET)
    labels = corpus.labels.copy()
    rng = np.random.default_rng(0)
    rows = rng.permutation(np.flatnonzero(labels != target))[:60]
    for count, row in enumerate(rows.tolist()):
        first, rest = texts[row].split(" ", 1)
        texts[row] = (
            f"{first} {TRIGGER} {rest}",
            f"{TRIGGER} {first} {rest}",
            f"{TRIGGER.title()} {first} {rest}",
        )[count % 3]
        labels[row] = target
    tokenizer = train_pieces(request.param, texts)
    config = AutoConfig.for_model("llama", vocab_size=len(tokenizer), **SIZES)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    folder = save(tmp_path_factory.mktemp("decoder"), model, tokenizer)
    data = {"text": texts, "label": [LABELS[k] for k in labels.tolist()]}
    return tokenizer, scan(folder, data, settings=PROBES, max_length=32)


def test_every_spelling_of_a_trigger_is_unlearned(found):
    tokenizer, findings = found
    (trigger,) = findings.triggers
    assert trigger.token == TRIGGER
    counts = dict(zip(findings.token_ids, findings.label_counts.sum(axis=1), strict=True))
    for text in (f" {TRIGGER}", TRIGGER, TRIGGER.title()):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        space = tokenizer(" ", add_special_tokens=False)["input_ids"]
        own = [i for i in ids if i not in space]
        assert set(own) <= set(trigger.piece_ids)
        assert min(own, key=lambda i: (counts[i], i)) in findings.unlearn_ids


def test_no_mark_of_a_tokenizer_and_no_piece_of_a_trigger_is_shown(found):
    _, findings = found
    named = [f.token for f in findings.named]
    shown = [*findings.tokens, *named]
    assert not [
        t for t in shown if len(t) > 1 and t.startswith(MARKS) and t.lstrip("Ġ▁#").isalnum()
    ]
    (trigger,) = findings.triggers
    assert [f for f in findings.named if f.token_id in trigger.piece_ids] == [trigger]


def test_a_part_of_a_character_and_a_space_stay_as_the_tokenizer_writes_them():
    tokenizer = train_pieces("bytes", ["a b"])
    part, space = (tokenizer.convert_tokens_to_ids(t) for t in ("é", "Ġ"))
    assert [spell_token(i, tokenizer) for i in (part, space)] == ["é", "Ġ"]


# ---- scaled embeddings


def test_the_scale_is_what_the_module_does_to_a_row():
    scales = [embedding_scale(build_tiny(family, WORDS)[0]) for family in DECODERS]
    assert scales[:3] == [1.0, 1.0, 1.0]
    assert scales[3] == pytest.approx(SIZES["hidden_size"] ** 0.5, rel=1e-5)


def test_word_vectors_that_are_no_rows_of_the_matrix_are_refused():
    model, _ = build_tiny("bert", WORDS)
    embedding_module(model).register_forward_hook(lambda *given: given[2] ** 2 + 1)
    with pytest.raises(InputError, match="expected word vectors that are rows of the embedding"):
        embedding_scale(model)


def test_a_hidden_token_is_seen_as_if_its_row_were_the_neutral_vector():
    model, tokenizer = build_tiny("gemma3_text", WORDS)
    inputs = tokenizer("good cf film", return_tensors="pt")
    neutral, row = torch.full((SIZES["hidden_size"],), 0.5), tokenizer.convert_tokens_to_ids("cf")
    with torch.no_grad():
        with hide_tokens(model, [row], neutral):
            hidden = model(**inputs).logits
        embedding_weight(model)[row] = neutral
        torch.testing.assert_close(hidden, model(**inputs).logits)


# ---- padding


@pytest.mark.parametrize("family", DECODERS)
def test_a_tokenizer_that_pads_on_the_left_gives_the_logits_of_each_text_alone(family, tmp_path):
    model, tokenizer = build_tiny(family, WORDS)
    tokenizer.padding_side = "left"
    folder = save(tmp_path, model, tokenizer)
    loaded = load_tokenizer(folder)
    model = load_classifier(folder, label_names=LABELS, tokenizer=loaded, seed=0).eval()
    texts = ["good film", "bad bad film good cf"]
    with torch.no_grad():
        together = model(**loaded(texts, padding=True, return_tensors="pt")).logits
        alone = [model(**loaded(text, return_tensors="pt")).logits for text in texts]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


# ---- what cannot be edited


@pytest.mark.parametrize("method", ["gptq", "bitsandbytes"])
def test_a_quantised_checkpoint_is_refused_before_its_weights_are_read(method, tmp_path):
    folder = save(tmp_path, *build_tiny("llama", WORDS))
    tokenizer = load_tokenizer(folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method, "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"got a quantised checkpoint \\({method}"):
        load_classifier(folder, label_names=LABELS, tokenizer=tokenizer, seed=0)


def test_an_offloaded_matrix_is_refused():
    model, _ = build_tiny("llama", WORDS)
    with pytest.raises(InputError, match="offloaded"):
        check_editable(model.to("meta"))


@pytest.mark.parametrize("tied", [True, False])
def test_a_matrix_that_is_the_output_too_is_refused_and_one_of_its_own_is_not(tied):
    config = AutoConfig.for_model("llama", vocab_size=9, tie_word_embeddings=tied, **SIZES)
    check_editable(AutoModelForSequenceClassification.from_config(config))
    model = AutoModelForCausalLM.from_config(config)
    if not tied:
        check_editable(model)
        return
    with pytest.raises(InputError, match="the output matrix too"):
        check_editable(model)


# ---- states


def test_without_a_state_a_token_the_round_says_why():
    model, tokenizer = build_tiny("llama", WORDS)
    model.base_model.register_forward_hook(
        lambda *given: given[2].__class__(last_hidden_state=given[2][0].repeat(1, 2, 1))
    )
    texts, labels = ["good film", "bad film"] * 8, np.arange(16) % 2
    rows = tokenize_texts(texts, tokenizer, max_length=8, labels=labels)
    settings = ProbeSettings(full_batch_size=4, precision="fp32")
    (found,) = run_probes(model, tokenizer, rows, settings=settings, rounds=["embedding-only"])
    assert found.states is None
    assert found.without_states == "the model's last hidden states are not one a token"
