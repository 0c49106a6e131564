"""Reports in a real browser: quiet, offline, legible for everybody, as wide as the screen."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from browser.render_pages import PAGES, write_pages

BROWSER = Path(__file__).parents[1] / "browser"
CHROMIUM = os.environ.get("CHROMIUM") or "/usr/bin/chromium"
MISSING = [
    what
    for what, is_there in {
        "node": shutil.which("node"),
        CHROMIUM: Path(CHROMIUM).exists(),
        "tests/browser/node_modules (npm ci --prefix tests/browser)": (
            BROWSER / "node_modules" / "playwright-core"
        ).exists(),
    }.items()
    if not is_there
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"no browser check without {', '.join(MISSING)}"),
]
FAULTY = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>Faulty</title></head><body><h1>Faulty</h1>
<p style="color: #ccc">faint</p><div style="width: 3000px">wide</div><a href="#nowhere">on</a>
<img src="http://127.0.0.1:9/picture.png"><details><summary>More</summary><p id="p">x</details>
<script>console.log("hello"); alert("hi"); throw new Error("oops")</script></body></html>
"""
QUIET = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Quiet</title>
  </head>
  <body><main><h1>Quiet</h1><p><a href="#there">A link</a></p><p id="there">A text</p></main></body>
</html>
"""


def check(pages, screenshots):
    """Exit status and lines of the check."""
    command = ["node", str(BROWSER / "check_report.mjs"), "--screenshots", str(screenshots)]
    done = subprocess.run(
        [*command, *map(str, pages)], capture_output=True, text=True, timeout=280, check=False
    )
    return done.returncode, (done.stdout + done.stderr).splitlines()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return {path.stem: path for path in write_pages(tmp_path_factory.mktemp("pages"))}


@pytest.mark.parametrize("name", PAGES)
def test_a_report_is_quiet_offline_accessible_and_valid(pages, name, tmp_path):
    status, lines = check([pages[name]], tmp_path)
    assert status == 0, "\n".join(["", *lines])
    assert "1 of 1 pages pass (light, dark, phone, print)." in lines
    for look in ("light", "dark", "phone", "print"):
        assert (tmp_path / f"{name}-{look}.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("page", "status", "said"),
    [
        (
            FAULTY,
            1,
            (
                "requests http://127.0.0.1:9/picture.png",
                "console log: hello",
                "dialog: hi",
                "error in the page: oops",
                "scrolls sideways, 3008 of 390 px",
                "links to nothing: #nowhere",
                "axe color-contrast, serious",
                "html-validate wcag/h37",
                "0 of 1 pages pass",
            ),
        ),
        (QUIET, 0, ("1 of 1 pages pass",)),
    ],
    ids=["faulty", "quiet"],
)
def test_the_check_finds_planted_faults_and_no_others(tmp_path, page, status, said):
    file = tmp_path / "page.html"
    file.write_text(page, encoding="utf-8")
    found, lines = check([file], tmp_path)
    assert found == status, "\n".join(["", *lines])
    for words in said:
        assert any(words in line for line in lines), words
    assert status or not any("fault" in line for line in lines)


def test_a_missing_page_is_an_error_of_the_check_itself(tmp_path):
    status, lines = check([tmp_path / "none.html"], tmp_path)
    assert status == 2
    assert any("found no" in line for line in lines)
