"""No defence: ordinary fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass

from btu.bench.defences.base import Outcome, Workbench
from btu.data.corpus import Corpus


@dataclass(frozen=True)
class NoDefence:
    """Fine-tuning on all rows. It is also what the oracle does, on the true clean rows alone."""

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        """The undefended model."""
        return Outcome(bench.undefended())
