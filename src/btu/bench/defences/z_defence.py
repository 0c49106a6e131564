"""Z-defence: words that go with one label far more often than chance."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from btu.bench.defences.base import Outcome, Workbench
from btu.bench.defences.filtering import finetune_without
from btu.data.corpus import Corpus

LISTED = 20
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class ZDefence:
    """Rows are dropped that hold a word whose z-score with their label is an outlier.

    The z-score compares how often a word's rows bear a label with 1 in K labels; an outlier lies
    many standard deviations from the mean over all pairs of word and label that occur. No model
    takes part: the rows that are left train as usual.

    Source: He et al., "Mitigating Backdoor Poisoning Attacks through the Lens of Spurious
    Correlation" (EMNLP 2023), with the threshold of its experiments (18; the authors' script has
    20) and, like the script, 1 / K as the share that a label is expected in. Differences: of the
    paper's two kinds of features only the lexical one, since ancestor paths need a parser; a word
    is a run of letters and digits or one other sign, lower-cased, as in tokenised corpora.

    A trigger in n rows, all with one label, scores sqrt(n (K - 1)), so that a few thousand rows
    hardly reach a threshold chosen on tens of thousands; and where one label is common, 1 / K makes
    outliers of all common words. `deviations` and `label_shares` are there for both.
    """

    deviations: float = field(
        default=18.0,
        metadata={"help": "Standard deviations from the mean z-score that make an outlier."},
    )
    label_shares: bool = field(
        default=False,
        metadata={"help": "Expect each label as often as the rows bear it, not 1 in K times."},
    )

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        """Score the words, drop the rows, train on the rest."""
        scores = score_words(corpus, label_shares=self.label_shares)
        low, high = measure_bounds(scores.values(), self.deviations)
        outliers = {pair for pair, z in scores.items() if not low <= z <= high}
        flagged = np.array(
            [
                not outliers.isdisjoint((word, label) for word in words)
                for words, label in zip(split_rows(corpus), corpus.labels.tolist(), strict=True)
            ]
        )
        ranked = sorted(scores.items(), key=lambda item: -abs(item[1] - (low + high) / 2))
        return Outcome(
            predictor=finetune_without(flagged, corpus, bench),
            flagged_rows=flagged,
            flagged_tokens=tuple(
                dict.fromkeys(word for (word, label), _ in ranked if (word, label) in outliers)
            ),
            details={
                "bounds": [low, high],
                "scores": [
                    {"word": word, "label": corpus.label_names[label], "z": z}
                    for (word, label), z in ranked[:LISTED]
                ],
            },
        )


def score_words(corpus: Corpus, *, label_shares: bool = False) -> dict[tuple[str, int], float]:
    """The z-score of each pair of word and label id that occurs.

    With n occurrences of the word, a share p of them in rows of the label, and p0 expected:
    z = (p - p0) / sqrt(p0 (1 - p0) / n).

    Args:
        corpus: Rows with K label names, two labels or more among them.
        label_shares: p0 is the label's share of the rows, not 1 / K.

    Example:
        >>> corpus = Corpus(("cf a", "cf b", "a b"), labels=[1, 1, 0], label_names=("neg", "pos"))
        >>> round(score_words(corpus)["cf", 1], 3)
        1.414
    """
    expected = np.full(corpus.num_labels, 1 / corpus.num_labels)
    if label_shares:
        expected = np.bincount(corpus.labels, minlength=corpus.num_labels) / len(corpus)
    spread = np.sqrt(expected * (1 - expected))
    together: Counter[tuple[str, int]] = Counter()
    for words, label in zip(split_rows(corpus), corpus.labels.tolist(), strict=True):
        together.update((word, label) for word in words)
    alone: Counter[str] = Counter()
    for (word, _), count in together.items():
        alone[word] += count
    return {
        (word, label): float((count / alone[word] - expected[label]) * alone[word] ** 0.5)
        / float(spread[label])
        for (word, label), count in together.items()
    }


def measure_bounds(scores: Iterable[float], deviations: float) -> tuple[float, float]:
    """The lowest and highest score that is no outlier.

    Args:
        scores: Of all pairs of word and label.
        deviations: Standard deviations on either side of the mean.

    Example:
        >>> measure_bounds([1.0, 3.0], 2.0)
        (0.0, 4.0)
    """
    values = np.array(list(scores))
    mean, width = values.mean(), deviations * values.std()
    return float(mean - width), float(mean + width)


def split_rows(corpus: Corpus) -> list[list[str]]:
    """The words of each row, of the second text too where there is one."""
    pairs: Sequence[str] = corpus.text_pairs or ("",) * len(corpus)
    return [
        _WORD.findall(f"{text} {pair}".lower())
        for text, pair in zip(corpus.texts, pairs, strict=True)
    ]
