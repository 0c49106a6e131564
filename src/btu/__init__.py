"""Backdoor Token Unlearning: train a clean text classifier on data that may be poisoned."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from btu.data.corpus import Corpus, load_corpus
    from btu.data.reviews import Review, load_reviews
    from btu.defend import Defence, defend
    from btu.engines.base import Engine
    from btu.engines.cluster import RayEngine
    from btu.engines.local import LocalEngine
    from btu.evaluate import evaluate
    from btu.evidence.settings import EvidenceSettings
    from btu.findings import Findings, TokenEvidence, TokenFinding
    from btu.guard import Guard, load_guard
    from btu.model.metrics import Evaluation
    from btu.model.settings import AdapterSettings, FineTuneSettings, ProbeSettings
    from btu.repair.callback import UnlearnCallback
    from btu.repair.settings import RecoverySettings
    from btu.repair.unlearn import RowEdit
    from btu.report.record import load_record
    from btu.report.write import write_report
    from btu.scan import scan
    from btu.support.errors import InputError
    from btu.support.unfinished import Unfinished

__all__ = [
    "AdapterSettings",
    "Corpus",
    "Defence",
    "Engine",
    "Evaluation",
    "EvidenceSettings",
    "Findings",
    "FineTuneSettings",
    "Guard",
    "InputError",
    "LocalEngine",
    "ProbeSettings",
    "RayEngine",
    "RecoverySettings",
    "Review",
    "RowEdit",
    "TokenEvidence",
    "TokenFinding",
    "Unfinished",
    "UnlearnCallback",
    "defend",
    "evaluate",
    "load_corpus",
    "load_guard",
    "load_record",
    "load_reviews",
    "scan",
    "write_report",
]

_HOMES = {
    "AdapterSettings": "model.settings",
    "Corpus": "data.corpus",
    "Defence": "defend",
    "Engine": "engines.base",
    "Evaluation": "model.metrics",
    "EvidenceSettings": "evidence.settings",
    "Findings": "findings",
    "FineTuneSettings": "model.settings",
    "Guard": "guard",
    "InputError": "support.errors",
    "LocalEngine": "engines.local",
    "ProbeSettings": "model.settings",
    "RayEngine": "engines.cluster",
    "RecoverySettings": "repair.settings",
    "Review": "data.reviews",
    "RowEdit": "repair.unlearn",
    "TokenEvidence": "findings",
    "TokenFinding": "findings",
    "Unfinished": "support.unfinished",
    "UnlearnCallback": "repair.callback",
    "defend": "defend",
    "evaluate": "evaluate",
    "load_corpus": "data.corpus",
    "load_guard": "guard",
    "load_record": "report.record",
    "load_reviews": "data.reviews",
    "scan": "scan",
    "write_report": "report.write",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """`btu.scan` is the function also after something imported the module of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _HOMES.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
