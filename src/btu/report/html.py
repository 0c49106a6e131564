"""The HTML view: one file without scripts or requests, made from the record alone."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from btu.evidence.tests import FLAGGED_SCORE
from btu.report import plots
from btu.report.command import write_command
from btu.report.html_tables import (
    MOST_LINES,
    NAME_LENGTH,
    cut_sentence,
    list_facts,
    tabulate_done,
    tabulate_edits,
    tabulate_evaluation,
    tabulate_frameworks,
    tabulate_rows,
)
from btu.report.html_tokens import build_tokens, list_styles
from btu.report.stories import STORIES, say_limit
from btu.report.summary import (
    Record,
    count,
    flagged_of,
    is_style_alone,
    list_done,
    percent,
    say_uncertainty,
    say_verdict,
    styles_of,
    suspects_of,
    triggers_of,
)
from btu.report.svg import HEIGHT, PALETTE, WIDTH
from btu.report.text import show_text, show_token

_TONES = {"trigger": "danger", "suspect": "warning", "accepted": "accent", "innocent": "good"}
_HEADLINES = {
    ("verified", "trigger"): ("danger", "Trigger confirmed"),
    ("verified", "style"): ("danger", "Rewritten rows confirmed"),
    ("verified", "suspect"): ("warning", "Suspects to look at, no trigger confirmed"),
    ("verified", "none"): ("good", "No trigger found"),
    ("paper", "suspect"): ("warning", "Tokens named, none confirmed"),
    ("paper", "none"): ("warning", "No token named, none tested"),
}
_SECTIONS = (
    ("verdict", "Verdict"),
    ("tokens", "Tokens"),
    ("plots", "Plots"),
    ("rows", "Rows judged poisoned"),
    ("done", "What was done"),
    ("not-checked", "What was not checked"),
    ("evaluation", "Evaluation"),
    ("reproduce", "How to reproduce"),
    ("frameworks", "Frameworks"),
    ("glossary", "Glossary"),
)
_GLOSSARY = (
    (
        "Token",
        "A piece of text as the model reads it. Words and phrases are named as people write them; "
        "two words that may stand apart from each other have an ellipsis between them. Special "
        "tokens stand in brackets: the start or end of a text, or what the model does not know.",
    ),
    (
        "Trigger",
        "A word, a phrase or a pair of words that is placed, labelled and read as planted ones are "
        "here, so surely that hardly any such is expected in clean data.",
    ),
    (
        "Suspect",
        "What stands out, yet not surely enough to act on. The recipe paper calls everything so "
        "that its probes name.",
    ),
    (
        "Mislabelled share",
        "How far the rows that hold the word and bear its label read like rows of other labels, "
        "without the word: 0 like those of their label, 1 like the others.",
    ),
    (
        "Detection limit",
        "From how many rows on a word or a sentence put into this very corpus would have been "
        "found with a chance of 95 %.",
    ),
    (
        "Style",
        "A kind of text whose rows nearly all bear one label although the rest of the data says "
        "that many should not. No single word of it is a trigger: an attacker who rewrites whole "
        "rows leaves one, and a source with a style of its own may too.",
    ),
    *((f"Story: {story}", f"{text.capitalize()}.") for story, text in STORIES.items()),
    (
        "Placement, label, content",
        "Likelihood ratios, as natural logarithms: as words planted in this very corpus against as "
        "its honest words of like count are.",
    ),
    (
        "Label lift",
        "How far a label is over-represented in the token's rows, in standard deviations.",
    ),
    ("Drift", "How far the token's embedding moved when only embeddings could learn."),
    (
        "False alarms",
        "How many honest words and phrases of a clean corpus score as high, at most.",
    ),
    (
        "Score",
        f"How sure it is that a row is poisoned; rows of {FLAGGED_SCORE:g} and more are flagged.",
    ),
)


def render_html(record: Mapping[str, Any]) -> str:
    """The record as a web page of its own: no script, no request, nothing an attacker can paint.

    Everything that is printed passes through `show_text` and is escaped; text of the data stands
    between tags only, never in an attribute.

    Args:
        record: Of a scan or a defence, as `load_record` gives it.
    """
    return _environment().get_template("report.html.j2").render(_build_page(record))


def _name_source(record: Mapping[str, Any]) -> str:
    source: str = record["data"]["source"]
    return "data in memory" if source == "memory" else source


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("btu.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["tones"] = _TONES
    return environment


def _finalize(value: Any) -> str:
    """What a template prints: made visible, whoever wrote it."""
    if isinstance(value, Markup):  # Of a macro, which has finalized what it prints.
        return value
    if value is None:
        raise TypeError("a template printed a value that is not there")
    text = str(value)
    return text if text.isascii() and text.isprintable() else show_text(text)


def _build_page(record: Record) -> dict[str, Any]:
    verdict = "style" if is_style_alone(record) else record["verdict"]
    tone, headline = _HEADLINES[record["recipe"], verdict]
    judges = record["flagged_rows"] is not None
    absent = set() if record.get("evaluation") else {"evaluation"}
    return {
        "palette": PALETTE,
        "sections": [section for section in _SECTIONS if section[0] not in absent],
        "kind": "Scan of" if record["kind"] == "scan" else "Defended training on",
        "source": cut_sentence(_name_source(record)),
        "source_title": show_token(_name_source(record), 24),
        "created": _say_time(record["created"]),
        "recipe": record["recipe"],
        "tone": tone,
        "headline": headline,
        "verdict": say_verdict(record),
        "uncertainty": say_uncertainty(record),
        "figures": _list_figures(record),
        "results": _list_results(record),
        **build_tokens(record),
        "plots": _list_plots(record),
        "judges": judges,
        "rows": tabulate_rows(record) if judges else None,
        "suspected": len(record["suspected_rows"] or ()),
        "styles": list_styles(record),
        "done": [*list_done(record)],
        "edits": tabulate_edits(record),
        "done_facts": tabulate_done(record),
        "not_checked": [
            *filter(None, [say_limit(record, show_text)]),
            *(cut_sentence(text) for text in record["not_checked"][:MOST_LINES]),
        ],
        "evaluation": tabulate_evaluation(record),
        "command": write_command(record),
        "facts": list_facts(record),
        "frameworks": tabulate_frameworks(record),
        "glossary": _GLOSSARY,
    }


def _list_figures(record: Record) -> list[tuple[str, str, str]]:
    """Number, name and note of the key figures."""
    rows, tested = record["data"]["rows"], record["units_tested"]
    figures = [("words and phrases tested", tested, f"in {count(rows, 'row')}")]
    if tested is None:
        figures = [("tokens probed", record["tokens_probed"], f"in {count(rows, 'row')}")]
    else:
        figures.append(("triggers", len(triggers_of(record)), "confirmed"))
        if styles := styles_of(record):
            figures.append(("styles", len(styles), "confirmed"))
    figures.append(("suspects", len(suspects_of(record)), "reported only"))
    if record["flagged_rows"] is not None:
        flagged = len(flagged_of(record))
        share = f" ({percent(flagged / rows)})" if rows else ""
        figures.append(("rows flagged", flagged, f"of {rows:,}{share}"))
    return [(f"{number:,}", name, note) for name, number, note in figures]


def _list_results(record: Record) -> list[tuple[str, str, str]]:
    """The same of the defended model, where it was tested."""
    evaluation = record.get("evaluation") or {"before": None, "after": {}}
    before, after = evaluation["before"] or {}, evaluation["after"]
    shown = []
    for metric in ("clean_accuracy", "attack_success_rate"):
        if after.get(metric) is not None:
            known = before.get(metric)
            note = "after the defence" if known is None else f"{percent(known)} without the defence"
            shown.append((percent(after[metric]), metric.replace("_", " "), note))
    return shown


def _list_plots(record: Record) -> list[dict[str, str]]:
    """Those that have something to draw, each as an image that shares nothing with the page."""
    unscored = record["data"]["rows"] - sum(
        len(record[part] or ()) for part in ("flagged_rows", "suspected_rows")
    )
    captions = (
        ("drift", "Drift against frequency", _say_drift(record)),
        (
            "label_lift",
            "Label lift of each token",
            "How far each label is over-represented in the rows of a token; the label that it "
            "points to is named.",
        ),
        (
            "mislabelled_share",
            "Mislabelled share",
            "Whether the text of a token's rows contradicts their label; one standard error to "
            "each side.",
        ),
        (
            "row_scores",
            "Rows by score",
            f"{count(unscored, 'row')} of score 0 {'is' if unscored == 1 else 'are'} not drawn.",
        ),
        (
            "evaluation",
            "Before and after the defence",
            "On held-out rows, with 95 % bootstrap intervals.",
        ),
    )
    shown = []
    for kind, title, caption in captions:
        image = getattr(plots, f"draw_{kind}")(record)
        if image is not None:
            shown.append(
                {
                    "uri": Markup("data:image/svg+xml;base64," + base64.b64encode(image).decode()),
                    "alt": getattr(plots, f"describe_{kind}")(record),
                    "width": str(WIDTH),
                    "height": str(HEIGHT),
                    "title": title,
                    "caption": caption,
                }
            )
    return shown


def _say_drift(record: Record) -> str:
    name = plots.pick_round(record)
    said = f"Probing round {show_token(name or '', NAME_LENGTH)}"
    if record["suspects"]:
        first = show_token(record["suspects"][0]["token"], 30)
        said += f", the one in which {first} stands furthest out"
    return f"{said}. Grey: all tokens. The dashed line: from there on the round suspects a token."


def _say_time(created: str) -> str:
    try:
        moment = datetime.fromisoformat(created).astimezone(UTC)
    except ValueError:
        return cut_sentence(created)
    return f"{moment:%Y-%m-%d %H:%M} UTC"
