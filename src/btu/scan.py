"""Conductor: corpus and pretrained model in, findings out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from btu.content import Text, measure_label_lift
from btu.corpus import Corpus, load_corpus
from btu.embeddings import (
    embedding_weight,
    has_own_padding,
    hash_weights,
    load_classifier,
    load_tokenizer,
    longest_text,
)
from btu.errors import InputError
from btu.evidence import Evidence, Test, find_evidence, find_spans
from btu.findings import Example, Findings, TokenFinding
from btu.probes import ProbeRound, run_probes
from btu.readings import read_texts
from btu.reviews import Review, load_reviews, name_style
from btu.settings import EvidenceSettings, ProbeSettings, Recipe, check_recipe, check_run
from btu.tokens import TokenRows, tokenize_corpus
from btu.tokens import find_spans as find_token_spans

_NEVER_CHECKED = (
    "Whether the pretrained checkpoint was clean before this fine-tuning.",
    "Triggers of three or more words that stand apart, and of two in few rows.",
)
_FEW_ROWS = "Words and sentences in fewer rows than the detection limit says."
_STYLES_UNSURE = (
    "Rewritten rows were looked for; such a style is a suspect at most, and missed in few rows."
)
_NO_STYLES = "Rows rewritten in a syntax or style of the attacker's."
_NO_MODEL = (
    "No model was asked: no probing training proposed words, no encoder read the rows, and rows "
    "rewritten as a whole were not looked for."
)
_EXAMPLES, _SPELLED = 3, 20
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
    model: str | Path | None,
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
            `AutoModelForSequenceClassification` loads. None: text and labels alone answer, in
            seconds, in the recipe `verified`.
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
    if model is None:
        if recipe != "verified":
            raise InputError(f"recipe: expected verified without a model, got {recipe}.")
        corpus = load_corpus(data, **columns)
        facts = describe_data(corpus, columns)
        return scan_text(corpus, facts, evidence=evidence, reviews=reviews, seed=seed)
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
            "data": describe_data(corpus, columns),
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


def describe_data(corpus: Corpus, columns: Mapping[str, Any]) -> dict[str, Any]:
    """What the record says of the data, JSON types."""
    return {
        "source": corpus.source,
        "sha256": corpus.fingerprint(),
        "rows": len(corpus),
        "label_counts": corpus.label_counts(),
        "columns": {name: columns.get(name) for name in _COLUMNS},
        "row_ids": None
        if np.array_equal(corpus.row_ids, np.arange(len(corpus)))
        else corpus.row_ids.tolist(),
    }


def scan_text(
    corpus: Corpus,
    data: Mapping[str, Any],
    *,
    evidence: EvidenceSettings | None = None,
    reviews: Sequence[Review] = (),
    seed: int = 0,
) -> Findings:
    """Ask text and labels alone; no model proposes or reads anything.

    Args:
        corpus: N rows.
        data: What the record says of them.
        evidence: How strict.
        reviews: What a reviewer accepted.
        seed: Of the dummies that are planted to scale the numbers.
    """
    start = perf_counter()
    evidence = evidence or EvidenceSettings()
    found = _ask(corpus, evidence, reviews, seed=seed)
    nothing = np.zeros(0, dtype=np.int64)
    findings = Findings(
        recipe="verified",
        suspects=(),
        cleared=(),
        token_ids=nothing,
        tokens=(),
        drift={},
        label_counts=np.zeros((0, len(corpus.label_names)), dtype=np.int64),
        thresholds={},
        neutral_id=None,
        corpus=corpus,
        facts={
            "data": dict(data),
            "model": None,
            "max_length": None,
            "seed": seed,
            "settings": {"probes": None, "evidence": asdict(evidence)},
            "not_checked": [_FEW_ROWS, _NO_MODEL, *_NEVER_CHECKED],
            "timings": {"scan": perf_counter() - start},
        },
        evidence=found,
        reviews=tuple(reviews),
    )
    return findings.sort([_describe_test(test, corpus) for test in found.units])


def _ask(
    corpus: Corpus,
    settings: EvidenceSettings,
    reviews: Sequence[Review],
    *,
    seed: int,
    proposed: Sequence[str] = (),
    states: NDArray[np.floating] | None = None,
) -> Evidence:
    """The evidence of text and labels, and of the encoder's states where there are any."""
    reviewed = {review.token for review in reviews}
    kinds = [k for k, name in enumerate(corpus.label_names) if name_style(name) in reviewed]
    # Many small matrices: more threads than one only wait for each other.
    with threadpool_limits(1):
        return find_evidence(
            _join_texts(corpus),
            corpus.labels,
            num_labels=len(corpus.label_names),
            proposed=proposed,
            states=states,
            accepted=sorted(reviewed),
            accepted_kinds=kinds,
            budget=settings.false_alarm_rate,
            seed=seed,
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
    timings = {f"probe_{r.name}": r.seconds for r in rounds}
    not_checked = [*_NEVER_CHECKED]
    found, readings = None, None
    if recipe == "verified":
        asked = perf_counter()
        words = _spell(token_ids[proposed].tolist(), tokenizer)
        text = _read_tokens(material, rounds, token_ids)
        states = text.states if evidence.styles else None
        found = _ask(corpus, evidence, reviews, seed=settings.seed, proposed=words, states=states)
        with threadpool_limits(1):
            if found.flagged.any():
                pieces = {
                    int(place)
                    for test in found.triggers
                    for place in _place(_find_pieces(test, corpus, tokenizer), token_ids)
                }
                readings = read_texts(text, found.flagged, pieces)
        timings["evidence"] = perf_counter() - asked
        kinds = _STYLES_UNSURE if found.limit.styles else _NO_STYLES
        not_checked = [_FEW_ROWS, kinds, *not_checked]
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
            "not_checked": not_checked,
            "timings": {"scan": perf_counter() - start, **timings},
        },
        evidence=found,
        reviews=tuple(reviews),
        readings=readings,
    )
    named = _describe_tokens(rounds, token_ids[proposed].tolist(), findings, material)
    if found is None:
        return replace(
            findings,
            suspects=tuple(f for f in named if f.token not in reviewed),
            accepted=tuple(replace(f, verdict="accepted") for f in named if f.token in reviewed),
        )
    units = [
        _add_pieces(
            _describe_test(test, corpus), _find_pieces(test, corpus, tokenizer), rounds, findings
        )
        for test in found.units
    ]
    told = {unit.words[0] for unit in units if len(unit.words) == 1}
    return findings.sort([*units, *(f for f in named if f.token not in told)])


def _read_tokens(
    material: Material, rounds: Sequence[ProbeRound], token_ids: NDArray[np.int64]
) -> Text:
    """The corpus by its tokens and by the states of the encoder."""
    return Text(
        material.rows.presence(token_ids),
        next((r.states for r in rounds if r.states is not None), None),
        material.rows.labels,
        len(material.corpus.label_names),
    )


def _join_texts(corpus: Corpus) -> list[str]:
    if corpus.text_pairs is None:
        return list(corpus.texts)
    return [f"{a}\n{b}" for a, b in zip(corpus.texts, corpus.text_pairs, strict=True)]


def _describe_test(test: Test, corpus: Corpus) -> TokenFinding:
    """A word or a phrase that is worth a look, by what the rows alone say of it."""
    names, totals = corpus.label_names, list(corpus.label_counts().values())
    counts = np.bincount(corpus.labels[test.held], minlength=len(names))
    lifts = measure_label_lift(counts[None], totals)[0]
    shown = test.rows[np.argsort(-test.row_scores, kind="stable")][:_EXAMPLES]
    return TokenFinding(
        token_id=None,
        token=test.name,
        verdict=test.verdict,
        rounds=(),
        drift={},
        rank={},
        rows=len(test.held),
        label=names[test.label],
        label_share=float(counts[test.label] / counts.sum()),
        label_lift=float(lifts[test.label]),
        label_counts=dict(zip(names, counts.tolist(), strict=True)),
        label_lifts=dict(zip(names, lifts.tolist(), strict=True)),
        examples=tuple(_show_words(corpus, i, test.words) for i in shown.tolist()),
        words=test.words,
    )


def _show_words(corpus: Corpus, position: int, words: Sequence[str]) -> Example:
    pair = "" if corpus.text_pairs is None else corpus.text_pairs[position]
    spans = find_spans(corpus.texts[position], words)
    return Example(int(corpus.row_ids[position]), spans, find_spans(pair, words))


def _find_pieces(test: Test, corpus: Corpus, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that a word or phrase is made of, as they stand in some of its rows."""
    pieces: dict[int, None] = {}
    texts = _join_texts(corpus.select(test.rows[:_SPELLED]))
    for text in texts:
        for start, end in find_spans(text, test.words):
            # With what stands before it: a word at a start is spelled otherwise in some models.
            before = text[max(0, start - 1) : start]
            ids = tokenizer(before + text[start:end], add_special_tokens=False)["input_ids"]
            skipped = tokenizer(before, add_special_tokens=False)["input_ids"] if before else []
            own = [i for i in ids if i not in skipped] or ids
            pieces |= dict.fromkeys(own)
    return tuple(pieces)


def _place(ids: Sequence[int], token_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where tokens stand among those of the corpus; those that do not are left out."""
    return np.flatnonzero(np.isin(token_ids, np.array(ids, dtype=np.int64)))


def _add_pieces(
    unit: TokenFinding, pieces: tuple[int, ...], rounds: Sequence[ProbeRound], findings: Findings
) -> TokenFinding:
    """A word or phrase with the tokens that it is made of, and how far the rarest of them moved."""
    places = _place(pieces, findings.token_ids)
    if not len(places):
        return unit
    rarest = int(places[findings.label_counts[places].sum(axis=1).argmin()])
    moved = {
        name: values for name, values in findings.drift.items() if not np.isnan(values[rarest])
    }
    token_id = int(findings.token_ids[rarest])
    return replace(
        unit,
        token_id=token_id,
        piece_ids=pieces,
        rounds=tuple(r.name for r in rounds if token_id in r.suspect_ids),
        drift={name: float(values[rarest]) for name, values in moved.items()},
        rank={name: 1 + int((values > values[rarest]).sum()) for name, values in moved.items()},
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


def _describe_tokens(
    rounds: Sequence[ProbeRound],
    proposed: Sequence[int],
    findings: Findings,
    material: Material,
) -> list[TokenFinding]:
    """The tokens that the probes propose, furthest moved first."""
    token_ids, drift = findings.token_ids, findings.drift
    order = {r.name: np.argsort(np.argsort(-drift[r.name], kind="stable")) + 1 for r in rounds}
    corpus, rows = material.corpus, material.rows
    names, totals = corpus.label_names, list(corpus.label_counts().values())
    described = []
    for token_id in proposed:
        place = int(np.searchsorted(token_ids, token_id))
        counts = findings.label_counts[place]
        lift = measure_label_lift(counts[None], totals)[0]
        label = int(lift.argmax())
        held = rows.holding((token_id,))
        shown = held[rows.labels[held] == label][:_EXAMPLES]
        seen = [r.name for r in rounds if not np.isnan(drift[r.name][place])]
        described.append(
            TokenFinding(
                token_id=token_id,
                token=findings.tokens[place],
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
                examples=tuple(_show(material, i, (token_id,)) for i in shown.tolist()),
            )
        )
    return sorted(described, key=lambda f: (min(f.rank.values()), -f.label_lift))


def _spell(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Tokens as words: the marks that tokenizers write before or after a piece are left out."""
    return [tokenizer.decode([int(i)]).strip().removeprefix("##").lower() for i in ids]


def _show(material: Material, position: int, token_ids: Sequence[int]) -> Example:
    corpus = material.corpus
    pair = None if corpus.text_pairs is None else corpus.text_pairs[position]
    spans, pair_spans = find_token_spans(
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
