"""The floors of the package: a module imports from its own floor or a lower one."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import btu

PACKAGE = Path(btu.__file__).parent
FLOORS = (
    {"support"},
    {"data", "evidence"},
    {"model", "engines"},
    {"findings", "guard"},
    {"attacks", "repair"},
    {"report"},
    {"scan", "defend", "evaluate"},
    {"bench"},
    {"cli", "demo", "__init__", "__main__"},
)
# Rooms of these floors stand alone: none of them sees another one of its floor.
ALONE = {"data", "evidence", "model", "engines", "findings", "guard", "attacks", "repair"}
# Evidence sees arrays and texts: no file, no model.
EVIDENCE_SEES = {"numpy", "pandas", "scipy", "sklearn", "regex"}


def read_imports(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each import, at any depth; `from x import y` gives `x.y`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*parents, *filter(None, [node.module])])
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def find_floor(room: str) -> int | None:
    return next((floor for floor, rooms in enumerate(FLOORS) if room in rooms), None)


def find_faults(source: str, module: str) -> list[str]:
    """What one module imports against the rules.

    `module` is its dotted name; a package's own file ends in `.__init__`.
    """
    room = module.split(".")[1]
    floor = find_floor(room)
    if floor is None:
        return [f"btu.{room} stands on no floor: put it into FLOORS in {Path(__file__).name}"]
    faults = []
    for line, name in read_imports(source, module):
        top, *rest = name.split(".")
        if top == "btu":
            # A name of the package itself, not of a room, comes from its __init__.
            target = rest[0] if rest and find_floor(rest[0]) is not None else "__init__"
            height = find_floor(target)
            if height > floor or (height == floor and target != room and target in ALONE):
                faults.append(f"{module}:{line} imports {name}, which stands above it")
            if ".defences" in module and target == "attacks":
                faults.append(f"{module}:{line} imports {name}: a defence never sees an attack")
        elif room == "evidence" and top not in sys.stdlib_module_names | EVIDENCE_SEES:
            faults.append(f"{module}:{line} imports {name}; evidence sees arrays and texts only")
    return faults


def test_every_import_stays_on_its_floor_or_goes_down():
    faults = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(["btu", *path.relative_to(PACKAGE).with_suffix("").parts])
        faults += find_faults(path.read_text(encoding="utf-8"), module)
    assert not faults, "\n".join(["", *faults])


def test_an_import_from_above_is_found_wherever_it_hides():
    for source in (
        "import btu.scan",
        "from btu import scan",
        "from btu.scan import scan",
        "def late():\n    from btu.scan import scan",
        "from .. import scan",
        "from ..scan import scan",
        "from btu import defend_all",
    ):
        assert "stands above it" in find_faults(source, "btu.data.corpus")[0], source
    assert find_faults("from ..cli import main", "btu.report.html")


def test_the_same_folder_and_lower_floors_are_free():
    assert not find_faults("from btu.model.tokens import TokenRows", "btu.model.probes")
    assert not find_faults("from btu.data.corpus import Corpus", "btu.model.tokens")
    assert not find_faults("from . import record\nfrom .html import render_html", "btu.report.cli")
    assert not find_faults("from btu.scan import scan", "btu.__init__")


def test_folders_of_one_floor_stand_alone():
    assert find_faults("from btu.repair.unlearn import RowEdit", "btu.attacks.badnets")
    assert find_faults("from btu.data.corpus import Corpus", "btu.evidence.find")


def test_evidence_sees_arrays_and_texts_only():
    assert not find_faults("import math, numpy\nfrom scipy import stats", "btu.evidence.find")
    assert "arrays and texts" in find_faults("import torch", "btu.evidence.find")[0]
    assert find_faults("import pyarrow", "btu.evidence.find")


def test_a_defence_never_sees_an_attack():
    (fault,) = find_faults("from btu.attacks import badnets", "btu.bench.defences.onion")
    assert "never sees" in fault


def test_an_unknown_room_is_asked_to_pick_a_floor():
    (fault,) = find_faults("", "btu.attic")
    assert "put it into FLOORS" in fault


def test_only_what_users_meet_lies_at_the_top():
    files = {path.stem for path in PACKAGE.glob("*.py")}
    assert files == {
        "__init__",
        "__main__",
        "cli",
        "defend",
        "demo",
        "evaluate",
        "findings",
        "guard",
        "scan",
    }
