"""The errors that users are meant to read."""

from __future__ import annotations

from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message says what was expected, what came and what to do. The command line prints it and
    exits with status 2.
    """

    @classmethod
    def from_faults(cls, subject: str, faults: Iterable[str]) -> InputError:
        """One error for all faults of one input.

        Args:
            subject: What is at fault, for example a file name.
            faults: One sentence a fault, each with its remedy.
        """
        listed = list(faults)
        if len(listed) == 1:
            return cls(f"{subject}: {listed[0]}")
        return cls("\n  - ".join([f"{subject}: {len(listed)} faults", *listed]))
