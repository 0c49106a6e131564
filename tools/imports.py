"""The picture of the package's rooms and their imports, and how many there are.

`python -m tools.imports` asks import-linter for the graph and graphviz to draw it (both are to be
installed: import-linter beside this Python, and the program `dot`). The counts go to
`benchmark/results/imports.json`, from which docs/design.md is rendered.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import btu

RESULT = Path("benchmark/results/imports.json")
PICTURE = Path("docs/figures/imports.svg")


def count_imports(graph: str, package: Path) -> dict[str, int]:
    """Rooms and arrows of a graph in the DOT language, modules and files of a package.

    Args:
        graph: As `import-linter drawgraph` writes it.
        package: The folder.
    """
    arrows = set(re.findall(r'"\.([\w.]+)" ->\s*"\.([\w.]+)"', graph))
    return {
        "modules": len(list(package.rglob("*.py"))),
        "top_level_files": len(list(package.glob("*.py"))),
        "rooms": len({room for arrow in arrows for room in arrow}),
        "arrows": len(arrows),
    }


def render_imports(result: Mapping[str, Any]) -> str:
    """The counts before and after as a table."""
    names = {
        "modules": "modules",
        "top_level_files": "files at the top level",
        "rooms": "rooms (folders and files at the top level)",
        "arrows": "arrows between rooms",
    }
    lines = ["| | before | now |", "|---|---:|---:|"]
    before, now = result["before"], result["now"]
    lines += [f"| {said} | {before[name]} | {now[name]} |" for name, said in names.items()]
    return "\n".join(lines)


def draw_imports(package: Path) -> str:
    """The graph of a package's rooms in the DOT language, as import-linter draws it.

    Args:
        package: Its folder.
    """
    tool = Path(sys.executable).with_name("import-linter")
    run = subprocess.run(
        [tool, "drawgraph", package.name],
        cwd=package.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout[run.stdout.index("digraph") :]


def main() -> None:
    """Draw the imports as they are and count them."""
    package = Path(btu.__file__).parent
    graph = draw_imports(package)
    drawn = subprocess.run(
        ["dot", "-Tsvg"], input=graph, capture_output=True, text=True, check=True
    )
    PICTURE.write_text(drawn.stdout, encoding="utf-8")
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    result["now"] = count_imports(graph, package)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
