"""What the filtering defences share: hidden states of rows, and training on the rows left over."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray

from btu.bench.defences.base import Workbench
from btu.data.corpus import Corpus
from btu.model.finetune import Classifier, autocast, pick_precision
from btu.model.tokens import TokenRows
from btu.support.errors import InputError
from btu.support.progress import track


@torch.no_grad()
def measure_states(
    classifier: Classifier, rows: TokenRows, *, batch_size: int = 256
) -> NDArray[np.float32]:
    """What the encoder's last layer makes of each row, shape (N, D).

    It is the state of the first token where the tokenizer has a classification token ([CLS], <s>),
    and of the last token elsewhere: decoders such as GPT-2 and Llama classify by that one.

    Args:
        classifier: A fine-tuned model.
        rows: N tokenised rows, none without a token.
        batch_size: Rows in a batch.
    """
    device = PartialState().device
    encoder = classifier.model.to(device).eval().base_model
    states = np.zeros((len(rows), classifier.model.config.hidden_size), dtype=np.float32)
    for positions in track(rows.groups(batch_size), "hidden states"):
        batch = rows.pad(positions, pad_id=classifier.tokenizer.pad_token_id)
        del batch["labels"]
        with autocast(pick_precision(classifier.precision)):
            hidden = encoder(**{name: value.to(device) for name, value in batch.items()})[0]
        first = torch.zeros(len(positions), dtype=torch.long)
        reads_last = classifier.tokenizer.cls_token_id is None
        places = torch.from_numpy(rows.lengths[positions] - 1) if reads_last else first
        states[positions] = hidden[torch.arange(len(positions)), places].float().cpu().numpy()
    return states


def finetune_without(flagged: NDArray[np.bool_], corpus: Corpus, bench: Workbench) -> Classifier:
    """The pretrained model fine-tuned on the rows that are not flagged.

    Where none is flagged, that is the undefended model: the same rows, settings and seed.

    Args:
        flagged: Rows to leave out, shape (N,).
        corpus: N rows.
        bench: Model and settings.

    Raises:
        InputError: Every row is flagged.
    """
    if flagged.all():
        raise InputError(
            f"{corpus.source}: expected rows to train on, got none: all {len(corpus)} are flagged. "
            "Choose a stricter threshold."
        )
    return bench.finetune(corpus.select(~flagged)) if flagged.any() else bench.undefended()
