"""Ours, recipe `verified`: probes propose, evidence decides, what is confirmed is left out."""

from __future__ import annotations

from dataclasses import dataclass, field

from btu.bench.defences.base import Outcome, Workbench
from btu.data.corpus import Corpus
from btu.defend import defend_material
from btu.evidence.settings import EvidenceSettings
from btu.model.material import Material, load_material
from btu.repair.settings import Action


@dataclass(frozen=True)
class BtuVerified:
    """The default recipe, without clean data.

    Source: docs/how_it_works.md; it starts from Jiang et al., AAAI 2025.
    """

    action: Action = field(
        default="both", metadata={"help": "drop, unlearn or both; see `btu.defend`."}
    )
    restore: bool = field(
        default=False,
        metadata={"help": "Give left out rows back without their triggers; see `btu.defend`."},
    )
    drop_suspects: bool = field(
        default=False,
        metadata={"help": "Leave out the rows of suspects too; see `btu.defend`."},
    )
    false_alarm_rate: float = field(
        default=EvidenceSettings.false_alarm_rate,
        metadata={"help": "False triggers expected in clean data in each search, at most."},
    )

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        """Defend with the cell's settings; rows that were trained on before are not again."""
        settings = bench.settings
        material = load_material(
            bench.model, corpus, max_length=settings.max_length, seed=settings.seed
        )

        def train(material: Material, corpus: Corpus) -> None:
            trained = bench.finetune(corpus)
            material.model.load_state_dict(trained.model.state_dict())
            material.model.eval()

        defence = defend_material(
            material,
            train=train,
            action=self.action,
            restore=self.restore,
            drop_suspects=self.drop_suspects,
            evidence_settings=EvidenceSettings(false_alarm_rate=self.false_alarm_rate),
            settings=settings,
        )
        findings = defence.findings
        left_out = findings.flagged
        if self.drop_suspects:
            left_out = left_out | findings.suspected
        return Outcome(
            predictor=defence.classifier,
            flagged_rows=left_out,
            flagged_tokens=tuple(s.token for s in findings.triggers),
            details={
                "suspects": [s.token for s in findings.suspects],
                "edits": len(defence.edits),
                "restored": len(defence.record["restored_rows"]),
                "timings": defence.record["timings"],
            },
        )
