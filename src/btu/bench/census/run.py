"""Conductor: census files to results. What is counted is not counted again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from btu.bench.census.plan import Census, CensusCase
from btu.bench.census.rows import (
    Counted,
    NotPossibleError,
    find_file,
    load_source,
    prepare_rows,
)
from btu.bench.census.store import DONE, FAILED, SKIPPED, Counts, SourceStore
from btu.bench.results import read_commit
from btu.data.corpus import Corpus
from btu.evidence.find import find_evidence
from btu.evidence.tests import Evidence, Test
from btu.support.errors import InputError
from btu.support.progress import track

_MOST_NAMES = 20


@dataclass(frozen=True)
class CensusSummary:
    """What a census did: ids of cases by what became of them.

    Attributes:
        results: Where the results are.
        kept: Had a result already.
        done: Have one now.
        skipped: Have one now, which says that the corpus has too few rows or words.
        failed: Failed now.
    """

    results: Path
    kept: tuple[str, ...]
    done: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[str, ...]


def run_census(
    census: Census,
    *,
    corpora: Sequence[Path],
    results: Path | None = None,
    only: str = "*",
    again: bool = False,
    find: Callable[..., Evidence] = find_evidence,
    tell: Callable[[str, Counts], None] | None = None,
) -> CensusSummary:
    """Count the cases of a census that have no result yet, one after the other, in one thread.

    Args:
        census: What is asked for.
        corpora: Folders of corpora; a file is taken from the first that has it.
        results: Where results go; beside the census files if left out.
        only: Count only cases whose id matches this pattern, such as `sst2-*`.
        again: Count cases that have a result too.
        find: What is measured, called as `btu.evidence.find_evidence`.
        tell: Is told of each case as it ends.

    Raises:
        InputError: A file of a corpus is missing or cannot be used.
    """
    folder = results or census.results
    cases = [case for case in census.cases if fnmatch(case.id, only)]
    _check_files(cases, corpora)
    read_commit()
    count = partial(_try_case, corpora=corpora, find=find)
    ended: dict[str, str] = {}
    with threadpool_limits(1):
        for source in dict.fromkeys(case.source for case in cases):
            whole = load_source(source, corpora)
            store = SourceStore(folder, source, whole)
            own = [case for case in cases if case.source == source]
            left = [c for c in own if again or not store.is_done(c)]
            for case in track(left, source.name):
                counts = count(case, whole)
                store.add(case, counts)
                ended[case.id] = next((s for s in (SKIPPED, FAILED) if s in counts), DONE)
                if tell is not None:
                    tell(case.id, counts)
    return CensusSummary(
        results=folder,
        kept=tuple(case.id for case in cases if case.id not in ended),
        done=tuple(name for name, status in ended.items() if status == DONE),
        skipped=tuple(name for name, status in ended.items() if status == SKIPPED),
        failed=tuple(name for name, status in ended.items() if status == FAILED),
    )


def _try_case(
    case: CensusCase,
    whole: Corpus,
    *,
    corpora: Sequence[Path],
    find: Callable[..., Evidence],
) -> Counts:
    """What was counted, or why nothing was: one case stops no other."""
    try:
        rows = prepare_rows(case, whole, corpora)
    except NotPossibleError as error:
        return {SKIPPED: str(error)}
    try:
        return count_case(case, rows, find=find)
    except Exception as error:
        return {FAILED: f"{type(error).__name__}: {error}"}


def count_case(
    case: CensusCase,
    rows: Counted,
    *,
    find: Callable[..., Evidence] = find_evidence,
) -> dict[str, Any]:
    """What the evidence says of the rows of a case, against the truth; JSON types.

    A finding counts as right where at least half of its rows are poisoned. `seconds` are those of
    the evidence alone.
    """
    corpus, is_poisoned = rows.corpus, rows.is_poisoned
    start = perf_counter()
    evidence = find(corpus.texts, corpus.labels, num_labels=corpus.num_labels, seed=case.seed)
    seconds = perf_counter() - start
    flagged = evidence.flagged
    suspected = np.zeros(len(corpus), dtype=bool)
    for test in evidence.suspects:
        suspected[test.rows] = True
    suspected &= ~flagged
    honest = [t.false_alarms for t in evidence.tests if not _is_right(t, is_poisoned)]
    triggers = [
        {
            "name": test.name,
            "kind": test.kind,
            "label": corpus.label_names[test.label],
            "rows": len(test.rows),
            "poisoned": int(is_poisoned[test.rows].sum()),
        }
        for test in evidence.triggers
    ]
    return {
        "rows": len(corpus),
        "labels": corpus.num_labels,
        "target_label": None if rows.target is None else corpus.label_names[rows.target],
        "planted": int(is_poisoned.sum()),
        "found": int((flagged & is_poisoned).sum()),
        "found_as_suspects": int((suspected & is_poisoned).sum()),
        "clean_flagged": int((flagged & ~is_poisoned).sum()),
        "clean_suspected": int((suspected & ~is_poisoned).sum()),
        "num_triggers": len(triggers),
        "wrong_triggers": sum(not _is_right(t, is_poisoned) for t in evidence.triggers),
        "triggers": triggers[:_MOST_NAMES],
        "suspects": len(evidence.suspects),
        "least_honest_false_alarms": _round(min(honest, default=None)),
        "limit": {
            "word_rows": evidence.limit.word_rows,
            "sentence_rows": evidence.limit.sentence_rows,
        },
        "seconds": round(seconds, 2),
    }


def _is_right(test: Test, is_poisoned: NDArray[np.bool_]) -> bool:
    return bool(is_poisoned[test.rows].mean() >= 0.5)


def _check_files(cases: Sequence[CensusCase], corpora: Sequence[Path]) -> None:
    faults: dict[str, None] = {}
    for file in dict.fromkeys(file for case in cases for file in case.source.files):
        try:
            find_file(file, corpora)
        except InputError as error:
            faults[str(error)] = None
    if faults:
        raise InputError.from_faults("census", faults)


def _round(value: float | None) -> float | None:
    """Three digits that count."""
    return None if value is None else float(f"{value:.3g}")
