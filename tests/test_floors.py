"""The floors of the package: a module imports from its own floor or a lower one."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import btu.errors

PACKAGE = Path(btu.errors.__file__).parent
FLOORS = (
    {
        "errors",
        "settings",
        "progress",
        "drift",
        "content",
        "readings",
        "evidence",
        "unlearn",
        "metrics",
    },
    {
        "corpus",
        "table",
        "delimited",
        "formats",
        "readers",
        "writers",
        "tokens",
        "embeddings",
        "finetune",
        "material",
        "folders",
        "findings",
        "reviews",
    },
    {
        "probes",
        "scan",
        "restore",
        "defend",
        "recovery",
        "callback",
        "guard",
        "report",
        "exports",
    },
    {"bench", "evaluate"},
    {"cli", "demo", "__init__", "__main__"},
)
# The lowest floor knows values and tensors only; progress draws its bars with rich.
MATHEMATICS = {"torch", "numpy", "scipy", "sklearn"}
LOWEST_MAY_ALSO = {"progress": {"rich"}, "evidence": {"regex"}}


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
    may_also = LOWEST_MAY_ALSO.get(room, set())
    faults = []
    for line, name in read_imports(source, module):
        top, *rest = name.split(".")
        if top == "btu":
            # A name of the package itself, not of a room, comes from its __init__.
            target = rest[0] if rest and find_floor(rest[0]) is not None else "__init__"
            if find_floor(target) > floor:
                faults.append(f"{module}:{line} imports {name}, which stands above it")
            if ".defences" in module and rest[:2] == ["bench", "attacks"]:
                faults.append(f"{module}:{line} imports {name}: a defence never sees an attack")
        elif floor == 0 and top not in sys.stdlib_module_names | MATHEMATICS | may_also:
            faults.append(f"{module}:{line} imports {name}; its floor takes tensors only")
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
        "from . import scan",
        "from .scan import scan",
        "from btu import defend_all",
    ):
        assert "stands above it" in find_faults(source, "btu.corpus")[0], source
    assert find_faults("from ..cli import main", "btu.report.html")


def test_the_same_floor_and_lower_ones_are_free():
    assert not find_faults("from btu.tokens import TokenRows\nimport btu.drift", "btu.corpus")
    assert not find_faults("from . import record\nfrom ..scan import scan", "btu.report.__init__")
    assert not find_faults("from btu.scan import scan", "btu.__init__")


def test_the_lowest_floor_knows_tensors_only():
    assert not find_faults("import math, torch\nfrom scipy import stats", "btu.drift")
    assert "tensors only" in find_faults("import transformers", "btu.drift")[0]
    assert not find_faults("from rich.progress import Progress", "btu.progress")
    assert find_faults("from rich.progress import Progress", "btu.drift")


def test_a_defence_never_sees_an_attack():
    (fault,) = find_faults("from btu.bench.attacks import badnets", "btu.bench.defences.onion")
    assert "never sees" in fault


def test_an_unknown_room_is_asked_to_pick_a_floor():
    (fault,) = find_faults("", "btu.attic")
    assert "put it into FLOORS" in fault
