"""How long a command takes before it does anything: processor time and modules loaded.

`python -m tools.startup` measures this checkout; `--before SRC` measures another one's `src` folder
first, in the same run. docs/design.md is rendered from the result.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import btu
from btu.support.record import build_record, write_record

RESULT = Path("benchmark/results/startup.json")
RECORD = Path("benchmark/results/demo-record.json")
COMMANDS = {
    "btu --help": ("--help",),
    "btu scan --help": ("scan", "--help"),
    "btu report RECORD": ("report", str(RECORD)),
    "btu report RECORD --format html": ("report", str(RECORD), "--format", "html"),
}
_REPEATS = 3
_PROGRAM = """
import json, os, sys
from btu.cli import main
sys.argv = ["btu", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
times = os.times()
sys.stderr.write("\\n" + json.dumps([times.user + times.system, len(sys.modules)]))
"""


def measure_startup(source: Path) -> dict[str, dict[str, float]]:
    """Processor seconds (the least of three) and loaded modules of each command.

    Args:
        source: Folder that holds the package `btu`.
    """
    environment = {**os.environ, "PYTHONPATH": str(source.absolute())}
    measured = {}
    for name, words in COMMANDS.items():
        runs = []
        for _ in range(_REPEATS):
            program = [sys.executable, "-c", _PROGRAM, *words]
            done = subprocess.run(
                program, env=environment, check=True, capture_output=True, text=True
            )
            runs.append(json.loads(done.stderr.splitlines()[-1]))
        seconds, modules = min(runs)
        measured[name] = {"cpu_seconds": seconds, "modules": modules}
    return measured


def render_startup(result: Mapping[str, Any]) -> str:
    """The times before and now as a table."""
    lines = ["| | before: CPU seconds, modules | now: CPU seconds, modules |", "|---|---:|---:|"]
    for name, now in result["now"].items():
        before = result["before"][name]
        cells = [f"{m['cpu_seconds']:.2f} s, {m['modules']:,}" for m in (before, now)]
        lines.append(f"| `{name}` | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="another checkout's src folder")
    before = parser.parse_args().before
    now = measure_startup(Path(btu.__file__).parents[1])
    if before is None:
        known = json.loads(RESULT.read_text(encoding="utf-8"))["before"]
    else:
        known = measure_startup(before)
    write_record(build_record("startup", {"before": known, "now": now}), RESULT)


if __name__ == "__main__":
    main()
