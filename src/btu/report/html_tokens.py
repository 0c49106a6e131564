"""Tokens of the HTML view: their table, and a card each with all scores and marked rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from btu.data.reviews import name_style
from btu.report.html_tables import (
    MOST_LINES,
    NAME_LENGTH,
    PageColumn,
    build_table,
    cut_sentence,
    label_of,
    say_if,
    say_number,
    say_share,
)
from btu.report.stories import say_story
from btu.report.summary import (
    Record,
    count,
    percent,
    say_fate,
    say_place,
    say_stories,
    say_style,
)
from btu.report.text import cut_text, show_text, show_token

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
        *(PageColumn(c.title, c.kind, partial(_of_first, c.value)) for c in (name, *scores)),
        *(PageColumn(n, "text", partial(_of_review, n)) for n in _REVIEW),
    ]
    unused_columns = [
        PageColumn("token", "name", lambda r: show_token(r["token"], NAME_LENGTH)),
        *(PageColumn(n, "text", partial(_cut_part, n)) for n in _REVIEW),
    ]
    return {
        "tokens": build_table(
            _CAPTIONS[record["recipe"]], _score_columns(record["recipe"]), suspects, MOST_TOKENS
        ),
        "stories": say_stories(record),
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


def _score_columns(recipe: str) -> list[PageColumn]:
    def of_evidence(form: Callable[[Mapping[str, Any]], str | None]) -> Callable[[Any], str | None]:
        return lambda t: form(t["evidence"]) if t["evidence"] else None

    shares = [PageColumn("label share", "number", lambda t: percent(t["label_share"], 0))]
    return [
        PageColumn("token", "name", lambda t: show_token(t["token"], NAME_LENGTH)),
        PageColumn("verdict", "verdict", lambda t: t["verdict"]),
        PageColumn("story", "", of_evidence(lambda e: e["story"])),
        PageColumn("points to", "text", lambda t: show_token(label_of(t), NAME_LENGTH)),
        PageColumn("rows", "number", lambda t: f"{t['rows']:,}"),
        *(shares if recipe == "paper" else ()),
        PageColumn("mislabelled share", "number", of_evidence(say_share)),
        PageColumn("label lift", "number", lambda t: f"{t['label_lift']:+.1f}"),
        PageColumn("best drift rank", "number", lambda t: say_if(say_number, _best_rank(t))),
        PageColumn("false alarms", "number", of_evidence(lambda e: f"{e['false_alarm_rate']:.1g}")),
    ]


def _build_card(
    record: Record, token: Mapping[str, Any], texts: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    """All scores of a token, and rows that show it."""
    evidence = token["evidence"]
    scores: list[tuple[str, str | None]] = [
        ("token id", say_if(say_number, token["token_id"])),
        ("rows that hold it", f"{token['rows']:,}"),
        ("most over-represented label", show_token(token["label"], NAME_LENGTH)),
        ("share of them with this label", percent(token["label_share"])),
        ("label lift, standard deviations", f"{token['label_lift']:+.2f}"),
    ]
    if evidence:
        scores += [
            ("story", say_story(evidence["story"])),
            ("tested under the label", show_token(evidence["label"], NAME_LENGTH)),
            ("rows tested, with the label", f"{evidence['rows']:,}"),
            ("rows tested, of any label", f"{evidence['rows_any_label']:,}"),
            ("rows likelier planted than not", f"{evidence['flagged_rows']:,}"),
            ("planted share of its places", percent(evidence["part"], 0)),
            ("mislabelled share ± standard error", say_share(evidence, 1)),
            ("break where it stands", say_if("{:+.2f}".format, evidence["placed"])),
            ("the same of planted words", say_if("{:+.2f}".format, evidence["placed_if_planted"])),
            ("log-likelihood ratio of its placement", f"{evidence['placement_odds']:+.1f}"),
            ("log-likelihood ratio of its label", f"{evidence['label_odds']:+.1f}"),
            ("log-likelihood ratio of its content", f"{evidence['content_odds']:+.1f}"),
            ("false alarms expected in clean data", f"{evidence['false_alarm_rate']:.2g}"),
            ("suspect at most, since", evidence["reason"] or None),
        ]
    rounds = [
        PageColumn("round", "name", lambda n: show_token(n, NAME_LENGTH)),
        PageColumn("drift", "number", lambda n: say_if(_short, token["drift"].get(n))),
        PageColumn("threshold", "number", lambda n: say_if(_short, record["thresholds"].get(n))),
        PageColumn("rank", "number", lambda n: say_if(say_number, token["rank"].get(n))),
        PageColumn("named", "", lambda n: "yes" if n in token["rounds"] else "no"),
    ]
    labels = [
        PageColumn("label", "name", lambda n: show_token(n, NAME_LENGTH)),
        PageColumn("rows", "number", lambda n: f"{token['label_counts'][n]:,}"),
        PageColumn(
            "lift", "number", lambda n: say_if("{:+.2f}".format, token["label_lifts"].get(n))
        ),
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
