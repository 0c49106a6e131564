"""Clean fine-tuning only: the arm that shows what clean data does without any unlearning."""

from __future__ import annotations

from dataclasses import dataclass, field

from btu.bench.defences.base import Outcome, Workbench
from btu.data.corpus import Corpus
from btu.support.errors import InputError


@dataclass(frozen=True)
class CleanFineTuning:
    """The undefended model, fine-tuned a little longer on rows known to be clean.

    Source: the last step of Jiang et al., AAAI 2025, on its own; a usual baseline since Liu et
    al., "Fine-Pruning" (RAID 2018), section 4.
    """

    epochs: float = field(default=1.0, metadata={"help": "Passes over the clean rows."})

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        """Train on.

        Raises:
            InputError: There are no clean rows.
        """
        if bench.clean is None:
            raise InputError("clean_finetuning: expected clean rows, got none. Give a clean split.")
        classifier = bench.undefended()
        bench.continue_finetuning(classifier, bench.clean, epochs=self.epochs, seed=bench.seed + 1)
        return Outcome(classifier)
