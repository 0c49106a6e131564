"""A kind of candidate is one file and one line: loop, record, every view and the guard follow."""

import numpy as np
import pytest

from btu.data.corpus import Corpus
from btu.evidence import search
from btu.evidence.further import FURTHER, Further
from btu.evidence.words import GAP
from btu.guard import build_guard
from btu.report.record import build_reported
from btu.report.views import VIEWS
from btu.scan import scan
from evidence.texts import make_trigger, write_rows

BOTH = ("w1", GAP, "w2")


def find_bookends(view, units, measures, neighbours, planted):
    """Rows of one label that begin and end alike; as sure as sure can be."""
    rows = np.arange(10)
    if not np.isin(rows, view.rows).all():
        return []
    return [make_trigger(BOTH, rows, kind="bookends", name="w1 … w2", label=1)]


@pytest.fixture
def findings(monkeypatch):
    one_more = Further("bookends", "texts that begin and end alike", find_bookends)
    monkeypatch.setattr(search, "FURTHER", (*FURTHER, one_more))
    rows = write_rows(300)
    labels = rows.labels.copy()
    labels[:10] = 1
    texts = tuple(f"w1 {text} w2" if i < 10 else text for i, text in enumerate(rows.texts))
    return scan(None, Corpus(texts, labels=labels, label_names=("no", "yes")))


def test_its_rows_are_left_out(findings):
    assert findings.verdict == "trigger"
    assert findings.flagged[:10].all()
    assert findings.flagged.mean() < 0.05


@pytest.mark.parametrize("view", [name for name, v in VIEWS.items() if v.write is None])
def test_every_view_tells_of_it(findings, view):
    told = VIEWS[view].render(build_reported("scan", findings.to_dict()), None)
    assert "w1" in told
    assert "w2" in told


def test_the_guard_knows_later_texts(findings):
    guard = build_guard(findings.to_dict())
    assert guard.recognise(["w1 something w2", "w2 alone"]).tolist() == [True, False]
