"""The rows of a case: a piece of a corpus, other labels or an attack in it, the truth beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btu.attacks.poison import poison_corpus
from btu.attacks.registry import Attack, build_attack
from btu.bench.census.plan import PIECES, CensusCase, Planting, Source
from btu.bench.census.variants import change_labels
from btu.bench.census.words import list_words, pick_options
from btu.bench.sample import deal_rows, make_rng, pick_rows
from btu.data.corpus import Corpus, load_corpus
from btu.support.errors import InputError


class NotPossibleError(Exception):
    """A case that this corpus has too few rows or words for."""


@dataclass(frozen=True)
class Counted:
    """N rows that the evidence reads, and the truth about them.

    Attributes:
        corpus: What the evidence sees.
        is_poisoned: Rows with the trigger and the target label, shape (N,), bool.
        target: The attacker's label id; None without an attack.
    """

    corpus: Corpus
    is_poisoned: NDArray[np.bool_]
    target: int | None


def load_source(source: Source, folders: Sequence[Path]) -> Corpus:
    """The whole corpus.

    Args:
        source: Its files.
        folders: Where they may lie; the first that has them counts.

    Raises:
        InputError: A file is nowhere, or cannot be used.
    """
    parts = [
        load_corpus(
            str(find_file(file, folders)),
            text_column=source.text_column,
            label_column=source.label_column,
        )
        for file in source.files
    ]
    if len(parts) == 1:
        return parts[0]
    texts = [text for part in parts for text in part.texts]
    labels = [part.label_names[label] for part in parts for label in part.labels]
    return load_corpus((texts, labels))


def find_file(file: str, folders: Sequence[Path]) -> Path:
    """Where a file of a corpus is.

    Raises:
        InputError: In none of the folders.
    """
    for folder in folders:
        if (folder / file).is_file():
            return folder / file
    raise InputError(
        f"{file}: expected this file in {' or '.join(map(str, folders)) or 'a folder of corpora'}, "
        "found none. Name its folder with --corpora."
    )


def prepare_rows(case: CensusCase, whole: Corpus, folders: Sequence[Path]) -> Counted:
    """Cut, deal labels and plant, as the case says.

    Args:
        case: On this corpus.
        whole: All rows of it.
        folders: Of corpora, for published attacked texts.

    Raises:
        NotPossibleError: There are too few rows or words for that.
        InputError: Published texts are missing or do not fit.
    """
    piece = whole.select(_pick_piece(case, whole.labels))
    if case.planting is None:
        labels = change_labels(piece.labels, piece.num_labels, case.variant, case.seed)
        return Counted(piece.with_rows(labels=labels), np.zeros(len(piece), dtype=bool), None)
    target = pick_target(case, piece.labels)
    attack = _build_attack(case.planting, case.source, piece, folders)
    attack.apply([], rows=[], split="train", seed=case.seed)
    rate = _find_rate(case, piece, target)
    try:
        poisoned = poison_corpus(
            piece,
            attack,
            poison_rate=rate,
            target_label=target,
            label_mode=case.planting.label_mode,
            seed=case.seed,
        )
    except InputError as error:
        raise NotPossibleError(str(error)) from error
    return Counted(poisoned.corpus, poisoned.is_poisoned, target)


def pick_target(case: CensusCase, labels: NDArray[np.int64]) -> int:
    """The attacker's label id by the rule of the case, among the labels that rows bear."""
    ids, counts = np.unique(labels, return_counts=True)
    places = {"first": 0, "largest": int(counts.argmax()), "smallest": int(counts.argmin())}
    return int(ids[places[str(case.target)]])


def _pick_piece(case: CensusCase, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    rng = make_rng(case.seed, "train")
    if case.size in PIECES:
        return deal_rows(labels, PIECES[case.size], rng)[case.part - 1]
    return pick_rows(labels, int(case.size), rng)


def _find_rate(case: CensusCase, piece: Corpus, target: int) -> float:
    """The poison rate that gives the rows asked for."""
    assert case.planting is not None
    assert case.amount is not None
    if isinstance(case.amount, float):
        return case.amount
    is_clean = case.planting.label_mode == "clean"
    of_rows = int((piece.labels == target).sum()) if is_clean else len(piece)
    if case.amount >= of_rows:
        raise NotPossibleError(f"{case.amount} rows are asked for, {of_rows} are there")
    return case.amount / of_rows


def _build_attack(
    planting: Planting, source: Source, piece: Corpus, folders: Sequence[Path]
) -> Attack:
    options = dict(planting.options)
    if planting.ranks:
        try:
            options |= pick_options(planting.ranks, list_words(piece.texts))
        except InputError as error:
            raise NotPossibleError(str(error)) from error
    if planting.published:
        folder = find_file(source.files[0], folders).parent
        options |= {"attacked": str(folder), "version": planting.published[source.name]}
    return build_attack(planting.kind, options)
