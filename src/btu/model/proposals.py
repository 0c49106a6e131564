"""What the probes propose: every token's drift, how it is labelled, which ones moved most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from btu.evidence.content import TextFeatures
from btu.model.embeddings import has_own_padding
from btu.model.material import Material
from btu.model.probes import ProbeRound, run_probes
from btu.model.settings import ProbeSettings
from btu.model.tokens import TokenRows
from btu.support.unfinished import Unfinished


@dataclass(frozen=True)
class Proposals:
    """What the probing rounds measured, aligned: n tokens that occur, K labels.

    Attributes:
        rounds: Each round as it was measured.
        token_ids: The n tokens, ascending, int64.
        tokens: Their spellings, as people write them.
        drift: For each round the distance that each of them moved, shape (n,); nan where hidden.
        label_counts: Rows that hold each token, by label, shape (n, K), int64.
        proposed_ids: The tokens that some round suspects, ascending.
        words: These as words in lower case.
        thresholds: For each round the least drift of what it suspects.
        neutral_id: The padding token, where the model has one of its own.
        text: The corpus by its tokens and by the states of the encoder.
        without_states: Why there are no states where there should be; empty otherwise.
        timings: Seconds of each round.
    """

    rounds: tuple[ProbeRound, ...]
    token_ids: NDArray[np.int64]
    tokens: tuple[str, ...]
    drift: Mapping[str, NDArray[np.float32]]
    label_counts: NDArray[np.int64]
    proposed_ids: tuple[int, ...]
    words: tuple[str, ...]
    thresholds: Mapping[str, float]
    neutral_id: int | None
    text: TextFeatures
    without_states: str
    timings: Mapping[str, float]


def propose_tokens(
    material: Material, *, settings: ProbeSettings, unfinished: Unfinished | None = None
) -> Proposals:
    """Run the probes and align what they measured. The model is left as it came.

    Args:
        material: Data and model.
        settings: Of the probes.
        unfinished: Keeps the rounds that are done; see `run_probes`.
    """
    tokenizer, rows = material.tokenizer, material.rows
    rounds = tuple(
        run_probes(material.model, tokenizer, rows, settings=settings, unfinished=unfinished)
    )
    token_ids, drift = _align(rounds)
    suspected = [i for r in rounds for i in r.suspect_ids]
    proposed = token_ids[np.isin(token_ids, suspected)].tolist()
    states = next((r.states for r in rounds if r.states is not None), None)
    num_labels = len(material.corpus.label_names)
    return Proposals(
        rounds=rounds,
        token_ids=token_ids,
        tokens=tuple(spell_token(i, tokenizer) for i in token_ids.tolist()),
        drift=drift,
        label_counts=_count_labels(rows, token_ids, num_labels),
        proposed_ids=tuple(proposed),
        words=tuple(spell_token(i, tokenizer).lower() for i in proposed),
        thresholds={r.name: _least(r) for r in rounds},
        neutral_id=tokenizer.pad_token_id if has_own_padding(tokenizer) else None,
        text=TextFeatures(rows.presence(token_ids), states, rows.labels, num_labels),
        without_states=next((r.without_states for r in rounds if r.without_states), ""),
        timings={f"probe_{r.name}": r.seconds for r in rounds},
    )


def _align(
    rounds: Sequence[ProbeRound],
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]:
    """All tokens of all rounds, and each round's drift in their order (nan where hidden)."""
    token_ids = np.unique(np.concatenate([r.token_ids for r in rounds]))
    drift = {}
    for r in rounds:
        column = np.full(len(token_ids), np.nan, dtype=np.float32)
        column[np.searchsorted(token_ids, r.token_ids)] = r.drift
        drift[r.name] = column
    return token_ids, drift


def _count_labels(
    rows: TokenRows, token_ids: NDArray[np.int64], num_labels: int
) -> NDArray[np.int64]:
    """Rows that hold each token, by label, shape (n, K)."""
    place = np.searchsorted(token_ids, rows.token_ids)
    known = place < len(token_ids)
    known[known] = token_ids[place[known]] == rows.token_ids[known]
    pairs = np.unique(np.stack([place[known], rows.row_of_token[known]]), axis=1)
    counts = np.zeros((len(token_ids), num_labels), dtype=np.int64)
    np.add.at(counts, (pairs[0], rows.labels[pairs[1]]), 1)
    return counts


def spell_token(token_id: int, tokenizer: PreTrainedTokenizerBase) -> str:
    """A token as people write it, without the marks that tokenizers put before or after a piece.

    White space, and a part of a character, stay as the tokenizer writes them.
    """
    written = str(tokenizer.convert_ids_to_tokens(token_id))
    shown = str(tokenizer.decode([token_id])).strip()
    if written.startswith("##") and len(written) > len("##"):
        shown = shown.removeprefix("##")
    return written if not shown or "\ufffd" in shown else shown


def _least(probe: ProbeRound) -> float:
    suspects = np.isin(probe.token_ids, probe.suspect_ids)
    return float(probe.drift[suspects].min()) if suspects.any() else 0.0
