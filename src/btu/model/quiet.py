"""The libraries below keep silent: commands draw their own progress and write their own errors."""

from __future__ import annotations


def silence_libraries() -> None:
    """Switch off what transformers writes while it loads and trains."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
