"""Backdoor Token Unlearning: train a clean text classifier on data that may be poisoned."""

from btu.callback import UnlearnCallback
from btu.corpus import Corpus, load_corpus
from btu.defend import Defence, defend
from btu.errors import InputError
from btu.evaluate import evaluate
from btu.findings import Findings, TokenEvidence, TokenFinding
from btu.guard import Guard, load_guard
from btu.metrics import Evaluation
from btu.report.record import load_record
from btu.report.write import write_report
from btu.reviews import Review, load_reviews
from btu.scan import scan
from btu.settings import EvidenceSettings, FineTuneSettings, ProbeSettings, RecoverySettings
from btu.unlearn import RowEdit

__all__ = [
    "Corpus",
    "Defence",
    "Evaluation",
    "EvidenceSettings",
    "Findings",
    "FineTuneSettings",
    "Guard",
    "InputError",
    "ProbeSettings",
    "RecoverySettings",
    "Review",
    "RowEdit",
    "TokenEvidence",
    "TokenFinding",
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
