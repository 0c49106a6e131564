"""STRIP: an input whose answer survives half of its words being replaced is turned away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr
from sklearn.feature_extraction.text import TfidfVectorizer

from btu.bench.defences.base import REFUSED, Outcome, Workbench
from btu.data.corpus import Corpus
from btu.model.finetune import Classifier
from btu.support.errors import InputError


@dataclass(frozen=True)
class Strip:
    """Refuse inputs whose label stays certain while words of clean texts are put over their own.

    Each input is copied several times. In each copy some words give way to the words of highest
    tf-idf of a random clean text. The score is the mean entropy of the answers: low where a
    trigger decides alone. The bar is the quantile of the clean rows' scores that refuses the
    wanted share of them.

    Source: Gao et al., "STRIP: A Defence Against Trojan Attacks on Deep Neural Networks" (ACSAC
    2019), and for text Gao et al., "Design and Evaluation of a Multi-Domain Trojan Detection Method
    on Deep Neural Networks" (STRIP-ViTA, IEEE TDSC 2021; arXiv 1911.10312), whose abstract names
    the false rejection rate of 3 % for text.

    Where this differs: 20 copies where the paper takes 100, for the sake of the predictions that
    each input costs (OpenBackdoor takes 5). The paper tunes the share of words for each task; half
    of them is OpenBackdoor's default. The paper fits a normal distribution to the clean entropies
    and takes its quantile; those of a text classifier pile up at 0, where such a quantile can be
    negative and refuse nothing, so the quantile is the observed one, as in OpenBackdoor.

    Its premise is a trigger that outlives the replaced words. A single word is gone from half of
    the copies; those answer like any clean text, and the input passes.
    """

    copies: int = field(default=20, metadata={"help": "Perturbed copies of each input."})
    replaced_share: float = field(
        default=0.5, metadata={"help": "Share of the words that is replaced in a copy."}
    )
    false_rejection_rate: float = field(
        default=0.03, metadata={"help": "Share of the clean rows that may be refused."}
    )

    def __post_init__(self) -> None:
        faults = [
            f"{name}: expected a fraction above 0 and below 1, got {getattr(self, name)!r}"
            for name in ("replaced_share", "false_rejection_rate")
            if not 0 < getattr(self, name) < 1
        ]
        if self.copies < 1:
            faults.append(f"copies: expected a whole number of at least 1, got {self.copies!r}")
        if faults:
            raise InputError.from_faults("strip", faults)

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        """Find the bar on the clean rows.

        Raises:
            InputError: There are no clean rows.
        """
        if bench.clean is None:
            raise InputError("strip: expected clean rows, got none. Give a clean split.")
        overlay = Overlay(
            rank_words(bench.clean.texts),
            copies=self.copies,
            replaced_share=self.replaced_share,
            seed=bench.seed,
        )
        classifier = bench.undefended()
        clean = measure_entropy(classifier, overlay, bench.clean.texts)
        threshold = float(np.quantile(clean, self.false_rejection_rate))
        return Outcome(
            StripPredictor(classifier, overlay, threshold),
            details={
                "threshold_bits": threshold,
                "clean_entropy_bits": {"mean": float(clean.mean()), "spread": float(clean.std())},
                "clean_refused": float((clean < threshold).mean()),
            },
        )


@dataclass(frozen=True)
class Overlay:
    """Puts words of clean texts over the words of an input.

    Attributes:
        ranked_words: For each clean text its words, the most telling first.
        copies: How many copies of an input.
        replaced_share: Share of the words that is replaced in a copy.
        seed: With the input's own letters it decides every draw, so that a text gets the same
            copies whatever stands beside it.
    """

    ranked_words: Sequence[Sequence[str]]
    copies: int
    replaced_share: float
    seed: int

    def perturb(self, text: str) -> list[str]:
        """The copies of one text."""
        rng = np.random.default_rng([self.seed, crc32(text.encode("utf-8", "surrogatepass"))])
        return [self._perturb_once(text.split(), rng) for _ in range(self.copies)]

    def _perturb_once(self, words: list[str], rng: np.random.Generator) -> str:
        count = max(1, int(self.replaced_share * len(words)))
        new: list[str] = []
        while len(new) < count:
            new += self.ranked_words[int(rng.integers(len(self.ranked_words)))]
        places = rng.choice(len(words), size=count, replace=False)
        for place, word in zip(places.tolist(), new, strict=False):
            words[place] = word
        return " ".join(words)


@dataclass(frozen=True)
class StripPredictor:
    """A model that turns away inputs of low entropy.

    Attributes:
        classifier: The undefended model.
        overlay: Makes the perturbed copies.
        threshold: Inputs of lower mean entropy are refused, in bits.
    """

    classifier: Classifier
    overlay: Overlay
    threshold: float

    def predict(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Label ids, shape (N,); `REFUSED` where the answer hardly moves."""
        entropy = measure_entropy(self.classifier, self.overlay, texts)
        return np.where(entropy < self.threshold, REFUSED, self.classifier.predict(texts))


def rank_words(texts: Sequence[str]) -> list[list[str]]:
    """The different words of each text, the highest tf-idf first."""
    vectorizer = TfidfVectorizer(lowercase=False, token_pattern=r"\S+")
    weights = vectorizer.fit_transform(texts).tocsr()
    vocabulary = vectorizer.get_feature_names_out()
    ranked = []
    for start, end in zip(weights.indptr[:-1], weights.indptr[1:], strict=True):
        order = np.argsort(-weights.data[start:end], kind="stable")
        ranked.append(vocabulary[weights.indices[start:end][order]].tolist())
    return ranked


def measure_entropy(
    classifier: Classifier, overlay: Overlay, texts: Sequence[str]
) -> NDArray[np.float64]:
    """Mean entropy of the answers to the copies of each text, shape (N,), in bits."""
    copies = [copy for text in texts for copy in overlay.perturb(text)]
    scores = classifier.predict_scores(copies).astype(np.float64)
    bits: NDArray[np.float64] = entr(scores).sum(axis=1) / np.log(2)
    return bits.reshape(len(texts), overlay.copies).mean(axis=1)
