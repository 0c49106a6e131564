"""Texts and labels in; what was planted, how sure, what was missed out.

Nothing here knows a model, a file or a tokenizer.
"""

from btu.evidence.bars import BARS, BUDGET, Bar
from btu.evidence.find import find_evidence
from btu.evidence.repeats import find_repeats
from btu.evidence.tests import FLAGGED_SCORE, SUSPECTED_SCORE, Evidence, Limit, Test, Verdict
from btu.evidence.words import GAP, find_spans, split_words

__all__ = [
    "BARS",
    "BUDGET",
    "FLAGGED_SCORE",
    "GAP",
    "SUSPECTED_SCORE",
    "Bar",
    "Evidence",
    "Limit",
    "Test",
    "Verdict",
    "find_evidence",
    "find_repeats",
    "find_spans",
    "split_words",
]
