"""The picture of the docs: what the evidence sees in the demo's data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from btu.bench.figures import close_figure, open_figure
from btu.corpus import Corpus
from btu.evidence.planting import plant_words
from btu.evidence.search import Round
from btu.evidence.view import View
from btu.report.text import show_text

_FEWEST_ROWS = 16


def measure_words(corpus: Corpus, *, seed: int = 0) -> dict[str, list[Any]]:
    """How words and phrases of a corpus are placed and how their rows read, for the picture.

    Args:
        corpus: N rows.
        seed: Of the planted dummies.

    Returns:
        Columns `name`, `rows`, `placed` (mean break) and `share` (0 like the label's rows, 1 like
        the others'), of those in 16 rows and more.
    """
    view = View.of(corpus.texts, corpus.labels, corpus.num_labels)
    planted, neighbours = plant_words(view.words, seed)
    now = Round.of(view, neighbours, planted)
    names, spelled = view.words.names, now.units.words_of(view.words)
    chosen = np.flatnonzero(now.measures.rows >= _FEWEST_ROWS)
    return {
        "name": [" ".join(names[i] for i in spelled[unit]) for unit in chosen.tolist()],
        "rows": now.measures.rows[chosen].tolist(),
        "placed": now.measures.placed[chosen].round(3).tolist(),
        "share": now.measures.share[chosen].round(3).tolist(),
    }


def draw_evidence(result: Mapping[str, Any]) -> bytes:
    """Where words stand against what their rows say, those called triggers apart, as SVG.

    Args:
        result: Of the demo.
    """
    words, triggers = result["words"], set(result["triggers"])
    rows = list(zip(words["name"], words["placed"], words["share"], strict=True))
    figure, (axis,) = open_figure(1, width=6.0)
    honest = [row for row in rows if row[0] not in triggers]
    found = [row for row in rows if row[0] in triggers]
    axis.plot(
        [placed for _, placed, _ in honest],
        [share for _, _, share in honest],
        linestyle="",
        marker=".",
        markersize=3,
        color="C0",
        alpha=0.5,
        label="honest words",
    )
    axis.plot(
        [placed for _, placed, _ in found],
        [share for _, _, share in found],
        linestyle="",
        marker="o",
        color="C3",
        label="called triggers",
    )
    for name, placed, share in found:
        axis.annotate(
            show_text(name).replace("$", r"\$"),
            (placed, share),
            xytext=(6, 3),
            textcoords="offset points",
        )
    axis.set_xlabel("break where it stands (high: was inserted)")
    axis.set_ylabel("its rows read like other labels")
    return close_figure(figure, [axis], "Words and phrases of the demo's reviews")
