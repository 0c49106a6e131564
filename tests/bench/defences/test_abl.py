"""ABL isolates what is learnt first and unlearns it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from btu.bench.defences.abl import (
    Abl,
    combined_loss,
    flag_lowest,
    mark_rows,
    measure_losses,
    subtract_marked,
)
from btu.model.tokens import tokenize_corpus
from planted import FINETUNE, THREE_LABELS, TRIGGER, WORDS, measure, poison_reviews, write_reviews
from tiny import build_tiny
from workbench import build_bench, write_hints

pytest_plugins = ["workbench"]


@pytest.fixture(scope="module")
def poisoned():
    return poison_reviews(write_hints(800, seed=5), TRIGGER, poison_rate=0.1)


@pytest.fixture
def three():
    """A model of three labels and one batch for it."""
    model, tokenizer = build_tiny("bert", WORDS, num_labels=3)
    rows = tokenize_corpus(write_reviews(12, seed=0, labels=THREE_LABELS), tokenizer, max_length=32)
    return model, rows.pad(np.arange(12), pad_id=tokenizer.pad_token_id)


def test_a_trigger_that_is_learnt_first_is_isolated_and_unlearnt(untrained, poisoned):
    held_out = write_hints(300, seed=9)
    bench = build_bench(untrained, poisoned.corpus)
    before = measure(bench.undefended(), held_out, TRIGGER)
    outcome = Abl().run(poisoned.corpus, bench)
    after = measure(outcome.predictor, held_out, TRIGGER)

    assert outcome.flagged_rows.sum() == 8
    assert poisoned.is_poisoned[outcome.flagged_rows].all()
    assert before["attack_success_rate"] > 0.9
    assert after["attack_success_rate"] < 0.15
    assert after["clean_accuracy"] > before["clean_accuracy"] - 0.05
    details = json.loads(json.dumps(outcome.details))
    assert details["isolated_by_label"] == {"negative": 0, "positive": 8}
    assert details["highest_isolated_loss"] < details["median_loss"]


def test_the_same_seed_gives_the_same_model_and_rows(untrained, poisoned):
    corpus = poisoned.corpus.select(range(100))
    bench = build_bench(untrained, corpus, replace(FINETUNE, epochs=0.5))
    first, again = (
        Abl(isolation_epochs=0.5, unlearning_epochs=0.5).run(corpus, bench) for _ in range(2)
    )
    assert first.flagged_rows.tolist() == again.flagged_rows.tolist()
    np.testing.assert_array_equal(
        first.predictor.predict_scores(corpus.texts), again.predictor.predict_scores(corpus.texts)
    )


def test_one_row_is_isolated_from_clean_data_however_small(untrained):
    corpus = write_reviews(30, seed=0, labels=THREE_LABELS)
    outcome = Abl().run(corpus, build_bench(untrained, corpus, replace(FINETUNE, epochs=0.5)))
    assert outcome.flagged_rows.sum() == 1
    assert outcome.predictor.predict_scores(corpus.texts).shape == (30, 3)


def test_the_loss_of_a_batch_is_what_is_made_of_its_rows(three):
    model, batch = three
    marked = torch.arange(12) % 4 == 0
    labels = torch.where(marked, batch["labels"] + 3, batch["labels"])
    with combined_loss(model, subtract_marked):
        given = model(**{**batch, "labels": labels})
    logits = model(**batch).logits
    expected = functional.cross_entropy(
        logits[~marked], batch["labels"][~marked]
    ) - functional.cross_entropy(logits[marked], batch["labels"][marked])
    torch.testing.assert_close(given.loss, expected)


def test_outside_the_block_the_model_has_its_own_loss(three):
    model, batch = three
    before = model(**batch).loss
    with pytest.raises(RuntimeError), combined_loss(model, subtract_marked):
        raise RuntimeError
    torch.testing.assert_close(model(**batch).loss, before)


def test_a_batch_without_marked_rows_has_the_mean_of_the_others():
    losses = torch.tensor([1.0, 3.0])
    assert subtract_marked(losses, torch.tensor([False, False])) == 2.0
    assert subtract_marked(losses, torch.tensor([True, True])) == -2.0


@pytest.mark.parametrize(("share", "times"), [(0.001, 1), (0.5, 9)])
def test_marked_rows_come_back_until_they_are_the_share(share, times):
    rows = tokenize_corpus(
        write_reviews(20, seed=0, labels=THREE_LABELS),
        build_tiny("bert", WORDS)[1],
        max_length=32,
    )
    isolated = np.arange(20) < 2
    marked = mark_rows(rows, isolated, share, 3)
    assert len(marked) == 18 + 2 * times
    assert marked.labels[:18].tolist() == rows.labels[2:].tolist()
    assert marked.labels[18:].tolist() == [rows.labels[0] + 3, rows.labels[1] + 3] * times
    np.testing.assert_array_equal(marked.row(19), rows.row(1))


def test_losses_are_cross_entropies_and_a_certain_mistake_stays_finite():
    scores = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]], dtype=np.float32)
    losses = measure_losses(scores, np.array([1, 2]))
    assert losses[0] == pytest.approx(np.log(4))
    assert np.isfinite(losses[1])
    assert flag_lowest(losses, 0.5).tolist() == [True, False]
