"""Conductor: corpus and pretrained model in, findings out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from btu.content import measure_label_lift
from btu.control import measure_control
from btu.corpus import Corpus, load_corpus
from btu.embeddings import (
    embedding_weight,
    has_own_padding,
    hash_weights,
    load_classifier,
    load_tokenizer,
    longest_text,
)
from btu.evidence import find_evidence
from btu.findings import Example, Findings, TokenFinding
from btu.probes import ProbeRound, run_probes
from btu.reviews import Review, load_reviews, name_style
from btu.settings import EvidenceSettings, ProbeSettings, Recipe, check_recipe, check_run
from btu.tokens import TokenRows, find_spans, tokenize_corpus

NOT_CHECKED = (
    "Rows rewritten in a syntax or style of the attacker's, where they are few or keep their true "
    "label.",
    "Poison that leaves its rows' labels right, where its token stands in few rows or in rows that "
    "are plain without it.",
    "Whether the pretrained checkpoint was clean before this fine-tuning.",
)
_EXAMPLES = 3
_COLUMNS = ("text_column", "text_pair_column", "label_column", "split")


@dataclass(frozen=True)
class Material:
    """What every conductor starts from: checked data and a pretrained model.

    Attributes:
        corpus: The training data.
        tokenizer: Of the model.
        rows: The tokenised corpus.
        model: Pretrained, with a classification head for the corpus's labels.
        facts: Data and model as they go into the record, JSON types.
    """

    corpus: Corpus
    tokenizer: PreTrainedTokenizerBase
    rows: TokenRows
    model: PreTrainedModel
    facts: dict[str, Any]


def scan(
    model: str | Path,
    data: Any,
    *,
    recipe: Recipe = "verified",
    settings: ProbeSettings | None = None,
    evidence: EvidenceSettings | None = None,
    accept: str | Path | Sequence[Review] = (),
    max_length: int = 128,
    seed: int = 0,
    **columns: Any,
) -> Findings:
    """Find the tokens that a backdoor in the data would hang on. No model is changed or saved.

    Args:
        model: Folder or Hub id of a clean pretrained model, any architecture that
            `AutoModelForSequenceClassification` loads.
        data: File, folder, Hub id, `datasets.Dataset`, pandas frame or lists; see `load_corpus`.
        recipe: Which method decides. `verified`: probes propose, evidence decides, so that clean
            data passes. `paper` suspects a fixed share of the vocabulary, so it names tokens on
            clean data too.
        settings: Of the probes.
        evidence: How strict the evidence is, in the recipe `verified`.
        accept: Tokens and styles that a reviewer accepted, or a file of them; see `load_reviews`.
            They are tested and shown, but never called triggers or suspects.
        max_length: Longer texts are cut, in tokens; never more than the model reads.
        seed: Of row order and of the probes' heads; stands above the one in `settings`.
        **columns: `text_column`, `label_column`, `text_pair_column`, `split` of `load_corpus`.

    Returns:
        The suspicious tokens and the scores of all tokens.

    Raises:
        InputError: Data or model cannot be used.

    Source: Jiang et al., AAAI 2025, section "Backdoor Token Detection".
    """
    check_recipe(recipe)
    check_run(max_length=max_length, seed=seed)
    reviews = read_reviews(accept)
    material = load_material(model, data, max_length=max_length, seed=seed, **columns)
    return scan_material(
        material,
        recipe=recipe,
        settings=replace(settings or ProbeSettings(), seed=seed),
        evidence=evidence,
        reviews=reviews,
    )


def read_reviews(accept: str | Path | Sequence[Review]) -> tuple[Review, ...]:
    """Accepted tokens from a file, or as they are."""
    return load_reviews(accept) if isinstance(accept, str | Path) else tuple(accept)


def load_material(
    model: str | Path, data: Any, *, max_length: int, seed: int, **columns: Any
) -> Material:
    """Load and check data and model, tokenise once.

    Raises:
        InputError: Data or model cannot be used.
    """
    corpus = load_corpus(data, **columns)
    tokenizer = load_tokenizer(model)
    classifier = load_classifier(
        model, label_names=corpus.label_names, tokenizer=tokenizer, seed=seed
    )
    max_length = min(max_length, longest_text(classifier, tokenizer))
    return Material(
        corpus=corpus,
        tokenizer=tokenizer,
        rows=tokenize_corpus(corpus, tokenizer, max_length=max_length),
        model=classifier,
        facts={
            "data": {
                "source": corpus.source,
                "sha256": corpus.fingerprint(),
                "rows": len(corpus),
                "label_counts": corpus.label_counts(),
                "columns": {name: columns.get(name) for name in _COLUMNS},
                "row_ids": None
                if np.array_equal(corpus.row_ids, np.arange(len(corpus)))
                else corpus.row_ids.tolist(),
            },
            "model": {
                "name": str(model),
                "revision": getattr(classifier.config, "_commit_hash", None),
                "architecture": type(classifier).__name__,
                "sha256": hash_weights(classifier),
                "vocabulary_size": len(embedding_weight(classifier)),
            },
            "max_length": max_length,
        },
    )


def scan_material(
    material: Material,
    *,
    recipe: Recipe,
    settings: ProbeSettings,
    evidence: EvidenceSettings | None = None,
    reviews: Sequence[Review] = (),
) -> Findings:
    """Probe, name the suspects, ask the evidence. The model is left as it came."""
    start = perf_counter()
    evidence = evidence or EvidenceSettings()
    rounds = run_probes(material.model, material.tokenizer, material.rows, settings=settings)
    token_ids, drift = _align(rounds)
    tokenizer, corpus = material.tokenizer, material.corpus
    tokens = tuple(map(str, tokenizer.convert_ids_to_tokens(token_ids.tolist())))
    counts = _count_labels(material.rows, token_ids, len(corpus.label_names))
    proposed = np.flatnonzero(np.isin(token_ids, [i for r in rounds for i in r.suspect_ids]))
    reviewed = {review.token for review in reviews}
    accepted = [place for place, token in enumerate(tokens) if token in reviewed]
    pairs = material.rows.pairs() if recipe == "verified" else None
    asked = perf_counter()
    found = control = None
    if pairs is not None:
        presence, labels = material.rows.presence(token_ids), material.rows.labels
        words = [_spell(ids, tokenizer) for ids in pairs.token_ids] if reviewed else []
        accepted += [len(tokens) + place for place, word in enumerate(words) if word in reviewed]
        states = next((r.states for r in rounds if r.states is not None), None)
        # Many small matrices: more threads than one only wait for each other.
        with threadpool_limits(1):
            found = find_evidence(
                presence,
                labels,
                num_labels=len(corpus.label_names),
                states=states,
                proposed=proposed.tolist(),
                pairs=pairs.presence,
                members=pairs.places(token_ids),
                accepted=accepted,
                accepted_styles=[
                    k for k, name in enumerate(corpus.label_names) if name_style(name) in reviewed
                ],
                vectors=embedding_weight(material.model).detach().float().cpu().numpy()[token_ids],
                texts=_join_texts(corpus),
                settings=evidence,
            )
            decided = perf_counter()
            control = measure_control(
                presence,
                labels,
                num_labels=len(corpus.label_names),
                flagged=found.flagged,
                states=states,
                settings=evidence,
                seed=settings.seed,
            )
    end = perf_counter()
    timings = {"scan": end - start, **{f"probe_{r.name}": r.seconds for r in rounds}}
    if found is not None:
        timings |= {"evidence": decided - asked, "control": end - decided}
    findings = Findings(
        recipe=recipe,
        suspects=(),
        cleared=(),
        token_ids=token_ids,
        tokens=tokens,
        drift=drift,
        label_counts=counts,
        thresholds={r.name: _least(r) for r in rounds},
        neutral_id=tokenizer.pad_token_id if has_own_padding(tokenizer) else None,
        corpus=corpus,
        facts={
            **material.facts,
            "seed": settings.seed,
            "settings": {
                "probes": asdict(settings),
                "evidence": asdict(evidence) if found else None,
            },
            "not_checked": list(NOT_CHECKED),
            "timings": timings,
        },
        evidence=found,
        control=control,
        reviews=tuple(reviews),
    )
    if pairs is not None:
        findings = replace(findings, pair_ids=pairs.token_ids)
    tested = set(findings.tests_by_ids()) | {(i,) for i in token_ids[proposed].tolist()}
    named = _describe(rounds, sorted(tested), findings, material)
    if found is not None:
        return findings.sort(named)
    return replace(
        findings,
        suspects=tuple(f for f in named if f.token not in reviewed),
        accepted=tuple(replace(f, verdict="accepted") for f in named if f.token in reviewed),
    )


def _join_texts(corpus: Corpus) -> list[str]:
    if corpus.text_pairs is None:
        return list(corpus.texts)
    return [f"{a}\n{b}" for a, b in zip(corpus.texts, corpus.text_pairs, strict=True)]


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


def _describe(
    rounds: Sequence[ProbeRound],
    found: Iterable[tuple[int, ...]],
    findings: Findings,
    material: Material,
) -> list[TokenFinding]:
    """These tokens and pairs of tokens, furthest moved first."""
    token_ids, drift = findings.token_ids, findings.drift
    order = {r.name: np.argsort(np.argsort(-drift[r.name], kind="stable")) + 1 for r in rounds}
    tests, corpus = findings.tests_by_ids(), material.corpus
    names, rows, totals = corpus.label_names, material.rows, list(corpus.label_counts().values())
    described = []
    for ids in found:
        test = tests.get(ids)
        place = int(np.searchsorted(token_ids, ids[0])) if test is None else test.column
        is_pair = len(ids) > 1
        counts = findings.label_counts[place]
        if is_pair:
            counts = np.bincount(rows.labels[rows.holding(ids)], minlength=len(names))
        lift = measure_label_lift(counts[None], totals)[0]
        label = int(lift.argmax())
        if test is None:
            held = rows.holding(ids)
            shown = held[rows.labels[held] == label][:_EXAMPLES]
        else:
            shown = test.rows[np.argsort(-test.row_scores, kind="stable")][:_EXAMPLES]
        seen = [r.name for r in rounds if not np.isnan(drift[r.name][place])]
        token_id = int(token_ids[place])
        described.append(
            TokenFinding(
                token_id=token_id,
                token=_spell(ids, material.tokenizer),
                verdict="suspect",
                rounds=tuple(r.name for r in rounds if token_id in r.suspect_ids),
                drift={name: float(drift[name][place]) for name in seen},
                rank={name: int(order[name][place]) for name in seen},
                rows=int(counts.sum()),
                label=names[label],
                label_share=float(counts[label] / counts.sum()),
                label_lift=float(lift[label]),
                label_counts=dict(zip(names, counts.tolist(), strict=True)),
                label_lifts=dict(zip(names, lift.tolist(), strict=True)),
                examples=tuple(_show(material, i, ids) for i in shown.tolist()),
                pair_ids=ids if is_pair else (),
            )
        )
    return sorted(described, key=lambda f: (min(f.rank.values()), -f.label_lift))


def _spell(ids: Iterable[int], tokenizer: PreTrainedTokenizerBase) -> str:
    return " ".join(map(str, tokenizer.convert_ids_to_tokens([int(i) for i in ids])))


def _show(material: Material, position: int, token_ids: Sequence[int]) -> Example:
    corpus = material.corpus
    pair = None if corpus.text_pairs is None else corpus.text_pairs[position]
    spans, pair_spans = find_spans(
        material.tokenizer,
        corpus.texts[position],
        pair,
        token_ids=token_ids,
        max_length=material.facts["max_length"],
    )
    return Example(int(corpus.row_ids[position]), spans, pair_spans)


def _least(probe: ProbeRound) -> float:
    suspects = np.isin(probe.token_ids, probe.suspect_ids)
    return float(probe.drift[suspects].min()) if suspects.any() else 0.0
