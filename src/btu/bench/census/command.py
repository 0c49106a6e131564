"""`btu bench census`: count on corpora, and render the tables."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from btu.model.quiet import silence_libraries
from btu.support.errors import InputError

if TYPE_CHECKING:
    from btu.bench.census.run import CensusSummary
    from btu.bench.census.store import Counts


def census(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Census files (TOML), or folders of them; benchmark/census if none."),
    ] = None,
    corpora: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of corpora; may be repeated, the first with a file counts."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of results; beside the census files if left out.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="Only cases whose id matches, such as 'sst2-*-clean-*'.")
    ] = "*",
    again: Annotated[bool, typer.Option(help="Count what has a result again.")] = False,
    bar: Annotated[
        str | None,
        typer.Option(help="With a deciding number changed, as name=factor; see the record."),
    ] = None,
    without: Annotated[
        str | None, typer.Option(help="Without a question or a kind of candidate, by its name.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Look for kinds of text too, read by this encoder: minilm, a folder or a Hub id."
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="Count nothing: render the marked parts of this document anew."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Count false alarms and recall of the evidence over families of corpora.

    What has a result is not counted again. Exit status 1 where a case failed.
    """
    from btu.bench.census.ablation import ABLATIONS, leave_out
    from btu.bench.census.encode import EncodedEvidence
    from btu.bench.census.files import load_census
    from btu.bench.census.run import run_census
    from btu.bench.census.store import load_counts
    from btu.bench.census.table import render_census
    from btu.bench.store import find_model
    from btu.evidence.find import find_evidence
    from btu.support.folders import replace_file
    from btu.support.progress import show_progress
    from btu.support.record import render_json

    asked = load_census(files or [Path("benchmark/census")])
    if table is not None:
        counted = load_counts(output or asked.results, asked.cases)
        text = render_census(_read(table), asked, counted)
        with replace_file(table) as file:
            file.write(text.encode())
        return
    if encoder is not None:
        silence_libraries()
    results = output or asked.results
    if without is not None and without not in ABLATIONS:
        raise InputError(f"--without: expected one of {', '.join(ABLATIONS)}, got {without}")
    less = nullcontext() if without is None else leave_out(without)
    changed = bar or (without and f"without-{without}")
    with show_progress(enabled=not quiet), _change(bar), less:
        summary = run_census(
            asked,
            corpora=corpora or (),
            results=results / changed if changed else results,
            only=only,
            again=again,
            find=find_evidence if encoder is None else EncodedEvidence(find_model(encoder)),
            tell=None if quiet or as_json else _print_case,
        )
    if as_json:
        sys.stdout.write(render_json(asdict(summary)))
    elif not quiet:
        sys.stdout.write(_render_summary(summary))
    raise typer.Exit(1 if summary.failed else 0)


def _change(bar: str | None) -> AbstractContextManager[Any]:
    """The evidence with a number changed; unchanged without one."""
    from btu.evidence.bars import BARS, scale_bar

    if bar is None:
        return nullcontext()
    name, _, factor = bar.partition("=")
    known = [known.name for known in BARS]
    try:
        if name in known and float(factor) > 0:
            return scale_bar(name, float(factor))
    except ValueError:
        pass
    raise InputError(
        f"--bar: expected NAME=FACTOR with one of {', '.join(known)} and a number above 0, "
        f"got {bar}"
    )


def _print_case(name: str, counts: Counts) -> None:
    sys.stdout.write(f"{name}: {_render_counts(counts)}\n")
    sys.stdout.flush()


def _render_counts(counts: Counts) -> str:
    from btu.bench.census.store import FAILED, SKIPPED
    from btu.report.text import show_text

    for status in (SKIPPED, FAILED):
        if status in counts:
            return f"{status}: {counts[status]}"
    found = f"{counts['found']} of {counts['planted']} found, " if counts["planted"] else ""
    names = ", ".join(show_text(trigger["name"]) for trigger in counts["triggers"])
    return (
        f"{found}{counts['clean_flagged']} clean rows flagged, {counts['num_triggers']} triggers"
        f"{f' ({names})' if names else ''}, {counts['suspects']} suspects, "
        f"{counts['seconds']:.1f} s"
    )


def _render_summary(summary: CensusSummary) -> str:
    return (
        f"{len(summary.done)} cases counted, {len(summary.kept)} had a result, "
        f"{len(summary.skipped)} not possible, {len(summary.failed)} failed. "
        f"Results are in {summary.results}\n"
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: expected a document with markers (<!-- census: clean --> and "
            "<!-- /census -->), found no file. Write one with these two lines in it."
        ) from error


def null(
    census_file: Annotated[
        Path, typer.Argument(help="Census file (TOML) that names the corpora.")
    ] = Path("benchmark/census/development.toml"),
    corpora: Annotated[
        list[Path] | None, typer.Option(help="Folder of corpora; may be repeated.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Corpus, as NAME or NAME:ROWS; may be repeated.")
    ] = None,
    deals: Annotated[int, typer.Option(min=1, help="How often labels are dealt anew.")] = 3,
    output: Annotated[Path, typer.Option(help="Write the counts here, as JSON.")] = Path(
        "benchmark/results/null.json"
    ),
) -> None:
    """Count how sure the evidence is of honest units: labels dealt anew mean nothing."""
    from btu.bench.census.files import load_census
    from btu.bench.census.null import NullCounts, add_up, count_null, render_null, render_null_table
    from btu.bench.census.rows import load_source
    from btu.bench.sample import make_rng, pick_rows
    from btu.support.folders import replace_file

    known = {known.name: known for known in load_census([census_file]).sources}
    counts: list[NullCounts] = []
    for asked in source or ["sst2:600", "sst2", "glue"]:
        name, _, rows = asked.partition(":")
        if name not in known:
            raise InputError(f"--source: expected one of {', '.join(known)}, got {name}")
        whole = load_source(known[name], corpora or ())
        for seed in range(deals):
            own = make_rng(seed, "train")
            part = whole.select(pick_rows(whole.labels, int(rows), own)) if rows else whole
            counts += count_null(name, part, seed=seed)
    with replace_file(output) as file:
        file.write(render_null(add_up(counts)).encode())
    sys.stdout.write(f"{render_null_table(add_up(counts))}\n")
