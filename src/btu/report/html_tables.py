"""Tables of the HTML view: what the record says of rows, results and circumstances."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from heapq import nsmallest
from typing import Any, NamedTuple

from btu.report.summary import Record, clip, count, flagged_of, percent
from btu.report.text import show_token

MOST_ROWS = 50
MOST_LINES = 200  # of a table without a limit of its own
NAME_LENGTH = 40
_MOST_EDITS = 100
_MOST_LABELS = 50
_SENTENCE_LENGTH = 400


class PageColumn(NamedTuple):
    """A column of a table.

    Attributes:
        title: Its head.
        kind: `name`, `number`, `verdict`, `text` or empty; the style sheet knows them.
        value: The cell of an item; None where there is none.
    """

    title: str
    kind: str
    value: Callable[[Any], str | None]


class PageTable(NamedTuple):
    """A table, ready to print: heads with their kinds, rows of cells, and what is left out."""

    caption: str
    heads: list[tuple[str, str]]
    rows: list[list[str | None]]
    left_out: int


def build_table(
    caption: str, columns: Sequence[PageColumn], items: Iterable[Any], limit: int
) -> PageTable:
    """A table of the first few items; a column without any value is left out.

    Args:
        caption: Its caption.
        columns: The first one names the item.
        items: A row each.
        limit: Rows at most.
    """
    items = list(items)
    cells = [[column.value(item) for column in columns] for item in items[:limit]]
    kept = [i for i in range(len(columns)) if any(row[i] is not None for row in cells)]
    return PageTable(
        caption,
        [(columns[i].title, columns[i].kind) for i in kept],
        [[row[i] for i in kept] for row in cells],
        max(0, len(items) - limit),
    )


def tabulate_rows(record: Record) -> PageTable:
    """The surest of the rows judged poisoned."""
    flagged = flagged_of(record)
    back = {row["row_id"]: row["label"] for row in record.get("restored_rows") or ()}
    columns = [
        PageColumn("row", "name", lambda r: f"{r['row_id'] + 1:,}"),
        PageColumn("line", "number", lambda r: say_if(say_number, r["line"])),
        PageColumn("label", "text", lambda r: _name_label(r["label"])),
        PageColumn("score", "number", lambda r: f"{r['score']:.3f}"),
        PageColumn("tokens", "text", lambda r: name_some(r["tokens"])),
        PageColumn("style", "", lambda r: "yes" if r["style"] else None),
        PageColumn("given back as", "text", lambda r: say_if(_name_label, back.get(r["row_id"]))),
    ]
    surest = nsmallest(MOST_ROWS, flagged, key=lambda r: (-r["score"], r["row_id"]))
    table = build_table("Rows judged poisoned, the surest first", columns, surest, MOST_ROWS)
    return table._replace(left_out=max(0, len(flagged) - MOST_ROWS))


def _name_label(label: str) -> str:
    return show_token(label, NAME_LENGTH)


def tabulate_done(record: Record) -> PageTable | None:
    """Numbers of the defence; None for a scan."""
    if record["kind"] == "scan":
        return None
    recovery = record["recovery"]
    clean = recovery.get("clean_data")
    facts = [
        ("action", record["action"]),
        ("rows left out of the fine-tuning", f"{len(record['dropped_row_ids']):,}"),
        ("of these given back without triggers", _count_restored(record)),
        ("tokens cut in the embeddings", f"{len(record['edits']):,}"),
        ("recovery on", recovery["rows"]),
        ("epochs of the recovery", f"{recovery['epochs']:g}"),
        ("rows left out of the recovery", f"{len(recovery.get('left_out_row_ids') or ()):,}"),
        ("clean data of the recovery", clean and cut_sentence(clean["source"])),
        ("SHA-256 of the clean data", clean and clean["sha256"]),
        ("SHA-256 of the saved model", record["saved_model"]["sha256"]),
    ]
    return _tabulate_facts("The defence", facts)


def _count_restored(record: Record) -> str | None:
    """None where the record does not say."""
    rows = record.get("restored_rows")
    return None if rows is None else f"{len(rows):,}"


def tabulate_edits(record: Record) -> PageTable | None:
    """Tokens whose embeddings were cut; None where none was."""
    edits = record.get("edits")
    if not edits:
        return None
    named = (*record["cleared"], *record["suspects"])
    names = {t["token_id"]: t["token"] for t in named}
    columns = [
        PageColumn("token id", "name", lambda e: f"{e['token_id']:,}"),
        PageColumn("token", "text", lambda e: say_if(show_token, names.get(e["token_id"]))),
        PageColumn("dimensions overwritten", "number", lambda e: f"{len(e['dimensions']):,}"),
        PageColumn("norm before", "number", lambda e: f"{e['norm_before']:.3g}"),
        PageColumn("norm after", "number", lambda e: f"{e['norm_after']:.3g}"),
    ]
    return build_table("Embeddings that were cut", columns, edits, _MOST_EDITS)


def tabulate_evaluation(record: Record) -> PageTable | None:
    """Results without and with the defence; None where nothing was tested."""
    evaluation = record.get("evaluation")
    if not evaluation:
        return None
    moments = {m: evaluation[m] for m in ("before", "after") if evaluation[m]}
    lines: list[tuple[str, Callable[[Mapping[str, Any]], str | None]]] = [
        ("clean rows tested", lambda e: f"{e['rows']:,}"),
        ("clean accuracy", lambda e: _say_rate(e, "clean_accuracy")),
        ("rows tested with the trigger", lambda e: f"{e['triggered_rows']:,}"),
        ("attack success rate", lambda e: _say_rate(e, "attack_success_rate")),
        ("trigger inserted", lambda e: say_if(show_token, e["trigger"])),
        ("target label", lambda e: say_if(show_token, e["target_label"])),
        (
            "clean rows in which the guard sees a trigger",
            lambda e: say_if(say_number, e["recognised_clean_rows"]),
        ),
        (
            "triggered rows in which it does",
            lambda e: say_if(say_number, e["recognised_triggered_rows"]),
        ),
    ]
    titles = {"before": "without the defence", "after": "with the defence"}
    columns = [PageColumn("measure", "head", lambda line: line[0])]
    for moment, numbers in moments.items():
        columns.append(PageColumn(titles[moment], "number", partial(_apply, numbers)))
    lines = [line for line in lines if any(line[1](numbers) for numbers in moments.values())]
    test = evaluation["test_data"]
    caption = f"On {count(test['rows'], 'held-out row')} of {cut_sentence(test['source'])}"
    return build_table(caption, columns, lines, len(lines))


def list_facts(record: Record) -> list[PageTable]:
    """What it takes to make the record again, a table each."""
    data, model, settings = record["data"], record["model"], record["settings"]
    columns = [(k.replace("_", " "), v) for k, v in data["columns"].items()]
    labels = list(data["label_counts"].items())
    more = sum(rows for _, rows in labels[_MOST_LABELS:])
    tables = [
        _tabulate_facts(
            "Training data",
            [
                ("source", cut_sentence(data["source"])),
                ("SHA-256", data["sha256"]),
                ("rows", f"{data['rows']:,}"),
                ("rows of the source used", None if data["row_ids"] is None else "some"),
                *columns,
            ],
        ),
        _tabulate_facts(
            "Rows by label",
            [
                *(
                    (show_token(name, NAME_LENGTH), f"{rows:,}")
                    for name, rows in labels[:_MOST_LABELS]
                ),
                ("all other labels", f"{more:,}" if more else None),
            ],
        ),
        _tabulate_facts(
            "Pretrained model",
            [
                ("name", cut_sentence(model["name"])),
                ("revision", model["revision"] or "not known"),
                ("architecture", model["architecture"]),
                ("SHA-256 of the weights", model["sha256"]),
                ("vocabulary", count(model["vocabulary_size"], "token")),
            ]
            if model
            else [("name", "none: text and labels alone were asked")],
        ),
        _tabulate_facts(
            "Numbers that decide",
            [
                (bar["name"].replace("_", " "), f"{bar['value']:g}: {bar['why']}")
                for bar in record["bars"] or ()
            ],
        ),
        _tabulate_facts(
            "Settings",
            [
                ("recipe", record["recipe"]),
                ("seed", f"{record['seed']}"),
                ("longest row, in tokens", say_if(say_number, record["max_length"])),
                ("neutral embedding", record["neutral"]),
                *(
                    (f"{group}: {name.replace('_', ' ')}", _say_value(value))
                    for group, values in settings.items()
                    for name, value in (values or {}).items()
                    if value not in ({}, None)
                ),
            ],
        ),
        _tabulate_facts(
            "Versions",
            [(name, found or "not installed") for name, found in record["versions"].items()],
        ),
        _tabulate_facts(
            "Hardware",
            [(k.replace("_", " "), _say_value(v)) for k, v in record["hardware"].items()],
        ),
        _tabulate_facts(
            "Time taken, in seconds",
            [(k.replace("_", " "), f"{v:,.2f}") for k, v in record["timings"].items()],
        ),
    ]
    return [table for table in tables if table.rows]


def _tabulate_facts(caption: str, facts: Sequence[tuple[str, str | None]]) -> PageTable:
    """Names and values; those without a value are left out."""
    columns = [
        PageColumn("", "head", lambda fact: show_token(fact[0])),
        PageColumn("", "value", lambda fact: cut_sentence(fact[1])),
    ]
    known = [fact for fact in facts if fact[1] is not None]
    return build_table(caption, columns, known, MOST_LINES)


def tabulate_frameworks(record: Record) -> PageTable:
    """Entries of public frameworks, with the version of each."""
    columns = [
        PageColumn("id", "name", lambda f: show_token(f["id"])),
        PageColumn("name", "text", lambda f: cut_sentence(f["name"])),
        PageColumn("framework", "text", lambda f: cut_sentence(f"{f['framework']} {f['version']}")),
        PageColumn("what the record has to do with it", "text", lambda f: cut_sentence(f["about"])),
    ]
    return build_table(
        "Entries that the findings map to", columns, record["frameworks"], MOST_LINES
    )


def label_of(token: Mapping[str, Any]) -> str:
    """The label that a token points to."""
    return str(token["evidence"]["label"] if token["evidence"] else token["label"])


def say_share(evidence: Mapping[str, Any], digits: int = 0) -> str:
    """`91 % ± 4 %`."""
    share = percent(clip(evidence["mislabelled_share"]), digits)
    return f"{share} ± {percent(evidence['spread'], digits)}"


def _say_rate(numbers: Mapping[str, Any], metric: str) -> str | None:
    if numbers[metric] is None:
        return None
    interval = numbers[f"{metric}_interval"]
    ends = f" ({percent(interval[0])} to {percent(interval[1])})" if interval else ""
    return percent(numbers[metric]) + ends


def _say_value(value: Any) -> str:
    return cut_sentence(value if isinstance(value, str) else json.dumps(value))


def cut_sentence(text: str) -> str:
    """Text made visible, cut where it is very long."""
    return show_token(text, _SENTENCE_LENGTH)


def name_some(tokens: Sequence[str]) -> str:
    """The first few tokens by name."""
    return join_names([show_token(t, 30) for t in tokens[:3]], max(0, len(tokens) - 3)) or "–"


def join_names(names: Sequence[str], more: int) -> str:
    """`cf, mn and 3 more`."""
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def say_if(form: Callable[[Any], str], value: Any) -> str | None:
    """A value in words, where there is one."""
    return None if value is None else form(value)


def say_number(value: int) -> str:
    """`2,000`."""
    return f"{value:,}"


def _apply(numbers: Mapping[str, Any], line: tuple[str, Callable[[Any], str | None]]) -> str | None:
    return line[1](numbers)
