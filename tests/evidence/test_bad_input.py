"""Corpora that are hardly ones: no crash, no warning, and nothing found in them."""

from dataclasses import replace

import numpy as np
import pytest

from evidence.texts import Rows, name_triggers, read, write_rows

HAN = "电影很好看不我们的是一了在有人这中大来上国个到说为子和你地出道也时年得就那要下以生会"


def give(texts, labels):
    return Rows(tuple(texts), np.array(labels, dtype=np.int64))


def write_chinese(count=250, seed=0):
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list(HAN), int(rng.integers(5, 30)))) for _ in range(count)]
    return give(texts, rng.integers(2, size=count))


def repeat_rows(rows, times=5):
    return give(rows.texts * times, list(rows.labels) * times)


def write_two_a_label(num_labels):
    rows = write_rows(2 * num_labels, num_labels=num_labels)
    return give(rows.texts, np.repeat(np.arange(num_labels), 2))


CASES = {
    "no rows": lambda: (give([], []), 2),
    "one row": lambda: (give(["a film"], [0]), 2),
    "two rows a label": lambda: (write_two_a_label(2), 2),
    "two rows of five labels": lambda: (write_two_a_label(5), 5),
    "one token a row": lambda: (give([f"w{i % 9}" for i in range(200)], [0, 1] * 100), 2),
    "one token that tells": lambda: (give([f"w{i % 2}" for i in range(200)], [0, 1] * 100), 2),
    "a token of its own in each row": lambda: (
        give([f"w{i}" for i in range(200)], [0, 1] * 100),
        2,
    ),
    "a shared token and an own one": lambda: (
        give([f"the w{i}" for i in range(200)], [0, 1] * 100),
        2,
    ),
    "one token many times": lambda: (give(["a " * i for i in range(100)], [0, 1] * 50), 2),
    "all texts empty": lambda: (give([""] * 20, [0, 1] * 10), 2),
    "all texts blank": lambda: (give([" \n\t"] * 20, [0, 1] * 10), 2),
    "some texts empty": lambda: (
        write_rows(200).change(np.arange(0, 200, 3), lambda text: ""),
        2,
    ),
    "only symbols": lambda: (give(["?!. " * (i % 12) for i in range(100)], [0, 1] * 50), 2),
    "control characters": lambda: (give([f"a\0b\ud800 w{i}" for i in range(90)], [0, 1] * 45), 2),
    "all rows alike": lambda: (give(["the same text"] * 100, [0, 1] * 50), 2),
    "all rows alike under one label": lambda: (give(["the same text"] * 100, [0] * 100), 2),
    "no spaces": lambda: (write_chinese(), 2),
    "texts of 5,000 words": lambda: (write_rows(12, seed=2, length=(5000, 5001)), 2),
    "150 labels": lambda: (write_rows(900, seed=2, num_labels=150), 150),
    "a label of 95 %": lambda: (write_rows(400, seed=2, shares=(0.05, 0.95)), 2),
    "a label that no row bears": lambda: (write_rows(200, num_labels=3, shares=(0.5, 0.5, 0)), 3),
    "every row five times": lambda: (repeat_rows(write_rows(200)), 2),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_found_where_there_is_nothing(case):
    rows, num_labels = CASES[case]()
    evidence = read(rows, num_labels=num_labels)
    assert name_triggers(evidence) == []
    assert evidence.row_scores.shape == evidence.flagged.shape == (len(rows.texts),)
    assert not evidence.flagged.any()
    assert len(evidence.limit.word_rows_by_label) in (0, num_labels)


@pytest.mark.parametrize("num_labels", [1, 2])
def test_rows_that_all_bear_one_label_are_read(num_labels):
    rows = replace(write_rows(150), labels=np.zeros(150, dtype=np.int64))
    evidence = read(rows, num_labels=num_labels)
    assert evidence.row_scores.shape == (150,)
    assert evidence.limit.word_rows is None


def test_rows_that_all_bear_one_label_have_no_trigger():
    rows = write_rows(150, seed=2, shares=(1.0, 0.0))
    assert name_triggers(read(rows, num_labels=2)) == []
