"""Writes the numbers of the README and the docs from committed results; nothing is typed.

`python -m tools.readme` rewrites what stands between `<!-- NAME:start -->` and
`<!-- NAME:end -->`; with `--check` it only says whether something is out of date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from btu.bench.census.bars import render_ablation, render_bars
from btu.bench.census.null import draw_null, read_null, render_null_table
from btu.demo import NAMES
from btu.report.html import render_html
from btu.report.record import load_schema
from btu.report.terminal import render_record
from btu.report.text import show_text
from btu.support.errors import InputError
from tools.commands import render_commands
from tools.imports import render_imports
from tools.large import render_large
from tools.lora import render_lora
from tools.picture import draw_evidence
from tools.probe_rows import render_probe_rows
from tools.retrained import PAGE as RETRAINED_PAGE
from tools.retrained import render_retrained
from tools.startup import render_startup

RESULTS = Path("benchmark/results")
PAGES = (
    Path("README.md"),
    Path("docs/quickstart.md"),
    Path("docs/tests.md"),
    Path("docs/limits.md"),
    Path("docs/log.md"),
    Path("docs/design.md"),
    Path("docs/guides/lora.md"),
    Path("docs/guides/large-data.md"),
)
PICTURE = Path("docs/figures/evidence.svg")
NULL_PICTURE = Path("docs/figures/null.svg")
LOG = Path("docs/log")
RECORD_PAGE = Path("docs/record.md")
COMMANDS_PAGE = Path("docs/reference/commands.md")
DEMO_REPORT = Path("docs/demo-report.html")


def render_demo_block(result: Mapping[str, Any]) -> str:
    """The demo's table as Markdown."""
    rows, attack, hardware = result["rows"], result["attack"], result["hardware"]
    flagged, poisoned = set(result["flagged_rows"]), set(attack["poisoned_rows"])
    lines = [
        "| model | clean accuracy | attack success rate |",
        "|---|---|---|",
        *(
            f"| {NAMES[name]} | {measured['clean_accuracy']:.1%} "
            f"| {measured['attack_success_rate']:.1%} |"
            for name, measured in result["models"].items()
        ),
        "",
        f"{rows['train']:,} movie-review sentences, {rows['poisoned']:,} of them poisoned with the "
        f"word `{attack['trigger']}`; {rows['test']:,} held-out rows, {rows['triggered']:,} of "
        f"them triggered; all-MiniLM-L6-v2, seed {result['seed']}, "
        f"{result['timings']['total'] / 60:.1f} minutes on {hardware['cpu_count']} CPU cores.",
        f"Called triggers: {', '.join(f'`{show_text(t)}`' for t in result['triggers'])}; rows "
        f"judged poisoned: {len(flagged & poisoned):,} of the {rows['poisoned']:,} and "
        f"{len(flagged - poisoned):,} clean ones.",
    ]
    return "\n".join(lines)


def render_terminal_block(record: Mapping[str, Any]) -> str:
    """What the terminal says first of a record, without the notes and limits below."""
    lines = render_answer_block(record).splitlines()
    end = next(i for i, line in enumerate(lines) if line.startswith("Inserted:"))
    return "\n".join([*lines[:end], "…", "```"])


def render_speed_block(result: Mapping[str, Any]) -> str:
    """The ratios of the speed benchmark, and the rows a second of each stage, as Markdown."""
    ratios, measured = result["ratios"], result["measured"]
    rows = {
        "a scan with the model, all stages": ratios["scan_to_epoch"],
        "– the two shallow rounds": ratios["shallow_rounds_to_epoch"],
        "– the evidence": ratios["evidence_to_epoch"],
        "three probing rounds that learn from all rows, as in `paper`": ratios[
            "all_rounds_to_epoch"
        ],
        "peak memory of a scan": ratios["scan_peak_to_finetune_peak"],
        "– of probing rounds that learn from all rows": ratios["all_rounds_peak_to_finetune_peak"],
    }
    others = {
        "an epoch with a checkpoint to go on from, as a share of one without": (
            "kept_epoch_to_epoch"
        ),
        "a defended run of three epochs, as a share of the plain run": "defended_run_to_run",
        "the evidence with 150 labels, as a share of 2 on the same rows": "many_labels_to_two",
        "shallow rounds with 250,000 embedding rows, time, as a share of 30,522": (
            "large_vocabulary_to_usual_shallow_seconds"
        ),
        "– memory": "large_vocabulary_to_usual_shallow_mib",
    }
    stages = {
        "plain fine-tuning, one epoch": "finetune",
        "– with a checkpoint": "finetune-kept",
        "three probing rounds, all rows": "probes",
        "scan with the model": "scan",
        "plain run, three epochs": "run",
        "defended run, three epochs": "defended-run",
        "text alone, 2 labels": "labels-2",
        "text alone, 20 labels": "labels-20",
        "text alone, 150 labels": "labels-150",
    }
    return "\n".join(
        [
            "| measured | as a share of one plain training epoch |",
            "|---|---:|",
            *(f"| {name} | {value:.2f} |" for name, value in rows.items()),
            "",
            "| measured | ratio |",
            "|---|---:|",
            *(f"| {name} | {ratios[key]:.2f} |" for name, key in others.items()),
            "",
            "| stage | seconds | rows a second | peak MiB |",
            "|---|---:|---:|---:|",
            *(
                f"| {name} | {measured[job]['seconds']:.1f} "
                f"| {measured[job]['rows_per_second']:,.0f} | {measured[job]['peak_mib']:,.0f} |"
                for name, job in stages.items()
            ),
            "",
            f"MiniLM (22 million parameters), {result['corpus']}, "
            f"{result['hardware']['cpu_count']} CPU cores (`make bench-speed CORPORA=DIR`).",
        ]
    )


def render_model_block(result: Mapping[str, Any]) -> str:
    """A larger model's epoch and scan, as Markdown."""
    epoch, scan = (result["measured"][job] for job in ("finetune", "scan"))
    return "\n".join(
        [
            "| stage | seconds | rows a second | peak MiB |",
            "|---|---:|---:|---:|",
            *(
                f"| {name} | {job['seconds']:.1f} | {job['rows_per_second']:,.0f} "
                f"| {job['peak_mib']:,.0f} |"
                for name, job in (("plain fine-tuning, one epoch", epoch), ("scan", scan))
            ),
            "",
            f"{result['architecture']}, {result['parameters'] / 1e6:,.0f} million parameters, "
            f"{result['vocabulary_size']:,} embedding rows, {result['rows']:,} rows of "
            f"{result['corpus']}, "
            f"{result['hardware']['cpu_count']} CPU cores: a scan takes "
            f"{scan['seconds'] / epoch['seconds']:.2f} of an epoch "
            "(`python -m tools.speed --model DIR --corpora DIR`).",
        ]
    )


def render_sizes_block(result: Mapping[str, Any]) -> str:
    """Seconds of each stage by number of rows, and a scan as a share of an epoch, as Markdown."""
    stages = {
        "plain fine-tuning, one epoch": ("finetune", "seconds"),
        "scan with the model": ("scan", "seconds"),
        "– the embedding-only round": ("scan", "probe_embedding-only_seconds"),
        "– the evidence, on the CPU": ("scan", "evidence_seconds"),
        "plain run, three epochs": ("run", "seconds"),
        "defended run, three epochs": ("defended-run", "seconds"),
    }
    lines = []
    measured = {rows: m for rows, m in result["measured"].items() if "scan" in m}
    for title, (job, key) in stages.items():
        spent = [f"{m[job][key]:.1f} s" if job in m else "–" for m in measured.values()]
        lines.append(f"| {title} | {' | '.join(spent)} |")
    shares = [f"{m['scan']['seconds'] / m['finetune']['seconds']:.2f}" for m in measured.values()]
    lines.append(f"| a scan as a share of an epoch | {' | '.join(shares)} |")
    heads = " | ".join(f"{rows} rows" for rows in measured)
    return "\n".join(
        [
            f"| stage | {heads} |",
            f"|---|{'---:|' * len(measured)}",
            *lines,
            "",
            f"MiniLM (22 million parameters), SST-2, {result['hardware']['device']}, "
            f"{result['hardware']['cpu_count']} CPU cores "
            "(`python -m tools.speed --sizes --corpora DIR`).",
        ]
    )


def render_answer_block(record: Mapping[str, Any]) -> str:
    """What the terminal says of a record, as a block of text."""
    console = Console(width=80, file=StringIO(), color_system=None)
    with console.capture() as told:
        console.print(render_record(record))
    lines = [line.rstrip() for line in told.get().splitlines()]
    return "\n".join(["```text", *lines, "```"])


def list_entries(folder: Path) -> str:
    """The log's entries by month, the last month first, each with a link to it.

    Args:
        folder: Of one page a month.
    """
    lines = []
    for page in sorted(folder.glob("*.md"), reverse=True):
        titles = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        address = f"{folder.name}/{page.name}"
        lines += [f"**[{page.stem}]({address})**", ""]
        lines += [f"- [{title}]({address}#{_name_anchor(title)})" for title in titles] + [""]
    return "\n".join(lines[:-1])


def _name_anchor(title: str) -> str:
    """The anchor of a heading, as code hosts and the documentation site name it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _read(path: Path) -> Any:
    if not path.exists():
        raise InputError(f"{path}: expected a committed result, found none. Run it first.")
    return json.loads(path.read_text(encoding="utf-8"))


_BLOCKS: dict[str, Callable[[Path], str]] = {
    "terminal": lambda results: render_terminal_block(_read(results / "demo-record.json")),
    "answer": lambda results: render_answer_block(_read(results / "demo-record.json")),
    "demo": lambda results: render_demo_block(_read(results / "demo.json")),
    "large": lambda results: render_large(_read(results / "large.json")),
    "lora": lambda results: render_lora(_read(results / "lora.json")),
    "speed": lambda results: render_speed_block(_read(results / "speed.json")),
    "speed-model": lambda results: render_model_block(_read(results / "speed-model.json")),
    "speed-sizes": lambda results: render_sizes_block(_read(results / "speed-sizes.json")),
    "probe-rows": lambda results: render_probe_rows(_read(results / "probe-rows.json")),
    "ablation": lambda results: render_ablation(results / "bars"),
    "startup": lambda results: render_startup(_read(results / "startup.json")),
    "imports": lambda results: render_imports(_read(results / "imports.json")),
    "bars": lambda results: render_bars(results / "bars"),
    "entries": lambda results: list_entries(results.parents[1] / LOG),
    "null": lambda results: render_null_table(read_null(results / "null.json")),
}


def render_page(text: str, results: Path = RESULTS) -> str:
    """A page with every block between its markers made anew.

    Raises:
        InputError: A block whose result is not there, or that no renderer knows.
    """

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in _BLOCKS:
            raise InputError(f"block {name!r}: expected one of {', '.join(_BLOCKS)}.")
        block = _BLOCKS[name](results)
        return f"<!-- {name}:start -->\n{block}\n<!-- {name}:end -->"

    pattern = r"<!-- (?P<name>[\w-]+):start -->\n.*?<!-- (?P=name):end -->"
    return re.sub(pattern, replace, text, flags=re.DOTALL)


def render_picture(results: Path = RESULTS) -> bytes:
    """The picture of the evidence, from the demo's committed result."""
    return draw_evidence(json.loads((results / "demo.json").read_text(encoding="utf-8")))


def render_schema(schema: Mapping[str, Any]) -> str:
    """The page on the record's form, from its JSON Schema."""
    lines = [
        "# The record",
        "",
        f"{schema['description']} Its form is a JSON Schema, version "
        f"{schema['properties']['record_version']['const']}, which ships with the package:",
        "`btu/report/record.schema.json`. This page is rendered from it.",
        "",
        "A `?` marks a field that can be null. Fields of `defence` records alone come last.",
    ]
    parts = {"Top level": schema, **{f"`{n}`": part for n, part in schema["$defs"].items()}}
    for title, part in parts.items():
        lines += ["", f"## {title}", ""]
        if part is not schema:
            lines += [part["description"], ""]
        lines += ["| field | type | what it says |", "|---|---|---|"]
        lines += _list_fields(part["properties"], "")
    return "\n".join(lines) + "\n"


def _list_fields(fields: Mapping[str, Any], path: str) -> list[str]:
    lines = []
    for name, field in fields.items():
        kind, inner = _describe_type(field)
        lines.append(f"| `{path}{name}` | {kind} | {field['description']} |")
        if inner:
            lines += _list_fields(inner, f"{path}{name}.")
    return lines


def _describe_type(field: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """How a type reads, and the fields inside it."""
    if "const" in field:
        return f"`{field['const']}`", {}
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"]), {}
    if "anyOf" in field:
        return f"{_describe_type(field['anyOf'][0])[0]}?", {}
    if "$ref" in field:
        return f"[{field['$ref'].rpartition('/')[2]}](#{field['$ref'].rpartition('/')[2]})", {}
    kinds = [field["type"]] if isinstance(field.get("type"), str) else field.get("type", ["any"])
    mark = "?" if "null" in kinds else ""
    kind = " or ".join(k for k in kinds if k != "null")
    if kind == "array":
        inner, fields = _describe_type(field["items"])
        return f"list of {inner}{mark}", fields
    if kind == "object" and "properties" not in field:
        return f"object by name{mark}", field["additionalProperties"].get("properties", {})
    return f"{kind}{mark}", field.get("properties", {})


def render_files(results: Path = RESULTS) -> dict[Path, bytes]:
    """Whole files that are rendered: pictures, the pages on record and commands, the report."""
    record = json.loads((results / "demo-record.json").read_text(encoding="utf-8"))
    return {
        PICTURE: render_picture(results),
        NULL_PICTURE: draw_null(read_null(results / "null.json")),
        RECORD_PAGE: render_schema(load_schema()).encode(),
        COMMANDS_PAGE: render_commands().encode(),
        DEMO_REPORT: render_html(record).encode(),
        RETRAINED_PAGE: render_retrained(_read(results / "retrained.json")).encode(),
    }


def main() -> int:
    """Rewrite or check all pages."""
    parser = argparse.ArgumentParser(description="Write the docs' numbers from results.")
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if old")
    check = parser.parse_args().check
    stale = False
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fresh = render_page(text)
        if fresh != text:
            stale = True
            sys.stdout.write(f"{page}: {'out of date' if check else 'written'}\n")
            if not check:
                page.write_text(fresh, encoding="utf-8")
    for path, content in render_files().items():
        if not path.exists() or path.read_bytes() != content:
            stale = True
            sys.stdout.write(f"{path}: {'out of date' if check else 'written'}\n")
            if not check:
                path.write_bytes(content)
    return int(check and stale)


if __name__ == "__main__":
    sys.exit(main())
