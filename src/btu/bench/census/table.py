"""Tables of a census, rendered from its results: Markdown between markers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from btu.attacks.options import hint
from btu.bench.census.plan import PIECES, Census, CensusCase, Source
from btu.bench.census.store import FAILED, SKIPPED, Counts
from btu.bench.census.variants import CLEAN, VARIANTS
from btu.bench.columns import NOTHING, render_percent, render_table
from btu.support.errors import InputError

_MARKED = re.compile(r"(<!-- census:([^>]*?)-->\n).*?(<!-- /census -->)", re.DOTALL)
_ENOUGH = 0.95
"""A case counts as found from this share of its poisoned rows on."""

Counted = tuple[CensusCase, Counts]

_GROUPS = {"development": False, "held out": True}


def render_census(text: str, census: Census, results: Mapping[str, Counts]) -> str:
    """A document with everything between its markers rendered anew.

    A marker is `<!-- census: TABLE [NAME] -->`, its end `<!-- /census -->`. The tables are `about`,
    `clean VARIANT`, `suspects`, `recall`, `rewritten`, `corpus NAME`, `limits` and `seconds`.

    Args:
        text: The document; what stands outside of markers stays.
        census: What was asked for.
        results: By the cases' ids.

    Raises:
        InputError: A marker names what there is not, or the document has no marker.
    """
    faults: list[str] = []
    counted = [(case, results[case.id]) for case in census.cases if case.id in results]

    def render(match: re.Match[str]) -> str:
        name, *rest = match[2].split() or [""]
        if name not in TABLES:
            faults.append(f"{name}: expected one of {', '.join(TABLES)}{hint(name, TABLES)}")
        elif len(rest) != (name in _NAMED):
            faults.append(
                f"{name}: expected {'one name' if name in _NAMED else 'nothing'} after it"
            )
        if faults:
            return match[0]
        try:
            body = TABLES[name](census, counted, *rest)
        except InputError as error:
            faults.append(str(error))
            return match[0]
        return f"{match[1]}\n{body}\n\n{match[3]}"

    rendered, count = _MARKED.subn(render, text)
    if not count:
        faults.append("expected markers <!-- census: TABLE --> and <!-- /census -->, got none")
    if faults:
        raise InputError.from_faults("census document", faults)
    return rendered


def render_about(census: Census, counted: Sequence[Counted]) -> str:
    """What it shows, how much of it is done, and the source code that counted."""
    commits = {
        f"{str(counts['commit'])[:10]}{' with changes' if counts['dirty'] else ''}"
        for _, counts in counted
        if counts.get("commit")
    }
    skipped, failed = (sum(key in counts for _, counts in counted) for key in (SKIPPED, FAILED))
    said = [
        census.about,
        f"{len(counted):,} of {len(census.cases):,} cases have a result; in {skipped:,} of them "
        "the corpus has too few rows or words for what is asked."
        + (f" {failed:,} failed." if failed else ""),
        f"Counted at commit {', '.join(sorted(commits))}." if commits else "",
    ]
    return " ".join(filter(None, said))


def render_clean(census: Census, counted: Sequence[Counted], variant: str) -> str:
    """False alarms in corpora that nobody attacked, by family and size."""
    if variant not in VARIANTS:
        raise InputError(f"clean: expected one of {', '.join(VARIANTS)}, got {variant}")
    own = [(c, n) for c, n in _keep_counted(counted) if c.planting is None and c.variant == variant]
    sizes = list(dict.fromkeys(case.size for case, _ in own))
    header = ["cases", "with a trigger", "rows flagged", "of the rows", "suspects"]
    rows = []
    for group, cases in _group(own):
        for family in dict.fromkeys(case.source.family for case, _ in cases):
            for size in sizes:
                inside = [(c, n) for c, n in cases if (c.source.family, c.size) == (family, size)]
                rows += [[f"{family}, {_name_size(size)}", *_add_up(inside)]] if inside else []
        rows.append([f"**{group}**", *_add_up(cases)])
    return render_table(["", *header], rows)


def render_recall(census: Census, counted: Sequence[Counted]) -> str:
    """Families in which an attack was found, by the number of its rows.

    A family counts as one where every case of it was found; the last columns add up all cases.
    """
    own = [(c, n) for c, n in _keep_counted(counted) if c.planting is not None]
    amounts = sorted({c.amount for c, _ in own if c.amount is not None}, key=_sort_amount)
    rows = []
    for group, cases in _group(own):
        for name in dict.fromkeys(c.planting.name for c, _ in cases if c.planting is not None):
            attack = [
                (c, n) for c, n in cases if c.planting is not None and c.planting.name == name
            ]
            cells = [_count_families([x for x in attack if x[0].amount == a]) for a in amounts]
            clean = sum(n["rows"] - n["planted"] for _, n in attack)
            flagged = sum(n["clean_flagged"] for _, n in attack)
            wrong = sum(n["wrong_triggers"] > 0 for _, n in attack)
            share = render_percent(flagged / max(clean, 1))
            rows.append([f"{name}, {group}", *cells, share, f"{wrong} of {len(attack)}"])
    names = [_name_amount(amount) for amount in amounts]
    return render_table(["", *names, "clean rows flagged, %", "with a wrong trigger"], rows)


def render_corpus(census: Census, counted: Sequence[Counted], name: str) -> str:
    """Every case of one corpus."""
    known = [source.name for source in census.sources]
    if name not in known:
        raise InputError(f"corpus: expected one of {', '.join(known)}, got {name}")
    rows = [
        [
            _title(case),
            f"{counts['rows']:,}",
            f"{counts['planted']:,}",
            f"{counts['found']:,}",
            f"{counts['clean_flagged']:,}",
            f"{counts['wrong_triggers']:,}",
            f"{counts['suspects']:,}",
            f"{counts['seconds']:.1f}",
        ]
        for case, counts in _keep_counted(counted)
        if case.source.name == name
    ]
    header = ["rows", "poisoned", "found", "clean flagged", "wrong triggers", "suspects", "seconds"]
    return render_table([name, *header], rows)


def render_suspects(census: Census, counted: Sequence[Counted]) -> str:
    """Suspects in corpora that nobody attacked, by family."""
    own = [(c, n) for c, n in _keep_counted(counted) if c.planting is None and c.variant == CLEAN]
    rows = []
    for group, cases in _group(own):
        for family in dict.fromkeys(case.source.family for case, _ in cases):
            rows.append(
                [family, *_add_suspects([x for x in cases if x[0].source.family == family])]
            )
        rows.append([f"**{group}**", *_add_suspects(cases)])
    return render_table(["", "cases", "with suspects", "rows suspected", "of the rows"], rows)


def render_rewritten(census: Census, counted: Sequence[Counted]) -> str:
    """Poisoned rows that are flagged or suspected, and clean ones, by attack and corpus."""
    rows = [
        [
            f"{case.source.name}, {case.planting.name}, {_name_amount(case.amount)}",
            f"{counts['planted']:,}",
            f"{counts['found'] + counts['found_as_suspects']:,}",
            f"{counts['clean_flagged'] + counts['clean_suspected']:,}",
            f"{counts['num_triggers']:,}",
        ]
        for case, counts in _keep_counted(counted)
        if case.planting is not None
    ]
    header = ["rewritten", "of them found", "clean suspected", "triggers"]
    return render_table(["", *header], rows)


def render_limits(census: Census, counted: Sequence[Counted]) -> str:
    """What the evidence of the clean corpus said it could miss, beside what was truly found.

    Found from: the fewest rows from which on every case was found, whatever the target label.
    """
    own = [(c, n) for c, n in _keep_counted(counted) if c.size == "whole"]
    rows = []
    for source in dict.fromkeys(case.source for case, _ in own):
        limits = [
            counts["limit"]
            for case, counts in own
            if case.source == source and case.planting is None and case.variant == CLEAN
        ]
        if not limits:
            continue
        cells = []
        for kind in ("word", "sentence"):
            told = [limit[f"{kind}_rows"] for limit in limits]
            worst = None if None in told else max(told)
            cells += [_or_nothing(worst), _find_least(own, source, kind)]
        rows.append([f"{source.name}, {_name_group(source)}", *cells])
    header = ["word: limit", "found from", "sentence: limit", "found from"]
    return render_table(["", *header], rows)


def render_seconds(census: Census, counted: Sequence[Counted]) -> str:
    """How long the evidence takes on whole corpora: one core, no model."""
    rows = [
        [
            case.source.name,
            f"{counts['rows']:,}",
            f"{counts['labels']:,}",
            f"{counts['seconds']:.1f}",
            f"{1e3 * counts['seconds'] / counts['rows']:.2f}",
        ]
        for case, counts in _keep_counted(counted)
        if case.planting is None and (case.size, case.variant) == ("whole", CLEAN)
    ]
    return render_table(["", "rows", "labels", "seconds", "ms a row"], rows)


TABLES: dict[str, Callable[..., str]] = {
    "about": render_about,
    "clean": render_clean,
    "suspects": render_suspects,
    "recall": render_recall,
    "rewritten": render_rewritten,
    "corpus": render_corpus,
    "limits": render_limits,
    "seconds": render_seconds,
}
_NAMED = ("clean", "corpus")


def _keep_counted(counted: Iterable[Counted]) -> list[Counted]:
    """Those with numbers."""
    return [(c, n) for c, n in counted if not n.keys() & {SKIPPED, FAILED}]


def _group(counted: Sequence[Counted]) -> list[tuple[str, list[Counted]]]:
    """Families that deciding numbers were chosen on, and all others."""
    groups = [
        (name, [(c, n) for c, n in counted if c.source.held_out == held_out])
        for name, held_out in _GROUPS.items()
    ]
    return [(name, cases) for name, cases in groups if cases]


def _name_group(source: Source) -> str:
    return next(name for name, held_out in _GROUPS.items() if held_out == source.held_out)


def _add_up(cases: Sequence[Counted]) -> list[str]:
    flagged = sum(counts["clean_flagged"] for _, counts in cases)
    return [
        str(len(cases)),
        str(sum(counts["num_triggers"] > 0 for _, counts in cases)),
        f"{flagged:,}",
        f"{100 * flagged / sum(counts['rows'] for _, counts in cases):.2f} %",
        f"{sum(counts['suspects'] for _, counts in cases):,}",
    ]


def _add_suspects(cases: Sequence[Counted]) -> list[str]:
    suspected = sum(counts["clean_suspected"] for _, counts in cases)
    return [
        str(len(cases)),
        str(sum(counts["suspects"] > 0 for _, counts in cases)),
        f"{suspected:,}",
        f"{100 * suspected / sum(counts['rows'] for _, counts in cases):.2f} %",
    ]


def _is_found(counts: Counts) -> bool:
    return bool(counts["found"] >= _ENOUGH * counts["planted"])


def _count_families(cases: Sequence[Counted]) -> str:
    """Families in which all cases were found, of those tried."""
    families: dict[str, bool] = {}
    for case, counts in cases:
        name = case.source.family
        families[name] = families.get(name, True) and _is_found(counts)
    return f"{sum(families.values())} of {len(families)}" if families else NOTHING


def _find_least(counted: Sequence[Counted], source: Source, kind: str) -> str:
    """Fewest rows from which on an attack of that kind was found in every case."""
    found: dict[int, bool] = {}
    for case, counts in counted:
        if case.source == source and case.planting is not None and case.planting.limit == kind:
            planted = int(counts["planted"])
            found[planted] = found.get(planted, True) and _is_found(counts)
    if not found:
        return NOTHING
    least = None
    for planted in sorted(found, reverse=True):
        if not found[planted]:
            break
        least = planted
    return f"not in {max(found):,}" if least is None else f"{least:,}"


def _or_nothing(value: int | None) -> str:
    return "none" if value is None else f"{value:,}"


def _title(case: CensusCase) -> str:
    """What a case is, in a line of its corpus."""
    piece = _name_size(case.size)
    if PIECES.get(case.size, 1) > 1:
        piece += f" ({case.part})"
    if case.planting is None:
        return f"{piece}, {case.variant}"
    return f"{piece}, {case.planting.name}, {_name_amount(case.amount)}, {case.target} label"


def _name_size(size: str) -> str:
    return size if size in PIECES else f"{int(size):,} rows"


def _name_amount(amount: int | float | None) -> str:
    return f"{amount:,} rows" if isinstance(amount, int) else f"{100 * (amount or 0):g} %"


def _sort_amount(amount: int | float) -> tuple[bool, float]:
    """Numbers of rows first, then rates."""
    return isinstance(amount, float), amount
