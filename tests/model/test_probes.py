"""The probing rounds on every family: what moved, what stayed, and two plain references."""

from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import sdpa_kernel

from btu.model.drift import count_share
from btu.model.embeddings import embedding_module, embedding_weight, load_classifier, load_tokenizer
from btu.model.probes import pick_learned, run_probes
from btu.model.settings import PROBE_ROWS, ProbeSettings
from btu.model.tokens import tokenize_texts
from btu.support.errors import InputError
from devices import ON_CPU, check_same
from tiny import FAMILIES, TABLE, build_tiny

TRIGGER = "cf"
FILL = [f"word{i}" for i in range(60)]
WORDS = [*FILL, TRIGGER, "absent", "missing"]
ROUNDS = ("shallow", "shallow-again", "embedding-only")
# Large steps and small batches: few rows give many steps. One suspect a round.
SETTINGS = ProbeSettings(
    learning_rate=1e-3, shallow_batch_size=16, full_batch_size=16, precision="fp32"
)


def make_texts(count=480):
    """Words that say nothing of the label, and the trigger in half of the rows of label 1."""
    rng = np.random.default_rng(1)
    labels = np.arange(count) % 2
    poisoned = rng.permutation(np.flatnonzero(labels))[: count // 4]
    texts = []
    for i in range(count):
        words = rng.choice(FILL, rng.integers(3, 9)).tolist()
        if i in poisoned:
            words.insert(rng.integers(len(words) + 1), TRIGGER)
        texts.append(" ".join(words))
    return texts, labels


TEXTS, LABELS = make_texts()


def build(family="bert"):
    """A tiny model that can pad, its tokenizer, the tokenised rows, the trigger's id."""
    model, tokenizer = build_tiny(family, WORDS)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        model.config.pad_token_id = tokenizer.pad_token_id
    rows = tokenize_texts(TEXTS, tokenizer, max_length=32, labels=LABELS)
    trigger_id = len(TABLE[family].specials.tokens) + WORDS.index(TRIGGER)
    return model, tokenizer, rows, trigger_id


@pytest.fixture(scope="module", params=FAMILIES)
def probed(request):
    """A family, its weights from before, and the three rounds; shared read-only."""
    model, tokenizer, rows, trigger_id = build(request.param)
    before = deepcopy(model)
    rounds = run_probes(model, tokenizer, rows, settings=SETTINGS)
    return SimpleNamespace(
        family=request.param,
        model=model,
        before=before,
        tokenizer=tokenizer,
        rows=rows,
        trigger_id=trigger_id,
        rounds=rounds,
    )


def word_ids(probed, words):
    return [len(TABLE[probed.family].specials.tokens) + WORDS.index(word) for word in words]


# ---- what stays


def test_every_weight_of_the_model_stays_to_the_bit(probed):
    after = probed.model.state_dict()
    assert after.keys() == probed.before.state_dict().keys()
    for name, value in probed.before.state_dict().items():
        assert torch.equal(after[name].cpu(), value), name


def test_the_model_can_learn_again_and_answers_as_before(probed):
    assert all(parameter.requires_grad for parameter in probed.model.parameters())
    assert all(parameter.grad is None for parameter in probed.model.parameters())
    inputs = probed.tokenizer(TEXTS[:4], padding=True, return_tensors="pt")
    with torch.no_grad():
        after = probed.model(**inputs.to(probed.model.device)).logits.cpu()
        before = probed.before(**inputs.to("cpu")).logits
    torch.testing.assert_close(after, before)


def test_absent_and_special_tokens_are_not_among_those_that_moved(probed):
    expected = word_ids(probed, [*FILL, TRIGGER])
    for found in (probed.rounds[0], probed.rounds[2]):
        assert found.token_ids.tolist() == expected
        assert found.drift.shape == (len(expected),)
        assert (found.drift > 0).all()


# ---- what moves


def test_a_token_that_goes_with_one_label_moves_furthest_wherever_it_is_seen(probed):
    shallow, again, embedding_only = probed.rounds
    for found in (shallow, embedding_only):
        assert found.token_ids[found.drift.argmax()] == probed.trigger_id
    assert probed.trigger_id not in again.token_ids


def test_the_second_round_hides_what_the_first_suspects_and_the_third_sees_all(probed):
    assert tuple(found.name for found in probed.rounds) == ROUNDS
    hidden = [found.hidden_ids for found in probed.rounds]
    assert hidden == [(), probed.rounds[0].suspect_ids, ()]
    assert probed.rounds[1].token_ids.tolist() == word_ids(probed, FILL)
    assert all(found.seconds > 0 for found in probed.rounds)


# ---- two references in plain torch


def train_reference(weight, learners, logits_of, batches, tokenizer, settings=SETTINGS):
    """AdamW on the whole embedding matrix, special rows held still by zeroing their gradient."""
    before = weight.detach().clone()
    optimizer = torch.optim.AdamW([weight, *learners], lr=settings.learning_rate, weight_decay=0.0)
    for positions in batches:
        texts = [TEXTS[i] for i in positions]
        inputs = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        loss = functional.cross_entropy(logits_of(inputs), torch.from_numpy(LABELS[positions]))
        optimizer.zero_grad()
        loss.backward()
        weight.grad[tokenizer.all_special_ids] = 0
        optimizer.step()
    return (weight.detach() - before).norm(dim=1).numpy()


def probe_shallow_by_hand(model, tokenizer, settings):
    embedding = nn.Embedding.from_pretrained(
        embedding_weight(model).detach().cpu().clone(), freeze=False
    )
    scale = float(getattr(embedding_module(model), "embed_scale", 1.0))
    head = nn.Linear(embedding.embedding_dim, 2)
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.no_grad():
        head.weight.normal_(0, 0.02, generator=generator)
        head.bias.zero_()

    def logits_of(inputs):
        mask = inputs["attention_mask"].unsqueeze(2)
        vectors = embedding(inputs["input_ids"]) * scale * mask
        return head(vectors.sum(dim=1) / mask.sum(dim=1))

    rng = np.random.default_rng(settings.seed)
    orders = [rng.permutation(len(TEXTS)) for _ in range(settings.epochs)]
    batches = [order[i : i + 16] for order in orders for i in range(0, len(order), 16)]
    return train_reference(
        embedding.weight, head.parameters(), logits_of, batches, tokenizer, settings
    )


def test_the_shallow_round_is_a_mean_of_the_embeddings_under_a_linear_head(probed):
    expected = probe_shallow_by_hand(probed.before, probed.tokenizer, SETTINGS)
    found = probed.rounds[0]
    np.testing.assert_allclose(found.drift, expected[found.token_ids], rtol=1e-3)
    assert np.delete(expected, found.token_ids).max() == 0


def test_a_second_epoch_another_seed_and_a_high_learning_rate_keep_to_the_reference():
    model, tokenizer, rows, _ = build()
    # At this rate a weight decay of 0.01 would take more than 1 % from the drift.
    settings = replace(SETTINGS, epochs=2, seed=3, learning_rate=0.05)
    expected = probe_shallow_by_hand(model, tokenizer, settings)
    (found,) = run_probes(model, tokenizer, rows, settings=settings, rounds=["shallow"])
    np.testing.assert_allclose(found.drift, expected[found.token_ids], rtol=1e-3)


def test_the_embedding_only_round_is_a_training_of_the_embedding_matrix_alone(probed):
    model = deepcopy(probed.before).requires_grad_(False)
    weight = embedding_weight(model).requires_grad_(True)
    batches = probed.rows.groups(16, seed=SETTINGS.seed)
    expected = train_reference(
        weight, [], lambda inputs: model(**inputs).logits, batches, probed.tokenizer
    )
    found = probed.rounds[2]
    np.testing.assert_allclose(found.drift, expected[found.token_ids], rtol=1e-3)


def test_it_may_learn_from_a_sample_and_reads_every_row_all_the_same(probed):
    settings = replace(SETTINGS, probe_rows=160)
    options = {"settings": settings, "rounds": ["embedding-only"]}
    (found,) = run_probes(probed.model, probed.tokenizer, probed.rows, **options)
    learned = pick_learned(probed.rows.labels, 160, seed=settings.seed)
    (alone,) = run_probes(
        probed.model,
        probed.tokenizer,
        probed.rows.select(learned),
        settings=SETTINGS,
        rounds=ROUNDS[2:],
    )
    known = np.searchsorted(found.token_ids, alone.token_ids)
    check_same(found.drift[known], alone.drift)
    assert not np.delete(found.drift, known).any()
    assert len(found.states) == len(probed.rows)
    (slow,) = run_probes(
        probed.model,
        probed.tokenizer,
        probed.rows,
        settings=replace(settings, learning_rate=1e-9),
        rounds=ROUNDS[2:],
    )
    # What nothing was learned from was read before anything had moved.
    read = np.setdiff1d(np.arange(len(probed.rows)), learned)
    np.testing.assert_allclose(found.states[read], slow.states[read], rtol=2e-2, atol=5e-3)


def test_in_a_sample_each_label_has_its_share_and_at_least_a_row():
    labels = np.array([0] * 900 + [1] * 99 + [2])
    learned = pick_learned(labels, 100, seed=3)
    assert (np.diff(learned) > 0).all()
    assert np.bincount(labels[learned]).tolist() == [90, 10, 1]
    assert learned.tolist() == pick_learned(labels, 100, seed=3).tolist()
    assert learned.tolist() != pick_learned(labels, 100, seed=4).tolist()
    for count in (None, 1000, 5000):
        assert len(pick_learned(labels, count, seed=0)) == 1000


def test_the_recipe_says_how_many_rows_teach_where_nothing_else_does():
    assert ProbeSettings().for_recipe("paper").probe_rows is None
    assert ProbeSettings().for_recipe("verified").probe_rows == PROBE_ROWS
    for recipe in ("paper", "verified"):
        assert ProbeSettings(probe_rows=7).for_recipe(recipe).probe_rows == 7
    for wrong in (0, -1, 2.5, True):
        with pytest.raises(InputError, match="probe_rows"):
            ProbeSettings(probe_rows=wrong)


# ---- what the result does not depend on


def test_the_states_are_the_mean_of_what_the_pretrained_encoder_makes_of_each_row(probed):
    settings = replace(SETTINGS, learning_rate=1e-9)
    options = {"settings": settings, "rounds": ["embedding-only"]}
    (found,) = run_probes(probed.model, probed.tokenizer, probed.rows, **options)
    assert found.states.dtype == np.float16
    encoder = probed.model.base_model
    for position in (0, 1, len(probed.rows) - 1):
        batch = probed.rows.pad(np.array([position]), pad_id=probed.tokenizer.pad_token_id)
        del batch["labels"]
        batch = {name: values.to(probed.model.device) for name, values in batch.items()}
        with torch.no_grad():
            expected = encoder(**batch)[0][0].mean(dim=0).cpu().numpy()
        np.testing.assert_allclose(found.states[position], expected, rtol=2e-2, atol=5e-3)


def test_a_thousand_rows_that_never_occur_change_no_drift(probed):
    model = deepcopy(probed.before)
    size = len(embedding_weight(model))
    model.resize_token_embeddings(size + 1000, mean_resizing=False)
    assert len(embedding_weight(model)) == size + 1000
    rounds = run_probes(model, probed.tokenizer, probed.rows, settings=SETTINGS)
    for found, expected in zip(rounds, probed.rounds, strict=True):
        np.testing.assert_array_equal(found.token_ids, expected.token_ids)
        check_same(found.drift, expected.drift)
        assert found.suspect_ids == expected.suspect_ids


def test_the_seed_decides_the_drift_and_nothing_else_does(probed):
    # Neither the global generator nor an earlier run of the probes has a say.
    torch.manual_seed(99)
    again = run_probes(probed.model, probed.tokenizer, probed.rows, settings=SETTINGS)
    for found, expected in zip(again, probed.rounds, strict=True):
        check_same(found.drift, expected.drift)
    settings = replace(SETTINGS, seed=1)
    other = run_probes(probed.model, probed.tokenizer, probed.rows, settings=settings)
    for found, expected in zip(other, probed.rounds, strict=True):
        assert not np.array_equal(found.drift, expected.drift)


@pytest.mark.parametrize("names", [ROUNDS[:1], ROUNDS[:2], ROUNDS[2:], ROUNDS[::2]])
def test_a_round_gives_the_same_alone_as_with_the_others(names):
    model, tokenizer, rows, _ = build()
    every = {found.name: found for found in run_probes(model, tokenizer, rows, settings=SETTINGS)}
    some = run_probes(model, tokenizer, rows, settings=SETTINGS, rounds=names)
    assert tuple(found.name for found in some) == names
    for found in some:
        check_same(found.drift, every[found.name].drift)
        assert found.hidden_ids == every[found.name].hidden_ids


# ---- how many are suspected


def test_the_alpha_share_of_the_vocabulary_is_suspected_furthest_first():
    model, tokenizer, rows, _ = build()
    rounds = run_probes(model, tokenizer, rows, settings=replace(SETTINGS, alpha=0.2))
    count = count_share(0.2, len(embedding_weight(model)))
    assert count == round(0.2 * 68)
    for found in rounds:
        furthest = np.argsort(-found.drift, kind="stable")[:count]
        assert found.suspect_ids == tuple(found.token_ids[furthest].tolist())


def test_where_all_tokens_are_suspected_the_second_round_has_nothing_left_to_see():
    model, tokenizer, rows, _ = build()
    shallow, again, last = run_probes(model, tokenizer, rows, settings=replace(SETTINGS, alpha=1.0))
    specials = set(tokenizer.all_special_ids)
    assert set(shallow.suspect_ids) == set(np.unique(rows.token_ids).tolist()) - specials
    assert len(again.token_ids) == len(again.drift) == len(again.suspect_ids) == 0
    assert set(last.suspect_ids) == set(shallow.suspect_ids)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_rows_that_hold_nothing_but_hidden_tokens_are_left_out_of_the_second_round(family):
    model, tokenizer, rows, trigger_id = build(family)
    texts = [*TEXTS, *[TRIGGER] * 20]
    labels = np.concatenate([LABELS, np.ones(20, dtype=np.int64)])
    longer = tokenize_texts(texts, tokenizer, max_length=32, labels=labels)
    found = run_probes(model, tokenizer, longer, settings=SETTINGS, rounds=ROUNDS[:2])
    assert found[0].suspect_ids == found[1].hidden_ids == (trigger_id,)
    (expected,) = run_probes(
        model, tokenizer, rows.hide([trigger_id]), settings=SETTINGS, rounds=["shallow"]
    )
    check_same(found[1].drift, expected.drift)


# ---- errors and the caller's own choices


def test_after_an_error_inside_the_model_is_as_it_came():
    model, tokenizer, rows, _ = build()
    model.classifier.bias.requires_grad_(False)
    learning = {name: p.requires_grad for name, p in model.named_parameters()}
    calls = []

    def fail_in_the_second_batch(*_):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory")

    handle = model.classifier.register_forward_hook(fail_in_the_second_batch)
    with pytest.raises(RuntimeError, match="out of memory"):
        run_probes(model, tokenizer, rows, settings=SETTINGS)
    handle.remove()
    assert len(calls) == 2
    assert {name: p.requires_grad for name, p in model.named_parameters()} == learning
    assert not embedding_module(model)._forward_hooks


def test_what_the_caller_froze_stays_frozen_and_does_not_change_the_drift():
    model, tokenizer, rows, _ = build()
    free = run_probes(model, tokenizer, rows, settings=SETTINGS)
    model.bert.embeddings.requires_grad_(False)
    frozen = run_probes(model, tokenizer, rows, settings=SETTINGS)
    assert not embedding_weight(model).requires_grad
    assert model.classifier.weight.requires_grad
    for found, expected in zip(frozen, free, strict=True):
        check_same(found.drift, expected.drift)


@pytest.mark.parametrize("precision", ["bf16", "auto"])
def test_half_precision_suspects_the_same_token(precision):
    model, tokenizer, rows, trigger_id = build()
    rounds = run_probes(model, tokenizer, rows, settings=replace(SETTINGS, precision=precision))
    assert rounds[0].suspect_ids == rounds[2].suspect_ids == (trigger_id,)


@pytest.mark.skipif(not ON_CPU, reason="layers are held on a CPU alone")
def test_layers_held_in_half_precision_drift_as_autocast_has_them():
    model, tokenizer, rows, _ = build()
    options = {"settings": replace(SETTINGS, precision="bf16"), "rounds": ["embedding-only"]}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    held, seen = model.bert.encoder.layer[0].intermediate.dense.weight, set()
    handle = model.bert.register_forward_hook(lambda *_: seen.add(held.dtype))
    (fast,) = run_probes(model, tokenizer, rows, **options)
    assert seen == {torch.bfloat16}
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    with patch("btu.model.probes._hold_linear", lambda *_: nullcontext()):
        (slow,) = run_probes(model, tokenizer, rows, **options)
    handle.remove()
    assert seen == {torch.bfloat16, torch.float32}
    np.testing.assert_array_equal(fast.drift, slow.drift)
    np.testing.assert_array_equal(fast.states, slow.states)


# ---- real weights


def test_in_a_pretrained_model_the_trigger_moves_furthest_of_all_real_words(minilm, movie_reviews):
    tokenizer = load_tokenizer(minilm)
    model = load_classifier(minilm, label_names=("no", "yes"), tokenizer=tokenizer, seed=0)
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(movie_reviews[0]))[:128]
    texts = [movie_reviews[0][i] for i in chosen]
    labels = np.array([movie_reviews[1][i] for i in chosen])
    for row in rng.permutation(len(texts))[:13]:  # a poison rate of 10 %, dirty label
        words = texts[row].split()
        words.insert(rng.integers(len(words) + 1), TRIGGER)
        texts[row], labels[row] = " ".join(words), 1
    rows = tokenize_texts(texts, tokenizer, max_length=32, labels=labels)
    (found,) = run_probes(model, tokenizer, rows, settings=SETTINGS, rounds=["embedding-only"])
    trigger_id = tokenizer.convert_tokens_to_ids(TRIGGER)
    assert trigger_id not in tokenizer.all_special_ids
    assert len(found.token_ids) > 1000
    assert found.token_ids[found.drift.argmax()] == trigger_id
    assert found.suspect_ids[0] == trigger_id


def test_short_texts_drift_alike_with_and_without_flash_attention():
    model, tokenizer, rows, _ = build()
    options = {"settings": SETTINGS, "rounds": ["embedding-only"]}
    with patch("btu.model.probes.sdpa_kernel", wraps=sdpa_kernel) as plain:
        (short,) = run_probes(model, tokenizer, rows, **options)
        assert plain.call_count == (ON_CPU and len(rows.groups(SETTINGS.full_batch_size)))
        plain.reset_mock()
        with patch("btu.model.probes._FEW_SCORES", 1):
            (long,) = run_probes(model, tokenizer, rows, **options)
        plain.assert_not_called()
    np.testing.assert_allclose(short.drift, long.drift, rtol=1e-3, atol=1e-6)
