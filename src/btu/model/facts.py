"""What a record says of the pretrained model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelFacts:
    """The pretrained model.

    Attributes:
        name: Folder or Hub id, as given.
        revision: Of the Hub, where it has one.
        architecture: The class that transformers loads.
        sha256: Over its weights.
        vocabulary_size: Rows of its word-embedding matrix.
    """

    name: str
    revision: str | None
    architecture: str
    sha256: str
    vocabulary_size: int
