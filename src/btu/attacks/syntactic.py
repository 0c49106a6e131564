"""SynBkd: a sentence structure as the trigger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from btu.attacks.options import check_options
from btu.attacks.paraphrase import PREFIX_HELP, VERSION_HELP, Paraphrase


@dataclass(frozen=True)
class Syntactic(Paraphrase):
    """The text paraphrased so that it starts with a subordinate clause ("when you ...", "if ...").

    Source: Qi et al., "Hidden Killer: Invisible Textual Backdoor Attacks with Syntactic Trigger"
    (ACL 2021); the template is S(SBAR)(,)(NP)(VP)(.).
    """

    version: str | Mapping[str, str] = field(default="syntactic", metadata=VERSION_HELP)
    prefix: str = field(
        default="Rewrite the text so that it starts with a clause with when, if or as: ",
        metadata=PREFIX_HELP,
    )

    def __post_init__(self) -> None:
        check_options("syntactic", self.faults())
