"""Tables of the benchmark, rendered from results: Markdown between markers, and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from btu.attacks.options import hint
from btu.bench.cells import ORACLE, UNDEFENDED, CellSettings
from btu.bench.columns import COLUMNS, NOTHING, ONE_SEED, render_percent, render_table
from btu.bench.experiment import Benchmark, Experiment
from btu.bench.lines import Block, Line, Result, build_blocks, build_rows
from btu.bench.rivals import render_rivals
from btu.bench.targets import render_targets
from btu.support.errors import InputError

_MARKED = re.compile(r"(<!-- bench:([^>]*?)-->\n).*?(<!-- /bench -->)", re.DOTALL)
_PARTS = ("overview", "details", "confusion", "short")
_USUAL_PARTS = ("overview", "details")
_WHOLE = {"targets": render_targets, "rivals": render_rivals}
_OURS = "btu-"
_OUR_TITLES = {"btu-verified": "**btu**", "btu-drop-suspects": "**btu --drop-suspects**"}
_MOST_COLUMNS = 6
_LONGEST_ERROR = 160


@dataclass(frozen=True)
class TableView:
    """What stands between two markers: `<!-- bench: EXPERIMENT [PART...] [CORPUS...] -->`.

    `targets` and `rivals` in place of an experiment stand for the whole benchmark.

    Attributes:
        experiment: Its name.
        parts: overview, details, confusion, short; the first two where none is named.
        corpora: Only these; all where there are none.
    """

    experiment: str
    parts: tuple[str, ...] = _USUAL_PARTS
    corpora: tuple[str, ...] = ()


def render_document(
    text: str,
    benchmark: Benchmark,
    results: Mapping[str, Result],
    *,
    figures: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """A document with everything between its markers rendered anew.

    Args:
        text: The document; what stands outside of markers stays.
        benchmark: Has the experiments that the markers name.
        results: By the cells' keys.
        figures: Paths of figures, seen from the document, by `experiment/corpus`.

    Raises:
        InputError: A marker names what there is not, or the document has no marker.
    """
    faults: list[str] = []

    def render(match: re.Match[str]) -> str:
        whole = _WHOLE.get(match[2].strip())
        if whole is not None:
            return f"{match[1]}\n{whole(benchmark, results)}\n\n{match[3]}"
        view = _read_view(match[2].split(), benchmark, faults)
        body = "" if view is None else render_view(view, benchmark, results, figures=figures)
        return f"{match[1]}{body}{match[3]}"

    rendered, count = _MARKED.subn(render, text)
    if not count:
        faults.append("expected markers <!-- bench: EXPERIMENT --> and <!-- /bench -->, got none")
    if faults:
        raise InputError.from_faults("benchmark document", faults)
    return rendered


def render_view(
    view: TableView,
    benchmark: Benchmark,
    results: Mapping[str, Result],
    *,
    figures: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Tables of one experiment, corpus by corpus, as Markdown."""
    experiment = next(e for e in benchmark.experiments if e.name == view.experiment)
    by_corpus: dict[str, list[Block]] = {}
    for block in build_blocks(experiment, results):
        if not view.corpora or block.corpus in view.corpora:
            by_corpus.setdefault(block.corpus, []).append(block)
    has_prose = view.parts not in (("confusion",), ("short",))
    pieces = [render_circumstances(experiment, results)] if has_prose else []
    if "confusion" in view.parts:
        pieces.append(render_confusion([b for blocks in by_corpus.values() for b in blocks]))
    for corpus, blocks in by_corpus.items():
        if "overview" in view.parts:
            pieces.append(render_overview(corpus, blocks))
        if "short" in view.parts:
            pieces.append(render_short(corpus, blocks))
        if "details" in view.parts:
            pieces += [
                f"![{corpus}]({path})"
                for path in (figures or {}).get(f"{experiment.name}/{corpus}", ())
            ]
            pieces += [render_details(block) for block in blocks]
    return "\n" + "\n\n".join(pieces) + "\n\n"


def render_circumstances(experiment: Experiment, results: Mapping[str, Result]) -> str:
    """One paragraph: what it shows, model, budget, and the source code that measured."""
    corpora: dict[CellSettings, dict[str, None]] = {}
    for cell in experiment.cells:
        corpora.setdefault(cell.settings, {})[cell.rule.name] = None
    said = [
        (f"{', '.join(names)}: " if len(corpora) > 1 else "") + _render_settings(settings)
        for settings, names in corpora.items()
    ]
    measured = [results[cell.key] for cell in experiment.cells if cell.key in results]
    commits = {
        f"{str(result['commit'])[:10]}{' with changes' if result['dirty'] else ''}"
        for result in measured
        if result.get("commit")
    }
    if commits:
        said.append(f"Measured at commit {', '.join(sorted(commits))}.")
    said.append(f"{len(measured)} of {len(experiment.cells)} cells have a result.")
    return " ".join(filter(None, [experiment.about, *said]))


def render_short(corpus: str, blocks: Sequence[Block]) -> str:
    """No defence, the oracle, the best rival and ours, one column an attack.

    The best rival is the one that leaves the least attack success in the mean over these attacks.
    """
    lines = {(line.defence, i): line for i, block in enumerate(blocks) for line in block.lines}
    success = {
        name: [
            lines[name, i].mean("attack_success_rate") if (name, i) in lines else None
            for i in range(len(blocks))
        ]
        for name in dict.fromkeys(name for name, _ in lines)
    }
    rivals = {
        name: sum(value or 0.0 for value in values)
        for name, values in success.items()
        if name not in (UNDEFENDED, ORACLE) and not name.startswith(_OURS) and None not in values
    }
    best = min(rivals, key=lambda name: rivals[name], default=None)
    shown = {UNDEFENDED: "no defence", ORACLE: "trained on the true clean rows (oracle)"}
    if best is not None:
        shown[best] = f"{best}, the best rival"
    shown |= {name: title for name, title in _OUR_TITLES.items() if name in success}
    rows = [
        [title, *(_render_overview_cell(lines.get((name, i)), b) for i, b in enumerate(blocks))]
        for name, title in shown.items()
    ]
    header = f"{corpus}: attack success rate (clean accuracy)"
    return render_table([header, *(block.title for block in blocks)], rows)


def render_overview(corpus: str, blocks: Sequence[Block]) -> str:
    """Attack success rate and clean accuracy of every defence.

    One column an attack, or one row an attack where these are more than fit beside each other.
    """
    defences = list(dict.fromkeys(line.defence for block in blocks for line in block.lines))
    title = f"{corpus}: attack success rate (clean accuracy)"
    columns = [["", *defences]]
    for block in blocks:
        lines = [next((x for x in block.lines if x.defence == d), None) for d in defences]
        cells = [_render_overview_cell(line, block) for line in lines]
        columns.append([block.title, *cells])
    if len(blocks) <= _MOST_COLUMNS:
        columns = list(map(list, zip(*columns, strict=True)))
    (_, *header), *rows = columns
    return render_table([title, *header], rows)


def render_confusion(blocks: Sequence[Block]) -> str:
    """Rows of every attack by truth and judgement, for each defence that judges rows.

    Counts of training rows, means over seeds.
    """
    rows = []
    for block in blocks:
        for line in block.lines:
            names = ("rows_hit", "rows_poisoned", "rows_flagged", "rows_trained")
            means = [line.mean(name) for name in names]
            if any(mean is None for mean in means):
                continue
            hit, poisoned, flagged, trained = (mean or 0.0 for mean in means)
            counts = (hit, poisoned - hit, flagged - hit, trained - poisoned - flagged + hit)
            rows.append(
                [
                    f"{block.corpus}, {block.title}",
                    line.defence,
                    *(f"{count:,.0f}" for count in counts),
                    _render_seeds(line),
                ]
            )
    if not rows:
        return "No rows judged yet."
    header = ["attack", "defence", "poisoned, flagged", "poisoned, kept", "clean, flagged"]
    return render_table([*header, "clean, kept", "seeds"], rows)


def render_details(block: Block) -> str:
    """Every column of one attack on one corpus, one line a defence."""
    title = f"**{block.corpus}, {block.title}**"
    ratios = [r for line in block.lines if (r := line.mean("perplexity_ratio")) is not None]
    stealth = [f"perplexity with the trigger × {ratios[0]:.2g}"] if ratios else []
    notes = [*([block.note] if block.note else []), *stealth]
    note = f" ({'; '.join(notes)})" if notes else ""
    if block.missing is not None:
        return f"{title}: {block.missing}."
    if all(line.state == "not run" for line in block.lines):
        return f"{title}{note}: not run."
    columns = [c for c in COLUMNS if any(c.render(line) != NOTHING for line in block.lines)]
    rows = [
        [line.defence, *(column.render(line) for column in columns), _render_seeds(line)]
        for line in block.lines
    ]
    table = render_table(["defence", *(c.title for c in columns), "seeds"], rows)
    errors = [
        f"- {line.defence}, seed {seed}: {_render_error(error)}"
        for line in block.lines
        for seed, error in line.errors
    ]
    return "\n\n".join([title + note, table, *(["\n".join(errors)] if errors else [])])


def render_csv(benchmark: Benchmark, results: Mapping[str, Result]) -> str:
    """One row a cell, every metric, holes included."""
    rows = [row for experiment in benchmark.experiments for row in build_rows(experiment, results)]
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _render_settings(settings: CellSettings) -> str:
    model = Path(settings.model).name if Path(settings.model).is_absolute() else settings.model
    epochs = "1 epoch" if settings.epochs == 1 else f"{settings.epochs:g} epochs"
    return (
        f"Model {model}, {epochs}, learning rate {settings.learning_rate:g}, batches of "
        f"{settings.batch_size}, at most {settings.max_train_rows:,} training and "
        f"{settings.max_test_rows:,} test rows."
    )


def _read_view(words: Sequence[str], benchmark: Benchmark, faults: list[str]) -> TableView | None:
    names = [experiment.name for experiment in benchmark.experiments]
    if not words or words[0] not in names:
        name, known = words[0] if words else "", [*names, *_WHOLE]
        faults.append(f"bench: {name}: expected one of {', '.join(known)}{hint(name, known)}")
        return None
    name, *rest = words
    cells = next(e for e in benchmark.experiments if e.name == name).cells
    corpora = list(dict.fromkeys(cell.rule.name for cell in cells))
    known = [*_PARTS, *corpora]
    unknown = [word for word in rest if word not in known]
    faults += [
        f"bench: {name} {word}: expected one of {', '.join(known)}{hint(word, known)}"
        for word in unknown
    ]
    parts = tuple(part for part in _PARTS if part in rest) or _USUAL_PARTS
    return TableView(name, parts, tuple(corpus for corpus in corpora if corpus in rest))


def _render_overview_cell(line: Line | None, block: Block) -> str:
    if block.missing is not None:
        return "not available"
    if line is None:
        return NOTHING
    if line.state != "ok":
        return line.state
    accuracy, success = line.mean("clean_accuracy"), line.mean("attack_success_rate")
    mark = ONE_SEED if len(line.values["clean_accuracy"]) == 1 else ""
    texts = [NOTHING if value is None else render_percent(value) for value in (success, accuracy)]
    return f"{texts[0]} ({texts[1]}){mark}"


def _render_seeds(line: Line) -> str:
    done, asked = line.statuses.count("ok"), len(line.seeds)
    return str(done) if done == asked else f"{done} of {asked}"


def _render_error(error: str) -> str:
    """One line of code: nothing in it is read as Markdown or HTML."""
    text = " ".join(error.replace("`", "'").split())
    return f"`{text[:_LONGEST_ERROR]}{'…' if len(text) > _LONGEST_ERROR else ''}`"
