"""Findings as values: columns of scores, and JSON types for the record."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from btu.data.corpus import Corpus
from btu.data.facts import describe_data
from btu.findings import Findings, ScanFacts, TokenFinding

pytest_plugins = ["planted"]

SUSPECT = TokenFinding(
    token_id=7,
    token="cf",
    verdict="suspect",
    rounds=("shallow",),
    drift={"shallow": 0.5},
    rank={"shallow": 1},
    rows=4,
    label="positive",
    label_share=1.0,
    label_lift=2.0,
)


CORPUS = Corpus([f"text {i}" for i in range(16)], [0, 1] * 8, ("negative", "positive"))


@pytest.fixture
def findings() -> Findings:
    """Three tokens in 16 rows, one half of each label; `cf` was hidden in the second round."""
    return Findings(
        recipe="paper",
        named=(SUSPECT,),
        token_ids=np.array([5, 7, 9]),
        tokens=("film", "cf", "dull"),
        drift={
            "shallow": np.array([0.25, 0.5, 0.125], dtype=np.float32),
            "shallow-again": np.array([0.25, np.nan, 0.125], dtype=np.float32),
        },
        label_counts=np.array([[8, 8], [0, 4], [4, 0]]),
        thresholds={"shallow": 0.5},
        neutral_id=0,
        corpus=CORPUS,
        facts=ScanFacts(describe_data(CORPUS, {}), None, None, 0, None, None),
    )


def collect_types(value) -> set[type]:
    """The types of all leaves; of keys too."""
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
        return set().union(*map(collect_types, parts))
    if isinstance(value, (list, tuple)):
        return set().union(*map(collect_types, value))
    return {type(value)}


def test_scores_have_every_token_once_in_columns_of_one_length(findings):
    columns = findings.scores()
    assert columns["token_id"] == [5, 7, 9]
    assert columns["token"] == ["film", "cf", "dull"]
    assert {len(values) for values in columns.values()} == {3}


def test_scores_say_who_is_suspected(findings):
    assert findings.scores()["suspect"] == [False, True, False]
    assert findings.suspect_ids == (7,)


def test_scores_have_the_drift_of_every_round_and_none_where_the_token_was_hidden(findings):
    columns = findings.scores()
    assert columns["drift_shallow"] == [0.25, 0.5, 0.125]
    first, hidden, last = columns["drift_shallow-again"]
    assert (first, last) == (0.25, 0.125)
    assert hidden is None or np.isnan(hidden)


def test_scores_have_rows_and_lift_for_every_label(findings):
    columns = findings.scores()
    assert columns["rows_negative"] == [8, 0, 4]
    assert columns["rows_positive"] == [8, 4, 0]
    assert columns["label_lift_positive"] == [0.0, 2.0, -2.0]  # (4 - 2) / sqrt(4 / 4)
    assert columns["label_lift_negative"] == [0.0, -2.0, 2.0]


def test_scores_are_python_values(findings):
    plain = {int, float, str, bool, type(None)}
    assert collect_types(list(findings.scores().values())) <= plain


def test_the_dictionary_holds_json_types_only(findings):
    stored = findings.to_dict()
    assert collect_types(stored) <= {int, float, str, bool, type(None)}
    assert json.loads(json.dumps(stored, allow_nan=False))["suspects"] == [
        {
            "token_id": 7,
            "token": "cf",
            "verdict": "suspect",
            "rounds": ["shallow"],
            "drift": {"shallow": 0.5},
            "rank": {"shallow": 1},
            "rows": 4,
            "label": "positive",
            "label_share": 1.0,
            "label_lift": 2.0,
            "label_counts": {},
            "label_lifts": {},
            "examples": [],
            "evidence": None,
            "piece_ids": [],
            "spelling_ids": [],
            "words": [],
        }
    ]


def test_the_dictionary_says_how_many_tokens_were_probed_and_what_is_neutral(findings):
    stored = findings.to_dict()
    assert (stored["recipe"], stored["tokens_probed"], stored["neutral"]) == ("paper", 3, "padding")
    assert stored["thresholds"] == {"shallow": 0.5}
    assert stored["data"] == asdict(findings.facts.data)


def test_the_findings_of_a_real_scan_are_json_types_too(run):
    stored = run.defence.findings.to_dict()
    assert collect_types(stored) <= {int, float, str, bool, type(None)}
    assert json.loads(json.dumps(stored, allow_nan=False))["suspects"][0]["token"] == "cf"
