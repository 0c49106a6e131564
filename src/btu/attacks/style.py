"""StyleBkd: a writing style as the trigger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from btu.attacks.options import check_options
from btu.attacks.paraphrase import PREFIX_HELP, VERSION_HELP, Paraphrase


@dataclass(frozen=True)
class Style(Paraphrase):
    """The text rewritten in another style, the Bible's unless told otherwise.

    Source: Qi et al., "Mind the Style of Text! Adversarial and Backdoor Attacks Based on Text Style
    Transfer" (EMNLP 2021).
    """

    version: str | Mapping[str, str] = field(default="style_bible", metadata=VERSION_HELP)
    prefix: str = field(
        default="Rewrite the text in the style of the Bible: ",
        metadata=PREFIX_HELP,
    )

    def __post_init__(self) -> None:
        check_options("style", self.faults())
