"""Text that an attacker may have written, made safe to look at; the record keeps it whole."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Sequence

# Marks and letters that draw nothing: joiners, fillers, variation selectors, blank Braille.
_BLANK = (
    *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800)),
    *((0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF)),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_PUNCTUATION = frozenset(string.punctuation)
MOST_CHARACTERS = 300


def show_text(text: str) -> str:
    r"""Text with every invisible, control and bidirectional character as a visible escape.

    Example:
        >>> show_text("a\u202eb\x1b")
        'a\\u202eb\\x1b'
    """
    return "".join(c if _is_visible(c) else _escape(c) for c in text)


def show_token(token: str, limit: int = 60) -> str:
    """A token as `show_text` shows it, cut where it is very long."""
    shown = show_text(token[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def cut_text(
    text: str, spans: Sequence[Sequence[int]] = (), *, limit: int = MOST_CHARACTERS
) -> list[tuple[str, bool]]:
    """A stretch of a text around the first of some spans, in pieces.

    Args:
        text: Of any length.
        spans: What to mark: start and end in characters, not overlapping. Spans that do not fit
            the text are left out.
        limit: Characters of the text shown at most, before escapes.

    Returns:
        Pieces of the text and whether each is marked, escaped as `show_text` does; an ellipsis
        stands where something was cut.

    Example:
        >>> cut_text("a cf film", [(2, 4)])
        [('a ', False), ('cf', True), (' film', False)]
    """
    known = sorted((int(a), int(b)) for a, b in spans if 0 <= a < b <= len(text))
    middle = sum(known[0]) // 2 if known else 0
    start = max(0, min(middle - limit // 2, len(text) - limit))
    end = min(len(text), start + limit)
    pieces = [("… ", False)] if start else []
    place = start
    for first, last in known:
        first, last = max(first, place), min(last, end)
        if first >= last:
            continue
        pieces += [(show_text(text[place:first]), False), (show_text(text[first:last]), True)]
        place = last
    pieces.append((show_text(text[place:end]), False))
    if end < len(text):
        pieces.append((f" … ({len(text) - end:,} more characters)", False))
    return [piece for piece in pieces if piece[0]]


def escape_markdown(text: str) -> str:
    """Text as code that Markdown shows literally: nothing in it ends a cell, links or mentions.

    Every invisible character becomes a visible escape first, line ends among them; then every
    punctuation mark a character reference, which Markdown takes for no mark-up.

    Example:
        >>> escape_markdown("a|<b>")
        '<code>a&#124;&#60;b&#62;</code>'
    """
    shown = "".join(f"&#{ord(c)};" if c in _PUNCTUATION else c for c in show_text(text))
    return f"<code>{shown}</code>"


def neutralise_formula(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe stands before one.

    Source: OWASP, CSV Injection.

    Example:
        >>> neutralise_formula("=1+1")
        "'=1+1"
    """
    return f"'{text}" if text.lstrip(" \u00a0\ufeff").startswith(_FORMULA) else text


def _is_visible(character: str) -> bool:
    if " " <= character <= "~":
        return True
    code = ord(character)
    blank = any(first <= code <= last for first, last in _BLANK)
    return not blank and unicodedata.category(character)[0] not in "CZ"


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
