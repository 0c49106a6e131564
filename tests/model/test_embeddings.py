"""Embeddings, protected tokens and neutral vectors of every family; loading models."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    CLIPConfig,
    ViTConfig,
    ViTForImageClassification,
)

from btu.model.embeddings import (
    embedding_module,
    embedding_weight,
    has_own_padding,
    hash_weights,
    hide_tokens,
    load_classifier,
    load_finished_classifier,
    load_tokenizer,
    neutral_vector,
    protected_token_ids,
)
from btu.support.errors import InputError
from tiny import FAMILIES, HIDDEN, TABLE, build_tiny

WORDS = ["good", "bad", "film", "cf", "the", "was"]
LABELS = ("negative", "positive")
MEAN_FAMILIES = ("gpt2", "llama", "qwen3")


@pytest.fixture
def save(tmp_path):
    def save_tiny(family="bert", **options):
        model, tokenizer = build_tiny(family, WORDS, **options)
        model.save_pretrained(tmp_path / family)
        tokenizer.save_pretrained(tmp_path / family)
        return tmp_path / family

    return save_tiny


def load(folder, *, label_names=LABELS, seed=0):
    return load_classifier(
        folder, label_names=label_names, tokenizer=load_tokenizer(folder), seed=seed
    )


# ---- the matrix


@pytest.mark.parametrize("family", FAMILIES)
def test_the_embedding_has_a_row_a_token_and_is_the_models_own(family):
    model, tokenizer = build_tiny(family, WORDS)
    weight = embedding_weight(model)
    width = HIDDEN // 2 if family in ("albert", "electra") else HIDDEN
    assert weight.shape == (len(tokenizer), width)
    assert any(weight is parameter for parameter in model.parameters())
    assert embedding_module(model).weight is weight


def test_a_model_that_reads_no_token_ids_is_refused():
    sizes = {"hidden_size": 8, "intermediate_size": 8, "image_size": 16, "patch_size": 8}
    config = ViTConfig(**sizes, num_hidden_layers=1, num_attention_heads=1)
    with pytest.raises(InputError, match="ViTForImageClassification: expected a word-embedding"):
        embedding_weight(ViTForImageClassification(config))


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_are_protected_and_no_word_not_even_an_unknown_one(family):
    _, tokenizer = build_tiny(family, WORDS)
    specials = set(range(len(TABLE[family].specials.tokens)))
    free = {tokenizer.unk_token_id} - {tokenizer.eos_token_id, None}
    assert bool(free) is (family not in ("gpt2", "qwen3"))
    assert set(protected_token_ids(tokenizer)) == specials - free
    if free:
        tokenizer.pad_token = tokenizer.unk_token
        assert free <= set(protected_token_ids(tokenizer))
    tokenizer.add_special_tokens({"mask_token": "<new>"})
    assert protected_token_ids(tokenizer)[-1] == tokenizer.convert_tokens_to_ids("<new>")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_neutral_vector_is_the_padding_row_or_the_mean_where_padding_has_a_meaning(family):
    model, tokenizer = build_tiny(family, WORDS)
    rows = embedding_weight(model).detach().numpy().copy()
    neutral = neutral_vector(model, tokenizer)
    if family in MEAN_FAMILIES:
        assert (neutral.source, has_own_padding(tokenizer)) == ("mean", False)
        np.testing.assert_allclose(neutral.vector.numpy(), rows.mean(axis=0), atol=1e-7)
    else:
        assert (neutral.source, has_own_padding(tokenizer)) == ("padding", True)
        padding = TABLE[family].specials.tokens.index(TABLE[family].specials.roles["pad_token"])
        np.testing.assert_array_equal(neutral.vector.numpy(), rows[padding])


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_the_neutral_vector_stays_when_the_model_learns(family):
    model, tokenizer = build_tiny(family, WORDS)
    neutral = neutral_vector(model, tokenizer)
    before = neutral.vector.clone()
    with torch.no_grad():
        embedding_weight(model).add_(1.0)
    assert torch.equal(neutral.vector, before)


def test_the_neutral_vector_of_a_bfloat16_model_is_float32():
    model, tokenizer = build_tiny("llama", WORDS)
    assert neutral_vector(model.to(torch.bfloat16), tokenizer).vector.dtype == torch.float32


# ---- hiding tokens from a model


def compute_logits(model, tokenizer, text="the cf film was good"):
    return model(**tokenizer(text, return_tensors="pt")).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hidden_token_looks_like_the_neutral_vector(family):
    model, tokenizer = build_tiny(family, WORDS)
    hidden, neutral = tokenizer.convert_tokens_to_ids(["cf", "good"]), torch.randn(2, 64)[0]
    neutral = neutral[: embedding_weight(model).shape[1]]
    with torch.no_grad():
        plain = compute_logits(model, tokenizer)
        with hide_tokens(model, hidden, neutral):
            inside = compute_logits(model, tokenizer)
            without = compute_logits(model, tokenizer, "the film was bad")
        # By hand: write the neutral vector into the rows themselves.
        edited = deepcopy(model)
        embedding_weight(edited)[hidden] = neutral
        torch.testing.assert_close(inside, compute_logits(edited, tokenizer))
        assert not torch.allclose(inside, plain, atol=1e-7)
        assert torch.equal(compute_logits(model, tokenizer), plain)
        assert torch.equal(compute_logits(model, tokenizer, "the film was bad"), without)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hidden_token_learns_nothing_and_the_others_do(family):
    model, tokenizer = build_tiny(family, WORDS)
    before = deepcopy(model.state_dict())
    hidden, seen = tokenizer.convert_tokens_to_ids(["cf", "film"])
    with hide_tokens(model, [hidden], torch.ones(embedding_weight(model).shape[1])):
        compute_logits(model, tokenizer)[0, 0].backward()
    gradient = embedding_weight(model).grad
    assert gradient[hidden].abs().max() == 0
    assert gradient[seen].abs().max() > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_after_an_error_inside_nothing_is_hidden():
    model, tokenizer = build_tiny("bert", WORDS)
    hidden = tokenizer.convert_tokens_to_ids(["cf"])
    with torch.no_grad():
        plain = compute_logits(model, tokenizer)

        def fail_inside():
            with hide_tokens(model, hidden, torch.ones(HIDDEN)):
                assert not torch.allclose(compute_logits(model, tokenizer), plain, atol=1e-7)
                raise RuntimeError("stop")

        with pytest.raises(RuntimeError, match="stop"):
            fail_inside()
        assert torch.equal(compute_logits(model, tokenizer), plain)


# ---- loading


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_comes_back_with_its_weights_and_the_labels_of_the_data(family, save):
    folder = save(family)
    model = load(folder)
    saved = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.state_dict().keys() == saved.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(value, saved.state_dict()[name]), name
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert model.config.label2id == {"negative": 0, "positive": 1}
    assert model.config.pad_token_id is not None
    assert not model.training


@pytest.mark.parametrize("family", FAMILIES)
def test_every_tokenizer_that_was_loaded_can_pad(family, save):
    tokenizer = load_tokenizer(save(family))
    assert tokenizer.pad_token_id is not None
    assert (
        tokenizer(["good film", "bad"], padding=True, return_tensors="pt")["input_ids"].dim() == 2
    )
    assert has_own_padding(tokenizer) == (family not in MEAN_FAMILIES)


def test_gpt2_pads_with_the_end_of_text(save):
    folder = save("gpt2")
    tokenizer = load_tokenizer(folder)
    assert tokenizer.pad_token == tokenizer.eos_token == "<|endoftext|>"
    assert load(folder).config.pad_token_id == tokenizer.eos_token_id


def test_half_precision_weights_are_loaded_in_float32(tmp_path):
    model, tokenizer = build_tiny("bert", WORDS)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert {p.dtype for p in load(tmp_path).parameters()} == {torch.float32}


def test_a_new_head_comes_from_the_seed_and_has_one_row_a_label(tmp_path):
    model, tokenizer = build_tiny("bert", WORDS)
    model.bert.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    names = ("a", "b", "c")
    first, again, other = (load(tmp_path, label_names=names, seed=s) for s in (1, 1, 2))
    assert first.classifier.weight.shape == (3, HIDDEN)
    assert torch.equal(first.classifier.weight, again.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert torch.equal(embedding_weight(first), embedding_weight(model))
    assert torch.equal(embedding_weight(other), embedding_weight(model))


def test_a_finished_classifier_keeps_its_own_labels_and_head(save):
    folder = save("bert", num_labels=3)
    model = load_finished_classifier(folder)
    saved = AutoModelForSequenceClassification.from_pretrained(folder)
    assert torch.equal(model.classifier.weight, saved.classifier.weight)
    assert len(model.config.id2label) == 3


# ---- what is refused


def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path):
    folder = tmp_path / "nowhere"
    tokenizer = build_tiny("bert", WORDS)[1]
    with pytest.raises(InputError, match="nowhere: expected the folder or Hub id"):
        load_classifier(folder, label_names=LABELS, tokenizer=tokenizer, seed=0)
    with pytest.raises(InputError, match="nowhere: expected the folder or Hub id"):
        load_finished_classifier(folder)
    with pytest.raises(InputError, match="nowhere: expected"):
        load_tokenizer(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_without_a_tokenizer_is_refused(family, tmp_path):
    build_tiny(family, WORDS)[0].save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match=r"expected a model with its tokenizer.*Save the tokenizer"
    ):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", ['{"version":', "{}", ""])
def test_a_tokenizer_file_that_is_broken_is_refused(content, save):
    folder = save()
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=r"expected a model with its tokenizer"):
        load_tokenizer(folder)


def test_pickled_weights_are_refused_unread(save):
    folder = save()
    state = AutoModelForSequenceClassification.from_pretrained(folder).state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"weights in safetensors format.*Pickled weights can run"):
        load(folder)


def test_a_head_for_another_number_of_labels_is_refused_with_both_numbers(save):
    folder = save("bert", num_labels=3)
    with pytest.raises(InputError, match=r"has 3 labels \(LABEL_0, LABEL_1, LABEL_2\), the data"):
        load(folder)


@pytest.mark.parametrize("config", [CLIPConfig, ViTConfig])
def test_a_model_class_without_a_sequence_classifier_is_refused_by_its_config(config, save):
    folder = save()
    config().save_pretrained(folder)
    expected = rf"load as a sequence classifier, got {config.__name__}.*Choose another model"
    tokenizer = build_tiny("bert", WORDS)[1]
    with pytest.raises(InputError, match=expected):
        load_classifier(folder, label_names=LABELS, tokenizer=tokenizer, seed=0)


@pytest.mark.parametrize("content", ["{", "{}"])
def test_a_config_that_names_no_model_is_refused(content, save):
    folder = save()
    (folder / "config.json").write_text(content)
    tokenizer = build_tiny("bert", WORDS)[1]
    with pytest.raises(InputError, match=r"could not load it .*config\.json"):
        load_classifier(folder, label_names=LABELS, tokenizer=tokenizer, seed=0)


def test_a_model_that_was_never_fine_tuned_is_refused_as_a_finished_one(tmp_path):
    build_tiny("bert", WORDS)[0].bert.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"expected a fine-tuned .*, got BertModel.*btu train"):
        load_finished_classifier(tmp_path)


def test_a_tokenizer_with_more_tokens_than_the_embedding_has_rows_is_refused(save):
    folder = save()
    tokenizer = load_tokenizer(folder)
    rows = len(tokenizer)
    tokenizer.add_tokens(["new", "newer"])
    with pytest.raises(InputError, match=f"at most {rows} tokens .*, got {rows + 2}"):
        load_classifier(folder, label_names=LABELS, tokenizer=tokenizer, seed=0)


# ---- the hash


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_changed_value_changes_the_hash_and_changing_it_back_restores_it(dtype):
    model = build_tiny("bert", WORDS)[0].to(dtype)
    before = hash_weights(model)
    value = model.classifier.bias
    with torch.no_grad():
        value[1] += 1
        changed = hash_weights(model)
        value[1] -= 1
    assert len(before) == 64
    assert changed != before
    assert hash_weights(model) == before


def test_the_hash_of_a_model_survives_saving(save):
    folder = save()
    assert hash_weights(load(folder)) == hash_weights(build_tiny("bert", WORDS)[0])
    assert hash_weights(load(folder)) != hash_weights(build_tiny("bert", WORDS, seed=1)[0])


def test_the_hash_knows_names_shapes_and_types():
    class Holder(torch.nn.Module):
        def __init__(self, **values):
            super().__init__()
            for name, value in values.items():
                self.register_buffer(name, value)

    zeros = torch.zeros(2, 3)
    holders = [
        Holder(a=zeros),
        Holder(b=zeros),
        Holder(a=torch.zeros(3, 2)),
        Holder(a=torch.zeros(2, 3, dtype=torch.int32)),
        Holder(a=zeros, b=torch.tensor(0.0)),
    ]
    assert len({hash_weights(holder) for holder in holders}) == len(holders)
    swapped = Holder(b=torch.tensor(0.0), a=zeros)
    assert hash_weights(swapped) == hash_weights(holders[-1])
