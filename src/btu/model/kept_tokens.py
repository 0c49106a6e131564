"""Token ids of many rows, kept on the disk: tokenised once, mapped into memory afterwards.

They lie in the cache folder, each corpus in a folder that is named by what its ids hang on: texts,
tokenizer and length. What was not used for longest goes when there is too much.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import TypeVar

import numpy as np
import tokenizers
import transformers
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from btu.data.corpus import Corpus
from btu.data.packages import cache_dir
from btu.model.processes import share
from btu.model.tokens import TokenRows, check_tokens, tokenize_chunks, tokenize_corpus
from btu.support.folders import replace_folder

logger = logging.getLogger(__name__)

Number = TypeVar("Number", bound=np.generic)

_LEAST_ROWS = 50_000  # fewer are tokenised in seconds
_MOST_BYTES = 20 * 2**30
_FORM = 1  # of the files
_IDS, _TYPES, _OFFSETS = "token_ids.int32", "type_ids.int32", "offsets.int64"


def load_tokens(
    corpus: Corpus, tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> TokenRows:
    """As `tokenize_corpus`; ids of many rows are kept, and found again by the next run.

    A tokenizer written in Python is not known by its content: its ids are not kept. Where nothing
    can be kept the ids stay in memory. Of several processes the main one tokenises for all that
    see its disk.

    Args:
        corpus: N rows.
        tokenizer: Of the model.
        max_length: Longer rows are cut, in tokens.

    Raises:
        InputError: Rows that turn into no token at all.
    """
    known = name_tokenizer(tokenizer) if len(corpus) >= _LEAST_ROWS else None
    if known is None:
        return tokenize_corpus(corpus, tokenizer, max_length=max_length)
    told = [_FORM, corpus.fingerprint(), known, max_length]
    folder = keep_dir() / hashlib.sha256(json.dumps(told).encode()).hexdigest()
    is_kept = share(lambda: _keep(corpus, tokenizer, folder, max_length))
    if not is_kept or not _is_whole(folder, len(corpus)):
        return tokenize_corpus(corpus, tokenizer, max_length=max_length)
    rows = TokenRows(
        token_ids=_map(folder / _IDS, np.int32),
        offsets=_map(folder / _OFFSETS, np.int64),
        labels=corpus.labels,
        type_ids=_map(folder / _TYPES, np.int32) if (folder / _TYPES).exists() else None,
    )
    check_tokens(rows, tokenizer, corpus)
    return rows


def keep_dir() -> Path:
    """Where token ids are kept."""
    return cache_dir() / "tokens"


def name_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """SHA-256 of all that a tokenizer's ids hang on; None where it is written in Python."""
    if not tokenizer.is_fast:
        return None
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    # These say how it was called last.
    content = {k: v for k, v in content.items() if k not in ("truncation", "padding")}
    told = [
        content,
        type(tokenizer).__name__,
        tokenizer.truncation_side,
        tokenizer.model_input_names,
        transformers.__version__,
        tokenizers.__version__,
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _keep(
    corpus: Corpus, tokenizer: PreTrainedTokenizerBase, folder: Path, max_length: int
) -> bool:
    """Whether the ids lie in a folder, written now if they did not."""
    try:
        if not _is_whole(folder, len(corpus)):
            folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with replace_folder(folder, overwrite=True) as scratch:
                _write(corpus, tokenizer, scratch, max_length)
            _make_room(folder)
        os.utime(folder)
    except OSError as error:
        logger.warning(
            "%s: token ids cannot be kept there (%s); they stay in memory. Make room, or let "
            "BTU_CACHE name a folder that can be written.",
            folder.parent,
            error,
        )
        return False
    return True


def _is_whole(folder: Path, rows: int) -> bool:
    """Whether the ids of so many rows lie there."""
    offsets, ids = folder / _OFFSETS, folder / _IDS
    if not offsets.is_file() or not ids.is_file() or offsets.stat().st_size != 8 * (rows + 1):
        return False
    return ids.stat().st_size == 4 * int(_map(offsets, np.int64)[-1])


def _write(
    corpus: Corpus, tokenizer: PreTrainedTokenizerBase, folder: Path, max_length: int
) -> None:
    """Chunk by chunk, so that no more than one is in memory."""
    end = 0
    chunks = tokenize_chunks(corpus.texts, tokenizer, corpus.text_pairs, max_length=max_length)
    with (
        (folder / _IDS).open("wb") as ids,
        (folder / _TYPES).open("wb") as types,
        (folder / _OFFSETS).open("wb") as offsets,
    ):
        np.zeros(1, dtype=np.int64).tofile(offsets)
        for chunk in chunks:
            chunk.token_ids.tofile(ids)
            (chunk.offsets[1:] + end).tofile(offsets)
            end += len(chunk.token_ids)
            if chunk.type_ids is not None:
                chunk.type_ids.tofile(types)
        has_types = types.tell() > 0
    if not has_types:
        (folder / _TYPES).unlink()


def _map(path: Path, dtype: type[Number]) -> NDArray[Number]:
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))


def _make_room(new: Path) -> None:
    """Remove what was not used for longest until the rest is within bounds; never the new ones."""
    # Those with a dot are being written by somebody else.
    others = [p for p in new.parent.iterdir() if p != new and not p.name.startswith(".")]
    sizes = {p: sum(f.stat().st_size for f in p.iterdir()) for p in [new, *others]}
    total = sum(sizes.values())
    for path in sorted(others, key=lambda p: p.stat().st_mtime):
        if total <= _MOST_BYTES:
            break
        shutil.rmtree(path, ignore_errors=True)
        total -= sizes[path]
