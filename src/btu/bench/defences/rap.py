"""RAP: an input whose answer does not mind a word that disturbs clean texts is turned away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from btu.bench.defences.base import REFUSED, Outcome, Workbench
from btu.data.corpus import Corpus
from btu.model.embeddings import embedding_module, hide_tokens, protected_token_ids
from btu.model.finetune import Classifier, autocast, pick_precision, predict_scores
from btu.model.tokens import TokenRows, tokenize_texts
from btu.support.errors import InputError
from btu.support.progress import track


@dataclass(frozen=True)
class Rap:
    """Refuse inputs whose probability hardly drops when a trained rare word is put before them.

    The vector of that word is trained, with all else frozen, until it lowers the probability of a
    protected label on clean rows of that label by 0.1 to 0.3. A backdoor is sturdier than an
    honest answer: inputs that drop less than the bar are refused. The bar is the quantile of the
    clean rows' drops that refuses the wanted share of them.

    Source: Yang et al., "RAP: Robustness-Aware Perturbations for Defending against Backdoor Attacks
    on NLP Models" (EMNLP 2021), section 4; learning rate, batch size, epochs and range as in the
    authors' code (lancopku/RAP). They report false rejection rates of 0.5, 1, 3 and 5 %; 1 % is
    the default here and in OpenBackdoor. As in their code, the gradients of all steps add up, the
    vector keeps its length, and the weight of the drops that are too small rises where the bar
    would be negative.

    Where this differs: the paper protects the one label that an attack is known to aim at. Our
    defender does not know it, so every label has a vector and a bar of its own, and an input is
    judged by those of the label it gets. The rare word is any token that neither the training nor
    the clean rows hold, because an attacker may have used a well-known one such as "mb" or "cf".
    """

    epochs: int = field(default=5, metadata={"help": "Passes over the clean rows of a label."})
    learning_rate: float = field(default=1e-2, metadata={"help": "Of the word's vector."})
    batch_size: int = field(default=32, metadata={"help": "Clean rows in a batch."})
    min_drop: float = field(default=0.1, metadata={"help": "Smallest drop of probability sought."})
    max_drop: float = field(default=0.3, metadata={"help": "Largest drop of probability sought."})
    scale: float = field(default=1.0, metadata={"help": "Weight of the drops that are too small."})
    attempts: int = field(
        default=3,
        metadata={"help": "Trainings of a vector at most, each with twice the scale before."},
    )
    false_rejection_rate: float = field(
        default=0.01, metadata={"help": "Share of the clean rows that may be refused."}
    )

    def __post_init__(self) -> None:
        faults = [
            f"{name}: expected more than 0, got {getattr(self, name)!r}"
            for name in ("epochs", "learning_rate", "batch_size", "scale", "attempts")
            if not getattr(self, name) > 0
        ]
        if not 0 < self.min_drop <= self.max_drop < 1:
            faults.append(
                "min_drop, max_drop: expected 0 < min_drop <= max_drop < 1, got "
                f"{self.min_drop!r} and {self.max_drop!r}"
            )
        if not 0 < self.false_rejection_rate < 1:
            faults.append(
                "false_rejection_rate: expected a fraction above 0 and below 1, got "
                f"{self.false_rejection_rate!r}"
            )
        if faults:
            raise InputError.from_faults("rap", faults)

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        """Train a vector and find a bar for every label.

        Raises:
            InputError: There are no clean rows, or none of some label; or every token occurs.
        """
        clean = bench.clean
        if clean is None:
            raise InputError("rap: expected clean rows, got none. Give a clean split.")
        missing = [name for name, count in clean.label_counts().items() if not count]
        if missing:
            raise InputError(
                f"rap: expected clean rows of every label, got none of {', '.join(missing)}. Give "
                "a clean split that holds some."
            )
        token_id = pick_free_token(
            bench.tokenizer(), [bench.tokenize(corpus), bench.tokenize(clean)], seed=bench.seed
        )
        classifier = bench.undefended()
        classifier.model.requires_grad_(False)
        guards = tuple(
            self._protect(classifier, clean.select(clean.labels == label), label, token_id, bench)
            for label in range(clean.num_labels)
        )
        return Outcome(
            RapPredictor(classifier, guards),
            details={
                "token": str(classifier.tokenizer.convert_ids_to_tokens(token_id)),
                "thresholds": dict(
                    zip(clean.label_names, (guard.threshold for guard in guards), strict=True)
                ),
                "scales": dict(
                    zip(clean.label_names, (guard.scale for guard in guards), strict=True)
                ),
            },
        )

    def _protect(
        self, classifier: Classifier, clean: Corpus, label: int, token_id: int, bench: Workbench
    ) -> RapGuard:
        """The guard of one label, from its clean rows; retrained while its bar is negative."""
        before = classifier.predict_scores(clean.texts)
        rows = insert_token(clean.texts, classifier, token_id)
        answered = before.argmax(axis=1) == label
        for scale in (self.scale * 2**attempt for attempt in range(self.attempts)):
            vector = self._train_vector(
                classifier, rows, before[:, label], label, token_id, scale=scale, seed=bench.seed
            )
            guard = RapGuard(label, token_id, vector, scale)
            drops = before[:, label] - guard.predict_scores(classifier, rows)
            if not answered.any():
                return guard
            threshold = float(np.quantile(drops[answered], self.false_rejection_rate))
            guard = replace(guard, threshold=threshold)
            if threshold >= 0:
                break
        return guard

    def _train_vector(
        self,
        classifier: Classifier,
        rows: TokenRows,
        before: NDArray[np.float32],
        label: int,
        token_id: int,
        *,
        scale: float,
        seed: int,
    ) -> Tensor:
        """A vector of the token's length under which the label's probability drops as wanted."""
        model, device = classifier.model, PartialState().device
        with torch.no_grad():
            vector = embedding_module(model)(torch.tensor(token_id, device=device)).clone()
        length, gradient = vector.norm(), torch.zeros_like(vector)
        vector.requires_grad_()
        for epoch in track(range(self.epochs), "training a perturbation"):
            for positions in rows.groups(self.batch_size, seed=seed + epoch):
                batch = rows.pad(positions, pad_id=classifier.tokenizer.pad_token_id)
                del batch["labels"]
                with (
                    hide_tokens(model, [token_id], vector),
                    autocast(pick_precision(classifier.precision)),
                ):
                    logits = model(**{k: value.to(device) for k, value in batch.items()}).logits
                after = logits.float().softmax(dim=-1)[:, label]
                drop = torch.from_numpy(before[positions]).to(device) - after
                too_small = torch.relu(self.min_drop - drop).mean()
                too_large = torch.relu(drop - self.max_drop).mean()
                gradient += torch.autograd.grad(scale * too_small + too_large, vector)[0]
                with torch.no_grad():
                    vector -= self.learning_rate * gradient
                    vector *= length / vector.norm()
        return vector.detach()


@dataclass(frozen=True)
class RapGuard:
    """What protects one label.

    Attributes:
        label: Label id.
        token_id: The rare word.
        vector: Its trained vector, shape (D,).
        scale: Weight of the drops that were too small, in the training.
        threshold: Inputs whose probability drops less are refused; None where the model gives no
            clean row its own label, so that there is nothing to set a bar by.
    """

    label: int
    token_id: int
    vector: Tensor
    scale: float
    threshold: float | None = None

    def predict_scores(self, classifier: Classifier, rows: TokenRows) -> NDArray[np.float32]:
        """Probability of the label for rows that hold the rare word, shape (N,)."""
        with hide_tokens(classifier.model, [self.token_id], self.vector):
            scores = predict_scores(
                classifier.model, classifier.tokenizer, rows, precision=classifier.precision
            )
        return scores[:, self.label]


@dataclass(frozen=True)
class RapPredictor:
    """A model that turns away inputs that a perturbation does not disturb.

    Attributes:
        classifier: The undefended model.
        guards: One for each label id.
    """

    classifier: Classifier
    guards: tuple[RapGuard, ...]

    def predict(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Label ids, shape (N,); `REFUSED` where the probability of the answer drops too little."""
        before = self.classifier.predict_scores(texts)
        answers = before.argmax(axis=1).astype(np.int64)
        judged = answers.copy()
        for guard in self.guards:
            chosen = np.flatnonzero(answers == guard.label)
            if not len(chosen) or guard.threshold is None:
                continue
            rows = insert_token(
                [texts[i] for i in chosen.tolist()], self.classifier, guard.token_id
            )
            drops = before[chosen, guard.label] - guard.predict_scores(self.classifier, rows)
            judged[chosen[drops < guard.threshold]] = REFUSED
        return judged


def pick_free_token(
    tokenizer: PreTrainedTokenizerBase, occurring: Sequence[TokenRows], *, seed: int
) -> int:
    """A random token made of letters that stands in none of these rows.

    Raises:
        InputError: Every token occurs.
    """
    taken = np.unique(
        np.concatenate([protected_token_ids(tokenizer), *(rows.token_ids for rows in occurring)])
    )
    free = [
        token_id
        for token_id in np.setdiff1d(np.arange(len(tokenizer)), taken).tolist()
        if tokenizer.decode([token_id]).strip().isalpha()
    ]
    if not free:
        raise InputError(
            f"rap: expected a token that the data does not hold, but all {len(tokenizer)} of the "
            "tokenizer occur. Choose a model with a larger vocabulary."
        )
    return int(np.random.default_rng(seed).choice(free))


def insert_token(texts: Sequence[str], classifier: Classifier, token_id: int) -> TokenRows:
    """The texts as token ids, with one token before their first; cut at the usual length."""
    tokenizer = classifier.tokenizer
    rows = tokenize_texts(texts, tokenizer, max_length=classifier.max_length - 1)
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    own = ~np.isin(rows.token_ids, list(special))
    firsts = [
        start + int(own[start:end].argmax()) for start, end in pairwise(rows.offsets.tolist())
    ]
    return replace(
        rows,
        token_ids=np.insert(rows.token_ids, firsts, token_id),
        offsets=rows.offsets + np.arange(len(rows) + 1),
    )
