"""What can be chosen about any attack: where a trigger goes, and which rows are taken."""

from __future__ import annotations

from typing import Literal

Position = Literal["random", "start", "end"]
LabelMode = Literal["dirty", "mixed", "clean"]
