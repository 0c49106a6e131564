"""A record as a section of a model card, kept up to date between two markers."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from btu.report.markdown import (
    escape_prose,
    fit,
    join_items,
    list_not_checked,
    quote,
    quote_names,
    tell_rate,
)
from btu.report.summary import Record, count, list_done, say_uncertainty, say_verdict
from btu.support.errors import InputError
from btu.support.folders import replace_file

START = "<!-- btu-audit:start -->"
END = "<!-- btu-audit:end -->"
_MARKER = re.compile(
    rb"(?:^|(?<=\A\xef\xbb\xbf)) {0,3}<!-- *btu-audit:(start|end) *-->[ \t]*(?=\r?$)", re.MULTILINE
)
_LINE_END = re.compile(rb"\r?\n")


def render_card(record: Record) -> str:
    """The section `Backdoor audit` of a model card for the Hugging Face Hub, with its markers.

    Args:
        record: Of a scan or a defence.
    """
    head = [START, "## Backdoor audit", _say_scanned(record)]
    parts = {
        "what was found": join_items(
            "### What was found",
            [quote_names(say_verdict, record), quote_names(say_uncertainty, record)],
        ),
        "what was done": join_items("### What was done", map(escape_prose, list_done(record))),
        "what was measured": join_items("### What was measured", _list_measured(record)),
        "what was not checked": join_items("### What was not checked", list_not_checked(record)),
        "entries of public frameworks": _render_frameworks(record),
    }
    return f"{fit(head, parts)}\n{END}\n"


def write_card(record: Record, path: str | os.PathLike[str]) -> None:
    """Put `render_card` into a model card; every byte outside the section stays.

    A section that is there is replaced where it stands, else the section is appended. The line
    ends are those of the file.

    Args:
        record: Of a scan or a defence.
        path: The Markdown file, or a folder, whose README.md it then is. A missing file
            is made, with the folders above it.

    Raises:
        InputError: The file cannot be read, is no Markdown in UTF-8, or has markers that do not
            enclose exactly one section.
    """
    file = _find_card(Path(path).expanduser())
    content = _read_card(file)
    line_end = _LINE_END.search(content)
    newline = b"\n" if line_end is None else line_end[0]
    section = render_card(record).rstrip("\n").encode().replace(b"\n", newline)
    place = _find_section(content, file)
    if place is None:
        start = end = len(content)
        section = _space(content, newline) + section + newline
    else:
        start, end = place
    with replace_file(file) as written:
        written.write(content[:start] + section + content[end:])


def _find_card(path: Path) -> Path:
    file = path / "README.md" if path.is_dir() else path
    if file.suffix.lower() not in (".md", ".markdown"):
        raise InputError(
            f"{path}: expected a folder or a Markdown file (.md), got neither. Name the folder of "
            "the model, or its README.md."
        )
    return file


def _read_card(file: Path) -> bytes:
    if not file.exists():
        return b""
    try:
        content = file.read_bytes()
        content.decode("utf-8")
    except OSError as error:
        raise InputError(
            f"{file}: expected a file that can be read, got: {error.strerror or error}. Check the "
            "file and its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file}: expected UTF-8, got the byte 0x{error.object[error.start]:02X} at "
            f"{error.start:,}. Convert the file to UTF-8."
        ) from None
    if b"\0" in content:
        raise InputError(
            f"{file}: expected UTF-8, got a NUL character, as in UTF-16. Convert the file to UTF-8."
        )
    return content


def _find_section(content: bytes, file: Path) -> tuple[int, int] | None:
    """Where the section starts and ends, its markers included; None where there is none.

    A marker stands alone in its line: one that a sentence quotes is none.
    """
    markers = list(_MARKER.finditer(content))
    if not markers:
        return None
    kinds = [marker[1].decode() for marker in markers]
    if kinds != ["start", "end"]:
        numbers = [content.count(b"\n", 0, marker.start()) + 1 for marker in markers[:6]]
        lines = ", ".join(
            f"{kind} in line {number}" for kind, number in zip(kinds, numbers, strict=False)
        )
        raise InputError(
            f"{file}: expected no section or one, from {START} to {END}, got the markers {lines}"
            f"{' and more' if len(markers) > 6 else ''}. Delete what belongs to no whole section, "
            "and all sections but one."
        )
    return markers[0].start(), markers[1].end()


def _space(content: bytes, newline: bytes) -> bytes:
    """What parts an appended section from the text before it: an empty line."""
    if not content.removeprefix(b"\xef\xbb\xbf"):
        return b""
    return newline if content.endswith(b"\n") else newline * 2


def _say_scanned(record: Record) -> str:
    data, model = record["data"], record["model"]
    version = record["versions"].get("backdoor-token-unlearning") or "unknown"
    read_by = "no model"
    if model:
        name, weights = quote(model["name"], 200), quote(model["sha256"], 64)
        read_by = f"the pretrained model {name} (weights' SHA-256 {weights})"
    return (
        f"The training data {quote(data['source'], 200)} ({count(data['rows'], 'row')}, SHA-256 "
        f"{quote(data['sha256'], 64)}) was searched for backdoor triggers on "
        f"{escape_prose(record['created'][:10])} with btu {escape_prose(version[:40])}, the recipe "
        f"{escape_prose(record['recipe'])}, seed {record['seed']} and {read_by}."
    )


def _list_measured(record: Record) -> list[str]:
    """Clean accuracy and attack success, a sentence each; nothing where nothing was measured."""
    evaluation = record.get("evaluation")
    if evaluation is None:
        return []
    after, test = evaluation["after"], evaluation["test_data"]
    said = [
        f"Clean accuracy was {_compare(evaluation, 'clean_accuracy')}, on {after['rows']:,} "
        f"held-out rows (SHA-256 {quote(test['sha256'], 64)})."
    ]
    if after["attack_success_rate"] is not None:
        attack = ""
        if after["trigger"] is not None and after["target_label"] is not None:
            attack = f" of the trigger {quote(after['trigger'])} for {quote(after['target_label'])}"
        said.append(
            f"The attack success rate{attack} was {_compare(evaluation, 'attack_success_rate')}, "
            f"on {after['triggered_rows']:,} held-out rows."
        )
    return said


def _compare(evaluation: dict[str, Any], measure: str) -> str:
    """`94.5 % (91.0 % to 97.5 %), against 93.0 % (...) without a defence`."""
    after, before = evaluation["after"], evaluation["before"]
    said = tell_rate(after[measure], after[f"{measure}_interval"])
    if before is None or before[measure] is None:
        return said
    undefended = tell_rate(before[measure], before[f"{measure}_interval"])
    return f"{said}, against {undefended} without a defence"


def _render_frameworks(record: Record) -> str:
    """Ids by framework: `MITRE ATLAS 2026.10: AML.T0020 (Training Data Poisoning)`."""
    entries: dict[str, list[str]] = {}
    for entry in record["frameworks"][:50]:
        framework = escape_prose(f"{entry['framework'][:200]} {entry['version'][:50]}")
        named = escape_prose(f"{entry['id'][:50]} ({entry['name'][:200]})")
        entries.setdefault(framework, []).append(named)
    items = [f"{framework}: {', '.join(named)}" for framework, named in entries.items()]
    return join_items("### Entries of public frameworks", items)
