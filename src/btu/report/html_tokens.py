"""Tokens of the HTML view: their table, and a card each with all scores and marked rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from btu.report.html_tables import (
    MOST_LINES,
    NAME_LENGTH,
    Column,
    build_table,
    cut_sentence,
    join_names,
    label_of,
    say_fraction,
    say_if,
    say_number,
    say_share,
)
from btu.report.summary import (
    Record,
    count,
    percent,
    say_fate,
    say_place,
    say_style,
    say_topics,
)
from btu.report.text import cut_text, show_text, show_token
from btu.reviews import name_style

MOST_TOKENS = 100
MOST_CARDS = 40
MOST_CLEARED = 200
_CAPTIONS = {
    "verified": "Triggers and suspects, the gravest first",
    "paper": "Suspects, the furthest moved first",
}
_REVIEW = ("who", "why", "when")
_MOST_OPEN = 3
_MOST_EXAMPLES = 5
_MOST_LABELS = 12
_MOST_COMPANIONS = 12


def build_tokens(record: Record) -> dict[str, Any]:
    """What the template says of tokens, by its names."""
    suspects, accepted, cleared = (record[part] for part in ("suspects", "accepted", "cleared"))
    texts = {row["row_id"]: row for row in record["example_rows"]}
    reviews = {show_text(review["token"]): review for review in record["reviews"]}
    reviewed = [(token, reviews.pop(show_text(token["token"]), {})) for token in accepted]
    for style in record["styles"] or ():
        if style["verdict"] == "accepted":
            reviews.pop(show_text(name_style(style["label"])), None)
    unused = list(reviews.values())
    name, _, *scores = _score_columns(record["recipe"])
    accepted_columns = [
        *(Column(c.title, c.kind, partial(_of_first, c.value)) for c in (name, *scores)),
        *(Column(n, "text", partial(_of_review, n)) for n in _REVIEW),
    ]
    unused_columns = [
        Column("token", "name", lambda r: show_token(r["token"], NAME_LENGTH)),
        *(Column(n, "text", partial(_cut_part, n)) for n in _REVIEW),
    ]
    return {
        "tokens": build_table(
            _CAPTIONS[record["recipe"]], _score_columns(record["recipe"]), suspects, MOST_TOKENS
        ),
        "topics": say_topics(record),
        "cards": [
            _build_card(record, token, texts) | {"open": place < _MOST_OPEN}
            for place, token in enumerate(suspects[:MOST_CARDS])
        ],
        "cards_left_out": max(0, len(suspects) - MOST_CARDS),
        "accepted": build_table(
            "Tokens that a reviewer accepted", accepted_columns, reviewed, MOST_CLEARED
        ),
        "accepted_total": len(accepted),
        "unused": build_table(
            "Reviews of tokens that would not have stood among the suspects",
            unused_columns,
            unused,
            MOST_CLEARED,
        ),
        "unused_total": len(unused),
        "cleared": build_table(
            "Tokens that were looked into and cleared", [name, *scores], cleared, MOST_CLEARED
        ),
        "cleared_total": len(cleared),
    }


def _of_first(value: Callable[[Any], str | None], pair: tuple[Any, Any]) -> str | None:
    return value(pair[0])


def _of_review(name: str, pair: tuple[Any, Mapping[str, str]]) -> str | None:
    return say_if(cut_sentence, pair[1].get(name))


def _cut_part(name: str, review: Mapping[str, str]) -> str:
    return cut_sentence(review[name])


def _score_columns(recipe: str) -> list[Column]:
    def of_evidence(form: Callable[[Mapping[str, Any]], str | None]) -> Callable[[Any], str | None]:
        return lambda t: form(t["evidence"]) if t["evidence"] else None

    shares = [Column("label share", "number", lambda t: percent(t["label_share"], 0))]
    return [
        Column("token", "name", lambda t: show_token(t["token"], NAME_LENGTH)),
        Column("verdict", "verdict", lambda t: t["verdict"]),
        Column("ground", "", of_evidence(lambda e: e["ground"])),
        Column("points to", "text", lambda t: show_token(label_of(t), NAME_LENGTH)),
        Column("rows", "number", lambda t: f"{t['rows']:,}"),
        *(shares if recipe == "paper" else ()),
        Column("mislabelled share", "number", of_evidence(say_share)),
        Column("by states", "number", of_evidence(lambda e: say_fraction(e["share_by_states"]))),
        Column("label lift", "number", lambda t: f"{t['label_lift']:+.1f}"),
        Column("best drift rank", "number", lambda t: say_if(say_number, _best_rank(t))),
        Column("false alarms", "number", of_evidence(lambda e: f"{e['false_alarm_rate']:.1g}")),
    ]


def _build_card(
    record: Record, token: Mapping[str, Any], texts: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    """All scores of a token, and rows that show it."""
    evidence = token["evidence"]
    scores: list[tuple[str, str | None]] = [
        ("token id", f"{token['token_id']:,}"),
        ("rows that hold it", f"{token['rows']:,}"),
        ("most over-represented label", show_token(token["label"], NAME_LENGTH)),
        ("share of them with this label", percent(token["label_share"])),
        ("label lift, standard deviations", f"{token['label_lift']:+.2f}"),
    ]
    if evidence:
        own = token["token"].split(" ") if token["pair_ids"] else [token["token"]]
        others = [c for c in evidence["companions"] if c not in own]
        companions = [show_token(c, 30) for c in others[:_MOST_COMPANIONS]]
        scores += [
            ("ground of the verdict", evidence["ground"]),
            ("tested under the label", show_token(evidence["label"], NAME_LENGTH)),
            ("rows tested, with the label", f"{evidence['rows']:,}"),
            ("rows tested, of any label", f"{evidence['rows_any_label']:,}"),
            ("mislabelled share ± standard error", say_share(evidence, 1)),
            ("mislabelled share by states", say_fraction(evidence["share_by_states"], 1)),
            ("mislabelled share, alone held out", say_fraction(evidence["share_alone"], 1)),
            ("its rows of other labels", say_if(say_number, evidence["others"])),
            ("expected of other labels", say_if("{:.1f}".format, evidence["expected_others"])),
            ("likeness of its rows, mean cosine beyond chance", _say_likeness(evidence)),
            ("told from other rows of the label, area", _say_apart(evidence)),
            ("rows about one thing", "yes" if evidence["has_topic"] else None),
            ("p-value", f"{evidence['p_value']:.2g}"),
            ("false alarms expected in clean data", f"{evidence['false_alarm_rate']:.2g}"),
            (
                "stands together with",
                join_names(companions, len(others) - len(companions)) if others else None,
            ),
        ]
    rounds = [
        Column("round", "name", lambda n: show_token(n, NAME_LENGTH)),
        Column("drift", "number", lambda n: say_if(_short, token["drift"].get(n))),
        Column("threshold", "number", lambda n: say_if(_short, record["thresholds"].get(n))),
        Column("rank", "number", lambda n: say_if(say_number, token["rank"].get(n))),
        Column("named", "", lambda n: "yes" if n in token["rounds"] else "no"),
    ]
    labels = [
        Column("label", "name", lambda n: show_token(n, NAME_LENGTH)),
        Column("rows", "number", lambda n: f"{token['label_counts'][n]:,}"),
        Column("lift", "number", lambda n: say_if("{:+.2f}".format, token["label_lifts"].get(n))),
    ]
    names = sorted(token["label_counts"], key=lambda n: -token["label_lifts"].get(n, 0.0))
    return {
        "name": show_token(token["token"]),
        "verdict": token["verdict"],
        "label": show_token(label_of(token), NAME_LENGTH),
        "rows": count(token["rows"], "row"),
        "share": say_share(evidence) if evidence else None,
        "scores": [(title, value) for title, value in scores if value is not None],
        "rounds": build_table("Drift in each probing round", rounds, record["thresholds"], 10),
        "labels": build_table("Its rows by label", labels, names, _MOST_LABELS),
        "examples": _show_examples(token["examples"], texts),
    }


def _say_likeness(evidence: Mapping[str, Any]) -> str | None:
    if evidence["topic_likeness"] is None:
        return None
    return f"{evidence['topic_likeness']:+.3f} ± {evidence['topic_spread']:.3f}"


def _say_apart(evidence: Mapping[str, Any]) -> str | None:
    return None if evidence["told_apart"] is None else f"{evidence['told_apart']:.2f}"


def _show_examples(
    examples: Sequence[Mapping[str, Any]], texts: Mapping[int, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    shown = []
    for example in islice((e for e in examples if e["row_id"] in texts), _MOST_EXAMPLES):
        row = texts[example["row_id"]]
        pair = row["text_pair"]
        shown.append(
            {
                "place": say_place(row),
                "label": show_token(row["label"], NAME_LENGTH),
                "text": cut_text(row["text"], example["spans"]),
                "pair": None if pair is None else cut_text(pair, example["pair_spans"]),
            }
        )
    return shown


def list_styles(record: Record) -> list[dict[str, Any]]:
    """Kinds of text that bear a label against what they say, and rows of them."""
    texts = {row["row_id"]: row for row in record["example_rows"]}
    return [
        {
            "label": show_token(style["label"], NAME_LENGTH),
            "words": [show_token(word, NAME_LENGTH) for word in style["words"]],
            "count": count(style["rows"], "row"),
            "fate": say_fate(style),
            "why": say_style(style),
            "examples": _show_examples(style["examples"], texts),
        }
        for style in (record["styles"] or ())[:MOST_LINES]
    ]


def _best_rank(token: Mapping[str, Any]) -> int | None:
    return min(token["rank"].values(), default=None)


def _short(value: float) -> str:
    return f"{value:.3g}"
