"""SARIF that the standard's schema accepts; what an attacker wrote is neither mark-up nor raw."""

import copy
import json
import re
import unicodedata
from functools import cache
from hashlib import sha256
from pathlib import Path

import jsonschema
import pytest

from btu.report.sarif import MOST_RESULTS, render_sarif

HERE = Path(__file__).parent
RECORDS = sorted((HERE / "records").glob("*.json"))
HOSTILE = (
    "\x1b[2J",
    "a\u202eb\u2066c",
    "\ud800\udc80",
    "\x00",
    "line\nend\r\u2028",
    "{0} and {{1}} {",
    "[click](https://example.org)",
    "\\[click](1)",
    "[a][b](sarif:/runs/0)",
    '"},{"ruleId":"x',
    "<img src=x onerror=alert(1)>",
    "~/../..?#%00.csv",
    "x" * 10_000,
    "",
)


@cache
def open_schema():
    text = (HERE / "data" / "sarif-schema-2.1.0.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    jsonschema.Draft4Validator.check_schema(schema)
    return jsonschema.Draft4Validator(schema)


def load(name):
    return json.loads((HERE / "records" / f"{name}.json").read_text(encoding="utf-8"))


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def render(record):
    """The one run of a log that the schema accepts; the record is left as it came."""
    before = copy.deepcopy(record)
    text = render_sarif(record)
    assert record == before
    log = json.loads(text.encode("utf-8").decode("utf-8"), parse_constant=refuse)
    faults = [e.message[:200] for e in open_schema().iter_errors(log)]
    assert not faults, faults
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    check_references(run)
    return run


def check_references(run):
    """Every index points at what the name beside it says."""
    driver = run["tool"]["driver"]
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        for location in result["locations"]:
            if "physicalLocation" in location:
                place = location["physicalLocation"]["artifactLocation"]
                assert run["artifacts"][place["index"]]["location"]["uri"] == place["uri"]
    for told in run["invocations"][0]["toolExecutionNotifications"]:
        descriptor = told["descriptor"]
        assert driver["notifications"][descriptor["index"]]["id"] == descriptor["id"]
    for rule in driver["rules"]:
        for relation in rule["relationships"]:
            target = relation["target"]
            taxonomy = run["taxonomies"][target["toolComponent"]["index"]]
            assert taxonomy["name"] == target["toolComponent"]["name"]
            assert taxonomy["taxa"][target["index"]]["id"] == target["id"]


def make_token(token, verdict, label):
    (example,) = load("poisoned-scan")["suspects"]
    token_facts = {"token": token, "verdict": verdict, "label": label}
    return example | token_facts | {"evidence": example["evidence"] | {"label": label}}


def make_row(row_id, score, tokens, *, line=None, label="positive", style=False):
    return {
        "row_id": row_id,
        "line": line,
        "label": label,
        "score": score,
        "tokens": tokens,
        "style": style,
    }


def make_record(*, source="data/train.csv", flagged=(), suspected=(), suspects=()):
    record = load("poisoned-scan")
    record["data"]["source"] = source
    record |= {"flagged_rows": list(flagged), "suspected_rows": list(suspected)}
    return record | ({"suspects": list(suspects)} if suspects else {})


def list_strings(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from list_strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from list_strings(inner)
    elif isinstance(value, str):
        yield value


# ---- the standard


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_committed_record_becomes_sarif_that_the_schema_accepts(path):
    record = json.loads(path.read_text(encoding="utf-8"))
    run = render(record)
    assert len(run["results"]) == len(record["flagged_rows"] or ()) + len(
        record["suspected_rows"] or ()
    )
    assert run["properties"]["verdict"] == record["verdict"]
    assert run["properties"]["dataSha256"] == record["data"]["sha256"]
    assert run["properties"]["modelSha256"] == record["model"]["sha256"]


def test_a_poisoned_scan_renders_as_before(snapshot):
    record = load("poisoned-scan")
    record["flagged_rows"] = record["flagged_rows"][:2]
    assert render_sarif(record) == snapshot


def test_every_number_of_a_handmade_record_is_in_its_place():
    record = make_record(
        suspects=(
            make_token("cf", "trigger", "positive"),
            make_token("mn", "trigger", "negative"),
            make_token("fun", "suspect", "negative"),
        ),
        flagged=(
            make_row(3, 0.75, ["cf", "fun"], line=5),
            make_row(4, 1.0, ["fun"], line=6, style=True),
            make_row(16, 0.987, ["cf", "mn"], line=18),
        ),
        suspected=(make_row(1233, 0.25, ["fun"], line=2000, label="negative"),),
    )
    run = render(record)
    results = run["results"]
    assert [r["message"]["text"] for r in results] == [
        'Row 17 (label "positive") holds the triggers "cf", "mn", pointing to the label '
        '"negative", "positive"; score 0.99.',
        'Row 4 (label "positive") holds the trigger "cf", pointing to the label "positive"; '
        "score 0.75.",
        'Row 5 (label "positive") is of a style that bears this label against what it says; '
        "score 1.00.",
        'Row 1,234 (label "negative") holds the suspect "fun", pointing to the label "negative"; '
        "score 0.25.",
    ]
    assert [r["ruleId"] for r in results] == [
        "btu/trigger-row",
        "btu/trigger-row",
        "btu/style-row",
        "btu/suspect-row",
    ]
    assert [r["level"] for r in results] == ["error", "error", "warning", "note"]
    assert [r["rank"] for r in results] == pytest.approx([98.7, 75, 100, 25])
    places = [r["locations"][0]["physicalLocation"] for r in results]
    assert [p["region"]["startLine"] for p in places] == [18, 5, 6, 2000]
    assert {p["artifactLocation"]["uri"] for p in places} == {"data/train.csv"}
    names = [r["locations"][0]["logicalLocations"][0]["name"] for r in results]
    assert names == ["row 17", "row 4", "row 5", "row 1234"]
    assert run["properties"]["counts"] == {
        "rows": 400,
        "triggers": 2,
        "styles": 0,
        "suspects": 1,
        "flaggedRows": 3,
        "suspectedRows": 1,
        "results": 4,
        "resultsLeftOut": 0,
    }
    assert run["invocations"] == [
        {
            "executionSuccessful": True,
            "endTimeUtc": record["created"].replace("+00:00", "Z"),
            "toolExecutionNotifications": [],
        }
    ]
    stable = ["btu/trigger-row", ["cf", "mn"], "positive", 16, "data/train.csv"]
    expected = sha256(json.dumps(stable).encode()).hexdigest()
    assert results[0]["partialFingerprints"] == {"btuRow/v1": expected}


def test_the_tool_names_its_version_its_rules_and_the_frameworks():
    record = load("poisoned-scan")
    run = render(record)
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["semanticVersion"]) == ("btu", "0.1.0")
    severities = [float(r["properties"]["security-severity"]) for r in driver["rules"]]
    assert severities == sorted(severities, reverse=True)
    for rule in driver["rules"]:
        assert rule["properties"]["tags"] == ["security", "data-poisoning"]
        assert len(rule["relationships"]) == len(record["frameworks"])
    named = {
        (taxonomy["name"], taxonomy["version"], taxon["id"])
        for taxonomy in run["taxonomies"]
        for taxon in taxonomy["taxa"]
    }
    assert named == {(f["framework"], f["version"], f["id"]) for f in record["frameworks"]}


@pytest.mark.parametrize("version", [None, "0.1.0.dev3+g1", "nightly"])
def test_a_version_that_is_not_semantic_is_not_called_so(version):
    record = load("clean-scan")
    record["versions"]["backdoor-token-unlearning"] = version
    driver = render(record)["tool"]["driver"]
    assert "semanticVersion" not in driver
    assert driver.get("version") == version


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        ("2026-11-22T23:42:17.25+02:00", "2026-11-22T21:42:17Z"),
        ("2026-11-22T21:42:17", "2026-11-22T21:42:17Z"),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_the_time_is_utc_or_left_out(created, expected):
    (invocation,) = render(load("clean-scan") | {"created": created})["invocations"]
    assert invocation.get("endTimeUtc") == expected


# ---- places


@pytest.mark.parametrize(
    ("source", "uri"),
    [
        ("train.csv", "train.csv"),
        ("./data//my train.JSONL", "data/my%20train.JSONL"),
        ("../data/été.tsv", "../data/%C3%A9t%C3%A9.tsv"),
        ("/srv/data/a#b?c%.parquet", "file:///srv/data/a%23b%3Fc%25.parquet"),
        ("//srv/train.csv", "file:///srv/train.csv"),
        ("C:\\my data\\train.csv", "file:///C:/my%20data/train.csv"),
        ("\\\\host\\share\\train.csv", "file://host/share/train.csv"),
        ("data\\train.csv", "data/train.csv"),
        ("javascript:x.csv", "javascript%3Ax.csv"),
        ("a\u202eb\x00\n.csv", "a%E2%80%AEb%00%0A.csv"),
        ("latin-\udce9\ud800.csv", "latin-%E9%EF%BF%BD.csv"),
    ],
    ids=ascii,
)
def test_a_file_has_an_address_in_plain_ascii(source, uri):
    run = render(make_record(source=source, flagged=[make_row(0, 1.0, ["cf"], line=2)]))
    assert run["artifacts"] == [{"location": {"uri": uri}, "roles": ["analysisTarget"]}]
    assert re.fullmatch(r"[A-Za-z0-9._~:/%-]+", uri)


@pytest.mark.parametrize("source", ["memory", "owner/reviews:plain", "~/train.csv", "saved_data"])
def test_a_row_of_a_source_that_is_no_known_file_has_a_name_and_no_address(source):
    run = render(make_record(source=source, flagged=[make_row(16, 1.0, ["cf"])]))
    assert run["artifacts"] == []
    (location,) = run["results"][0]["locations"]
    assert location == {
        "logicalLocations": [
            {"name": "row 17", "fullyQualifiedName": f"{source}, row 17", "kind": "row"}
        ]
    }


def test_the_split_of_a_hub_data_set_is_part_of_the_name():
    record = make_record(source="owner/reviews", flagged=[make_row(16, 1.0, ["cf"])])
    record["data"]["columns"]["split"] = "train"
    (location,) = render(record)["results"][0]["locations"]
    assert location["logicalLocations"][0]["fullyQualifiedName"] == "owner/reviews, train, row 17"


@pytest.mark.parametrize("line", [None, 0])
def test_a_row_without_a_line_has_no_region(line):
    row = make_row(16, 1.0, ["cf"], line=line)
    (location,) = render(make_record(source="t.parquet", flagged=[row]))["results"][0]["locations"]
    assert location["physicalLocation"] == {"artifactLocation": {"uri": "t.parquet", "index": 0}}
    assert location["logicalLocations"][0]["name"] == "row 17"


# ---- fingerprints


def read_fingerprints(record):
    return [r["partialFingerprints"]["btuRow/v1"] for r in render(record)["results"]]


def test_a_fingerprint_outlives_another_score_and_another_time():
    record = load("poisoned-scan")
    again = copy.deepcopy(record) | {"created": "2030-01-01T00:00:00+00:00"}
    for row in again["flagged_rows"]:
        row["score"] *= 0.9
    first = read_fingerprints(record)
    assert sorted(first) == sorted(read_fingerprints(again))
    assert len(set(first)) == len(first) == 40


@pytest.mark.parametrize(
    "change",
    [{"row_id": 99}, {"label": "negative"}, {"tokens": ["cf", "mn"]}, {"tokens": [], "line": 9}],
    ids=str,
)
def test_a_fingerprint_tells_rows_tokens_and_labels_apart(change):
    row = make_row(16, 1.0, ["cf"])
    (first,) = read_fingerprints(make_record(flagged=[row]))
    (other,) = read_fingerprints(make_record(flagged=[row | change]))
    assert first != other


# ---- how much


def test_of_100_000_flagged_rows_the_gravest_are_listed_and_the_others_counted():
    flagged = [
        make_row(i, 0.5 + i / 200_000, ["cf"], line=i + 2, style=i >= 97_000)
        for i in range(100_000)
    ]
    for row in flagged[97_000:]:
        row["tokens"] = []
    suspected = [make_row(100_000, 0.4, ["fun"], line=100_002)]
    run = render(make_record(flagged=flagged, suspected=suspected))
    rows = [result["properties"]["row"] for result in run["results"]]
    assert rows == list(range(97_000, 97_000 - MOST_RESULTS, -1))
    assert {result["ruleId"] for result in run["results"]} == {"btu/trigger-row"}
    (told,) = run["invocations"][0]["toolExecutionNotifications"]
    assert told["level"] == "warning"
    assert told["message"]["text"] == (
        "5,000 of 100,001 rows are listed, the gravest first; 95,001 were left out. The record "
        "holds them all."
    )
    assert run["properties"]["counts"]["resultsLeftOut"] == 95_001
    assert run["properties"]["counts"]["flaggedRows"] == 100_000


def test_the_recipe_paper_lists_no_row_and_says_why():
    record = load("paper-scan")
    run = render(record)
    assert run["results"] == []
    (told,) = run["invocations"][0]["toolExecutionNotifications"]
    assert told["level"] == "note"
    assert told["message"]["text"].startswith("The recipe paper judges no rows: it names ")
    assert f"{len(record['suspects'])} tokens" in told["message"]["text"]


def test_clean_data_give_no_result_and_no_notification():
    run = render(load("clean-scan"))
    assert run["results"] == []
    assert run["invocations"][0]["toolExecutionNotifications"] == []
    assert run["properties"]["notChecked"]


@pytest.mark.parametrize(
    ("tokens", "style", "rule"),
    [
        (["cf"], False, "btu/trigger-row"),
        (["cf"], True, "btu/trigger-row"),
        (["fun"], True, "btu/style-row"),
        ([], True, "btu/style-row"),
        ([], False, "btu/trigger-row"),
    ],
)
def test_a_flagged_row_is_a_style_row_only_without_a_trigger(tokens, style, rule):
    run = render(make_record(flagged=[make_row(0, 1.0, tokens, style=style)]))
    assert [result["ruleId"] for result in run["results"]] == [rule]


def test_many_tokens_of_a_row_are_counted():
    tokens = [f"t{i}" for i in range(20)]
    suspects = [make_token(t, "trigger", "positive") for t in tokens]
    run = render(make_record(suspects=suspects, flagged=[make_row(0, 1.0, tokens)]))
    assert '"t0", "t1", "t2" and 17 more, pointing' in run["results"][0]["message"]["text"]


# ---- hostile text


def poison_record(text):
    """A record that holds the text wherever one may stand."""
    record = make_record(
        source=f"{text}.csv",
        suspects=(make_token(text, "trigger", text), make_token(f"{text}2", "suspect", text)),
        flagged=(
            make_row(0, 1.0, [text, "]", "(x)"], line=2, label=text),
            make_row(1, 0.9, [f"{text}2"], line=3, label=text, style=True),
            make_row(2, 0.9, [], line=4, label=text),
        ),
        suspected=(make_row(3, 0.1, [f"{text}2", text], line=5, label=text),),
    )
    record["data"] |= {"sha256": text, "columns": {"split": text}}
    record["model"] |= {"name": text, "sha256": text}
    record["not_checked"] = [text]
    record["versions"]["backdoor-token-unlearning"] = text
    record["created"] = text
    record["frameworks"] = [
        dict.fromkeys(("framework", "version", "id", "name", "about"), text)
    ] * 2
    return record


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_text_is_shown_and_never_raw(text):
    for record in (poison_record(text), poison_record(text) | {"flagged_rows": None}):
        run = render(record)
        for string in list_strings(run):
            raw = [c for c in string if c != " " and unicodedata.category(c)[0] in "CZ"]
            assert set(raw) <= {"\n"}, ascii(string[:200])
            assert "\n" not in string or string.startswith("**What it means.**")


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_text_in_a_message_is_neither_placeholder_nor_link(text):
    run = render(poison_record(text))
    assert len(run["results"]) == 4
    for result in run["results"]:
        (message,) = result["message"].values()
        literal = message.replace("{{", "").replace("}}", "")
        assert "{" not in literal
        assert "}" not in literal
        assert "](" not in message
        assert len(message) < 600


def test_braces_and_links_are_still_legible():
    row = make_row(0, 1.0, ["{0}", "[a](b)", "[MASK]"])
    suspects = [make_token(t, "trigger", "positive") for t in row["tokens"]]
    run = render(make_record(flagged=[row], suspects=suspects))
    assert r'"{{0}}", "[a]\x28b)", "[MASK]"' in run["results"][0]["message"]["text"]
