"""Records in which an attacker wrote everything that an attacker can write, and very large ones."""

import json
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt

RECORDS = Path(__file__).parent / "report" / "records"
HOSTILE = (
    "<script>alert(1)</script>",
    '" onmouseover="x',
    "' onmouseover='x",
    "{{7*7}}",
    "a\u202eb\u200bc",
    "\x1b[31mred",
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "nul\x00nul",
    "lone\ud800surrogate",
    "-->",
    "<!-- btu-audit:end -->",
    "\n<!-- btu-audit:end -->\n",
    "| a | b",
    "```\n`x``y`",
    "\n\n# heading\n\n- item\n",
    "</code></pre></details><img src=x onerror=alert(1)>",
    "[a](javascript:alert(1)) ![b](https://example.org/b.png)",
    "https://example.org www.example.org @someone #1",
    "**bold** _em_ ~~s~~ &lt;b&gt; \\",
    "name000000 name000001",
    "&#60;b&#62;",
)
ONE_MEGABYTE = "<b>|`\u202e" * 150_000
PLAIN = "word"


def load_sample(name):
    return json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))


def spoil(record, text, *, row_text=None):
    """A copy of a record with a text in every place that data, a model or a file name fills."""
    row_text = text if row_text is None else row_text
    copy = json.loads(json.dumps(record))
    for token in (*copy["suspects"], *copy["accepted"], *copy["cleared"]):
        token |= {"token": text, "label": text, "label_counts": {text: 1}}
        token["label_lifts"] = {text: 1.0}
        if token["evidence"]:
            token["evidence"] |= {"label": text, "reason": text}
        token["words"] = [text] if token["words"] else []
        for example in token["examples"]:
            example["spans"] = example["pair_spans"] = [[0, len(row_text)]]
    for row in copy["example_rows"]:
        row |= {"label": text, "text": row_text, "text_pair": row_text}
    for row in (*(copy["flagged_rows"] or ()), *(copy["suspected_rows"] or ())):
        row |= {"label": text, "tokens": [text]}
    for style in copy["styles"] or ():
        style |= {"label": text, "words": [text]}
    copy["accepted"] = copy["cleared"][:1]
    copy["reviews"] = [{"token": text, "who": text, "why": text, "when": text}]
    copy["data"] |= {"source": text, "label_counts": {text: 1}}
    copy["data"]["columns"]["text_column"] = text
    if copy["limit"]:
        copy["limit"]["word_rows_by_label"] = {text: 16, f"{text}2": 24}
    copy["model"] |= {"name": text, "revision": text}
    for measured in (copy.get("evaluation") or {}).values():
        measured |= {"source": text} if "source" in measured else {}
        measured |= {"trigger": text, "target_label": text} if "trigger" in measured else {}
    return copy


def grow(record, *, flagged=100_000, suspects=3_000):
    """A copy of a record with as many flagged rows and suspects."""
    copy = json.loads(json.dumps(record))
    first, row = copy["suspects"][0], copy["flagged_rows"][0]
    copy["suspects"] = [{**first, "token": f"token{i}", "token_id": i} for i in range(suspects)]
    copy["flagged_rows"] = [{**row, "row_id": i, "line": i + 2} for i in range(flagged)]
    copy["data"] |= {"rows": 2 * flagged, "label_counts": {"positive": 2 * flagged}}
    return copy


class Page(HTMLParser):
    """The tags, attributes, comments and the text that a browser would see."""

    def __init__(self, html):
        super().__init__()
        self.shape, self.text = [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.shape.append((tag, tuple(attrs)))

    def handle_endtag(self, tag):
        self.shape.append(f"/{tag}")

    def handle_comment(self, data):
        self.shape.append(("comment", data))

    def handle_decl(self, decl):
        self.shape.append(("declaration", decl))

    def handle_data(self, data):
        self.text += data


def read_markdown(text):
    """Markdown as a page, with raw HTML let through as it is."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return Page(parser.render(text))
