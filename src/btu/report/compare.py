"""What changed between two records: tokens, rows and the circumstances of both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import hypot
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from btu.report.markdown import draw_table, escape_prose, fit, quote, say_verdict_word
from btu.report.summary import Record, clip, count, percent
from btu.report.text import show_token

_SPREADS = 2.0
_TOKENS = 15
_ROWS = 20
_DIFFERENCES = 30
_SAID_OF = ("data", "model")  # parts of the record whose single values are compared
_LEFT_OUT = ("label_counts", "row_ids")
_TITLES = {"new": "New", "gone": "Gone", "changed": "Changed"}


@dataclass(frozen=True)
class TokenState:
    """What one record says of a token.

    Attributes:
        verdict: trigger, suspect, accepted (by a reviewer) or innocent.
        label: The label that it points to.
        rows: Rows that hold it; those with the label where it was tested.
        mislabelled_share: Estimated share of these whose text belongs to another label; None where
            it was not tested.
        spread: Standard error of that share.
    """

    verdict: str
    label: str
    rows: int
    mislabelled_share: float | None
    spread: float | None


@dataclass(frozen=True)
class TokenChange:
    """A token of which two records say different things.

    Attributes:
        token: As the tokenizer writes it.
        old: In the old record; None where it does not name the token.
        new: In the new record, likewise.
        reasons: What changed: verdict, label, mislabelled share.
    """

    token: str
    old: TokenState | None
    new: TokenState | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """What changed from an old record to a new one.

    Attributes:
        old_verdict: In words, see `say_verdict_word`.
        new_verdict: Likewise.
        new: Triggers and suspects that were none before, in the order of the new record.
        gone: Triggers and suspects that are none any more, in the order of the old record.
        changed: Triggers and suspects of both whose verdict or label is another, or whose
            mislabelled share moved by more than two standard errors of the difference.
        old_flagged: Rows judged poisoned; None in the recipe paper, which judges none.
        new_flagged: Likewise.
        newly_flagged: Ids of rows judged poisoned now only; None unless both judge the same rows.
        no_longer_flagged: Ids of rows judged poisoned before only; likewise.
        differences: Name, old and new value of what else is not the same: data, model, recipe,
            settings and versions.
    """

    old_verdict: str
    new_verdict: str
    new: tuple[TokenChange, ...]
    gone: tuple[TokenChange, ...]
    changed: tuple[TokenChange, ...]
    old_flagged: int | None
    new_flagged: int | None
    newly_flagged: tuple[int, ...] | None
    no_longer_flagged: tuple[int, ...] | None
    differences: tuple[tuple[str, Any, Any], ...]


def compare_records(old: Record, new: Record) -> Comparison:
    """What changed from one record to another; tokens are matched by their spelling.

    Args:
        old: Of a scan or a defence.
        new: Of a scan or a defence, of the same data or others.
    """
    before, after = _list_states(old), _list_states(new)
    were = [token for token, state in before.items() if _is_suspicious(state)]
    are = [token for token, state in after.items() if _is_suspicious(state)]
    changes = {
        token: TokenChange(
            token,
            before.get(token),
            after.get(token),
            tuple(_find_reasons(before.get(token), after.get(token))),
        )
        for token in (*are, *were)
    }
    both = set(were) & set(are)
    newly, no_longer = _compare_rows(old, new)
    return Comparison(
        old_verdict=say_verdict_word(old),
        new_verdict=say_verdict_word(new),
        new=tuple(changes[token] for token in are if token not in both),
        gone=tuple(changes[token] for token in were if token not in both),
        changed=tuple(changes[token] for token in are if token in both and changes[token].reasons),
        old_flagged=_count_rows(old["flagged_rows"]),
        new_flagged=_count_rows(new["flagged_rows"]),
        newly_flagged=newly,
        no_longer_flagged=no_longer,
        differences=tuple(_find_differences(old, new)),
    )


def comparison_to_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON types."""
    plain = asdict(comparison)
    plain["differences"] = [
        {"name": name, "old": old, "new": new} for name, old, new in comparison.differences
    ]
    return plain


def render_comparison_markdown(comparison: Comparison) -> str:
    """The comparison for a pull request, in GitHub's Markdown and under 60,000 characters."""
    head = ["## Backdoor scan: what changed", f"**{escape_prose(_say_verdicts(comparison))}**"]
    parts = {
        name: _render_changes(_TITLES[name], getattr(comparison, name)) for name in _TITLES
    } | {
        "rows": escape_prose(" ".join(_say_rows(comparison))),
        "differences": _render_differences(comparison),
    }
    return fit(head, parts)


def render_comparison(comparison: Comparison) -> RenderableType:
    """The comparison for a terminal of 80 columns."""
    parts: list[RenderableType] = [Text(_say_verdicts(comparison), style="bold")]
    for name, title in _TITLES.items():
        changes = getattr(comparison, name)
        if changes:
            parts += ["", Text(f"{title}: {count(len(changes), 'token')}", style="bold")]
            parts += [_draw_changes(changes[:_TOKENS])]
            parts += [Text(line, style="dim") for line in _say_more(changes, _TOKENS)]
    parts += ["", *map(Text, _say_rows(comparison))]
    if comparison.differences:
        shown = comparison.differences[:_DIFFERENCES]
        parts += ["", Text("Not the same in both", style="bold"), _draw_differences(shown)]
        more = _say_more(comparison.differences, _DIFFERENCES)
        parts += [Text(line, style="dim") for line in more]
    return Group(*parts)


def _list_states(record: Record) -> dict[str, TokenState]:
    """What a record says of every token that it names; the gravest where two are spelled alike."""
    states: dict[str, TokenState] = {}
    for token in (*record["suspects"], *record["accepted"], *record["cleared"]):
        evidence = token["evidence"] or {}
        state = TokenState(
            verdict=token["verdict"],
            label=evidence.get("label", token["label"]),
            rows=evidence.get("rows", token["rows"]),
            mislabelled_share=evidence.get("mislabelled_share"),
            spread=evidence.get("spread"),
        )
        states.setdefault(token["token"], state)
    return states


def _is_suspicious(state: TokenState) -> bool:
    return state.verdict in ("trigger", "suspect")


def _find_reasons(old: TokenState | None, new: TokenState | None) -> Iterator[str]:
    if old is None or new is None:
        return
    if old.verdict != new.verdict:
        yield "verdict"
    if old.label != new.label:
        yield "label"
    shares = old.mislabelled_share, new.mislabelled_share
    spreads = old.spread, new.spread
    if None not in (*shares, *spreads):
        moved = abs(shares[0] - shares[1])  # type: ignore[operator]
        if moved > _SPREADS * hypot(*spreads):  # type: ignore[arg-type]
            yield "mislabelled share"


def _count_rows(rows: Sequence[Any] | None) -> int | None:
    return None if rows is None else len(rows)


def _compare_rows(
    old: Record, new: Record
) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """Ids of rows flagged in one record only; None where the ids do not speak of the same rows."""
    is_same = all(old["data"][name] == new["data"][name] for name in ("sha256", "row_ids"))
    if not is_same or old["flagged_rows"] is None or new["flagged_rows"] is None:
        return None, None
    before = {row["row_id"] for row in old["flagged_rows"]}
    after = {row["row_id"] for row in new["flagged_rows"]}
    return tuple(sorted(after - before)), tuple(sorted(before - after))


def _find_differences(old: Record, new: Record) -> Iterator[tuple[str, Any, Any]]:
    before, after = dict(_list_circumstances(old)), dict(_list_circumstances(new))
    for name in before | after:
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)


def _list_circumstances(record: Record) -> Iterator[tuple[str, Any]]:
    for name in ("kind", "recipe", "action", "restore", "seed", "max_length", "neutral"):
        yield name, record.get(name)
    for part in _SAID_OF:
        kept = {name: v for name, v in (record[part] or {}).items() if name not in _LEFT_OUT}
        yield from _flatten(part, kept)
    yield from _flatten("settings", record["settings"])
    yield from _flatten("versions", record["versions"])


def _flatten(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(f"{name}.{key}", inner)
    else:
        yield name, value


def _say_verdicts(comparison: Comparison) -> str:
    old, new = comparison.old_verdict, comparison.new_verdict
    verdict = f"As before: {new}." if old == new else f"Before: {old}. Now: {new}."
    counts = [
        f"{len(getattr(comparison, name)):,} {title.lower()}" for name, title in _TITLES.items()
    ]
    return f"{verdict} Tokens: {', '.join(counts)}."


def _say_rows(comparison: Comparison) -> list[str]:
    old, new = comparison.old_flagged, comparison.new_flagged
    if old is None or new is None:
        told = ["no judgement" if n is None else count(n, "row") for n in (old, new)]
        return [
            f"Rows judged poisoned: {told[0]} before, {told[1]} now; the recipe paper judges none."
        ]
    total = f"Rows judged poisoned: {old:,} before, {new:,} now."
    newly, no_longer = comparison.newly_flagged, comparison.no_longer_flagged
    if newly is None or no_longer is None:
        return [f"{total} The rows are not the same, so they cannot be matched."]
    return [total, _name_rows("Newly", newly), _name_rows("No longer", no_longer)]


def _name_rows(title: str, row_ids: Sequence[int]) -> str:
    if not row_ids:
        return f"{title}: none."
    more = f" and {len(row_ids) - _ROWS:,} more" if len(row_ids) > _ROWS else ""
    shown = ", ".join(f"row {row_id + 1:,}" for row_id in row_ids[:_ROWS])
    return f"{title}: {shown}{more}."


def _say_more(listed: Sequence[Any], limit: int) -> list[str]:
    return [f"And {len(listed) - limit:,} more."] if len(listed) > limit else []


def _say_share(state: TokenState | None) -> str:
    if state is None or state.mislabelled_share is None:
        return "–"
    return percent(clip(state.mislabelled_share), 0)


def _say_state(state: TokenState | None) -> str:
    return "not named" if state is None else state.verdict


def _draw_changes(changes: Sequence[TokenChange]) -> Table:
    table = _start_table()
    table.add_column("token", max_width=18)
    table.add_column("verdict")
    table.add_column("label", max_width=20)
    table.add_column("mislabelled", justify="right")
    for change in changes:
        old, new = change.old, change.new
        labels = dict.fromkeys(show_token(s.label[:21], 20) for s in (old, new) if s is not None)
        table.add_row(
            Text(show_token(change.token[:61])),
            f"{_say_state(old)} → {_say_state(new)}",
            Text(" → ".join(labels)),
            f"{_say_share(old)} → {_say_share(new)}",
        )
    return table


def _draw_differences(differences: Sequence[tuple[str, Any, Any]]) -> Table:
    table = _start_table()
    for title in ("", "before", "now"):
        table.add_column(title, overflow="fold")
    for name, old, new in differences:
        cells = (show_token(name[:37], 36), _say_value(old, 20), _say_value(new, 20))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _start_table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold")


def _say_value(value: Any, limit: int) -> str:
    """A value of the record, short: the start of a SHA-256 tells it from any other."""
    text = value if isinstance(value, str) else json.dumps(value)
    return show_token(text[: limit + 1], limit)


def _render_changes(title: str, changes: Sequence[TokenChange]) -> str:
    if not changes:
        return ""
    header = ["token", "verdict before", "now", "label", "mislabelled before", "now"]
    lines = []
    for change in changes[:_TOKENS]:
        old, new = change.old, change.new
        labels = dict.fromkeys(quote(s.label) for s in (old, new) if s is not None)
        lines.append(
            [
                quote(change.token),
                _say_state(old),
                _say_state(new),
                " → ".join(labels),
                *(escape_prose(_say_share(state)) for state in (old, new)),
            ]
        )
    more = "".join(f"\n\n{line}" for line in _say_more(changes, _TOKENS))
    return f"### {title}\n\n{draw_table(header, lines, left=4)}{more}"


def _render_differences(comparison: Comparison) -> str:
    if not comparison.differences:
        return ""
    shown = comparison.differences[:_DIFFERENCES]
    lines = [
        [quote(name), quote(_say_value(old, 40)), quote(_say_value(new, 40))]
        for name, old, new in shown
    ]
    more = "".join(f"\n\n{line}" for line in _say_more(comparison.differences, _DIFFERENCES))
    table = draw_table(["", "before", "now"], lines, left=3)
    return f"### Not the same in both\n\n{table}{more}"
