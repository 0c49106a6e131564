"""Plots of a record as SVG, the same bytes from the same record, for light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btu.evidence.tests import FLAGGED_SCORE
from btu.report.summary import Record, clip, count, percent
from btu.report.svg import COLOURS, close_axis, open_axis
from btu.report.text import show_token

_LOOKS = {
    "trigger": ("danger", "D"),
    "suspect": ("warning", "s"),
    "accepted": ("accent", "^"),
    "innocent": ("muted", "o"),
}
_NAMES = {
    "trigger": "trigger",
    "suspect": "suspect",
    "accepted": "accepted by a reviewer",
    "innocent": "looked into and cleared",
}
_CROWDS = ((1, 1), (2, 4), (5, 16), (17, 64), (65, None))  # tokens in a cell of the grey heat map
_MOST_NAMED = 10
_MOST_POINTS = 300
_NAME_LENGTH = 16
_BINS = 20


def pick_round(record: Record) -> str | None:
    """The probing round in which the gravest token stands furthest out; None without a round.

    Furthest out: best rank by drift, then most above the drift from which the round suspects.
    """
    rounds = list(record["drift_by_frequency"])
    if record["suspects"]:
        gravest = record["suspects"][0]
        seen = [name for name in rounds if name in gravest["drift"]]

        def distance(name: str) -> tuple[float, float]:
            threshold = record["thresholds"].get(name) or 1.0
            return gravest["rank"].get(name, np.inf), -gravest["drift"][name] / threshold

        return min(seen, key=distance, default=next(iter(rounds), None))
    return next(iter(rounds), None)


def pick_named(record: Record) -> list[Mapping[str, Any]]:
    """The tokens that a plot names: suspects, then accepted, then cleared ones of great lift."""
    cleared = sorted(record["cleared"], key=lambda t: -t["label_lift"])
    return [*record["suspects"], *record["accepted"], *cleared][:_MOST_NAMED]


def pick_tested(record: Record) -> list[Mapping[str, Any]]:
    """Those whose mislabelled share is known, in the order of `pick_named`."""
    cleared = sorted(record["cleared"], key=lambda t: -t["label_lift"])
    everything = [*record["suspects"], *record["accepted"], *cleared]
    return list(islice((t for t in everything if t["evidence"]), _MOST_NAMED))


def draw_drift(record: Record) -> bytes | None:
    """Drift against the number of rows, in `pick_round`'s round; all tokens grey, some as points.

    None where no round counted a token.
    """
    name = pick_round(record)
    if name is None or not np.sum(record["drift_by_frequency"][name]["counts"]):
        return None
    histogram = record["drift_by_frequency"][name]
    rows, drift = (np.asarray(histogram[f"{of}_edges"], dtype=float) for of in ("rows", "drift"))
    threshold = record["thresholds"].get(name)
    with open_axis() as (figure, axis):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        _draw_crowd(axis, rows, drift, np.asarray(histogram["counts"]))
        found = [("innocent", record["cleared"]), ("accepted", record["accepted"])]
        for verdict in ("suspect", "trigger"):
            found.append((verdict, [s for s in record["suspects"] if s["verdict"] == verdict]))
        for verdict, tokens in found:
            shown = [t for t in tokens if name in t["drift"]][:_MOST_POINTS]
            if shown:
                held = [t["rows"] for t in shown]
                moved = [float(np.clip(t["drift"][name], drift[0], drift[-1])) for t in shown]
                _draw_points(axis, held, moved, verdict, filled=verdict != "innocent")
        if threshold and drift[0] <= threshold <= drift[-1]:
            axis.axhline(threshold, color=COLOURS["muted"], linewidth=0.8, linestyle=(0, (4, 3)))
        axis.set_xlim(rows[0] * 0.85, rows[-1] * 1.18)
        axis.set_ylim(drift[0] * 0.9, drift[-1] * 1.25)
        _draw_names(axis, record["suspects"], name, drift)
        held_ticks = rows[:: max(1, len(rows) // 7)]
        axis.set_xticks(held_ticks, labels=[f"{tick:,.0f}" for tick in held_ticks])
        axis.set_xticks([], minor=True)
        moved_ticks = _round_ticks(drift[0], drift[-1])
        axis.set_yticks(moved_ticks, labels=[f"{tick:g}" for tick in moved_ticks])
        axis.set_yticks([], minor=True)
        axis.set_xlabel("rows that hold the token")
        axis.set_ylabel("drift")
        return close_axis(figure, axis)


def describe_drift(record: Record) -> str:
    """What `draw_drift` shows, in numbers and without a name from the data."""
    name = pick_round(record)
    assert name is not None
    tokens = int(np.sum(record["drift_by_frequency"][name]["counts"]))
    text = f"Drift against frequency of {count(tokens, 'token')}."
    shown = [s for s in record["suspects"] if name in s["drift"]]
    if shown:
        first = shown[0]
        text += (
            f" {count(len(shown), 'suspicious token')} among them; the first stands in "
            f"{count(first['rows'], 'row')}, moved by {first['drift'][name]:.3g} and holds place "
            f"{first['rank'][name]:,} by drift."
        )
    return text


def draw_label_lift(record: Record) -> bytes | None:
    """Over-representation of each label in the rows of `pick_named`'s tokens; None without any."""
    tokens = pick_named(record)
    if not tokens:
        return None
    with open_axis() as (figure, axis):
        for place, token in enumerate(tokens):
            label = _pointed_label(token)
            others = [lift for name, lift in token["label_lifts"].items() if name != label]
            others = others[:_MOST_POINTS]
            axis.plot(
                others,
                [place] * len(others),
                linestyle="",
                marker="|",
                markersize=8,
                color=COLOURS["muted"],
                label=None if place else "other labels",
            )
            lift = token["label_lifts"].get(label, token["label_lift"])
            _draw_points(axis, [lift], [place], token["verdict"])
            axis.annotate(
                show_token(label, _NAME_LENGTH),
                (lift, place),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=COLOURS["muted"],
                annotation_clip=True,
            )
        axis.axvline(0, color=COLOURS["line"], linewidth=1, zorder=0)
        low, high = axis.get_xlim()
        axis.set_xlim(low, high + 0.3 * (high - low))
        _name_places(axis, tokens)
        axis.set_xlabel("label lift, standard deviations")
        return close_axis(figure, axis)


def describe_label_lift(record: Record) -> str:
    """What `draw_label_lift` shows, in numbers and without a name from the data."""
    tokens = pick_named(record)
    lifts = [t["label_lifts"].get(_pointed_label(t), t["label_lift"]) for t in tokens]
    return (
        f"Label lift of {count(len(tokens), 'token')} under the label that each points to: from "
        f"{min(lifts):+.1f} to {max(lifts):+.1f} standard deviations; the first has "
        f"{lifts[0]:+.1f}."
    )


def draw_mislabelled_share(record: Record) -> bytes | None:
    """Mislabelled share of `pick_tested`'s tokens, one standard error to each side."""
    tokens = pick_tested(record)
    if not tokens:
        return None
    with open_axis() as (figure, axis):
        for place, token in enumerate(tokens):
            share, spread = token["evidence"]["mislabelled_share"], token["evidence"]["spread"]
            ends = [100 * clip(share - spread), 100 * clip(share + spread)]
            colour = COLOURS[_LOOKS[token["verdict"]][0]]
            axis.plot(ends, [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
            _draw_points(axis, [100 * clip(share)], [place], token["verdict"])
        axis.set_xlim(-4, 104)
        _name_places(axis, tokens)
        axis.set_xlabel("mislabelled share of its rows, %")
        return close_axis(figure, axis)


def describe_mislabelled_share(record: Record) -> str:
    """What `draw_mislabelled_share` shows, in numbers and without a name from the data."""
    tokens = pick_tested(record)
    first = tokens[0]["evidence"]
    return (
        f"Mislabelled share of {count(len(tokens), 'token')}; that of the first is "
        f"{percent(clip(first['mislabelled_share']), 0)} with a standard error of "
        f"{percent(first['spread'], 0)}."
    )


def draw_row_scores(record: Record) -> bytes | None:
    """How many rows have which score, those of score 0 left out; None where no row has one."""
    scores = _row_scores(record)
    if not scores:
        return None
    edges = np.linspace(0, 1, _BINS + 1)
    counts, _ = np.histogram(scores, bins=edges)
    middles = (edges[1:] + edges[:-1]) / 2
    parts = (
        ("flagged", "danger", middles >= FLAGGED_SCORE),
        ("suspected only", "warning", middles < FLAGGED_SCORE),
    )
    with open_axis() as (figure, axis):
        for label, colour, chosen in parts:
            if counts[chosen].any():
                axis.bar(
                    middles[chosen],
                    counts[chosen],
                    width=0.8 / _BINS,
                    color=COLOURS[colour],
                    label=label,
                )
        axis.axvline(
            FLAGGED_SCORE, color=COLOURS["muted"], linewidth=0.8, linestyle=(0, (4, 3)), zorder=0
        )
        axis.set_xlim(0, 1)
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.set_xlabel("score")
        axis.set_ylabel("rows")
        return close_axis(figure, axis)


def describe_row_scores(record: Record) -> str:
    """What `draw_row_scores` shows, in numbers."""
    scores = _row_scores(record)
    flagged = sum(score >= FLAGGED_SCORE for score in scores)
    return (
        f"Histogram of row scores: {count(flagged, 'row')} of {FLAGGED_SCORE:g} and more, "
        f"{count(len(scores) - flagged, 'row')} below; "
        f"{count(record['data']['rows'] - len(scores), 'row')} of score 0 not drawn."
    )


def draw_evaluation(record: Record) -> bytes | None:
    """Clean accuracy and attack success rate before and after; None where nothing was tested."""
    bars = _collect_bars(record)
    if not bars:
        return None
    metrics = list(dict.fromkeys(metric for metric, *_ in bars))
    moments = list(dict.fromkeys(moment for _, moment, *_ in bars))
    height = 0.8 / len(moments)
    with open_axis() as (figure, axis):
        for metric, moment, rate, (low, high) in bars:
            place = metrics.index(metric) + height * (
                moments.index(moment) - (len(moments) - 1) / 2
            )
            colour = "muted" if moment == "before" else "accent"
            axis.barh(
                place,
                100 * rate,
                height=0.85 * height,
                color=COLOURS[colour],
                alpha=0.55,
                label=moment,
            )
            axis.plot([100 * low, 100 * high], [place, place], color=COLOURS["ink"], linewidth=1)
            axis.annotate(
                f"{moment}: {percent(rate)}",
                (100 * high, place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
        axis.set_yticks(range(len(metrics)), labels=[m.replace(" ", "\n", 1) for m in metrics])
        axis.tick_params(axis="y", length=0, labelcolor=COLOURS["ink"])
        axis.set_ylim(len(metrics) - 0.4, -0.6)
        axis.set_xlim(0, 138)
        axis.set_xticks([0, 25, 50, 75, 100])
        axis.set_xlabel("share of held-out rows, %")
        return close_axis(figure, axis, legend=False)


def describe_evaluation(record: Record) -> str:
    """What `draw_evaluation` shows, in numbers."""
    said = [
        f"{metric} {moment} {percent(rate)}" for metric, moment, rate, _ in _collect_bars(record)
    ]
    return f"Held-out rows: {', '.join(said)}."


def _row_scores(record: Record) -> list[float]:
    rows = [*(record["flagged_rows"] or ()), *(record["suspected_rows"] or ())]
    return [row["score"] for row in rows]


def _collect_bars(record: Record) -> list[tuple[str, str, float, Sequence[float]]]:
    """Metric, moment, rate and interval of each."""
    evaluation = record.get("evaluation")
    bars = []
    if evaluation:
        metrics = ("clean_accuracy", "attack_success_rate")
        for metric, moment in product(metrics, ("before", "after")):
            numbers = evaluation[moment]
            if numbers and numbers[metric] is not None:
                rate = numbers[metric]
                interval = numbers[f"{metric}_interval"] or (rate, rate)
                bars.append((metric.replace("_", " "), moment, rate, interval))
    return bars


def _pointed_label(token: Mapping[str, Any]) -> str:
    return str(token["evidence"]["label"] if token["evidence"] else token["label"])


def _draw_crowd(axis: Any, rows: NDArray[Any], drift: NDArray[Any], counts: NDArray[Any]) -> None:
    """Cells of the histogram in a few greys; one shape each, so that the file stays small."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    for place, (least, most) in enumerate(_CROWDS):
        cells = np.argwhere((counts >= least) & (counts <= (most or np.inf)))
        if not len(cells):
            continue
        corners = [
            Path(
                [
                    (rows[i], drift[j]),
                    (rows[i + 1], drift[j]),
                    (rows[i + 1], drift[j + 1]),
                    (rows[i], drift[j + 1]),
                    (rows[i], drift[j]),
                ],
                closed=True,
            )
            for i, j in cells
        ]
        amount = f"{least}" if most == least else f"{least} to {most}" if most else f"{least} +"
        axis.add_patch(
            PathPatch(
                Path.make_compound_path(*corners),
                facecolor=COLOURS["muted"],
                alpha=0.14 + 0.17 * place,
                linewidth=0,
                label=f"{amount} {'token' if most == 1 else 'tokens'}",
            )
        )


def _draw_points(
    axis: Any, x: Sequence[float], y: Sequence[float], verdict: str, *, filled: bool = True
) -> None:
    colour, marker = _LOOKS[verdict]
    known = axis.get_legend_handles_labels()[1]
    axis.plot(
        x,
        y,
        linestyle="",
        marker=marker,
        markersize=6 if filled else 4,
        color=COLOURS[colour],
        markeredgecolor=COLOURS["surface" if filled else colour],
        markeredgewidth=0.8,
        fillstyle="full" if filled else "none",
        label=None if _NAMES[verdict] in known else _NAMES[verdict],
        zorder=3,
    )


def _draw_names(
    axis: Any, tokens: Sequence[Mapping[str, Any]], name: str, drift: NDArray[Any]
) -> None:
    """Names beside the gravest points, left out where they would cover another."""
    shown = [t for t in tokens if name in t["drift"]][:_MOST_POINTS]
    places = [(t["rows"], float(np.clip(t["drift"][name], drift[0], drift[-1]))) for t in shown]
    to_axes = axis.transData + axis.transAxes.inverted()
    # In points, about: the size of the panel.
    centres = [(300 * x, 170 * y) for x, y in (to_axes.transform(place) for place in places)]
    taken = [(x - 3, x + 3, y) for x, y in centres]  # left, right, height
    for token, place, (x, y) in list(zip(shown, places, centres, strict=True))[:_MOST_NAMED]:
        text = show_token(token["token"], _NAME_LENGTH)
        width = 6.0 * len(text) + 4
        for left, side in ((x + 5, "left"), (x - 5 - width, "right")):
            right = left + width
            free = all(left > r or right < start or abs(y - h) > 9 for start, r, h in taken)
            if free and left >= 0 and right <= 310:
                taken.append((left, right, y))
                axis.annotate(
                    text,
                    place,
                    xytext=(6 if side == "left" else -6, 0),
                    textcoords="offset points",
                    ha=side,
                    va="center",
                    fontsize=8.5,
                    zorder=4,
                )
                break


def _name_places(axis: Any, tokens: Sequence[Mapping[str, Any]]) -> None:
    """Tokens down the left side, the first on top."""
    names = [show_token(token["token"], _NAME_LENGTH) for token in tokens]
    axis.set_yticks(range(len(tokens)), labels=names)
    axis.tick_params(axis="y", length=0, labelcolor=COLOURS["ink"])
    axis.set_ylim(max(len(tokens), 4) - 0.4, -0.6)


def _round_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within a range; few of them where it is wide."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if np.log10(high / low) < 3 else (1,)
    return [
        tick for power in powers for step in steps if low <= (tick := step * 10.0**power) <= high
    ]
