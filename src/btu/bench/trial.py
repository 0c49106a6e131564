"""The rows of a cell: what a defence is given, and the truth that only the measuring sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btu.attacks.paraphrase import Paraphrase
from btu.attacks.poison import find_label, poison_corpus, trigger_corpus
from btu.attacks.registry import ATTACKS, Attack, build_attack
from btu.bench.cells import Cell
from btu.bench.corpora import ROLES, load_split
from btu.bench.sample import make_rng, pick_rows, pick_rows_with_texts
from btu.data.corpus import Corpus
from btu.support.errors import InputError


@dataclass(frozen=True)
class Trial:
    """The rows of all cells that share an attack and a seed.

    Attributes:
        train: N rows, all that a defence is given.
        is_poisoned: Which of them the attacker changed and labelled, shape (N,), bool.
        untouched: The rows that the attacker left alone: what the oracle is given.
        clean: Held-out rows known to be clean, for the defences that ask for some.
        test: Clean rows to test on.
        triggered: The test rows of other labels than the target, with the trigger in them; None
            in the clean control.
        target: The attacker's label id; None in the clean control.
        trigger_texts: The inserted words or sentence, where there are any.
    """

    train: Corpus
    is_poisoned: NDArray[np.bool_]
    untouched: Corpus
    clean: Corpus
    test: Corpus
    triggered: Corpus | None
    target: int | None
    trigger_texts: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """Size and SHA-256 of every part, JSON types."""
        parts = {
            "train": self.train,
            "untouched": self.untouched,
            "clean": self.clean,
            "test": self.test,
            "triggered": self.triggered,
        }
        return {
            name: {"rows": len(part), "sha256": part.fingerprint()}
            for name, part in parts.items()
            if part is not None
        }


def prepare_trial(cell: Cell, corpora: Path | None) -> Trial:
    """Sample, poison and trigger the rows of a cell.

    Args:
        cell: Its defence does not matter.
        corpora: Folder of corpora; None for the Hub.

    Raises:
        InputError: The rows are not there, or cannot be attacked so.
    """
    whole, settings, seed = load_split(cell.rule, "train", corpora), cell.settings, cell.seed
    attack = None if cell.is_control else build_cell_attack(cell, corpora)
    picked = pick_training_rows(whole, cell, attack)
    train = whole.select(picked)
    test = _pick_split(cell, "test", settings.max_test_rows, corpora, taken=picked)
    clean = _pick_split(cell, "clean", settings.max_clean_rows, corpora, taken=picked)
    if attack is None:
        nothing = np.zeros(len(train), dtype=bool)
        return Trial(train, nothing, train, clean, test, None, None, ())
    poisoned = poison_corpus(
        train,
        attack,
        poison_rate=cell.poison_rate,
        target_label=cell.target_label,
        label_mode=cell.label_mode,
        seed=seed,
    )
    return Trial(
        train=poisoned.corpus,
        is_poisoned=poisoned.is_poisoned,
        untouched=poisoned.clean_rows(),
        clean=clean,
        test=test,
        triggered=trigger_corpus(test, attack, target_label=cell.target_label, seed=seed),
        target=poisoned.target_label,
        trigger_texts=attack.trigger_texts(),
    )


def build_cell_attack(cell: Cell, corpora: Path | None) -> Attack:
    """The attack of a cell, with the published texts of its corpus where it joins such.

    Raises:
        InputError: Unknown options or bad values, or no texts to join.
    """
    kind, options = cell.attack.kind, dict(cell.attack.options)
    takes_texts = "attacked" in {f.name for f in fields(ATTACKS[kind])}
    if takes_texts and not {"attacked", "model"} & set(options):
        version = cell.rule.published.get(kind)
        if version is None or corpora is None:
            raise InputError(
                f"{kind} on {cell.rule.name}: expected published texts ("
                + ("--corpora names their folder" if version else "the rules know no version")
                + ") or a text-to-text `model` among its options, got neither."
            )
        options |= {"attacked": str(corpora / cell.rule.name), "version": version}
    return build_attack(kind, options)


def find_faults(cells: Sequence[Cell], corpora: Path | None) -> list[str]:
    """What stands in the way of running these cells, found without training anything.

    Args:
        cells: Those to run; marked ones (`missing`) are left alone.
        corpora: Folder of corpora; None for the Hub.
    """
    if corpora is not None and not corpora.is_dir():
        return [f"{corpora}: expected a folder of corpora, found none. Name one with --corpora."]
    sound: dict[str, bool] = {}
    faults: dict[str, None] = {}
    checked = set()
    for cell in cells:
        corpus = cell.rule.name
        if corpus not in sound:
            found = _find_split_faults(cell, corpora)
            faults |= dict.fromkeys(found)
            sound[corpus] = not found
        key = (cell.source, cell.group())
        if sound[corpus] and key not in checked and not (cell.missing or cell.is_control):
            checked.add(key)
            found = _find_attack_faults(cell, corpora)
            faults |= dict.fromkeys(f"{cell.source}: {fault}" for fault in found)
    return list(faults)


def pick_training_rows(
    whole: Corpus, cell: Cell, attack: Attack | None = None
) -> NDArray[np.int64]:
    """Positions of the training rows: the same for all attacks, but for those that join texts.

    Where attacked texts were published for a part of the rows only, the sample is made to hold
    enough of those. What stays short then is a fault that `poison_corpus` names.

    Args:
        whole: The training split.
        cell: Seed, size, rate, label mode and target label.
        attack: None in the clean control.
    """
    labels, count, rng = whole.labels, cell.settings.max_train_rows, make_rng(cell.seed, "train")
    if not (isinstance(attack, Paraphrase) and attack.attacked is not None):
        return pick_rows(labels, count, rng)
    rows = [int(row) for row in whole.row_ids]
    texts = attack.apply(whole.texts, rows=rows, split="train", seed=cell.seed)
    target = find_label(whole, cell.target_label)
    eligible = {"dirty": labels != target, "mixed": labels >= 0, "clean": labels == target}
    return pick_rows_with_texts(
        labels,
        count,
        rng,
        has_text=np.array([text is not None for text in texts]),
        eligible=eligible[cell.label_mode],
        rate=cell.poison_rate,
        of_eligible=cell.label_mode == "clean",
    )


def _find_split_faults(cell: Cell, corpora: Path | None) -> list[str]:
    """Splits of the corpus that cannot be loaded."""
    faults: dict[str, None] = {}
    for role in ROLES:
        try:
            load_split(cell.rule, role, corpora)
        except InputError as error:
            faults[str(error)] = None
    return list(faults)


def _find_attack_faults(cell: Cell, corpora: Path | None) -> list[str]:
    """What is wrong with the attack on a corpus that is sound."""
    faults = []
    try:
        find_label(load_split(cell.rule, "train", corpora), cell.target_label)
    except InputError as error:
        faults.append(f"{cell.rule.name}: {error}")
    try:
        attack = build_cell_attack(cell, corpora)
    except InputError as error:
        return [*faults, str(error)]
    for split in ("train", "test"):
        try:
            attack.apply([], rows=[], split=split, seed=cell.seed)
        except InputError as error:
            faults.append(str(error))
    if not faults and isinstance(attack, Paraphrase) and attack.attacked is not None:
        # Joining published texts takes no time: whether they are enough is found by doing it.
        try:
            prepare_trial(cell, corpora)
        except InputError as error:
            faults.append(f"{cell.rule.name}: {error}")
    return faults


def _pick_split(
    cell: Cell, role: str, count: int, corpora: Path | None, *, taken: NDArray[np.int64]
) -> Corpus:
    """Some rows of a split; never training rows, where it is the split that those come from."""
    whole = load_split(cell.rule, role, corpora)
    names = cell.rule.hub if corpora is None else cell.rule.splits
    free = np.arange(len(whole))
    if names[role] == names["train"]:
        free = np.setdiff1d(free, taken)
    return whole.select(free[pick_rows(whole.labels[free], count, make_rng(cell.seed, role))])
