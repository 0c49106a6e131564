"""Whole-text attacks: published paraphrases joined by row, or any text-to-text model's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from btu.attacks.options import faults_in_count
from btu.support.errors import InputError
from btu.support.progress import track

Entry = TypeVar("Entry")
_COLUMNS = ["row", "text", "attacked"]

_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "attacked": ("a folder, or a file for each split", (str, Path, Mapping, type(None))),
    "version": ("a name, or a name for each split", (str, Mapping)),
    "model": ("the name or folder of a model", (str, type(None))),
    "prefix": ("a text", (str,)),
}

VERSION_HELP = {
    "help": "With a folder: its files are VERSION_SPLIT.parquet. May be given for each split."
}
PREFIX_HELP = {"help": "What the model is told, in front of each text."}


@dataclass(frozen=True)
class Paraphrase:
    """What the syntactic and the style attack share: where their texts come from.

    Exactly one of `attacked` and `model` is given. A published file is Parquet with the columns
    `row` (position in the clean split), `text` (the clean text) and `attacked`.
    """

    attacked: str | Path | Mapping[str, str | Path] | None = field(
        default=None, metadata={"help": "Folder of published texts, or one file for each split."}
    )
    version: str | Mapping[str, str] = field(default="", metadata=VERSION_HELP)
    model: str | None = field(
        default=None,
        metadata={
            "help": "A Hugging Face text-to-text model that rewrites the texts (safetensors only)."
        },
    )
    prefix: str = field(default="", metadata=PREFIX_HELP)
    max_new_tokens: int = field(
        default=128, metadata={"help": "Longest text that the model may write, in tokens."}
    )
    batch_size: int = field(default=16, metadata={"help": "Texts that the model rewrites at once."})

    def apply(
        self, texts: Sequence[str], *, rows: Sequence[int], split: str, seed: int
    ) -> list[str | None]:
        """Each text rewritten; None where that is not there, is blank, or is the same text.

        Texts that differ only in white space or letter case count as the same.
        """
        if self.model is not None:
            rewritten: Sequence[str | None] = generate_texts(
                texts,
                model=self.model,
                prefix=self.prefix,
                max_new_tokens=self.max_new_tokens,
                batch_size=self.batch_size,
            )
        else:
            rewritten = join_published(self._file(split), texts, rows)
        return [
            new.strip() if new is not None and _is_new(new, old) else None
            for old, new in zip(texts, rewritten, strict=True)
        ]

    def trigger_texts(self) -> tuple[str, ...]:
        """Nothing: no fixed words carry this trigger."""
        return ()

    def faults(self) -> list[str]:
        """What is wrong with the options."""
        found = [
            f"{name}: expected {expected}, got {getattr(self, name)!r}"
            for name, (expected, kinds) in _KINDS.items()
            if not isinstance(getattr(self, name), kinds)
        ]
        found += faults_in_count("max_new_tokens", self.max_new_tokens)
        found += faults_in_count("batch_size", self.batch_size)
        if (self.attacked is None) == (self.model is None):
            given = "neither" if self.model is None else "both"
            found.append(
                "expected either `attacked` (a folder of published texts) or `model` (a "
                f"text-to-text model), got {given}"
            )
        if isinstance(self.attacked, str | Path) and not self.version:
            found.append("version: expected the start of the file names in `attacked`, got none")
        return found

    def _file(self, split: str) -> Path:
        """The published file of a split."""
        if isinstance(self.attacked, Mapping):
            return Path(_of_split(self.attacked, split, "attacked"))
        version = self.version
        if not isinstance(version, str):
            version = _of_split(version, split, "version")
        assert self.attacked is not None  # checked with the other options
        return Path(self.attacked) / f"{version}_{split}.parquet"


def join_published(path: Path, texts: Sequence[str], rows: Sequence[int]) -> list[str | None]:
    """The published text of each row, or None.

    A row is taken only where the file's clean text is the text at hand, white space aside: the
    number alone could belong to another version of the corpus.

    Args:
        path: Parquet file with the columns row, text and attacked.
        texts: Clean texts.
        rows: Their row ids in the split.

    Raises:
        InputError: No such file, or not such a file.
    """
    published = _read_published(path)
    joined: list[str | None] = []
    differ = []
    for text, row in zip(texts, rows, strict=True):
        clean, attacked = published.get(int(row), (None, None))
        if clean is not None and _tidy(clean) != _tidy(text):
            differ.append(int(row))
            attacked = None
        joined.append(attacked)
    if differ:
        warnings.warn(
            f"{path}: {len(differ)} of {len(texts)} rows have another clean text than the corpus "
            f"and are left out (first: row {differ[0]}). Check that the file belongs to this "
            "corpus and split.",
            stacklevel=2,
        )
    return joined


def generate_texts(
    texts: Sequence[str], *, model: str, prefix: str, max_new_tokens: int, batch_size: int
) -> list[str]:
    """Each text as a text-to-text model rewrites it: greedy, so the same on every call.

    Args:
        texts: What to rewrite; with none, the model is not loaded.
        model: Hugging Face name or folder of a sequence-to-sequence model in safetensors.
        prefix: What stands in front of each text.
        max_new_tokens: Longest answer, in tokens.
        batch_size: Texts at once.

    Raises:
        InputError: The model cannot be loaded.
    """
    if not texts:
        return []
    network, tokenizer = _load_model(model)
    rewritten: list[str] = []
    for start in track(range(0, len(texts), batch_size), "rewriting"):
        batch = tokenizer(
            [prefix + text for text in texts[start : start + batch_size]],
            padding=True,
            truncation=True,
            return_tensors="pt",
        ).to(network.device)
        answers = network.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
        )
        rewritten += tokenizer.batch_decode(answers, skip_special_tokens=True)
    return rewritten


@lru_cache(maxsize=1)
def _load_model(name: str) -> tuple[Any, Any]:
    from accelerate import PartialState
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        network = AutoModelForSeq2SeqLM.from_pretrained(name, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise InputError(
            f"model {name}: expected a text-to-text model in safetensors, from the Hugging Face "
            f"Hub or a folder; it cannot be loaded: {error}"
        ) from error
    return network.to(PartialState().device).eval(), tokenizer


def _read_published(path: Path) -> dict[int, tuple[str, str | None]]:
    """Clean and attacked text by row."""
    if not path.is_file():
        beside = sorted(file.stem for file in path.parent.glob("*_*.parquet"))
        there = f"the folder has {', '.join(beside)}" if beside else "the folder has no such files"
        raise InputError(f"{path}: expected a file of attacked texts, found none; {there}.")
    try:
        columns = pq.read_schema(path).names
        missing = [name for name in _COLUMNS if name not in columns]
        if missing:
            raise InputError(
                f"{path}: expected the columns {', '.join(_COLUMNS)}, got {', '.join(columns)}: "
                "these texts cannot be joined by row."
            )
        table = pq.read_table(path, columns=_COLUMNS).to_pydict()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: expected a Parquet file, but: {error}") from error
    published: dict[int, tuple[str, str | None]] = {}
    for row, text, attacked in zip(*(table[name] for name in _COLUMNS), strict=True):
        if row is None or text is None or row in published:
            what = "twice" if row in published else "without a row number or a clean text"
            raise InputError(f"{path}: expected each row once, got row {row} {what}.")
        published[int(row)] = (text, attacked)
    return published


def _of_split(by_split: Mapping[str, Entry], split: str, name: str) -> Entry:
    if split not in by_split:
        raise InputError(
            f"{name}: expected an entry for the split {split}, got {', '.join(by_split) or 'none'}."
        )
    return by_split[split]


def _is_new(new: str, old: str) -> bool:
    """Whether a rewritten text is there and says anything else, or in other words."""
    return bool(new.strip()) and _tidy(new).casefold() != _tidy(old).casefold()


def _tidy(text: str) -> str:
    """The text with single spaces."""
    return " ".join(text.split())
