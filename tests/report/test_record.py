"""The record is strict JSON that says all, and nothing else is taken for one."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch

import btu
from btu.report.record import build_reported, load_frameworks, load_record, load_schema
from btu.support.errors import InputError
from btu.support.record import RECORD_VERSION, build_record, read_record, render_json, write_record
from planted import MAX_LENGTH, PROBES

pytest_plugins = ["planted"]

RECORDS = Path(__file__).parent / "records"


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def render(value):
    """The value after a round through strict JSON."""
    return json.loads(render_json({"value": value}), parse_constant=refuse_constant)["value"]


def test_a_record_says_what_ran_where_and_when():
    record = build_reported("scan", {"seed": 3})
    assert (record["kind"], record["seed"], record["record_version"]) == ("scan", 3, RECORD_VERSION)
    assert torch.__version__.startswith(record["versions"]["torch"])
    assert record["versions"]["python"].count(".") == 2
    assert set(record["versions"]) >= {"transformers", "numpy", "backdoor-token-unlearning"}
    assert set(record["hardware"]) == {"device", "machine", "cpu_count", "torch_threads"}
    assert record["created"].endswith("+00:00")


@pytest.mark.parametrize("value", [float("nan"), np.float64("nan"), np.float32("nan")])
def test_not_a_number_becomes_null(value):
    assert render(value) is None
    assert render([1.0, value]) == [1.0, None]


@pytest.mark.parametrize("value", [float("inf"), -float("inf")])
def test_infinity_does_not_break_the_record(value):
    assert render(value) in (None, str(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.arange(3), [0, 1, 2]),
        (np.array([[0.5, np.nan]]), [[0.5, None]]),
    ],
)
def test_numpy_values_become_the_numbers_that_they_are(value, expected):
    assert render(value) == expected
    assert type(render(value)) is type(expected)


def test_long_arrays_are_not_cut():
    assert render(np.arange(5_000)) == list(range(5_000))


def test_nothing_is_rounded():
    value = 0.1 + 0.2
    assert render(value) == value
    assert render(np.float64(1) / 3) == 1 / 3


def test_other_values_become_text():
    assert render(Path("a") / "b") == "a/b"
    assert render({1: (True, None)}) == {"1": [True, None]}


def test_any_text_is_ascii_on_the_disk_and_comes_back_the_same():
    text = 'a\u202eb\x1b "quoted" \U0001f600'
    assert render_json({"value": text}).isascii()
    assert render(text) == text


def test_what_is_written_is_read(tmp_path):
    record = build_reported("scan", {"nested": {"values": [1, 2.5, None, "x"]}})
    write_record(record, tmp_path / "btu.json")
    assert read_record(tmp_path / "btu.json") == record
    assert [path.name for path in tmp_path.iterdir()] == ["btu.json"]


def test_where_there_is_no_file_there_is_no_record(tmp_path):
    assert read_record(tmp_path / "btu.json") is None


@pytest.mark.parametrize(
    "content", ["{}", "[]", '"btu"', "null", '{"record_version": 1}', '{"record_version": "3"}']
)
def test_json_that_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / "btu.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"btu\.json: expected a record of version 4"):
        read_record(path)


@pytest.mark.parametrize("content", [b"", b"{", b"not json", b"\xff\xfe{}"])
def test_a_file_that_is_no_json_is_refused(tmp_path, content):
    path = tmp_path / "btu.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"btu\.json: expected a record as JSON"):
        read_record(path)


def test_a_value_that_cannot_be_written_leaves_the_old_record(tmp_path):
    class Broken:
        def __str__(self):
            raise RuntimeError("no text")

    path = tmp_path / "btu.json"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="no text"):
        write_record({"value": Broken()}, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["btu.json"]


# ---- schema


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.json")), ids=lambda path: path.stem)
def test_committed_records_are_valid_and_nothing_of_a_token_is_left_out(path):
    record = load_record(path)
    named = (*record["suspects"], *record["accepted"], *record["cleared"])
    assert all(set(token) == set(load_schema()["$defs"]["token"]["properties"]) for token in named)
    texts = {row["row_id"] for row in record["example_rows"]}
    assert {example["row_id"] for token in named for example in token["examples"]} <= texts


def test_a_fresh_scan_and_a_fresh_defence_are_valid(run, pretrained, planted, tmp_path):
    scan = btu.scan(pretrained, planted.corpus, settings=PROBES, max_length=MAX_LENGTH)
    for record in (build_reported("scan", scan.to_dict()), run.defence.record):
        write_record(record, tmp_path / "btu.json")
        assert load_record(tmp_path)["data"]["rows"] == len(planted.corpus)


def test_the_schema_itself_is_valid_and_describes_every_field():
    jsonschema.Draft202012Validator.check_schema(load_schema())

    def find_bare(schema, path):
        for name, part in schema.get("properties", {}).items():
            if not part.get("description"):
                yield f"{path}.{name}"
            yield from find_bare(part, f"{path}.{name}")
            yield from find_bare(part.get("items", {}), f"{path}.{name}")

    parts = [load_schema(), *load_schema()["$defs"].values()]
    assert [bare for part in parts for bare in find_bare(part, "")] == []


def test_all_faults_of_a_record_are_named(tmp_path):
    record = load_record(RECORDS / "defence.json")
    del record["edits"]
    record["suspects"][0]["verdict"] = "guilty"
    record["data"]["rows"] = -1
    write_record(record, tmp_path / "btu.json")
    with pytest.raises(InputError) as error:
        load_record(tmp_path / "btu.json")
    for part in ("'edits' is a required property", "suspects.0.verdict", "data.rows"):
        assert part in str(error.value)


def test_a_missing_record_and_one_of_another_kind_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected a record, found no file"):
        load_record(tmp_path)
    write_record(build_record("demo", {}), tmp_path / "demo.json")
    with pytest.raises(InputError, match="record of a scan or a defence, got one of the kind 'd"):
        load_record(tmp_path / "demo.json")


def test_frameworks_name_their_versions():
    frameworks = load_frameworks()
    assert {"AML.T0020", "LLM04:2025", "ML02:2023"} <= {entry["id"] for entry in frameworks}
    assert all(entry["version"] and entry["name"] for entry in frameworks)
