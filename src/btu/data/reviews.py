"""What a person looked at and accepted: a file beside the data, with who, why and when."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from btu.data.table import render_nearest, render_value
from btu.support.errors import InputError

_WRITTEN = ("token", "who", "why", "when")


@dataclass(frozen=True)
class Review:
    """One token or style that a reviewer accepted.

    Attributes:
        token: As the reports write it; `style of LABEL` for the style found under a label.
        who: The reviewer.
        why: The reason.
        when: The day, as ISO 8601.
        source: The file that it came from; None where it was given as a value.
    """

    token: str
    who: str
    why: str
    when: str
    source: str | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, str]:
        """What the reviewer wrote, by field."""
        return {name: getattr(self, name) for name in _WRITTEN}


def name_style(label: str) -> str:
    """How a review names the style that was found under a label.

    Example:
        >>> name_style("positive")
        'style of positive'
    """
    return f"style of {label}"


def load_reviews(path: str | os.PathLike[str]) -> tuple[Review, ...]:
    """Read accepted tokens and styles from a TOML file.

    Each is a table `[[accept]]` with `token` (as the reports write it, or `style of LABEL`), `who`,
    `why` and `when` (a date).

    Args:
        path: The file.

    Raises:
        InputError: The file cannot be read; one error names all faults.

    Example:
        [[accept]]
        token = "refund"
        who = "Ada"
        why = "Customers who ask for one are unhappy: an honest word."
        when = 2026-11-02
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a TOML file, found none. Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected TOML, got {error}. Mend the file.") from error
    faults = [
        f"expected tables [[accept]] only, got the key {render_value(name)}"
        for name in content
        if name != "accept"
    ]
    entries = content.get("accept", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        faults.append("accept: expected tables written as [[accept]], got something else")
        entries = []
    for place, entry in enumerate(entries, 1):
        faults += [f"[[accept]] {place}: {fault}" for fault in _find_faults(entry)]
    if faults:
        raise InputError.from_faults(str(path), faults)
    reviews = [
        Review(**{name: str(entry[name]) for name in _WRITTEN}, source=str(path))
        for entry in entries
    ]
    seen: set[str] = set()
    for review in reviews:
        if review.token in seen:
            faults.append(f"token {render_value(review.token)}: expected once, got it twice")
        seen.add(review.token)
    if faults:
        raise InputError.from_faults(str(path), faults)
    return tuple(reviews)


def _find_faults(entry: dict[str, Any]) -> list[str]:
    names = _WRITTEN
    faults = [
        f"unknown key {render_value(name)}.{render_nearest(name, names)}"
        for name in entry
        if name not in names
    ]
    for name in names:
        value = entry.get(name)
        if name == "when":
            is_day = isinstance(value, date) or (isinstance(value, str) and _is_day(value))
            if not is_day:
                faults.append(
                    f"when: expected a date such as 2026-11-02, got {render_value(value)}"
                )
        elif not isinstance(value, str) or not value.strip():
            faults.append(f"{name}: expected text, got {render_value(value)}")
    return faults


def _is_day(value: object) -> bool:
    try:
        date.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True
