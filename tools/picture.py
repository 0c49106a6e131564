"""The picture of the docs: what the evidence sees in the demo's data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from btu.bench.figures import close_figure, open_figure
from btu.report.text import show_text


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
