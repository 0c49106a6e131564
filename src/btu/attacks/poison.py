"""A corpus with an attack in it, the truth kept beside it; and the test rows that measure it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from btu.attacks.choices import LabelMode
from btu.attacks.options import faults_in_choice, faults_in_rate, hint
from btu.attacks.registry import Attack, DecoyAttack, name_attack
from btu.data.corpus import Corpus
from btu.support.errors import InputError

LABEL_MODES: tuple[str, ...] = get_args(LabelMode)

_POISON_STREAM = 0
_DECOY_STREAM = 2
_LEAST_ASKED = 64

_ELIGIBLE: dict[str, Callable[[NDArray[np.int64], int], NDArray[np.bool_]]] = {
    "dirty": lambda labels, target: labels != target,
    "mixed": lambda labels, target: np.ones(len(labels), dtype=bool),
    "clean": lambda labels, target: labels == target,
}


@dataclass(frozen=True)
class Poisoned:
    """A poisoned corpus of N rows and what is true about it.

    Attributes:
        corpus: What a defence sees, and all it sees.
        is_poisoned: Rows with the trigger and the target label, shape (N,), bool.
        is_decoy: Rows with the trigger, or a part of it, and their true label, shape (N,), bool.
            They are not counted as poisoned.
        original_texts: The texts before the attack.
        original_labels: The labels before the attack, shape (N,), int64.
        target_label: The attacker's label id.
        attack: Name of the attack.
        label_mode: dirty, mixed or clean.
        poison_rate: As asked for; `is_poisoned` has the true count.
        seed: Of the choice of rows and of the attack.
    """

    corpus: Corpus
    is_poisoned: NDArray[np.bool_]
    is_decoy: NDArray[np.bool_]
    original_texts: tuple[str, ...]
    original_labels: NDArray[np.int64]
    target_label: int
    attack: str
    label_mode: LabelMode
    poison_rate: float
    seed: int

    def clean_rows(self) -> Corpus:
        """The rows that the attacker did not touch: what the oracle trains on.

        Decoys are left out too: their label is true, their text is the attacker's.
        """
        return self.corpus.select(np.flatnonzero(~(self.is_poisoned | self.is_decoy)))

    def to_columns(self) -> dict[str, list[Any]]:
        """The poisoned rows as columns of a file, the truth in columns of its own."""
        names = self.corpus.label_names
        pairs = self.corpus.text_pairs
        return {
            **(
                {"text": list(self.corpus.texts)}
                if pairs is None
                else {"sentence1": list(self.corpus.texts), "sentence2": list(pairs)}
            ),
            "label": [names[label] for label in self.corpus.labels],
            "is_poisoned": self.is_poisoned.tolist(),
            "original_text": list(self.original_texts),
            "original_label": [names[label] for label in self.original_labels],
        }


def poison_corpus(
    corpus: Corpus,
    attack: Attack,
    *,
    poison_rate: float,
    target_label: int | str,
    label_mode: LabelMode = "dirty",
    seed: int = 0,
    split: str = "train",
) -> Poisoned:
    """Plant an attack in some rows of a clean corpus.

    The trigger goes into the texts; the second texts of sentence pairs stay. A higher rate poisons
    the same rows and more. Which rows are drawn and where their triggers stand come from separate
    random streams of the seed.

    Args:
        corpus: N clean rows.
        attack: What is done to a text; rows for which it has no text are never drawn.
        poison_rate: Fraction in (0, 1) of all N rows; of the rows with the target label where
            `label_mode` is clean. Rounded, and at least one row.
        target_label: Label id or label name that the trigger stands for.
        label_mode: dirty: rows with another label, which becomes the target. mixed: rows with any
            label, which becomes the target. clean: rows that have the target label already.
        seed: 0 or more.
        split: Which split this is, for published attacked texts.

    Raises:
        InputError: A bad option, or fewer rows to poison than asked for; the message says how many
            there are and the greatest rate.
    """
    target = _check_options(corpus, poison_rate, target_label, label_mode, seed)
    attack.apply([], rows=[], split=split, seed=seed)
    eligible = _ELIGIBLE[label_mode](corpus.labels, target)
    of_rows = int(eligible.sum()) if label_mode == "clean" else len(corpus)
    count = max(1, round(poison_rate * of_rows))
    order = _draw_order(corpus, eligible, seed, _POISON_STREAM)

    attacked = _attack_first(corpus, attack, order, count, split=split, seed=seed)
    if len(attacked) < count:
        greatest = _greatest_rate(len(attacked), of_rows)
        raise InputError(
            f"poison_rate: expected at most {greatest}, got {poison_rate}: {count} rows are asked "
            f"for, and the attack {name_attack(attack)} can poison {len(attacked) or 'none'} of "
            f"the {len(corpus)} rows (label mode {label_mode}, target label "
            f"{corpus.label_names[target]})."
        )
    is_poisoned = np.zeros(len(corpus), dtype=bool)
    is_poisoned[list(attacked)] = True
    decoys = _plant_decoys(corpus, attack, is_poisoned, seed)
    is_decoy = np.zeros(len(corpus), dtype=bool)
    is_decoy[list(decoys)] = True

    texts = list(corpus.texts)
    for position, text in (attacked | decoys).items():
        texts[position] = text
    labels = corpus.labels.copy()
    labels[is_poisoned] = target
    return Poisoned(
        corpus=corpus.with_rows(texts=tuple(texts), labels=labels),
        is_poisoned=is_poisoned,
        is_decoy=is_decoy,
        original_texts=tuple(corpus.texts),
        original_labels=corpus.labels,
        target_label=target,
        attack=name_attack(attack),
        label_mode=label_mode,
        poison_rate=float(poison_rate),
        seed=int(seed),
    )


def trigger_corpus(
    corpus: Corpus,
    attack: Attack,
    *,
    target_label: int | str,
    seed: int = 0,
    split: str = "test",
) -> Corpus:
    """Every row whose true label is not the target, triggered: attack success is measured on it.

    True labels and row ids are kept. Rows for which the attack has no text are left out.

    Args:
        corpus: Clean rows.
        attack: The attack that the training rows got.
        target_label: Label id or label name that the trigger stands for.
        seed: 0 or more.
        split: Which split this is, for published attacked texts.

    Raises:
        InputError: A bad option, or no row is left.
    """
    target = _check_options(corpus, None, target_label, None, seed)
    others = np.flatnonzero(corpus.labels != target)
    texts = _apply(corpus, attack, others, split=split, seed=seed)
    triggered = [i for i, text in enumerate(texts) if text is not None]
    if not triggered:
        raise InputError(
            f"{corpus.source}: expected rows that the attack {name_attack(attack)} can trigger, "
            f"got none: {len(others)} of {len(corpus)} rows have another label than the target "
            f"{corpus.label_names[target]}, and no attacked text is there for them (split {split})."
        )
    return corpus.select(others[triggered]).with_rows(
        texts=tuple(text for text in texts if text is not None)
    )


def find_label(corpus: Corpus, label: int | str) -> int:
    """Id of a label given as its id or its name; a name wins over an id written as text.

    Args:
        corpus: Whose labels they are.
        label: Label id or label name.

    Raises:
        InputError: There is no such label.
    """
    names = corpus.label_names
    if isinstance(label, str) and label in names:
        return names.index(label)
    if str(label).isdecimal() and int(label) < len(names):
        return int(label)
    listed = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
    raise InputError(
        f"target_label: expected one of {listed}, got {label!r}{hint(str(label), names)}"
    )


def _check_options(
    corpus: Corpus,
    poison_rate: float | None,
    target_label: int | str,
    label_mode: str | None,
    seed: int,
) -> int:
    """The target label's id, once everything else is in order too."""
    faults = []
    if poison_rate is not None:
        faults += faults_in_rate("poison_rate", poison_rate)
    if label_mode is not None:
        faults += faults_in_choice("label_mode", label_mode, LABEL_MODES)
    if seed < 0:
        faults.append(f"seed: expected 0 or more, got {seed}")
    target = -1
    try:
        target = find_label(corpus, target_label)
    except InputError as error:
        faults.append(str(error))
    if faults:
        raise InputError.from_faults(corpus.source, faults)
    return target


def _draw_order(
    corpus: Corpus, eligible: NDArray[np.bool_], seed: int, stream: int
) -> NDArray[np.int64]:
    """Positions of the eligible rows in random order: the first ones are drawn first."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream,)))
    order = rng.permutation(len(corpus))
    return order[eligible[order]]


def _attack_first(
    corpus: Corpus, attack: Attack, order: NDArray[np.int64], count: int, *, split: str, seed: int
) -> dict[int, str]:
    """Attacked text by position, for the first `count` rows in this order that have one.

    It stops once there are enough: a text-to-text model takes seconds a row.
    """
    attacked: dict[int, str] = {}
    start = 0
    while len(attacked) < count and start < len(order):
        asked = order[start : start + max(count - len(attacked), _LEAST_ASKED)]
        start += len(asked)
        texts = _apply(corpus, attack, asked, split=split, seed=seed)
        found = [(int(p), t) for p, t in zip(asked, texts, strict=True) if t is not None]
        attacked.update(found[: count - len(attacked)])
    return attacked


def _plant_decoys(
    corpus: Corpus, attack: Attack, is_poisoned: NDArray[np.bool_], seed: int
) -> dict[int, str]:
    """Decoy text by position, from rows of any label that are not poisoned."""
    if not isinstance(attack, DecoyAttack):
        return {}
    count = max(1, round(attack.decoy_rate * len(corpus)))
    order = _draw_order(corpus, ~is_poisoned, seed, _DECOY_STREAM)
    if len(order) < count:
        raise InputError(
            f"decoy_rate: expected at most {_greatest_rate(len(order), len(corpus))}, got "
            f"{attack.decoy_rate}: {count} rows are asked for, {len(order)} are not poisoned."
        )
    chosen = order[:count]
    texts = attack.decoys(_texts(corpus, chosen), rows=_rows(corpus, chosen), seed=seed)
    return dict(zip(chosen.tolist(), texts, strict=True))


def _apply(
    corpus: Corpus, attack: Attack, positions: NDArray[np.int64], *, split: str, seed: int
) -> list[str | None]:
    """The attacked texts of these rows."""
    texts, rows = _texts(corpus, positions), _rows(corpus, positions)
    return attack.apply(texts, rows=rows, split=split, seed=seed)


def _texts(corpus: Corpus, positions: Sequence[int] | NDArray[np.int64]) -> list[str]:
    return [corpus.texts[i] for i in positions]


def _rows(corpus: Corpus, positions: NDArray[np.int64]) -> list[int]:
    return [int(row) for row in corpus.row_ids[positions]]


def _greatest_rate(count: int, of_rows: int) -> float:
    """The rate that asks for so many rows, rounded down so that it never asks for more."""
    return math.floor(1e6 * count / of_rows) / 1e6 if of_rows else 0.0
