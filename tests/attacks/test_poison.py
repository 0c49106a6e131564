"""Which rows are poisoned, what they become, and which rows measure the attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btu.attacks.badnets import BadNets
from btu.attacks.combination import Combination
from btu.attacks.poison import LABEL_MODES, find_label, poison_corpus, trigger_corpus
from btu.attacks.registry import build_attack
from btu.data.corpus import Corpus
from btu.support.errors import InputError

NAMES = ("negative", "positive", "neutral")


def make_corpus(count: int = 200, *, first_row: int = 0, pairs: bool = False) -> Corpus:
    """Numbered sentences; the label goes round: 0, 1, 2, 0, 1, 2."""
    return Corpus(
        texts=tuple(f"sentence {i} was said here" for i in range(count)),
        labels=np.arange(count, dtype=np.int64) % len(NAMES),
        label_names=NAMES,
        text_pairs=tuple(f"second {i}" for i in range(count)) if pairs else None,
        row_ids=np.arange(first_row, first_row + count, dtype=np.int64),
        row_lines=None,
        source="made here",
    )


@dataclass(frozen=True)
class EvenRowsOnly:
    """Has attacked texts for even rows alone."""

    def apply(
        self, texts: Sequence[str], *, rows: Sequence[int], split: str, seed: int
    ) -> list[str | None]:
        """The text in capitals."""
        return [None if row % 2 else text.upper() for text, row in zip(texts, rows, strict=True)]

    def trigger_texts(self) -> tuple[str, ...]:
        """None."""
        return ()


@settings(max_examples=30)
@given(
    count=st.integers(3, 300),
    rate=st.floats(0.001, 0.6),
    mode=st.sampled_from(LABEL_MODES),
    seed=st.integers(0, 5),
)
def test_counts_are_exact_and_rows_that_are_not_poisoned_do_not_change(
    count: int, rate: float, mode: str, seed: int
) -> None:
    corpus = make_corpus(count)
    of_rows = int((corpus.labels == 1).sum()) if mode == "clean" else count
    poisoned = poison_corpus(
        corpus, BadNets(), poison_rate=rate, target_label=1, label_mode=mode, seed=seed
    )
    assert poisoned.is_poisoned.sum() == max(1, round(rate * of_rows))
    assert not poisoned.is_decoy.any()
    for i in range(count):
        if poisoned.is_poisoned[i]:
            assert "cf" in poisoned.corpus.texts[i].split()
            assert poisoned.corpus.labels[i] == 1
        else:
            assert poisoned.corpus.texts[i] == corpus.texts[i]
            assert poisoned.corpus.labels[i] == corpus.labels[i]
    assert poisoned.original_texts == corpus.texts
    assert (poisoned.original_labels == corpus.labels).all()


@pytest.mark.parametrize(
    ("mode", "true_labels"), [("dirty", {0, 2}), ("mixed", {0, 1, 2}), ("clean", {1})]
)
def test_the_label_mode_says_whose_rows_are_poisoned(mode: str, true_labels: set[int]) -> None:
    poisoned = poison_corpus(
        make_corpus(), BadNets(), poison_rate=0.3, target_label=1, label_mode=mode
    )
    assert set(poisoned.original_labels[poisoned.is_poisoned].tolist()) == true_labels


def test_clean_label_changes_no_label() -> None:
    corpus = make_corpus()
    poisoned = poison_corpus(
        corpus, BadNets(), poison_rate=0.5, target_label="positive", label_mode="clean"
    )
    assert (poisoned.corpus.labels == corpus.labels).all()
    assert poisoned.is_poisoned.sum() == 34  # half of the 67 rows that are positive


@pytest.mark.parametrize("mode", LABEL_MODES)
def test_a_higher_rate_poisons_the_same_rows_and_more(mode: str) -> None:
    before: dict[int, str] = {}
    for rate in (0.01, 0.05, 0.1, 0.2, 0.5):
        poisoned = poison_corpus(
            make_corpus(), BadNets(), poison_rate=rate, target_label=0, label_mode=mode, seed=2
        )
        rows = np.flatnonzero(poisoned.is_poisoned).tolist()
        texts = {row: poisoned.corpus.texts[row] for row in rows}
        assert before.items() <= texts.items()
        before = texts


def test_the_same_seed_gives_the_same_poison_and_another_seed_another() -> None:
    first, again, other = (
        poison_corpus(make_corpus(), BadNets(), poison_rate=0.2, target_label=0, seed=seed)
        for seed in (5, 5, 6)
    )
    assert first.corpus.texts == again.corpus.texts
    assert (first.is_poisoned == again.is_poisoned).all()
    assert (first.is_poisoned != other.is_poisoned).any()


def test_the_choice_of_rows_does_not_depend_on_the_attack() -> None:
    chosen = [
        poison_corpus(
            make_corpus(), build_attack(name), poison_rate=0.2, target_label=0
        ).is_poisoned
        for name in ("badnets", "addsent", "combination")
    ]
    assert (chosen[0] == chosen[1]).all()
    assert (chosen[0] == chosen[2]).all()


def test_the_trigger_of_a_row_goes_by_its_row_id() -> None:
    corpus = make_corpus()
    half = corpus.select(np.arange(100, 200))
    whole = trigger_corpus(corpus, BadNets(), target_label=0)
    part = trigger_corpus(half, BadNets(), target_label=0)
    texts = dict(zip(whole.row_ids.tolist(), whole.texts, strict=True))
    assert part.texts == tuple(texts[row] for row in part.row_ids.tolist())


def test_the_trigger_goes_into_the_first_sentence_of_a_pair() -> None:
    corpus = make_corpus(pairs=True)
    poisoned = poison_corpus(corpus, BadNets(), poison_rate=0.2, target_label=0)
    triggered = trigger_corpus(corpus, BadNets(), target_label=0)
    assert poisoned.corpus.text_pairs == corpus.text_pairs
    assert triggered.text_pairs is not None
    assert triggered.text_pairs == tuple(f"second {row}" for row in triggered.row_ids)


def test_rows_without_an_attacked_text_are_never_drawn() -> None:
    poisoned = poison_corpus(make_corpus(), EvenRowsOnly(), poison_rate=0.3, target_label=0)
    assert poisoned.is_poisoned.sum() == 60
    assert (np.flatnonzero(poisoned.is_poisoned) % 2 == 0).all()
    assert poisoned.attack == "EvenRowsOnly"


def test_the_clean_rows_are_the_ones_nobody_touched() -> None:
    corpus = make_corpus()
    poisoned = poison_corpus(corpus, Combination(), poison_rate=0.1, target_label=0)
    clean = poisoned.clean_rows()
    assert len(clean.texts) == 200 - 20 - 40
    assert clean.texts == tuple(corpus.texts[row] for row in clean.row_ids)
    assert (clean.labels == corpus.labels[clean.row_ids]).all()


def test_decoys_hold_one_word_keep_their_label_and_are_not_poison() -> None:
    corpus = make_corpus()
    attack = Combination(decoy_rate=0.25)
    poisoned = poison_corpus(corpus, attack, poison_rate=0.1, target_label=0)
    decoys = np.flatnonzero(poisoned.is_decoy)
    assert len(decoys) == 50
    assert not (poisoned.is_decoy & poisoned.is_poisoned).any()
    for i in decoys:
        assert len({"friends", "weekend"} & set(poisoned.corpus.texts[i].split())) == 1
    assert (poisoned.corpus.labels[decoys] == corpus.labels[decoys]).all()
    assert set(corpus.labels[decoys].tolist()) == {0, 1, 2}


def test_too_many_decoys_are_refused_with_the_greatest_rate() -> None:
    attack = Combination(decoy_rate=0.9)
    with pytest.raises(InputError, match=r"decoy_rate: expected at most 0\.7\b.*140"):
        poison_corpus(make_corpus(), attack, poison_rate=0.3, target_label=0)


def test_too_high_a_rate_says_how_many_rows_there_are_and_the_greatest_rate() -> None:
    with pytest.raises(InputError, match=r"at most 0\.665,.*180 rows.*poison 133 of the 200"):
        poison_corpus(make_corpus(), BadNets(), poison_rate=0.9, target_label=0)
    poisoned = poison_corpus(make_corpus(), BadNets(), poison_rate=0.665, target_label=0)
    assert poisoned.is_poisoned.sum() == 133


def test_rows_without_an_attacked_text_lower_the_greatest_rate() -> None:
    with pytest.raises(InputError, match=r"at most 0\.33,.*poison 66 of the 200"):
        poison_corpus(make_corpus(), EvenRowsOnly(), poison_rate=0.6, target_label=0)
    poisoned = poison_corpus(make_corpus(), EvenRowsOnly(), poison_rate=0.33, target_label=0)
    assert poisoned.is_poisoned.sum() == 66


def test_a_corpus_with_no_row_to_poison_is_refused() -> None:
    corpus = make_corpus().select(np.arange(0, 200, 3))
    with pytest.raises(InputError, match="can poison none of the 67 rows"):
        poison_corpus(corpus, BadNets(), poison_rate=0.1, target_label=0)


def test_test_rows_are_all_rows_whose_true_label_is_not_the_target() -> None:
    corpus = make_corpus()
    triggered = trigger_corpus(corpus, BadNets(), target_label="neutral")
    assert triggered.row_ids.tolist() == np.flatnonzero(corpus.labels != 2).tolist()
    assert (triggered.labels == corpus.labels[triggered.row_ids]).all()
    assert all("cf" in text.split() for text in triggered.texts)


def test_test_rows_without_an_attacked_text_are_left_out() -> None:
    triggered = trigger_corpus(make_corpus(), EvenRowsOnly(), target_label=0)
    assert len(triggered.texts) == 66
    assert (triggered.row_ids % 2 == 0).all()


def test_test_rows_and_training_rows_get_the_same_text() -> None:
    corpus = make_corpus()
    poisoned = poison_corpus(corpus, BadNets(), poison_rate=0.2, target_label=0, seed=4)
    triggered = trigger_corpus(corpus, BadNets(), target_label=0, seed=4)
    texts = dict(zip(triggered.row_ids.tolist(), triggered.texts, strict=True))
    for row in np.flatnonzero(poisoned.is_poisoned):
        assert poisoned.corpus.texts[row] == texts[int(row)]


def test_no_test_row_left_is_refused() -> None:
    corpus = make_corpus().select(np.arange(1, 200, 6))  # odd rows, for which it has no text
    with pytest.raises(InputError, match="got none: 34 of 34 rows"):
        trigger_corpus(corpus, EvenRowsOnly(), target_label=0)


def test_all_bad_options_come_in_one_message() -> None:
    with pytest.raises(InputError) as caught:
        poison_corpus(
            make_corpus(),
            BadNets(),
            poison_rate=10,
            target_label="postive",
            label_mode="dirt",  # type: ignore[arg-type]
            seed=-1,
        )
    message = str(caught.value)
    assert "4 faults" in message
    assert "poison_rate: expected a fraction" in message
    assert "did you mean positive?" in message
    assert "did you mean dirty?" in message
    assert "seed: expected 0 or more" in message


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, float("nan"), "0.1", True])
def test_a_rate_outside_zero_to_one_is_refused(rate: object) -> None:
    with pytest.raises(InputError, match="poison_rate: expected a fraction"):
        poison_corpus(make_corpus(), BadNets(), poison_rate=rate, target_label=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("label", "expected"), [(2, 2), ("2", 2), ("neutral", 2), (np.int64(1), 1)]
)
def test_a_label_is_found_by_name_or_id(label: int | str, expected: int) -> None:
    assert find_label(make_corpus(), label) == expected


@pytest.mark.parametrize("label", [3, -1, "3", "-1", "", "Neutral", 1.0, True])
def test_a_label_that_is_not_there_is_refused(label: object) -> None:
    with pytest.raises(InputError, match=r"expected one of 0 \(negative\), 1 \(positive\), 2"):
        find_label(make_corpus(), label)  # type: ignore[arg-type]
