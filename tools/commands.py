"""The page on the command line, from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

import typer

from btu.cli import app

_ABOUT = "Rendered from the commands' own help; `btu COMMAND --help` says the same in the terminal."
_BAR, _BAR_IN_A_TABLE = "|", r"\|"


def render_commands(app: typer.Typer = app, name: str = "btu") -> str:
    """Every command with its arguments and options, as Markdown.

    Args:
        app: What to describe.
        name: How it is called.
    """
    command = typer.main.get_command(app)
    parts = [
        "# The command line",
        _ABOUT,
        *filter(None, [command.help, command.epilog]),
        *_render_children(command, name),
    ]
    return "\n\n".join(parts) + "\n"


def _render_children(group: Any, name: str) -> Iterator[str]:
    for child, command in group.commands.items():
        called = f"{name} {child}"
        yield f"## {called}"
        yield cleandoc(command.help)
        if hasattr(command, "commands"):
            yield from filter(None, [command.epilog])
            yield from _render_children(command, called)
            continue
        context = command.context_class(command, info_name=called)
        records = [p.get_help_record(context) for p in command.get_params(context)]
        yield "\n".join(
            [
                "| argument or option | what it says |",
                "|---|---|",
                *(_render_row(*record) for record in records if record),
            ]
        )


def _render_row(spelled: str, told: str) -> str:
    escaped = re.sub(r"([\\|*<\[\]`])", r"\\\1", " ".join(told.split()))
    return f"| `{spelled.replace(_BAR, _BAR_IN_A_TABLE)}` | {escaped} |"
