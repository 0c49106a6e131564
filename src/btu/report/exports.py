"""The user's own rows, parted into those judged poisoned and all others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from btu.data.readers import load_table
from btu.data.shards import list_shards
from btu.data.writers import write_rows
from btu.findings import Findings
from btu.report.text import neutralise_formula
from btu.support.errors import InputError

if TYPE_CHECKING:
    from btu.engines.base import Engine

_SPREADSHEETS = (".csv", ".tsv")


def export_rows(
    findings: Findings,
    data: Any,
    *,
    clean: str | os.PathLike[str] | None = None,
    flagged: str | os.PathLike[str] | None = None,
    engine: Engine | None = None,
    overwrite: bool = False,
) -> None:
    """Write the rows that are not flagged, those that are, or both, with all their columns.

    The clean rows are data to train on and stay as they are. The flagged ones are for people to
    look at: in CSV and TSV a cell that a spreadsheet would take for a formula gets an apostrophe.

    Args:
        findings: Of a scan of the same data with the recipe `verified`.
        data: What was scanned.
        clean: File for the rows that are not flagged: .csv, .tsv, .jsonl or .parquet. With an
            engine a name without an ending is a folder, for a file of each shard.
        flagged: The same for the flagged rows.
        engine: That read the rows as shards.
        overwrite: Whether folders that are there may be replaced.

    Raises:
        InputError: The recipe judged no rows, the data is not what was scanned, or a file cannot
            be written.
    """
    if clean is None and flagged is None:
        return
    check_exports(findings.recipe, clean, flagged)
    chosen_by_path = {
        Path(path): chosen
        for path, chosen in ((clean, ~findings.flagged), (flagged, findings.flagged))
        if path is not None
    }
    for path in list_folders(engine, *chosen_by_path):
        from btu.engines.export import export_shards

        assert engine is not None
        chosen = chosen_by_path.pop(path)
        export_shards(list_shards(data), engine, chosen, path, overwrite=overwrite)
    if not chosen_by_path:
        return
    table = load_table(data, split=findings.facts.data.columns["split"])
    if table.num_rows != len(findings.corpus):
        raise InputError(
            f"{table.source}: expected the {len(findings.corpus):,} rows that were scanned, got "
            f"{table.num_rows:,}. Scan the data as it is now."
        )
    columns = {name: table.load(name) for name in table.names}
    for path, chosen in chosen_by_path.items():
        rows = {
            name: [value for value, is_chosen in zip(values, chosen, strict=True) if is_chosen]
            for name, values in columns.items()
        }
        is_shown = str(path) == str(flagged) and path.suffix.lower() in _SPREADSHEETS
        write_rows(path, _neutralise(rows) if is_shown else rows)


def list_folders(engine: Engine | None, *paths: str | os.PathLike[str] | None) -> list[Path]:
    """Those that are folders for a file of each shard: with an engine, names without an ending.

    Args:
        engine: That reads the rows as shards.
        paths: As `export_rows` takes them.
    """
    named = [Path(path) for path in paths if path is not None]
    return [path for path in named if engine is not None and not path.suffix]


def check_exports(recipe: str, *paths: str | os.PathLike[str] | None) -> None:
    """Refuse exports of a recipe that judges no rows.

    Raises:
        InputError: There is a path and the recipe is `paper`.
    """
    if recipe == "paper" and any(paths):
        raise InputError(
            "export: expected the recipe verified, got paper, which judges no rows. Leave out "
            "--recipe or the exports."
        )


def _neutralise(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    return {
        neutralise_formula(name): [
            neutralise_formula(value) if isinstance(value, str) else value for value in values
        ]
        for name, values in columns.items()
    }
