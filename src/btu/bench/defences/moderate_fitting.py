"""Moderate fitting: too little capacity to learn a trigger beside the task."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel

from btu.bench.defences.base import Outcome, Workbench
from btu.data.corpus import Corpus

_QUERY_OR_VALUE = re.compile(r"(query|value|[qv])(_proj|_lin)?|c_attn")
_SCALE = 16.0


@dataclass(frozen=True)
class ModerateFitting:
    """Fine-tuning in which a few numbers move all weights, so that only the main feature is learnt.

    The encoder is frozen. Each query and value matrix gets a change of low rank (LoRA), and all
    those changes come out of one narrow network; they are added to the weights in the end.

    Source: Zhu et al., "Moderate-fitting as a Natural Backdoor Defender for Pre-trained Language
    Models" (NeurIPS 2022), its method of less capacity, with the settings that the authors publish
    for low-rank reparameterised LoRA. Its other two methods are plain fine-tuning for fewer epochs
    and at a lower learning rate: `rank=0` with the values wanted. Differences: the pooler, where a
    model has one, learns with the classification head, as it does in the paper's RoBERTa. Ten
    epochs are the paper's, whatever the cell has: many small steps stand for few large ones.
    """

    rank: int = field(
        default=8,
        metadata={"help": "Rank of the change of each matrix; 0 fine-tunes all weights."},
    )
    bottleneck: int = field(
        default=2, metadata={"help": "Width of the network that all changes come out of."}
    )
    epochs: float = field(default=10.0, metadata={"help": "Passes over the training rows."})
    learning_rate: float = field(default=3e-4, metadata={"help": "Peak learning rate of AdamW."})

    def run(self, corpus: Corpus, bench: Workbench) -> Outcome:
        """Train what may learn, add the changes to the weights."""
        classifier = bench.start(corpus)
        model = classifier.model
        changed = (
            restrict(model, rank=self.rank, bottleneck=self.bottleneck, seed=bench.seed)
            if self.rank
            else []
        )
        learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
        bench.continue_finetuning(
            classifier, corpus, epochs=self.epochs, learning_rate=self.learning_rate
        )
        merge(model, changed)
        return Outcome(
            predictor=classifier,
            details={"changed_matrices": len(changed), "learning_numbers": learning},
        )


def restrict(model: PreTrainedModel, *, rank: int, bottleneck: int, seed: int) -> list[nn.Module]:
    """Freeze the encoder and give its query and value matrices a change of low rank, at first 0.

    Where no matrix goes by such a name, all matrices of the encoder get one.

    Args:
        model: Sequence classifier, changed in place.
        rank: Of each change.
        bottleneck: Width of the network that they all come out of.
        seed: Of its first weights; the global generator stays as it is.

    Returns:
        The modules whose weight gets a change.
    """
    encoder = model.base_model
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(name.startswith("pooler"))
    matrices = [
        (name.rpartition(".")[2], module)
        for name, module in encoder.named_modules()
        if _is_matrix(module) and not name.startswith("pooler")
    ]
    chosen = [module for name, module in matrices if _QUERY_OR_VALUE.fullmatch(name)]
    chosen = chosen or [module for _, module in matrices]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        down, up = _Code(torch.rand(bottleneck)), _Code(torch.zeros(bottleneck))
        for module in chosen:
            change = _LowRankChange(module.weight, rank, down, up)
            parametrize.register_parametrization(module, "weight", change)
    return chosen


def merge(model: PreTrainedModel, changed: list[nn.Module]) -> None:
    """Add the changes to the weights; the model is then as it was built, and may learn again.

    Args:
        model: As `restrict` left it.
        changed: What `restrict` gave.
    """
    for module in changed:
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    model.requires_grad_(True)


class _Code(nn.Module):
    """A vector, and one narrow layer over it: what all changes have in common."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.start = nn.Parameter(start)
        self.layer = nn.Linear(len(start), len(start), bias=False)

    def forward(self) -> Tensor:
        return torch.tanh(self.layer(self.start))


class _LowRankChange(nn.Module):
    """A weight plus the product of two thin matrices, each unfolded from a code."""

    def __init__(self, weight: Tensor, rank: int, down: _Code, up: _Code) -> None:
        super().__init__()
        self.rank, self.down, self.up = rank, down, up
        rows, columns = weight.shape
        self.unfold_down = nn.Linear(len(down.start), rank * columns, bias=False)
        self.unfold_up = nn.Linear(len(up.start), rows * rank, bias=False)

    def forward(self, weight: Tensor) -> Tensor:
        down = self.unfold_down(self.down()).view(self.rank, -1)
        up = self.unfold_up(self.up()).view(-1, self.rank)
        return weight + _SCALE / self.rank * up @ down


def _is_matrix(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() == 2 and not isinstance(module, nn.Embedding)
