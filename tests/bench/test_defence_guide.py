"""The guide for a new defence, followed to the letter."""

from pathlib import Path
from types import ModuleType

import pytest

from btu.bench.defences import DEFENCES
from btu.bench.run import run_benchmark
from guides import load_module, read_blocks
from toy_benchmark import build_toy

GUIDE = "add-a-defence.md"


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Steps one and two."""
    source, line, _ = read_blocks(GUIDE, "python")
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
    path.write_text(read_blocks(GUIDE, "python")[2], encoding="utf-8")
    module = load_module("test_short", path, monkeypatch)
    module.test_the_short_rows_are_left_out(tmp_path / "model")


def test_the_experiment_of_the_guide_runs(short: ModuleType, tmp_path: Path) -> None:
    assert DEFENCES["short"] is short.Short
    toy = build_toy(tmp_path)
    (text,) = read_blocks(GUIDE, "toml")
    summary = run_benchmark([toy.add("my-short", text)], corpora=toy.corpora)
    assert summary.done == tuple(
        f"my-short/toys-badnets-0.1-{name}-s0" for name in ("none", "oracle", "short")
    )
