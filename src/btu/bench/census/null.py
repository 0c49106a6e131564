"""Are the chances that the evidence names chances? Scores of units where labels are dealt anew.

The bound on an honest unit's chance to score as high, `exp(-score)`, is a p-value: of honest units
at most a share t may have one of t and less. Where labels mean nothing every unit is honest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from btu.bench.columns import render_table
from btu.bench.figures import close_figure, open_figure
from btu.data.corpus import Corpus
from btu.evidence.pairs import score_pairs
from btu.evidence.planting import plant_words
from btu.evidence.search import Round
from btu.evidence.view import View
from btu.support.errors import InputError
from btu.support.record import build_record

KINDS = ("word", "phrase", "pair")
LEVELS = tuple(float(level) for level in 10.0 ** -np.arange(0.0, 5.25, 0.25))
"""p-values at which units are counted."""

_SHOWN = (1e-1, 1e-2, 1e-3, 1e-4)


@dataclass(frozen=True)
class NullCounts:
    """Units of one kind in one corpus whose labels mean nothing.

    Attributes:
        corpus: Its name.
        rows: N.
        kind: word, phrase or pair.
        tested: Units.
        below: How many have a p-value of each of `LEVELS` and less.
    """

    corpus: str
    rows: int
    kind: str
    tested: int
    below: tuple[int, ...]


def count_null(name: str, corpus: Corpus, *, seed: int) -> list[NullCounts]:
    """Count the units of a corpus after its labels were dealt anew.

    Args:
        name: Of the corpus.
        corpus: N rows.
        seed: Of the labels and the dummies.
    """
    labels = np.random.default_rng(seed).permutation(corpus.labels)
    with threadpool_limits(1):
        view = View.of(corpus.texts, labels, corpus.num_labels)
        planted, neighbours = plant_words(view.words, seed)
        now = Round.of(view, neighbours, planted)
        pairs = score_pairs(view, now.units, now.measures, neighbours, planted, seed=seed)
    is_word = now.units.length[now.judged.tested] == 1
    score = now.judged.scores.score
    # Pairs that do not stand out are taken to have a p-value of 1.
    found = {
        "word": (score[is_word], int(is_word.sum())),
        "phrase": (score[~is_word], int((~is_word).sum())),
        "pair": (np.zeros(0), 0) if pairs is None else (pairs.scores.score, pairs.count),
    }
    return [
        NullCounts(name, len(corpus), kind, tested, _count(scores))
        for kind, (scores, tested) in found.items()
    ]


def _count(score: NDArray[np.float64]) -> tuple[int, ...]:
    chance = np.exp(-np.clip(score, 0.0, 600.0))
    return tuple(int((chance <= level * (1 + 1e-9)).sum()) for level in LEVELS)


def add_up(counts: Sequence[NullCounts]) -> list[NullCounts]:
    """The counts of several deals of one corpus as one."""
    keys = dict.fromkeys((c.corpus, c.rows, c.kind) for c in counts)
    joined = []
    for corpus, rows, kind in keys:
        own = [c for c in counts if (c.corpus, c.rows, c.kind) == (corpus, rows, kind)]
        below = tuple(map(sum, zip(*(c.below for c in own), strict=True)))
        joined.append(NullCounts(corpus, rows, kind, sum(c.tested for c in own), below))
    return joined


def render_null(counts: Sequence[NullCounts]) -> str:
    """JSON, one line for each corpus and kind."""
    head = [f"{json.dumps(k)}: {json.dumps(v)}," for k, v in build_record("null", {}).items()]
    lines = ",\n".join(json.dumps(asdict(c)) for c in counts)
    return "\n".join(["{", *head, f'"counts": [\n{lines}\n]', "}\n"])


def read_null(path: Path) -> list[NullCounts]:
    """Counts out of a file that `render_null` made.

    Raises:
        InputError: It is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [NullCounts(**{**c, "below": tuple(c["below"])}) for c in found["counts"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: expected counts of p-values, got none ({error}). Write them with "
            "`btu bench null`."
        ) from error


def render_null_table(counts: Sequence[NullCounts]) -> str:
    """Shares of units up to a few p-values, in Markdown."""
    header = ["", "tested", *(f"p ≤ {level:g}" for level in _SHOWN)]
    rows = [
        [f"{c.corpus}, {c.rows:,} rows: {c.kind}", f"{c.tested:,}", *_shares(c)]
        for c in counts
        if c.tested
    ]
    return render_table(header, rows)


def _shares(counts: NullCounts) -> list[str]:
    places = [int(np.argmin([abs(np.log(known / level)) for known in LEVELS])) for level in _SHOWN]
    return [f"{counts.below[place] / counts.tested:.2g}" for place in places]


def draw_null(counts: Sequence[NullCounts]) -> bytes:
    """Share of units up to each p-value, as SVG; those of honest units stay below the diagonal."""
    figure, panels = open_figure(len(KINDS), width=2.6)
    for axis, kind in zip(panels, KINDS, strict=True):
        axis.plot(LEVELS, LEVELS, color="0.6", linestyle="--", linewidth=1, label="uniform")
        for c in (c for c in counts if c.kind == kind and c.tested):
            shares = np.array(c.below) / c.tested
            kept = shares > 0
            axis.plot(np.array(LEVELS)[kept], shares[kept], label=f"{c.rows:,} rows")
        axis.set(xscale="log", yscale="log", title=f"{kind}s", xlabel="p-value")
    panels[0].set_ylabel("share of units up to it")
    return close_figure(figure, panels, "Labels dealt anew")
