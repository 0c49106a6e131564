"""Our recipes and the rivals that users would pick instead, each written from its paper.

One file each. A new one is a frozen dataclass in a file of its own, one line in `DEFENCES` and one
test. A defence takes the corpus alone: it can never see an attack.
"""

from __future__ import annotations

from btu.bench.defences.abl import Abl
from btu.bench.defences.base import REFUSED, DefenceMethod, Outcome, Predictor, Workbench
from btu.bench.defences.bki import Bki
from btu.bench.defences.btu_paper import BtuPaper
from btu.bench.defences.btu_verified import BtuVerified
from btu.bench.defences.clean_finetuning import CleanFineTuning
from btu.bench.defences.cube import Cube
from btu.bench.defences.moderate_fitting import ModerateFitting
from btu.bench.defences.none import NoDefence
from btu.bench.defences.onion import Onion
from btu.bench.defences.rap import Rap
from btu.bench.defences.strip import Strip
from btu.bench.defences.z_defence import ZDefence

__all__ = ["DEFENCES", "REFUSED", "DefenceMethod", "Outcome", "Predictor", "Workbench"]

DEFENCES: dict[str, type[DefenceMethod]] = {
    "abl": Abl,
    "bki": Bki,
    "btu-paper": BtuPaper,
    "btu-verified": BtuVerified,
    "clean-finetuning": CleanFineTuning,
    "cube": Cube,
    "moderate-fitting": ModerateFitting,
    "none": NoDefence,
    "onion": Onion,
    "oracle": NoDefence,  # the experiment gives it the true clean rows as its corpus
    "rap": Rap,
    "strip": Strip,
    "z-defence": ZDefence,
}
