"""What every view says in the same words: the verdict, how sure it is, what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from btu.report.stories import STORIES, say_story
from btu.report.text import show_text, show_token

Record = Mapping[str, Any]
_NAMED = 3


def count(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`.

    Example:
        >>> count(2000, "row")
        '2,000 rows'
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as percent; one that is not 0 never reads as 0.

    Example:
        >>> percent(0.0001)
        '<0.1 %'
    """
    least = 10.0**-digits
    if 0 < fraction * 100 < least / 2:
        return f"<{least:.{digits}f} %"
    return f"{fraction * 100:.{digits}f} %"


def clip(share: float) -> float:
    """An estimated share, which may lie outside, as one in [0, 1]."""
    return min(max(share, 0.0), 1.0)


def say_place(row: Mapping[str, Any]) -> str:
    """`row 17 (line 18)`: counted from 1, as people count, without a header."""
    line = "" if row["line"] is None else f" (line {row['line']:,})"
    return f"row {row['row_id'] + 1:,}{line}"


def triggers_of(record: Record) -> list[Mapping[str, Any]]:
    """The confirmed triggers, surest first."""
    return [s for s in record["suspects"] if s["verdict"] == "trigger"]


def suspects_of(record: Record) -> list[Mapping[str, Any]]:
    """The tokens that are suspected and not confirmed."""
    return [s for s in record["suspects"] if s["verdict"] == "suspect"]


def styles_of(record: Record, verdict: str = "trigger") -> list[Mapping[str, Any]]:
    """Kinds of text that bear a label against what they say, under one verdict."""
    return [s for s in record["styles"] or () if s["verdict"] == verdict]


def is_style_alone(record: Record) -> bool:
    """Whether what is confirmed is a style and no token."""
    return bool(styles_of(record)) and not triggers_of(record)


def flagged_of(record: Record) -> Sequence[Mapping[str, Any]]:
    """The rows judged poisoned; none in the recipe `paper`, which judges no rows."""
    return record["flagged_rows"] or ()


def name_tokens(tokens: Sequence[Mapping[str, Any]], limit: int = _NAMED) -> str:
    """The first few tokens by name: `cf, mn and 3 more`."""
    names = ", ".join(show_token(t["token"], 30) for t in tokens[:limit])
    return names + (f" and {len(tokens) - limit:,} more" if len(tokens) > limit else "")


def name_words(style: Mapping[str, Any], limit: int = 4) -> str:
    """The first few words of a style: `thou, unto, said, lord`."""
    return ", ".join(show_token(word, 30) for word in style["words"][:limit])


def say_verdict(record: Record) -> str:
    """The verdict in one sentence.

    Example:
        "Poisoned: 1 trigger (cf) pointing to positive; 600 of 6,000 rows (10.0 %) judged poisoned."
    """
    triggers, suspects = triggers_of(record), suspects_of(record)
    rows, flagged = record["data"]["rows"], len(flagged_of(record))
    units = record["units_tested"]
    searched = f"among the {count(record['tokens_probed'], 'token')} in {count(rows, 'row')}"
    if units is not None:
        searched = f"among the {count(units, 'word and phrase')} tested in {count(rows, 'row')}"
        searched = searched.replace("word and phrases", "words and phrases")
    if record["recipe"] == "paper":
        return (
            f"{count(len(suspects), 'suspicious token')} {searched}, by the recipe paper, which "
            "confirms none."
        )
    styles, doubtful = styles_of(record), styles_of(record, "suspect")
    if triggers or styles:
        labels = {t["evidence"]["label"] for t in triggers} | {s["label"] for s in styles}
        shown = sorted(labels)[:_NAMED]
        where = f"pointing to {' and '.join(show_token(label, 30) for label in shown)}"
        found = [f"{count(len(triggers), 'trigger')} ({name_tokens(triggers)})"]
        found = found if triggers else []
        found += [f"rows of a style ({name_words(s)})" for s in styles[:_NAMED]]
        return (
            f"Poisoned: {' and '.join(found)} {where}; {flagged:,} of {count(rows, 'row')} "
            f"({percent(flagged / rows)}) judged poisoned."
        )
    if suspects or doubtful:
        found = [f"{count(len(suspects), 'suspect')} ({name_tokens(suspects)})"] if suspects else []
        found += [f"rows of a style ({name_words(s)})" for s in doubtful[:_NAMED]]
        return f"No trigger confirmed {searched}; {' and '.join(found)} to look at."
    return f"No trigger found {searched}."


def say_uncertainty(record: Record) -> str:
    """How sure the verdict is, in one or two sentences."""
    if record["recipe"] == "paper":
        return (
            "This recipe names a fixed share of the vocabulary, on clean data too: its suspects "
            "are where to look, not what was found."
        )
    said = []
    triggers, styles = triggers_of(record), styles_of(record)
    allowed = record["settings"]["evidence"]["false_alarm_rate"]
    if triggers:
        said.append(_say_surest(triggers[0]))
        rate = max(t["evidence"]["false_alarm_rate"] for t in triggers)
        said.append(f"In clean data {_few(rate)} such triggers are expected.")
        if rate > allowed:
            said.append(f"A trigger beside surer ones may have more than {allowed:g}.")
    for style in styles[:1]:
        said.append(say_style(style))
        said.append(f"In clean data {_few(style['false_alarm_rate'])} such styles are expected.")
    if not triggers and not styles:
        said.append(
            f"In clean data at most {allowed:g} false triggers are expected, all searches together."
        )
    if not triggers and not styles:
        said.append("What was not checked may still hide an attack.")
    return " ".join(said)


def say_fate(style: Mapping[str, Any]) -> str:
    """What becomes of a style's rows: `judged poisoned`."""
    fates = {"trigger": "judged poisoned", "accepted": "accepted by a reviewer"}
    return fates.get(style["verdict"], "reported only")


def say_style(style: Mapping[str, Any]) -> str:
    """What speaks against a style, in one sentence."""
    return (
        f"Of the {count(style['kind_rows'], 'row')} most of that style {style['others']:,} bear "
        f"another label than {show_token(style['label'], 30)}, where "
        f"{style['expected_others']:.1f} were expected by what they say.{say_doubt(style)}"
    )


def say_doubt(style: Mapping[str, Any]) -> str:
    """Why a style is a suspect at most; empty where it is not."""
    reason = show_text(style.get("reason", ""))
    return f" It is a suspect at most: {reason}." if reason else ""


def _say_surest(trigger: Mapping[str, Any]) -> str:
    evidence = trigger["evidence"]
    token, label = show_token(trigger["token"], 30), show_token(evidence["label"], 30)
    rows = count(evidence["rows"], "row")
    if evidence["story"] == "kept":
        return (
            f"The {rows} with {token} bear the label {label} and read like others of it: their "
            f"labels may be right, and a mark of an honest source can look the same."
        )
    share = percent(clip(evidence["mislabelled_share"]), 0)
    return (
        f"Of the {rows} with {token} and the label {label}, an estimated {share} (standard error "
        f"{percent(evidence['spread'], 0)}) have a text that belongs to another label."
    )


def say_stories(record: Record) -> str:
    """What the stories of the listed words mean, a sentence each; empty where none is listed."""
    found = {s["evidence"]["story"] for s in record["suspects"] if s["evidence"]}
    return " ".join(f"{say_story(story).capitalize()}." for story in STORIES if story in found)


def _few(number: float) -> str:
    return "fewer than 0.001" if number < 0.001 else f"at most {number:.2g}"


def list_done(record: Record) -> list[str]:
    """What was done, a sentence each; for a scan, that nothing was."""
    if record["kind"] == "scan":
        return ["A scan changes nothing: no model was trained and no row was removed."]
    dropped, edits = len(record["dropped_row_ids"]), record["edits"]
    done = []
    if dropped:
        restored = len(record.get("restored_rows") or ())
        again = f", {restored:,} of them given back without the triggers" if restored else ""
        done.append(f"{count(dropped, 'row')} left out of the fine-tuning{again}.")
    if edits:
        done.append(f"Embeddings of {count(len(edits), 'token')} cut where they moved most.")
        done.append(f"Recovery on: {record['recovery']['rows']}.")
    done = done or ["Nothing was left out or cut: the model is an ordinary fine-tuning."]
    return [*done, *_say_evaluations(record)]


def _say_evaluations(record: Record) -> list[str]:
    """How the training was evaluated on its way; nothing where it was not."""
    evaluated = record.get("training_evaluation")
    if not evaluated or not evaluated["evaluations"]:
        return []
    said = ", ".join(f"{e['accuracy']:.1%}" for e in evaluated["evaluations"])
    left_out = evaluated["left_out_rows"]
    without = f", {left_out:,} of them with a confirmed trigger left out" if left_out else ""
    return [
        f"Evaluated during the training on {count(evaluated['rows'], 'row')} of "
        f"{evaluated['source']}{without}: accuracy {said}."
    ]
