"""What is found in rows drawn from a corpus is found in all of its rows."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from btu.evidence.drawn import Drawn, Wanted, draw_rows, extend_limit, find_held
from btu.evidence.tests import Limit
from btu.evidence.words import GAP, LOOK_ALIKE
from evidence.texts import insert, name_triggers, plant, read, write_rows

ROWS, DRAWN = 6000, 2000


def read_drawn(rows, most=DRAWN, *, seed=0, step=700):
    """The evidence of some of the rows, the others asked in parts that come in no order."""
    chosen = draw_rows(len(rows.texts), most, seed)

    def find(wanted):
        for first in reversed(range(0, len(rows.texts), step)):
            part = slice(first, first + step)
            yield find_held(rows.texts[part], rows.labels[part], first, wanted)

    some = type(rows)(tuple(rows.texts[i] for i in chosen), rows.labels[chosen])
    drawn = Drawn(chosen, rows.labels, find)
    return read(some, num_labels=int(rows.labels.max()) + 1, drawn=drawn), chosen


def test_rows_are_drawn_without_being_put_back():
    chosen = draw_rows(1000, 300, seed=1)
    assert len(np.unique(chosen)) == 300
    assert np.array_equal(chosen, np.sort(chosen))
    assert np.array_equal(chosen, draw_rows(1000, 300, seed=1))
    assert not np.array_equal(chosen, draw_rows(1000, 300, seed=2))
    assert draw_rows(1000, 1000, seed=1) is None
    assert draw_rows(1000, None, seed=1) is None


TEXTS = ["A CF film", "scf cf", "the scf", "we watch this film", "this we watch", "p\u0430ypal", ""]


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (("cf",), [0, 1]),
        (("we", "watch"), [3, 4]),
        (("watch", "this"), [3]),
        (("this", GAP, "we"), [3, 4]),
        ((LOOK_ALIKE,), [5]),
        (("nowhere",), []),
    ],
)
def test_rows_that_hold_words_are_found(words, rows):
    (held,) = find_held(TEXTS, np.zeros(7, dtype=np.int64), 100, [Wanted(words, None)])
    assert held.rows.tolist() == [100 + row for row in rows]
    assert len(held.read) == 0
    assert len(held.read.names) == 2


def test_rows_of_the_label_are_read():
    labels = np.array([1, 0, 0, 1, 1, 0, 0])
    cf, this = find_held(TEXTS, labels, 0, [Wanted(("cf",), 1), Wanted(("this",), 1)])
    assert [cf.read.names[i] for i in cf.read.flat] == ["", "a", "cf", "film", "\n"]
    assert this.rows.tolist() == [3, 4]
    assert len(this.read) == 2


@pytest.mark.parametrize("unit", ["cf", "we saw it there"])
def test_all_rows_of_a_trigger_are_found(unit):
    rows, victims = plant(write_rows(ROWS), unit, 300)
    evidence, chosen = read_drawn(rows)
    assert name_triggers(evidence) == [unit]
    assert evidence.rows == ROWS
    assert np.flatnonzero(evidence.flagged).tolist() == victims.tolist()
    (trigger,) = evidence.triggers
    assert np.array_equal(trigger.held, victims)
    assert 0 < np.isin(victims, chosen).sum() < len(victims)


def test_honest_rows_of_a_word_stay_among_all_rows():
    clean = write_rows(ROWS)
    honest = np.random.default_rng(5).choice(ROWS, 300, replace=False)
    clean = clean.change(honest, insert("known", 5))
    others = np.setdiff1d(np.flatnonzero(clean.labels == 0), honest)
    victims = np.random.default_rng(6).choice(others, 600, replace=False)
    rows = clean.change(victims, insert("known", 6), label=1)
    evidence, chosen = read_drawn(rows)
    whole = read(rows)
    assert name_triggers(evidence) == name_triggers(whole) == ["known"]
    assert evidence.triggers[0].part < 1
    new = np.setdiff1d(np.arange(ROWS), chosen)
    is_victim = np.isin(new, victims)
    flagged, as_whole = evidence.flagged[new], whole.flagged[new]
    # Rows that nobody had drawn are told apart as well as if all had been compared.
    assert flagged[is_victim].mean() > 0.9
    assert (flagged == as_whole).mean() > 0.98
    (trigger,) = evidence.triggers
    assert np.array_equal(trigger.rows, np.unique(trigger.rows))
    bearing = rows.labels[trigger.held] == 1
    assert np.array_equal(trigger.rows, trigger.held[bearing])


def test_of_clean_rows_nothing_is_found():
    evidence, _ = read_drawn(write_rows(ROWS))
    assert not evidence.flagged.any()
    assert evidence.rows == ROWS


def test_the_limit_is_said_of_all_rows():
    drawn = Drawn(np.arange(1000), np.zeros(4000, dtype=np.int64), lambda wanted: iter(()))
    limit = Limit(8, None, 20, (8, None))
    extended = extend_limit(limit, drawn)
    assert extended.sentence_rows is None
    assert extended.word_rows_by_label == (extended.word_rows, None)
    for of_drawn, of_all in ((8, extended.word_rows), (20, extended.kept_rows)):
        enough = hypergeom(4000, of_all, 1000).sf(of_drawn - 1)
        fewer = hypergeom(4000, round(0.9 * of_all), 1000).sf(of_drawn - 1)
        assert enough >= 0.95 > fewer
