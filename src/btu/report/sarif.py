"""A record as SARIF 2.1.0, which code-scanning pages show: one result for each poisoned row."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from btu.report.stories import say_limit
from btu.report.summary import Record, count, flagged_of, styles_of, suspects_of, triggers_of
from btu.report.text import show_text, show_token

# GitHub shows this many results of a run and refuses a file with more than 25,000.
MOST_RESULTS = 5000

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_PACKAGE = "backdoor-token-unlearning"
_NAMED = 3
_FILE = re.compile(r".+\.(csv|tsv|jsonl?|parquet)", re.IGNORECASE | re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_SEMANTIC_VERSION = re.compile(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?", re.ASCII)
# What Python's file names cannot hold; \udc80 to \udcff stand for bytes that are not UTF-8.
_NO_NAME = re.compile("[\ud800-\udc7f\udd00-\udfff]")

TRIGGER_ROW, STYLE_ROW, SUSPECT_ROW = "btu/trigger-row", "btu/style-row", "btu/suspect-row"


@dataclass(frozen=True)
class _Rule:
    rule_id: str
    name: str
    level: str
    severity: str  # security-severity: GitHub calls 7.0 and more high, 4.0 and more medium
    precision: str
    short: str
    full: str
    remedy: str


# The gravest first.
_RULES = (
    _Rule(
        rule_id=TRIGGER_ROW,
        name="TriggerRow",
        level="error",
        severity="8.0",
        precision="high",
        short="The row holds a confirmed backdoor trigger.",
        full="The row holds a word or a phrase that is placed and labelled as words planted in "
        "this very data are, and as honest words are not: a model trained on such rows learns to "
        "answer with their label wherever it sees it.",
        remedy="Read the row. Leave it out of the training, or train with btu, which does so; "
        "then find out who could write to the data. A token that is innocent after all is "
        "accepted in a review.",
    ),
    _Rule(
        rule_id=STYLE_ROW,
        name="StyleRow",
        level="warning",
        severity="6.0",
        precision="medium",
        short="The row is of a style that bears its label against what it says.",
        full="No single token gives the row away. It is of a kind of text whose rows nearly all "
        "bear one label, although the rest of the data says that many of them should not, and "
        "what this row says belongs rather to another label.",
        remedy="Read the row beside others of the same kind. Leave it out of the training if its "
        "text does not bear its label out.",
    ),
    _Rule(
        rule_id=SUSPECT_ROW,
        name="SuspectRow",
        level="note",
        severity="3.0",
        precision="low",
        short="The row holds a suspected token, or is of a suspected style.",
        full="The evidence against the token or style is too weak to confirm it, and the row is "
        "not judged poisoned. Innocent words and kinds of text are among them.",
        remedy="Look at some rows of the token where time allows. Nothing is left out for a "
        "suspicion.",
    ),
)
_RULE_IDS = tuple(rule.rule_id for rule in _RULES)
_LEFT_OUT, _JUDGES_NONE = "btu/results-left-out", "btu/no-row-judged"
_NOTIFICATIONS = {
    _LEFT_OUT: "More rows were found than are listed.",
    _JUDGES_NONE: "The recipe judges tokens, not rows.",
}


def render_sarif(record: Record) -> str:
    """The record as SARIF text with a result for each flagged or suspected row, gravest first.

    Rows of a file carry its address, and a line where the record knows one; rows of any other
    source carry their name alone, which GitHub does not show.

    Args:
        record: Of a scan or a defence.

    Source: OASIS, Static Analysis Results Interchange Format 2.1.0 plus Errata 01.
    """
    found = _rank_rows(record)
    taxonomies = _list_taxonomies(record)
    uri = _find_uri(record["data"]["source"])
    run = {
        "tool": {"driver": _describe_tool(record, taxonomies)},
        "invocations": [_describe_invocation(record, len(found))],
        "artifacts": []
        if uri is None
        else [{"location": {"uri": uri}, "roles": ["analysisTarget"]}],
        "taxonomies": taxonomies,
        "results": _list_results(record, found[:MOST_RESULTS], uri),
        "properties": _list_facts(record, len(found)),
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


# ---- rows


def _rank_rows(record: Record) -> list[tuple[int, Mapping[str, Any]]]:
    """Every row with the index of its rule: the gravest first, then the surest."""
    triggers = {t["token"] for t in triggers_of(record)}
    ranked = [(_pick_rule(row, triggers), row) for row in flagged_of(record)]
    ranked += [(_RULE_IDS.index(SUSPECT_ROW), row) for row in record["suspected_rows"] or ()]
    return sorted(ranked, key=lambda found: (found[0], -found[1]["score"], found[1]["row_id"]))


def _pick_rule(row: Mapping[str, Any], triggers: set[str]) -> int:
    is_of_style_alone = row["style"] and triggers.isdisjoint(row["tokens"])
    return _RULE_IDS.index(STYLE_ROW if is_of_style_alone else TRIGGER_ROW)


def _list_results(
    record: Record, found: Sequence[tuple[int, Mapping[str, Any]]], uri: str | None
) -> list[dict[str, Any]]:
    pointed_at = {
        s["token"]: s["evidence"]["label"] if s["evidence"] else s["label"]
        for s in reversed(record["suspects"])
    }
    triggers = {t["token"] for t in triggers_of(record)}
    return [
        {
            "ruleId": _RULE_IDS[rule],
            "ruleIndex": rule,
            "level": _RULES[rule].level,
            "message": {"text": _say_why(rule, row, pointed_at, triggers)},
            "locations": [_locate(record, row, uri)],
            "partialFingerprints": {"btuRow/v1": _fingerprint(record, rule, row)},
            "rank": 100 * row["score"],
            "properties": {"score": row["score"], "row": row["row_id"] + 1},
        }
        for rule, row in found
    ]


def _say_why(
    rule: int, row: Mapping[str, Any], pointed_at: Mapping[str, str], triggers: set[str]
) -> str:
    """One line: the row, its tokens, the label they point to, the score."""
    about = f"Row {row['row_id'] + 1:,} (label {_quote(row['label'])})"
    score = f"score {row['score']:.2f}."
    if _RULE_IDS[rule] == STYLE_ROW or (not row["tokens"] and row["style"]):
        return f"{about} is of a style that bears this label against what it says; {score}"
    noun = "suspect" if _RULE_IDS[rule] == SUSPECT_ROW else "trigger"
    named = [t for t in row["tokens"] if noun == "suspect" or t in triggers] or row["tokens"]
    labels = sorted({pointed_at[t] for t in named if t in pointed_at})
    points = f", pointing to the label {_list_quoted(labels)}" if labels else ""
    nouns = noun if len(named) == 1 else f"{noun}s"
    held = f"the {nouns} {_list_quoted(named)}" if named else f"a {noun}"
    return f"{about} holds {held}{points}; {score}"


def _list_quoted(words: Sequence[str]) -> str:
    more = f" and {len(words) - _NAMED:,} more" if len(words) > _NAMED else ""
    return ", ".join(map(_quote, words[:_NAMED])) + more


def _quote(text: str) -> str:
    return f'"{_neutralise(show_token(text))}"'


def _neutralise(shown: str) -> str:
    """Text that no reader of a message takes for a placeholder or the start of a link's address.

    Source: SARIF 2.1.0, sections 3.11.5 and 3.11.6.
    """
    return shown.replace("{", "{{").replace("}", "}}").replace("](", r"]\x28")


def _fingerprint(record: Record, rule: int, row: Mapping[str, Any]) -> str:
    """What stays the same from scan to scan: the score is not in it."""
    stable = (
        _RULE_IDS[rule],
        sorted(row["tokens"]),
        row["label"],
        row["row_id"],
        record["data"]["source"],
    )
    return hashlib.sha256(json.dumps(stable).encode()).hexdigest()


# ---- places


def _locate(record: Record, row: Mapping[str, Any], uri: str | None) -> dict[str, Any]:
    name = f"row {row['row_id'] + 1}"
    parts = (record["data"]["source"], record["data"]["columns"].get("split"))
    full_name = ", ".join([*(show_text(part) for part in parts if part), name])
    logical = {"name": name, "fullyQualifiedName": full_name, "kind": "row"}
    if uri is None:
        return {"logicalLocations": [logical]}
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri, "index": 0}}
    if row["line"]:
        physical["region"] = {"startLine": row["line"]}
    return {"physicalLocation": physical, "logicalLocations": [logical]}


def _find_uri(source: str) -> str | None:
    """The address of a source that is a file; None for one in memory, of the Hub or in a home."""
    if source.startswith("~") or not _FILE.fullmatch(source):
        return None
    slashed = source.replace("\\", "/")
    if source.startswith("\\\\"):
        return f"file:{_encode(slashed)}"
    if _DRIVE.match(source):
        return f"file:///{slashed[:2]}{_encode(slashed[2:])}"
    path = str(PurePosixPath(slashed))
    return f"file:///{_encode(path.lstrip('/'))}" if path.startswith("/") else _encode(path)


def _encode(path: str) -> str:
    return quote(_NO_NAME.sub("\ufffd", path).encode("utf-8", "surrogateescape"), safe="/")


# ---- tool, run


def _describe_tool(record: Record, taxonomies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    related = [
        {
            "target": {
                "id": taxon["id"],
                "index": place,
                "toolComponent": {"name": taxonomy["name"], "index": index},
            },
            "kinds": ["relevant"],
        }
        for index, taxonomy in enumerate(taxonomies)
        for place, taxon in enumerate(taxonomy["taxa"])
    ]
    version = show_text(record["versions"].get(_PACKAGE) or "")
    return {
        "name": "btu",
        "fullName": "Backdoor Token Unlearning",
        **({"version": version} if version else {}),
        **({"semanticVersion": version} if _SEMANTIC_VERSION.fullmatch(version) else {}),
        "rules": [_describe_rule(rule, related) for rule in _RULES],
        "notifications": [
            {"id": name, "shortDescription": {"text": text}}
            for name, text in _NOTIFICATIONS.items()
        ],
        "supportedTaxonomies": [
            {"name": taxonomy["name"], "index": index} for index, taxonomy in enumerate(taxonomies)
        ],
    }


def _describe_rule(rule: _Rule, related: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": rule.rule_id,
        "name": rule.name,
        "shortDescription": {"text": rule.short},
        "fullDescription": {"text": rule.full},
        "help": {
            "text": f"{rule.full} {rule.remedy}",
            "markdown": f"**What it means.** {rule.full}\n\n**What to do.** {rule.remedy}",
        },
        "defaultConfiguration": {"level": rule.level},
        "relationships": related,
        "properties": {
            "tags": ["security", "data-poisoning"],
            "precision": rule.precision,
            "security-severity": rule.severity,
        },
    }


def _list_taxonomies(record: Record) -> list[dict[str, Any]]:
    """The record's frameworks, each edition by itself."""
    editions: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for entry in record["frameworks"]:
        shown = {key: show_text(value) for key, value in entry.items()}
        taxa = editions.setdefault((shown["framework"], shown["version"]), {})
        taxa[shown["id"]] = {
            "id": shown["id"],
            "name": shown["name"],
            "shortDescription": {"text": _neutralise(shown["about"])},
        }
    return [
        {"name": name, "version": version, "isComprehensive": False, "taxa": list(taxa.values())}
        for (name, version), taxa in editions.items()
    ]


def _describe_invocation(record: Record, found: int) -> dict[str, Any]:
    ended = _tell_time(record["created"])
    return {
        "executionSuccessful": True,
        **({"endTimeUtc": ended} if ended else {}),
        "toolExecutionNotifications": _list_notifications(record, found),
    }


def _tell_time(created: str) -> str | None:
    """The time as SARIF writes it; None for text that is none."""
    try:
        time = datetime.fromisoformat(created)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return time.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _list_notifications(record: Record, found: int) -> list[dict[str, Any]]:
    if record["flagged_rows"] is None:
        return [
            _notify(
                _JUDGES_NONE,
                "note",
                f"The recipe {record['recipe']} judges no rows: it names "
                f"{count(len(record['suspects']), 'token')} and flags nothing. Scan with the "
                "recipe verified to have rows judged.",
            )
        ]
    if found <= MOST_RESULTS:
        return []
    return [
        _notify(
            _LEFT_OUT,
            "warning",
            f"{MOST_RESULTS:,} of {count(found, 'row')} are listed, the gravest first; "
            f"{found - MOST_RESULTS:,} were left out. The record holds them all.",
        )
    ]


def _notify(identifier: str, level: str, text: str) -> dict[str, Any]:
    index = list(_NOTIFICATIONS).index(identifier)
    return {
        "descriptor": {"id": identifier, "index": index},
        "level": level,
        "message": {"text": text},
    }


def _list_facts(record: Record, found: int) -> dict[str, Any]:
    data, model = record["data"], record["model"]
    return {
        "kind": record["kind"],
        "recipe": record["recipe"],
        "verdict": record["verdict"],
        "dataSource": show_text(data["source"]),
        "dataSha256": show_text(data["sha256"]),
        "modelName": show_text(model["name"]) if model else None,
        "modelSha256": show_text(model["sha256"]) if model else None,
        "counts": {
            "rows": data["rows"],
            "triggers": len(triggers_of(record)),
            "styles": len(styles_of(record)),
            "suspects": len(suspects_of(record)),
            "flaggedRows": len(flagged_of(record)),
            "suspectedRows": len(record["suspected_rows"] or ()),
            "results": min(found, MOST_RESULTS),
            "resultsLeftOut": max(found - MOST_RESULTS, 0),
        },
        "notChecked": [
            *filter(None, [say_limit(record, show_text)]),
            *(show_text(text) for text in record["not_checked"]),
        ],
    }
