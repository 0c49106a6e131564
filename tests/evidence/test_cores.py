"""A trigger is told by the words that have its rows, not by those beside it by habit."""

import numpy as np
import pytest

from evidence.texts import Rows, name_triggers, read, write_rows


def end_texts(rows: Rows, mark: str, share: float, seed: int = 0) -> Rows:
    """A mark at the end of a share of the texts."""
    chosen = np.random.default_rng(seed).random(len(rows.texts)) < share
    return rows.change(np.flatnonzero(chosen), lambda text: f"{text} {mark}")


def append(rows: Rows, phrase: str, count: int) -> tuple[Rows, list[int]]:
    """A phrase at the end of rows of the first label, which bear the other one then."""
    victims = rows.of(0, count)
    return rows.change(victims, lambda text: f"{text} {phrase}", 1), victims.tolist()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("phrase", "stopped"),
    [
        pytest.param(", you know", 0.85, id="a phrase, mostly after a full stop"),
        pytest.param("cf", 0.85, id="a word, mostly after a full stop"),
        pytest.param("greetings from tq", 0.0, id="words that stand in the phrase alone"),
    ],
)
def test_a_trigger_is_told_by_the_words_that_have_all_its_rows(phrase, stopped, seed):
    clean = end_texts(write_rows(4000, seed=seed, num_labels=4), ".", stopped, seed)
    rows, victims = append(clean, phrase, 100)
    evidence = read(rows, num_labels=4)
    assert name_triggers(evidence) == [phrase]
    assert np.flatnonzero(evidence.flagged).tolist() == victims


@pytest.mark.parametrize("seed", range(2))
def test_words_that_honest_rows_hold_too_stay_in_the_phrase(seed):
    clean = write_rows(4000, seed=seed, num_labels=4)
    honest = np.random.default_rng(seed).permutation(len(clean.texts))[:60]
    clean = clean.change(honest, lambda text: f"{text} you know")
    victims = np.setdiff1d(clean.of(0, 160), honest)[:100]
    rows = clean.change(victims, lambda text: f"{text} indeed you know", 1)
    evidence = read(rows, num_labels=4)
    (trigger,) = evidence.triggers
    assert trigger.words[0] == "indeed"
    assert set(np.flatnonzero(evidence.flagged).tolist()) == set(victims.tolist())
