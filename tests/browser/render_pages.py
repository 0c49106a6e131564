"""Writes the pages that the browser checks open: `python tests/browser/render_pages.py FOLDER`.

Every committed record, one full of an attacker's text, and one with far more than a page can show.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from btu.report.html import render_html

RECORDS = sorted((Path(__file__).parents[1] / "report" / "records").glob("*.json"))
PAGES = (*(path.stem for path in RECORDS), "hostile", "crowded")
HOSTILE = (
    "<script>alert(1)</script>",
    "</style></svg><img src=x onerror=alert(1)>",
    "\"'><a href='javascript:alert(1)'>click</a>",
    "{{ 7 * 7 }}{% include 'x' %}",
    "<base href=//example.org/>&lt;&#x202e;",
    "\x1b[2J\x00\u202egnihtyna\u2066\ud800\u200b",
    "x" * 3000,
    "電影😀é" * 40,
)


def write_pages(folder: Path) -> list[Path]:
    """The pages, written into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    records = {path.stem: load(path.stem) for path in RECORDS}
    records |= {"hostile": make_hostile(), "crowded": make_crowded()}
    for name, record in records.items():
        (folder / f"{name}.html").write_text(render_html(record), encoding="utf-8")
    return [folder / f"{name}.html" for name in records]


def load(name: str) -> dict[str, Any]:
    (path,) = [path for path in RECORDS if path.stem == name]
    return json.loads(path.read_text(encoding="utf-8"))


def make_hostile() -> dict[str, Any]:
    """A defence in whose every name and text somebody wrote what a page must not obey."""
    record = load("defence")
    renamed = {"cf": HOSTILE[0], "positive": HOSTILE[1], "negative": HOSTILE[2]}
    record = rename(record, renamed)
    texts = list(HOSTILE)
    for i, row in enumerate(record["example_rows"]):
        row["text"] = f"{texts[i % len(texts)]} {row['text']} {texts[-1 - i % len(texts)]}"
        row["text_pair"] = texts[i % len(texts)]
    (trigger,) = record["suspects"]
    record["suspects"] += [
        trigger | {"token": text, "token_id": 1000 + i, "verdict": "suspect"}
        for i, text in enumerate(texts[1:])
    ]
    for i, row in enumerate(record["flagged_rows"]):
        row["tokens"] = [*row["tokens"], texts[i % len(texts)]]
    record["reviews"] = [dict.fromkeys(("token", "who", "why", "when"), text) for text in texts]
    record["accepted"] = [trigger | {"token": texts[0], "token_id": 2000, "verdict": "accepted"}]
    record["data"]["source"] = f"{texts[2]}.csv"
    record["data"]["columns"]["text_column"] = texts[4]
    record["model"] |= {"name": texts[1], "revision": texts[6]}
    record["not_checked"] = texts
    record["hardware"]["machine"] = texts[5]
    record["frameworks"] = [
        dict.fromkeys(("framework", "version", "id", "name", "about"), text) for text in texts
    ]
    return record


def rename(value: Any, renamed: dict[str, str]) -> Any:
    """The same value with some strings changed, as keys too."""
    if isinstance(value, dict):
        return {renamed.get(k, k): rename(v, renamed) for k, v in value.items()}
    if isinstance(value, list):
        return [rename(v, renamed) for v in value]
    return renamed.get(value, value) if isinstance(value, str) else value


def make_crowded() -> dict[str, Any]:
    """A scan with 30 labels, 150 triggers, 300 suspects and 20,000 flagged rows."""
    record = load("poisoned-scan")
    (trigger,) = record["suspects"]
    labels = [f"label number {i} of a long taxonomy" for i in range(30)]
    counts = dict.fromkeys(labels, 1000)
    names = [f"token{i}" for i in range(450)]
    record["suspects"] = [
        trigger
        | {
            "token": name,
            "token_id": i,
            "verdict": "trigger" if i < 150 else "suspect",
            "label": labels[i % 30],
            "label_counts": counts,
            "label_lifts": dict.fromkeys(labels, 1.5),
            "evidence": trigger["evidence"] | {"label": labels[i % 30]},
        }
        for i, name in enumerate(names)
    ]
    record["data"] |= {"rows": 30_000, "label_counts": counts}
    record["flagged_rows"] = [
        {
            "row_id": i,
            "line": i + 2,
            "label": labels[i % 30],
            "score": 0.5 + i / 40_000,
            "tokens": names[i % 100 : i % 100 + 50],
            "style": False,
        }
        for i in range(20_000)
    ]
    return record


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    write_pages(parser.parse_args().folder)
