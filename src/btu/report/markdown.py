"""A record as Markdown for a pull request; text from the data stands in it as code."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from btu.report.command import write_command
from btu.report.stories import say_limit
from btu.report.summary import (
    Record,
    clip,
    count,
    is_style_alone,
    list_done,
    percent,
    say_doubt,
    say_fate,
    say_place,
    say_stories,
    say_uncertainty,
    say_verdict,
)
from btu.report.text import cut_text, escape_markdown, show_text, show_token

MOST_MARKDOWN = 60_000  # GitHub refuses a comment of more than 65,536 characters.
_TOKENS = 15
_EXAMPLES = 3
_REVIEWS = 5
_LINES = 20
_VERDICTS = {
    "trigger": "trigger found",
    "style": "rewritten rows found",
    "suspect": "suspects, no trigger confirmed",
    "none": "no trigger found",
}
_NAME = 30
_COMMAND = 2_000
_COMMAND_MARKS = frozenset("-._/=,+")
_PROSE = frozenset(" ,;()'-%/?!")
_ROUND_NUMBERS = {"shallow": "#1", "shallow-again": "#2", "embedding-only": "#3"}


def render_markdown(record: Record) -> str:
    """The record for a pull request, in GitHub's Markdown and under 60,000 characters.

    The parts that matter least are left out, and said to be, where all would be longer.

    Args:
        record: Of a scan or a defence.
    """
    head = [
        f"## Backdoor {record['kind']}: {say_verdict_word(record)}",
        f"**{quote_names(say_verdict, record)}**",
        quote_names(say_uncertainty, record),
    ]
    parts = {
        "tokens": _render_tokens(record),
        "styles": _render_styles(record),
        "example rows": _render_examples(record),
        "done": join_items("### What was done", map(escape_prose, list_done(record))),
        "evaluation": _render_evaluation(record),
        "data and model": _render_facts(record),
        "not checked": fold("Not checked", join_items("", list_not_checked(record))),
        "accepted tokens": _render_accepted(record),
        "command": _render_command(record),
    }
    return fit(head, parts)


def fit(head: Sequence[str], parts: Mapping[str, str]) -> str:
    """Paragraphs, and as many of some parts as `MOST_MARKDOWN` characters hold, in their order."""
    kept, left_out = list(head), []
    room = MOST_MARKDOWN - 1_000 - sum(map(len, head))
    for name, part in parts.items():
        if len(part) <= room:
            kept.append(part)
            room -= len(part) + 2
        else:
            left_out.append(name)
    if left_out:
        kept.append(f"Too long to stand here: {', '.join(left_out)}. The record holds all.")
    return "\n\n".join(part for part in kept if part) + "\n"


def say_verdict_word(record: Record) -> str:
    """The verdict in a few words, for a heading."""
    if record["recipe"] == "paper":
        return "suspicious tokens, none confirmed"
    return _VERDICTS["style" if is_style_alone(record) else record["verdict"]]


def quote_names(say: Callable[[Record], str], record: Record) -> str:
    """A sentence of `btu.report.summary` as Markdown, the tokens and labels in it as code.

    The sentence is made with other names in their place, so that no name can be taken for a part
    of the sentence.
    """
    names = {s["token"] for s in record["suspects"]}
    names |= {s["evidence"]["label"] for s in record["suspects"] if s["evidence"]}
    styles = record["styles"] or ()
    names |= {name for s in styles for name in (s["label"], *s["words"])}
    stand_ins = {name: f"name{place:06d}" for place, name in enumerate(sorted(names))}
    quoted = {stand_in: quote(name, _NAME) for name, stand_in in stand_ins.items()}
    suspects = [
        {
            **s,
            "token": stand_ins[s["token"]],
            "evidence": s["evidence"]
            and {**s["evidence"], "label": stand_ins[s["evidence"]["label"]]},
        }
        for s in record["suspects"]
    ]
    styles = [
        {**s, "label": stand_ins[s["label"]], "words": [stand_ins[word] for word in s["words"]]}
        for s in styles
    ]
    sentence = escape_prose(say({**record, "suspects": suspects, "styles": styles}))
    return re.sub(r"name\d{6}", lambda found: quoted.get(found[0], found[0]), sentence)


def quote(text: str, limit: int = 60) -> str:
    """Any text as code, cut where it is very long."""
    return escape_markdown(show_token(text[: limit + 1], limit))


def escape_prose(text: str) -> str:
    """A sentence of btu's own that Markdown shows as it is, and that reads well unrendered too.

    What an attacker may have written goes through `quote`: in prose a host still takes a name after
    an at sign for a mention.

    Example:
        >>> escape_prose("<0.1 % of [all], at most.")
        '&#60;0.1 % of &#91;all&#93;, at most.'
    """
    shown = show_text(text)
    return "".join(
        f"&#{ord(c)};" if c in string.punctuation and not _is_prose(shown, place) else c
        for place, c in enumerate(shown)
    )


def _is_prose(text: str, place: int) -> bool:
    """Whether the punctuation mark at a place means nothing to Markdown."""
    character, following = text[place], text[place + 1 : place + 2]
    if character == ".":  # www. makes a link,
        return text[max(0, place - 3) : place].lower() != "www"
    if character == ":":  # and so does ://
        return not following or following == " " or following.isdigit()
    return character in _PROSE


def join_items(title: str, items: Iterable[str]) -> str:
    """A list under a title; nothing where there are no items."""
    lines = [f"- {item}" for item in items]
    return "\n".join([*([title, ""] if title else []), *lines]) if lines else ""


def list_not_checked(record: Record) -> list[str]:
    """What the run did not look for, an escaped sentence each."""
    listed = [escape_prose(show_token(line[:401], 400)) for line in record["not_checked"][:_LINES]]
    more = len(record["not_checked"]) - _LINES
    limit = say_limit(record, quote)
    listed = [limit, *listed] if limit else listed
    return [*listed, f"And {more:,} more in the record."] if more > 0 else listed


def fold(title: str, content: str) -> str:
    """Content that a reader opens by a click."""
    if not content:
        return ""
    return f"<details>\n<summary>{title}</summary>\n\n{content}\n\n</details>"


def draw_table(header: Sequence[str], lines: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A table of escaped cells, the first columns left-aligned and the others right-aligned."""
    marks = [":--" if place < left else "--:" for place in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, marks, *lines))


def tell_rate(rate: float | None, interval: Sequence[float] | None) -> str:
    """A measured rate and its 95 % interval: `93.0 % (89.5 % to 96.5 %)`."""
    if rate is None:
        return "not measured"
    around = f" ({percent(interval[0])} to {percent(interval[1])})" if interval else ""
    return escape_prose(f"{percent(rate)}{around}")


def _render_tokens(record: Record) -> str:
    suspects = record["suspects"]
    if not suspects:
        return ""
    shown = suspects[:_TOKENS]
    if record["recipe"] == "paper":
        rounds = list(record["thresholds"])
        numbers = [_ROUND_NUMBERS.get(name) or quote(name) for name in rounds]
        header = ["token", "label", "rows", "share", "lift", *numbers]
        lines = [
            [
                quote(s["token"]),
                quote(s["label"]),
                f"{s['rows']:,}",
                escape_prose(percent(s["label_share"], 0)),
                f"{s['label_lift']:+.1f}",
                *(str(s["rank"].get(name, "–")) for name in rounds),
            ]
            for s in shown
        ]
        table = draw_table(header, lines, left=2)
        note = (
            "share, lift: of the label that stands out among the token's rows; lift in standard "
            "deviations. #1 to #3: place by drift in the three probing rounds."
        )
    else:
        header = ["token", "verdict", "story", "label", "rows", "mislabelled", "lift"]
        header.append("false alarms")
        table = draw_table(header, [_list_cells(s) for s in shown], left=4)
        note = (
            "rows: those with the label; mislabelled: estimated share of them whose text belongs "
            "to another label; lift: how far the label is over-represented, in standard "
            "deviations; false alarms: so many such are expected in clean data, at most."
        )
    more = len(suspects) - len(shown)
    counted = f"And {count(more, 'more token')}, in the record.\n\n" if more else ""
    stories = escape_prose(say_stories(record))
    about = f"{stories}\n\n" if stories else ""
    return f"{table}\n\n{about}{counted}<sub>{note}</sub>"


def _list_cells(suspect: Mapping[str, Any]) -> list[str]:
    evidence = suspect["evidence"]
    cells = [quote(suspect["token"]), suspect["verdict"]]
    if evidence is None:
        lift = f"{suspect['label_lift']:+.1f}"
        return [*cells, "–", quote(suspect["label"]), f"{suspect['rows']:,}", "–", lift, "–"]
    lift = suspect["label_lifts"].get(evidence["label"], suspect["label_lift"])
    return [
        *cells,
        evidence["story"],
        quote(evidence["label"]),
        f"{evidence['rows']:,}",
        escape_prose(percent(clip(evidence["mislabelled_share"]), 0)),
        f"{lift:+.1f}",
        f"{evidence['false_alarm_rate']:.1g}",
    ]


def _render_styles(record: Record) -> str:
    return "\n\n".join(
        f"{count(s['rows'], 'row')} of {quote(s['label'])} in a style of their own "
        f"({say_fate(s)}); telling words: "
        f"{', '.join(quote(word) for word in s['words'])}. Of the {count(s['kind_rows'], 'row')} "
        f"most of that style {s['others']:,} bear another label, where "
        f"{escape_prose(format(s['expected_others'], '.1f'))} were expected by what they say."
        f"{escape_prose(say_doubt(s))}"
        for s in (record["styles"] or ())[:_TOKENS]
    )


def _render_examples(record: Record) -> str:
    rows = {row["row_id"]: row for row in record["example_rows"]}
    suspects = record["suspects"][:_EXAMPLES]
    # The first example of each token, then the second of each: tokens often share their rows.
    found = [
        (s, s["examples"][place])
        for place in range(_EXAMPLES)
        for s in suspects
        if place < len(s["examples"])
    ]
    shown: dict[int, str] = {}
    for suspect, example in found:
        row = rows.get(example["row_id"])
        if row is not None and row["row_id"] not in shown and len(shown) < _EXAMPLES:
            shown[row["row_id"]] = _render_example(suspect, example, row)
    return fold("Example rows", join_items("", shown.values()))


def _render_example(
    suspect: Mapping[str, Any], example: Mapping[str, Any], row: Mapping[str, Any]
) -> str:
    texts = [_mark(row["text"], example["spans"])]
    if row["text_pair"] is not None:
        texts.append(_mark(row["text_pair"], example["pair_spans"]))
    return (
        f"{say_place(row).capitalize()} with {quote(suspect['token'])} and the label "
        f"{quote(row['label'])}: {' and '.join(texts)}"
    )


def _mark(text: str, spans: Sequence[Sequence[int]]) -> str:
    pieces = [(_escape_inside(p), is_marked) for p, is_marked in cut_text(text, spans)]
    return f"<code>{''.join(f'<b>{p}</b>' if is_marked else p for p, is_marked in pieces)}</code>"


def _escape_inside(text: str) -> str:
    """Text that was shown already, as the inside of a code element."""
    return escape_markdown(text).removeprefix("<code>").removesuffix("</code>")


def _render_evaluation(record: Record) -> str:
    evaluation = record.get("evaluation")
    if evaluation is None:
        return ""
    before, after = evaluation["before"], evaluation["after"]
    sides = [side for side in (before, after) if side is not None]
    header = ["", *(["undefended"] if before else []), "defended", "rows"]
    lines = []
    for name, measure, rows in (
        ("clean accuracy", "clean_accuracy", "rows"),
        ("attack success rate", "attack_success_rate", "triggered_rows"),
    ):
        if after[measure] is not None:
            rates = [tell_rate(side[measure], side[f"{measure}_interval"]) for side in sides]
            lines.append([name, *rates, f"{after[rows]:,}"])
    said = "Held-out rows, with 95 % intervals."
    if after["trigger"] is not None and after["target_label"] is not None:
        said += f" The attack inserts {quote(after['trigger'])} to get "
        said += f"{quote(after['target_label'])}."
    return f"### Measured\n\n{said}\n\n{draw_table(header, lines)}"


def _render_accepted(record: Record) -> str:
    reviews = {review["token"]: review for review in record["reviews"]}
    items = []
    for token in record["accepted"][:_REVIEWS]:
        review = reviews.get(token["token"])
        by = ""
        if review:
            who, why, when = (quote(review[part], 200) for part in ("who", "why", "when"))
            by = f", by {who} on {when}: {why}"
        items.append(f"{quote(token['token'])}{by}")
    more = len(record["accepted"]) - _REVIEWS
    if more > 0:
        items.append(f"And {more:,} more in the record.")
    return join_items("### Accepted by a reviewer", items)


def _render_facts(record: Record) -> str:
    data, model = record["data"], record["model"]
    named = [["model", "none: text and labels alone were asked"]]
    if model:
        revision = "" if model["revision"] is None else f", revision {quote(model['revision'])}"
        named = [
            ["model", f"{quote(model['name'], 200)}{revision}"],
            ["model SHA-256", quote(model["sha256"], 64)],
        ]
    version = record["versions"].get("backdoor-token-unlearning") or "unknown"
    lines = [
        ["data", f"{quote(data['source'], 200)}, {count(data['rows'], 'row')}"],
        ["data SHA-256", quote(data["sha256"], 64)],
        *named,
        ["made", escape_prose(f"{record['created'][:40]} by btu {version[:40]}")],
    ]
    return draw_table(["", ""], lines, left=2)


def _render_command(record: Record) -> str:
    command = write_command(record)
    if len(command) > _COMMAND:
        return ""
    # Inside of pre nothing is Markdown, so that a plain command can stay readable unrendered.
    marks = frozenset(string.punctuation) - _COMMAND_MARKS
    escaped = "".join(f"&#{ord(c)};" if c in marks else c for c in command)
    return f"Reproduce:\n\n<pre>{escaped}</pre>"
