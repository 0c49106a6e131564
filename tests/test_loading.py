"""Nothing is loaded before it is needed: each command in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RECORD = Path(__file__).parent / "report" / "records" / "poisoned-scan.json"
HEAVY = {"torch", "transformers", "sklearn", "datasets", "accelerate", "pandas"}
PROGRAM = """
import json, sys
from btu.cli import main
sys.argv = ["btu", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit as ended:
    assert not ended.code or ended.code == 1, ended.code
loaded = sorted({name.split(".")[0] for name in sys.modules})
sys.stderr.write("\\n" + json.dumps(loaded))
"""


def find_loaded(*arguments: object) -> set[str]:
    """The packages that a command has loaded at its end."""
    words = json.dumps(list(map(str, arguments)))
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, words], capture_output=True, text=True, check=True
    )
    return set(json.loads(run.stderr.splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy():
    program = "import sys, btu; assert 'defend' in dir(btu); print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {name.split(".")[0] for name in run.stdout.split()} & (HEAVY | {"numpy", "rich"})


@pytest.mark.parametrize("command", [(), ("scan",), ("train",), ("bench",), ("bench", "census")])
def test_help_loads_nothing_heavy(command):
    assert not find_loaded(*command, "--help") & (HEAVY | {"numpy", "matplotlib"})


@pytest.mark.parametrize("view", ["terminal", "html", "md", "sarif", "rows", "card", "json"])
def test_a_view_of_a_record_loads_nothing_heavy(view):
    loaded = find_loaded("report", RECORD, "--format", view)
    assert not loaded & HEAVY
    assert ("matplotlib" in loaded) == (view == "html")


def test_a_scan_of_text_alone_loads_no_network(tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"word{i % 7} film,{i % 2}\n" for i in range(40)))
    assert not find_loaded("scan", rows) & {"torch", "transformers", "datasets", "accelerate"}


def test_a_public_name_stays_what_it_is_after_its_module_is_imported():
    program = (
        "import btu, btu.scan, btu.defend, btu.evaluate\n"
        "from btu.scan import scan\n"
        "assert btu.scan is scan and callable(btu.defend) and callable(btu.evaluate)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
