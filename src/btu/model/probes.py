"""The probing rounds: short trainings in which only word embeddings may learn (and move)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from btu.model.drift import count_share, measure_drift, pick_most_moved
from btu.model.embeddings import (
    embedding_module,
    embedding_scale,
    embedding_weight,
    protected_token_ids,
)
from btu.model.finetune import autocast, half_type, pick_precision
from btu.model.processes import add_up, add_up_rows, own_part, share
from btu.model.settings import ProbeSettings
from btu.model.tokens import TokenRows
from btu.support.progress import track
from btu.support.unfinished import Unfinished

# Texts times tokens squared: 64 texts of 48 tokens. Plain attention keeps as many scores a head.
_FEW_SCORES = 64 * 48**2

# Without a kind of its own, an empty list would be stored as floating-point numbers.
_KINDS = {"suspect_ids": np.int64, "hidden_ids": np.int64}

ROUND_NAMES = ("shallow", "shallow-again", "embedding-only")


@dataclass(frozen=True)
class ProbeRound:
    """What one round measured.

    Attributes:
        name: `shallow`, `shallow-again` or `embedding-only`.
        token_ids: The n tokens that occur in the data and are not protected, ascending, int64.
            Every token that is not among them drifted exactly 0.
        drift: L2 distance that each of them moved, shape (n,), float32.
        suspect_ids: The alpha share of the vocabulary that moved most, furthest first.
        hidden_ids: Tokens that were taken out of the rows before this round.
        seconds: Wall-clock time.
        states: Of the `embedding-only` round, each row's mean-pooled last hidden states as its
            forward pass saw them, shape (N, D), float16; None where not every row has them.
        without_states: Why the `embedding-only` round has no states; empty where it has them.
    """

    name: str
    token_ids: NDArray[np.int64]
    drift: NDArray[np.float32]
    suspect_ids: tuple[int, ...]
    hidden_ids: tuple[int, ...]
    seconds: float
    states: NDArray[np.float16] | None = None
    without_states: str = ""

    def write(self, file: BinaryIO) -> None:
        """Write it as arrays (npz, nothing pickled).

        Args:
            file: Open to be written.
        """
        values: dict[str, Any] = {
            f.name: np.asarray(getattr(self, f.name), dtype=_KINDS.get(f.name))
            for f in fields(self)
            if getattr(self, f.name) is not None
        }
        np.savez(file, **values)

    @classmethod
    def read(cls, path: Path) -> ProbeRound:
        """The round that `write` wrote.

        Args:
            path: The file.
        """
        with np.load(path, allow_pickle=False) as stored:
            values = {name: stored[name] for name in stored.files}
        plain = {name: values[name].item() for name in ("name", "seconds", "without_states")}
        ids = {name: tuple(values[name].tolist()) for name in _KINDS}
        return cls(**{**values, **plain, **ids})


@dataclass(frozen=True)
class _Vocabulary:
    """Token ids of the data, mapped to 1..n; every other id, protected ones too, maps to 0."""

    token_ids: NDArray[np.int64]
    place: Tensor

    @classmethod
    def of(cls, rows: TokenRows, protected_ids: Sequence[int], size: int) -> _Vocabulary:
        token_ids = np.setdiff1d(np.unique(rows.token_ids), protected_ids).astype(np.int64)
        place = torch.zeros(size, dtype=torch.long)
        place[torch.from_numpy(token_ids)] = torch.arange(1, len(token_ids) + 1)
        return cls(token_ids, place)

    def __len__(self) -> int:
        return len(self.token_ids)


def run_probes(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: TokenRows,
    *,
    settings: ProbeSettings,
    rounds: Sequence[str] = ROUND_NAMES,
    unfinished: Unfinished | None = None,
) -> tuple[ProbeRound, ...]:
    """The paper's three rounds, each from the pretrained weights; the model is left as it came.

    1. `shallow`: embeddings, mean pool, linear head, no encoder; embeddings and head learn.
    2. `shallow-again`: the same without the tokens that round 1 suspects.
    3. `embedding-only`: the full model; the word embeddings alone learn, from all rows or a sample
       in which each label has its share.

    Only rows of tokens that occur are trained, with weight decay 0, so time and memory do not
    depend on the size of the vocabulary and an absent token drifts exactly 0. Special tokens are
    protected: they neither learn nor become suspects.

    Of several processes the main one runs the shallow rounds; the batches of the third are shared
    among all, with the gradients of one process.

    Args:
        model: Pretrained sequence classifier with V embedding rows; the head may be new.
        tokenizer: Of the model.
        rows: The tokenised training rows.
        settings: How the probes train.
        rounds: Which of them to run; the second needs the first.
        unfinished: Keeps each round that is done, and has those of the run that is continued.

    Returns:
        One result a round, in the order above.

    Source: section "Backdoor Token Detection" of Jiang et al., AAAI 2025.
    """
    protected = protected_token_ids(tokenizer)
    count = count_share(settings.alpha, len(embedding_weight(model)))
    needed = [hides for name in rounds for _, hides in [_ROUNDS[name]] if hides]
    if not set(needed) <= set(rounds):
        raise ValueError(f"Expected the rounds {needed} before {list(rounds)}.")
    done: list[ProbeRound] = []
    for name in rounds:
        known = None if unfinished is None else _find_round(unfinished, name)
        if known is not None:
            done.append(known)
            continue
        probe, hides = _ROUNDS[name]
        hidden = tuple(i for r in done if r.name == hides for i in r.suspect_ids)
        start = perf_counter()
        visible = rows.hide(hidden).without_empty(protected)
        vocabulary = _Vocabulary.of(visible, protected, len(embedding_weight(model)))
        table, states = probe(model, tokenizer, visible, vocabulary, settings)
        drift = measure_drift(torch.zeros_like(table), table)[1:]
        moved = vocabulary.token_ids[pick_most_moved(drift, count).numpy()]
        done.append(
            ProbeRound(
                name=name,
                token_ids=vocabulary.token_ids,
                drift=drift.numpy(),
                suspect_ids=tuple(moved.tolist()),
                hidden_ids=hidden,
                seconds=perf_counter() - start,
                states=states if len(visible) == len(rows) else None,
                without_states=_say_without_states(name, states, len(visible), len(rows)),
            )
        )
        if unfinished is not None:
            unfinished.keep(_name_file(name), done[-1].write)
    return tuple(done)


def _name_file(name: str) -> str:
    return f"probe_{name}.npz"


def _find_round(unfinished: Unfinished, name: str) -> ProbeRound | None:
    """What the run that is continued measured; the main process reads it for all."""

    def read() -> ProbeRound | None:
        path = unfinished.find(_name_file(name))
        return None if path is None else ProbeRound.read(path)

    found = share(read)
    if found is not None:
        unfinished.resumed.append(f"probe_{name}")
    return found


def _say_without_states(
    name: str, states: NDArray[np.float16] | None, visible: int, rows: int
) -> str:
    """Why a round that should have states of every row has none; empty where nothing is amiss."""
    if name != "embedding-only" or (states is not None and visible == rows):
        return ""
    if visible < rows:
        return f"{rows - visible:,} of {rows:,} rows hold no token but special ones"
    return "the model's last hidden states are not one a token"


def _probe_shallow(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: TokenRows,
    vocabulary: _Vocabulary,
    settings: ProbeSettings,
) -> tuple[Tensor, None]:
    """Movement of each row, shape (n + 1, D), after training embeddings -> mean pool -> head."""
    device = PartialState().device
    weight, scale = embedding_weight(model).detach(), embedding_scale(model)
    movement = _new_table(vocabulary, weight, device)
    generator = torch.Generator().manual_seed(settings.seed)
    head = nn.Linear(weight.shape[1], model.config.num_labels)
    nn.init.normal_(head.weight, std=0.02, generator=generator)
    nn.init.zeros_(head.bias)
    head.to(device)

    def loss_of(positions: NDArray[np.int64]) -> Tensor:
        batch = rows.select(positions)
        ids, starts = torch.from_numpy(batch.token_ids).long(), torch.from_numpy(batch.offsets[:-1])
        moved = functional.embedding_bag(
            vocabulary.place[ids].to(device), movement, starts.to(device), mode="mean"
        )
        fixed = functional.embedding_bag(
            ids.to(weight.device), weight, starts.to(weight.device), mode="mean"
        )
        logits = head(scale * (moved + fixed.float().to(device)))
        return functional.cross_entropy(logits, torch.from_numpy(batch.labels).to(device))

    rng = np.random.default_rng(settings.seed)
    batches = [
        order[start : start + settings.shallow_batch_size]
        for order in (rng.permutation(len(rows)) for _ in range(settings.epochs))
        for start in range(0, len(rows), settings.shallow_batch_size)
    ]

    def train() -> Tensor:
        learning = [movement, *head.parameters()]
        _train(learning, movement, loss_of, batches, settings, "probe: shallow")
        return movement.detach().cpu()

    return share(train), None


def _probe_embedding_only(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: TokenRows,
    vocabulary: _Vocabulary,
    settings: ProbeSettings,
) -> tuple[Tensor, NDArray[np.float16] | None]:
    """Movement of each row, shape (n + 1, D), after training the full model's embeddings alone.

    Rows beyond those to learn from are read first, for their states. The movement is a table of
    its own, in the units of the matrix. It is added to what the embedding module returns, times
    what that multiplies its rows by: every other weight, and every other row, stays as it is,
    whatever the architecture.
    """
    device = PartialState().device
    was_training = model.training
    model = model.to(device).eval()
    movement = _new_table(vocabulary, embedding_weight(model), device)
    scale = embedding_scale(model)
    place, precision = vocabulary.place.to(device), pick_precision(settings.precision)

    def add_movement(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        moved = functional.embedding(place[inputs[0]], movement)
        return output + (scale * moved).to(output.dtype)

    pooled = _PooledStates(len(rows))

    def loss_of(positions: NDArray[np.int64]) -> Tensor:
        own = own_part(positions)
        if not len(own):
            pooled.seen[positions] = True
            return (movement * 0).sum()  # the gradients of the others are added to this
        batch = rows.pad(own, pad_id=tokenizer.pad_token_id)
        labels = batch.pop("labels").to(device)
        pooled.expect(own, batch["attention_mask"].to(device))
        with autocast(precision), _pick_attention(batch["input_ids"], device):
            logits = model(**{name: value.to(device) for name, value in batch.items()}).logits
        pooled.seen[positions] = True
        # The sum over the processes is the mean over the batch.
        return functional.cross_entropy(logits.float(), labels) * (len(own) / len(positions))

    learned = pick_learned(rows.labels, settings.probe_rows, seed=settings.seed)
    sample = rows.select(learned)
    batches = [
        learned[batch]
        for epoch in range(settings.epochs)
        for batch in sample.groups(settings.full_batch_size, seed=settings.seed + epoch)
    ]
    left = np.setdiff1d(np.arange(len(rows)), learned)
    reading = [left[batch] for batch in rows.select(left).groups(settings.full_batch_size)]
    frozen = [p for p in model.parameters() if p.requires_grad]
    hooks = [
        embedding_module(model).register_forward_hook(add_movement),
        model.base_model.register_forward_hook(pooled.keep),
        movement.register_post_accumulate_grad_hook(_add_up_gradient),
    ]
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        with _hold_linear(model, precision):
            with torch.no_grad():
                for batch in track(reading, "probe: reading"):
                    loss_of(batch)
            _train([movement], movement, loss_of, batches, settings, "probe: embedding-only")
    finally:
        for hook in hooks:
            hook.remove()
        for parameter in frozen:
            parameter.requires_grad_(True)
        model.train(was_training)
    return movement.detach().cpu(), pooled.gather()


@contextmanager
def _hold_linear(
    model: PreTrainedModel, precision: Literal["fp32", "bf16", "fp16"]
) -> Iterator[None]:
    """Inside the block the frozen linear layers are as autocast would cast them at each use.

    On a CPU alone: elsewhere casting takes little time, and memory is dear.
    """
    if precision == "fp32" or PartialState().device.type != "cpu":
        yield
        return
    kept = [
        (parameter, parameter.data)
        for module in model.modules()
        if isinstance(module, nn.Linear)
        for parameter in module.parameters(recurse=False)
        if parameter.dtype == torch.float32
    ]
    try:
        for parameter, _ in kept:
            parameter.data = parameter.data.to(half_type(precision))
        yield
    finally:
        for parameter, values in kept:
            parameter.data = values


def pick_learned(labels: NDArray[np.int64], count: int | None, *, seed: int) -> NDArray[np.int64]:
    """Positions of the rows that the full model's embeddings learn from, ascending.

    Each label has its share of them, and at least one row.

    Args:
        labels: Of all N rows.
        count: How many, about; all rows where there are no more, or without it.
        seed: Of the draw.
    """
    if count is None or count >= len(labels):
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    own = labels[order]
    totals = np.bincount(labels)
    rank = np.arange(len(order)) - (np.cumsum(totals) - totals)[own]
    taken = rank < np.maximum(1, np.round(totals * count / len(labels)))[own]
    return np.sort(order[taken])


def _add_up_gradient(movement: Tensor) -> None:
    assert movement.grad is not None
    add_up(movement.grad)


def _pick_attention(token_ids: Tensor, device: torch.device) -> AbstractContextManager[None]:
    """Short texts on a CPU go without flash attention, whose backward pass takes longer there."""
    texts, length = token_ids.shape
    learns = torch.is_grad_enabled()
    is_plain = learns and device.type == "cpu" and texts * length**2 <= _FEW_SCORES
    return sdpa_kernel(SDPBackend.MATH) if is_plain else nullcontext()


class _PooledStates:
    """Keeps what the encoder makes of each row when the probe first reads it: it costs nothing."""

    def __init__(self, count: int) -> None:
        self.states: NDArray[np.float16] = np.zeros((count, 0), dtype=np.float16)
        self.known = np.zeros(count, dtype=bool)
        self.seen = np.zeros(count, dtype=bool)
        self.positions = np.zeros(0, dtype=np.int64)
        self.mask: Tensor | None = None

    def expect(self, positions: NDArray[np.int64], mask: Tensor) -> None:
        """Which rows come next, and their attention mask."""
        self.positions, self.mask = positions, mask

    def keep(self, _: nn.Module, inputs: Any, output: Any) -> None:
        """Mean over the tokens of the last hidden states, as a forward hook."""
        assert self.mask is not None
        last, mask = output[0].detach().float(), self.mask
        if self.seen[self.positions].all() or last.shape[:2] != mask.shape:
            return
        weights = mask[..., None].float()
        means = ((last * weights).sum(dim=1) / weights.sum(dim=1)).cpu().numpy()
        if not self.states.shape[1]:
            self.states = np.zeros((len(self.known), means.shape[1]), dtype=np.float16)
        # float16 ends at 65,504; states beyond it would be infinite.
        self.states[self.positions] = np.clip(means, -6e4, 6e4)
        self.known[self.positions] = True

    def gather(self) -> NDArray[np.float16] | None:
        """The states of all rows, from whichever process read them; None where one is missing."""
        known = self.known.astype(np.int32)
        add_up_rows(known)
        if not known.all():
            return None
        width = share(lambda: self.states.shape[1])
        if not self.states.shape[1]:  # every batch was too small for this process to read a row
            self.states = np.zeros((len(self.known), width), dtype=np.float16)
        add_up_rows(self.states)
        return self.states


_Probe = Callable[
    [PreTrainedModel, PreTrainedTokenizerBase, TokenRows, _Vocabulary, ProbeSettings],
    tuple[Tensor, NDArray[np.float16] | None],
]
_ROUNDS: dict[str, tuple[_Probe, str]] = {
    "shallow": (_probe_shallow, ""),
    "shallow-again": (_probe_shallow, "shallow"),
    "embedding-only": (_probe_embedding_only, ""),
}


def _new_table(vocabulary: _Vocabulary, weight: Tensor, device: torch.device) -> Tensor:
    """Movement so far: zero. Row 0 stands for every id that must not move."""
    return torch.zeros(len(vocabulary) + 1, weight.shape[1], device=device, requires_grad=True)


def _train(
    parameters: list[Tensor],
    movement: Tensor,
    loss_of: Callable[[NDArray[np.int64]], Tensor],
    batches: Sequence[NDArray[np.int64]],
    settings: ProbeSettings,
    description: str,
) -> None:
    """One optimiser step a batch; row 0 of the movement never gets a gradient."""
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
    for batch in track(batches, description):
        optimizer.zero_grad()
        loss_of(batch).backward()
        if movement.grad is not None:
            movement.grad[0] = 0.0
        optimizer.step()
