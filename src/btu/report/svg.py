"""Figures as SVG, the same bytes from the same numbers, in colours that follow light and dark."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

# Name: colour on a light page, on a dark page. Text colours reach 4.5:1 on all grounds of theirs.
PALETTE = {
    "ground": ("#f5f6f8", "#0f141a"),
    "surface": ("#ffffff", "#171d25"),
    "ink": ("#18212c", "#e7ebf0"),
    "muted": ("#566270", "#a4b0bd"),
    "line": ("#dce1e7", "#2c3642"),
    "accent": ("#1d4fc4", "#8db4ff"),
    "danger": ("#b3241b", "#ff9d94"),
    "warning": ("#8a4b08", "#f5c470"),
    "good": ("#14673d", "#7edba5"),
    "danger-ground": ("#fdf0ee", "#361917"),
    "warning-ground": ("#fdf6e7", "#30230c"),
    "good-ground": ("#ecf8f1", "#0f2a1c"),
    "mark": ("#ffe08a", "#6b4e00"),
}
WIDTH, HEIGHT = 460, 320  # CSS pixels
_DOTS_PER_INCH = 96
# What matplotlib draws with; each stands for a variable of the SVG's style sheet.
COLOURS = {name: f"#0102{place:02x}" for place, name in enumerate(PALETTE)}
_STYLE: dict[str, Any] = {
    "svg.hashsalt": "btu",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.labelsize": 9,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "text.color": COLOURS["ink"],
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


@contextmanager
def open_axis() -> Iterator[tuple[Any, Any]]:
    """A figure of one panel; what is drawn inside takes the style."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]), warnings.catch_warnings():
        # The reader's fonts draw the text, not matplotlib's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        size = (WIDTH / _DOTS_PER_INCH, HEIGHT / _DOTS_PER_INCH)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, figure.subplots()


def close_axis(figure: Any, axis: Any, *, legend: bool = True) -> bytes:
    """The figure as SVG whose colours follow the page."""
    if legend and axis.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=3, columnspacing=1.2, handletextpad=0.4)
    file = BytesIO()
    figure.savefig(
        file,
        format="svg",
        transparent=True,
        metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
    )
    return _follow_the_page(file.getvalue().decode()).encode()


def _follow_the_page(svg: str) -> str:
    """Sentinel colours as variables, which a style sheet inside the SVG sets for light and dark.

    Text of an SVG holds no bracket, so what a token says is never taken for a tag.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    names = {sentinel: name for name, sentinel in COLOURS.items()}

    def replace(tag: re.Match[str]) -> str:
        return re.sub(
            r"#0102[0-9a-f]{2}",
            lambda m: f"var(--{names[m[0]]})" if m[0] in names else m[0],
            tag[0],
        )

    svg = re.sub(r"<[a-z][^>]*>", replace, svg)
    light, dark = (
        "".join(f"--{name}:{colours[mode]};" for name, colours in PALETTE.items())
        for mode in (0, 1)
    )
    style = (
        f"<style>:root{{{light}}}"
        f"@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}"
        "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif!important}</style>"
    )
    start = svg.index(">") + 1
    return re.sub(r"\n\s*", "\n", svg[:start] + style + svg[start:])
