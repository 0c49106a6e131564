"""The options of an attack: what is wrong with a value."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from btu.support.errors import InputError


def check_options(attack: str, *faults: Iterable[str]) -> None:
    """Raise one `InputError` for all faults found, or do nothing."""
    listed = [fault for some in faults for fault in some]
    if listed:
        raise InputError.from_faults(f"attack {attack}", listed)


def faults_in_words(name: str, words: object) -> list[str]:
    """A tuple of one or more triggers, none of them blank."""
    if (
        isinstance(words, tuple)
        and words
        and all(isinstance(word, str) and word.strip() for word in words)
    ):
        return []
    return [f"{name}: expected one or more words, none blank, got {words!r}"]


def faults_in_text(name: str, text: object) -> list[str]:
    """A text that is not blank."""
    if isinstance(text, str) and text.strip():
        return []
    return [f"{name}: expected a text that is not blank, got {text!r}"]


def faults_in_choice(name: str, value: object, valid: Collection[str]) -> list[str]:
    """One of the valid values."""
    if value in valid:
        return []
    return [f"{name}: expected one of {', '.join(valid)}, got {value!r}{hint(value, valid)}"]


def faults_in_count(name: str, value: object) -> list[str]:
    """A whole number of at least 1."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return []
    return [f"{name}: expected a whole number of at least 1, got {value!r}"]


def faults_in_rate(name: str, value: object) -> list[str]:
    """A fraction in (0, 1), both ends left out."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1:
        return []
    return [f"{name}: expected a fraction above 0 and below 1 (0.1 is ten percent), got {value!r}"]


def hint(given: object, valid: Collection[str]) -> str:
    """The nearest valid name as the end of a message, or nothing.

    Example:
        >>> hint("badnet", ["addsent", "badnets"])
        '; did you mean badnets?'
    """
    near = get_close_matches(str(given), valid, n=1)
    return f"; did you mean {near[0]}?" if near else ""
