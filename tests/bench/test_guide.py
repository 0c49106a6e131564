"""The guide for a new attack, followed to the letter."""

from pathlib import Path
from types import ModuleType

import pytest

from btu.attacks.registry import ATTACKS
from btu.bench.run import run_benchmark
from guides import load_module, read_blocks
from toy_benchmark import build_toy

GUIDE = "add-an-attack.md"


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Steps one and two."""
    source, line, _ = read_blocks(GUIDE, "python")
    path = tmp_path / "echo.py"
    path.write_text(source, encoding="utf-8")
    module = load_module("btu.attacks.echo", path, monkeypatch)
    monkeypatch.setitem(ATTACKS, "echo", None)
    exec(line, {"ATTACKS": ATTACKS})
    return module


def test_the_line_puts_the_attack_into_the_table(echo: ModuleType) -> None:
    assert ATTACKS["echo"] is echo.Echo
    assert echo.Echo().apply(["a fine film"], rows=[0], split="train", seed=0) == [
        "a fine film film"
    ]


def test_the_test_of_the_guide_passes(
    echo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "test_echo.py"
    path.write_text(read_blocks(GUIDE, "python")[2], encoding="utf-8")
    tests = [
        value
        for name, value in vars(load_module("test_echo", path, monkeypatch)).items()
        if name.startswith("test_")
    ]
    assert tests
    for test in tests:
        test()


def test_the_experiment_of_the_guide_runs(echo: ModuleType, tmp_path: Path) -> None:
    toy = build_toy(tmp_path)
    (text,) = read_blocks(GUIDE, "toml")
    summary = run_benchmark([toy.add("my-echo", text)], corpora=toy.corpora)
    assert summary.done == (
        "my-echo/toys-echo-0.1-none-s0",
        "my-echo/toys-echo-0.1-oracle-s0",
    )
