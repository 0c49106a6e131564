"""Ours, recipe `paper`: probing rounds, dimensional unlearning, recovery."""

from __future__ import annotations

from dataclasses import dataclass

from btu.bench.defences.base import Outcome, Workbench
from btu.data.corpus import Corpus
from btu.defend import defend


@dataclass(frozen=True)
class BtuPaper:
    """Backdoor Token Unlearning as the paper has it, without clean data.

    Source: Jiang et al., AAAI 2025; docs/limits.md says where this differs.
    """

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        """Defend with the cell's settings."""
        defence = defend(bench.model, corpus, recipe="paper", settings=bench.settings)
        return Outcome(
            predictor=defence.classifier,
            flagged_tokens=tuple(s.token for s in defence.findings.suspects),
            details={
                "edits": len(defence.edits),
                "timings": defence.record["timings"],
                "left_out_rows": len(defence.record["recovery"]["left_out_row_ids"]),
            },
        )
