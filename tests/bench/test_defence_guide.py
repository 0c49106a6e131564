"""The guide for a new defence, followed to the letter."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from btu.bench.defences import DEFENCES
from btu.bench.run import run_benchmark
from toy_benchmark import build_toy

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "add-a-defence.md"


def read_blocks(language: str) -> list[str]:
    pattern = rf"^```{language}\n(.*?)^```$"
    return re.findall(pattern, GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def load_module(name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file as a module of this name."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Steps one and two."""
    source, line, _ = read_blocks("python")
    path = tmp_path / "short.py"
    path.write_text(source, encoding="utf-8")
    module = load_module("btu.bench.defences.short", path, monkeypatch)
    monkeypatch.setitem(DEFENCES, "short", None)
    exec(line, {"DEFENCES": DEFENCES})
    return module


def test_the_test_of_the_guide_passes(
    short: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "test_short.py"
    path.write_text(read_blocks("python")[2], encoding="utf-8")
    module = load_module("test_short", path, monkeypatch)
    module.test_the_short_rows_are_left_out(tmp_path / "model")


def test_the_experiment_of_the_guide_runs(short: ModuleType, tmp_path: Path) -> None:
    assert DEFENCES["short"] is short.Short
    toy = build_toy(tmp_path)
    (text,) = read_blocks("toml")
    summary = run_benchmark([toy.add("my-short", text)], corpora=toy.corpora)
    assert summary.done == tuple(
        f"my-short/toys-badnets-0.1-{name}-s0" for name in ("none", "oracle", "short")
    )
