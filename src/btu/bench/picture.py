"""The picture of the docs: what the evidence sees in the demo's data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from btu.bench.figures import close_figure, open_figure
from btu.report.text import show_text

_LOOKS = {
    "trigger": {"color": "C3", "marker": "o"},
    "suspect": {"color": "C1", "marker": "s"},
    "innocent": {"color": "C0", "marker": "^"},
}


def draw_evidence(result: Mapping[str, Any]) -> bytes:
    """Label lift against mislabelled share of every token that was looked into twice, as SVG.

    Args:
        result: Of the demo.
    """
    figure, (axis,) = open_figure(1, width=6.0)
    for verdict, look in _LOOKS.items():
        tokens = [t for t in result["tokens"] if t["verdict"] == verdict]
        if tokens:
            axis.errorbar(
                [t["label_lift"] for t in tokens],
                [t["mislabelled_share"] for t in tokens],
                yerr=[t["spread"] for t in tokens],
                linestyle="",
                capsize=2,
                label=verdict,
                **look,
            )
        for t in tokens:
            axis.annotate(
                show_text(t["token"]).replace("$", r"\$"),
                (t["label_lift"], t["mislabelled_share"]),
                xytext=(5, 3),
                textcoords="offset points",
            )
    axis.set_xscale("log")
    axis.set_xticks([2, 3, 5, 10, 20], labels=["2", "3", "5", "10", "20"])
    axis.set_xticks([], minor=True)
    axis.set_xlabel("label lift, standard deviations")
    axis.set_ylabel("mislabelled share of its rows")
    return close_figure(figure, [axis], "Tokens of the demo's reviews")
