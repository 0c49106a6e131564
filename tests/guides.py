"""What the tests of the guides share: the code of a page, and a file as a module."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

GUIDES = Path(__file__).parents[1] / "docs" / "guides"


def read_blocks(page: str, language: str) -> list[str]:
    """The blocks of a language on a page, in their order."""
    pattern = rf"^```{language}\n(.*?)^```$"
    text = (GUIDES / page).read_text(encoding="utf-8")
    return re.findall(pattern, text, re.MULTILINE | re.DOTALL)


def load_module(name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file as a module of this name."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module
