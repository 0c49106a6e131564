"""Conductor: corpus and pretrained model in, findings out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from btu.data.corpus import Corpus, join_pairs, load_corpus
from btu.data.facts import DataFacts, describe_data
from btu.data.reviews import Review, load_reviews, name_style
from btu.evidence.drawn import Drawn, draw_rows, find_held
from btu.evidence.find import find_evidence
from btu.evidence.lift import measure_label_lift
from btu.evidence.readings import read_texts
from btu.evidence.settings import EvidenceSettings, Recipe, check_recipe, check_with_model
from btu.evidence.tests import Evidence, Test
from btu.evidence.words import GAP, Words, find_spans
from btu.findings import Example, Findings, ScanFacts, TokenFinding, judge_named
from btu.model.settings import ProbeSettings, check_run
from btu.support.errors import InputError
from btu.support.progress import step_bar
from btu.support.unfinished import Unfinished

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from btu.engines.base import Engine
    from btu.model.material import Material
    from btu.model.proposals import Proposals

_NEVER_CHECKED = (
    "Whether the pretrained checkpoint was clean before this fine-tuning.",
    "Triggers of three or more words that stand apart, and of two in few rows.",
)
_FEW_ROWS = "Words and sentences in fewer rows than the detection limit says."
_STYLES_UNSURE = (
    "Rewritten rows were looked for; such a style is a suspect at most, and missed in few rows."
)
_NO_STYLES = "Rows rewritten in a syntax or style of the attacker's."
_KINDS_UNREAD = "Kinds of text were not looked for: {why}."
_NO_MODEL = (
    "No model was asked: no probing training proposed words, no encoder read the rows, and rows "
    "rewritten as a whole were not looked for."
)
_EXAMPLES = 3


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
    unfinished: Unfinished | None = None,
    engine: Engine | None = None,
    **columns: Any,
) -> Findings:
    """Find the tokens that a backdoor in the data would hang on. No model is changed or saved.

    Args:
        model: Folder or Hub id of a clean pretrained model, any architecture that
            `AutoModelForSequenceClassification` loads. None: text and labels alone answer, in
            seconds, in the recipe `verified`.
        data: File, folder, Hub id, `datasets.Dataset`, pandas frame or lists; see `load_corpus`.
            With an engine: a Parquet file, a folder of them, or a list of paths.
        recipe: Which method decides. `verified`: probes propose, evidence decides, so that clean
            data passes. `paper` suspects a fixed share of the vocabulary, so it names tokens on
            clean data too.
        settings: Of the probes.
        evidence: How strict the evidence is, in the recipe `verified`.
        accept: Tokens and styles that a reviewer accepted, or a file of them; see `load_reviews`.
            They are tested and shown, but never called triggers or suspects.
        max_length: Longer texts are cut, in tokens; never more than the model reads.
        seed: Of row order and of the probes' heads; stands above the one in `settings`.
        unfinished: Keeps each probing round that is done, so that a killed scan can be continued;
            see `Unfinished`. Text and labels alone are asked again: that takes seconds. With an
            engine it keeps each shard that is read.
        engine: Reads Parquet shards one by one, here or on many machines, without a model; see
            `btu.engines`. The findings are those of one table in memory.
        **columns: `text_column`, `label_column`, `text_pair_column`, `split` of `load_corpus`.

    Returns:
        The suspicious tokens and the scores of all tokens.

    Raises:
        InputError: Data or model cannot be used; what is unfinished is another run.

    Source: Jiang et al., AAAI 2025, section "Backdoor Token Detection".
    """
    check_recipe(recipe)
    check_run(max_length=max_length, seed=seed)
    reviews = read_reviews(accept)
    if model is None:
        if recipe != "verified":
            raise InputError(f"recipe: expected verified without a model, got {recipe}.")
        if engine is not None:
            return _scan_shards(
                data, engine, columns, evidence, reviews, seed=seed, unfinished=unfinished
            )
        corpus = load_corpus(data, **columns)
        facts = describe_data(corpus, columns)
        return scan_text(corpus, facts, evidence=evidence, reviews=reviews, seed=seed)
    if engine is not None:
        raise InputError(
            "scan: expected no model with an engine, got one: engines read text and labels alone. "
            "Leave out --model, or --engine."
        )
    check_with_model(evidence)
    from btu.model.material import load_material
    from btu.model.resume import begin_run

    material = load_material(model, data, max_length=max_length, seed=seed, **columns)
    settings = replace(settings or ProbeSettings(), seed=seed)
    begin_run(
        unfinished,
        "scan",
        material,
        precision={"probes": settings.precision},
        **describe_scan(recipe, settings, evidence, reviews),
    )
    return scan_material(
        material,
        recipe=recipe,
        settings=settings,
        evidence=evidence,
        reviews=reviews,
        unfinished=unfinished,
    )


def describe_scan(
    recipe: Recipe,
    settings: ProbeSettings,
    evidence: EvidenceSettings | None,
    reviews: Sequence[Review],
) -> dict[str, Any]:
    """What an unfinished run says of its scan, JSON types.

    Args:
        recipe: As in `scan`.
        settings: Of the probes.
        evidence: As in `scan`.
        reviews: What a reviewer accepted.
    """
    return {
        "recipe": recipe,
        "probes": asdict(settings),
        **describe_evidence(evidence or EvidenceSettings(), reviews),
    }


def describe_evidence(evidence: EvidenceSettings, reviews: Sequence[Review]) -> dict[str, Any]:
    """The same of the evidence alone.

    Args:
        evidence: How strict.
        reviews: What a reviewer accepted.
    """
    return {
        "evidence": asdict(evidence),
        "accept": [review.to_dict() for review in reviews],
    }


def read_reviews(accept: str | Path | Sequence[Review]) -> tuple[Review, ...]:
    """Accepted tokens from a file, or as they are."""
    return load_reviews(accept) if isinstance(accept, str | Path) else tuple(accept)


def _scan_shards(
    data: Any,
    engine: Engine,
    columns: dict[str, Any],
    evidence: EvidenceSettings | None,
    reviews: Sequence[Review],
    *,
    seed: int,
    unfinished: Unfinished | None,
) -> Findings:
    """Text and labels alone, read shard by shard."""
    from btu.data.shards import list_shards, name_source
    from btu.engines.read import describe_shards, draw_from_shards, read_shards

    asked = {name: value for name, value in columns.items() if value is not None}
    if asked.pop("split", None):
        raise InputError("--split: expected none with an engine: name the files of the split.")
    shards = list_shards(data)
    settings = evidence or EvidenceSettings()
    if unfinished is not None:
        told = {**describe_shards(shards), "columns": asked, "seed": seed}
        unfinished.refuse(
            unfinished.begin("scan", {**told, **describe_evidence(settings, reviews)})
        )
    rows = draw_rows(sum(shard.rows for shard in shards), settings.sample_rows, seed)
    corpus, words = read_shards(
        shards, engine, name_source(data), drawn=rows, unfinished=unfinished, **asked
    )
    return scan_text(
        corpus,
        describe_data(corpus, columns),
        evidence=settings,
        reviews=reviews,
        seed=seed,
        words=words,
        drawn=None if rows is None else draw_from_shards(corpus, rows, shards, engine, unfinished),
        unfinished=unfinished,
    )


def scan_text(
    corpus: Corpus,
    data: DataFacts,
    *,
    evidence: EvidenceSettings | None = None,
    reviews: Sequence[Review] = (),
    seed: int = 0,
    words: Words | None = None,
    drawn: Drawn | None = None,
    unfinished: Unfinished | None = None,
) -> Findings:
    """Ask text and labels alone; no model proposes or reads anything.

    Args:
        corpus: N rows.
        data: What the record says of them.
        evidence: How strict.
        reviews: What a reviewer accepted.
        seed: Of the dummies that are planted to scale the numbers.
        words: Of the rows, or of those that were drawn, where they have been read.
        drawn: Which rows were drawn, where the words are theirs.
        unfinished: That knows what was taken over from an earlier run.
    """
    start = perf_counter()
    evidence = evidence or EvidenceSettings()
    rows = draw_rows(len(corpus), evidence.sample_rows, seed) if words is None else None
    if rows is not None:
        words, drawn = Words.of(_join_texts(corpus.select(rows))), _draw_from(corpus, rows)
    found = _ask(corpus, evidence, reviews, seed=seed, words=words, drawn=drawn)
    units = [_describe_test(test, corpus) for test in found.units]
    return Findings(
        recipe="verified",
        named=judge_named(units, found, corpus.label_names),
        token_ids=np.zeros(0, dtype=np.int64),
        tokens=(),
        drift={},
        label_counts=np.zeros((0, len(corpus.label_names)), dtype=np.int64),
        thresholds={},
        neutral_id=None,
        corpus=corpus,
        facts=ScanFacts(
            data=data,
            model=None,
            max_length=None,
            seed=seed,
            probes=None,
            evidence=evidence,
            not_checked=(_FEW_ROWS, _NO_MODEL, *_NEVER_CHECKED),
            timings={"scan": perf_counter() - start},
            resumed=() if unfinished is None else tuple(unfinished.resumed),
        ),
        evidence=found,
        reviews=tuple(reviews),
    )


def _ask(
    corpus: Corpus,
    settings: EvidenceSettings,
    reviews: Sequence[Review],
    *,
    seed: int,
    proposed: Sequence[str] = (),
    states: NDArray[np.floating] | None = None,
    words: Words | None = None,
    drawn: Drawn | None = None,
) -> Evidence:
    """The evidence of text and labels, and of the encoder's states where there are any."""
    reviewed = {review.token for review in reviews}
    kinds = [k for k, name in enumerate(corpus.label_names) if name_style(name) in reviewed]
    # Many small matrices: more threads than one only wait for each other.
    with threadpool_limits(1), step_bar("asking text and labels", None):
        return find_evidence(
            _join_texts(corpus) if words is None else words,
            corpus.labels if drawn is None else corpus.labels[drawn.rows],
            num_labels=len(corpus.label_names),
            proposed=proposed,
            states=states,
            accepted=sorted(reviewed),
            accepted_kinds=kinds,
            budget=settings.false_alarm_rate,
            seed=seed,
            drawn=drawn,
        )


def scan_material(
    material: Material,
    *,
    recipe: Recipe,
    settings: ProbeSettings,
    evidence: EvidenceSettings | None = None,
    reviews: Sequence[Review] = (),
    unfinished: Unfinished | None = None,
) -> Findings:
    """Probe, name the suspects, ask the evidence. The model is left as it came."""
    from btu.model.processes import share
    from btu.model.proposals import propose_tokens

    start = perf_counter()
    evidence = evidence or EvidenceSettings()
    settings = settings.for_recipe(recipe)
    proposals = propose_tokens(material, settings=settings, unfinished=unfinished)
    tokenizer, corpus = material.tokenizer, material.corpus
    timings, not_checked = dict(proposals.timings), [*_NEVER_CHECKED]
    found, readings = None, None
    if recipe == "verified":
        asked = perf_counter()
        found = share(
            lambda: _ask(
                corpus,
                evidence,
                reviews,
                seed=settings.seed,
                proposed=proposals.words,
                states=proposals.text.states if evidence.styles else None,
            )
        )
        if found.flagged.any():
            pieces = {
                int(place)
                for test in found.triggers
                for spelling in _find_spellings(test, corpus, tokenizer)
                for place in _place(spelling, proposals.token_ids)
            }
            flagged = found.flagged
            with threadpool_limits(1):
                readings = share(lambda: read_texts(proposals.text, flagged, pieces))
        timings["evidence"] = perf_counter() - asked
        kinds = _STYLES_UNSURE if found.limit.styles else _NO_STYLES
        not_checked = [_FEW_ROWS, kinds, *not_checked]
        if evidence.styles and proposals.without_states:
            not_checked.append(_KINDS_UNREAD.format(why=proposals.without_states))
            warnings.warn(not_checked[-1], stacklevel=3)
    named = _name_tokens(proposals, material, found, reviews)
    return Findings(
        recipe=recipe,
        named=named,
        token_ids=proposals.token_ids,
        tokens=proposals.tokens,
        drift=proposals.drift,
        label_counts=proposals.label_counts,
        thresholds=proposals.thresholds,
        neutral_id=proposals.neutral_id,
        corpus=corpus,
        facts=ScanFacts(
            data=material.data_facts,
            model=material.model_facts,
            max_length=material.max_length,
            seed=settings.seed,
            probes=settings,
            evidence=evidence if found else None,
            not_checked=tuple(not_checked),
            timings={"scan": perf_counter() - start, **timings},
            resumed=() if unfinished is None else tuple(unfinished.resumed),
        ),
        evidence=found,
        reviews=tuple(reviews),
        readings=readings,
    )


def _name_tokens(
    proposals: Proposals, material: Material, found: Evidence | None, reviews: Sequence[Review]
) -> tuple[TokenFinding, ...]:
    """What stood out: the tokens that the probes propose, and what the evidence tested."""
    tokens = _describe_tokens(proposals, material)
    if found is None:
        reviewed = {review.token for review in reviews}
        return tuple(replace(f, verdict="accepted") if f.token in reviewed else f for f in tokens)
    corpus, tokenizer = material.corpus, material.tokenizer
    units = [
        _add_pieces(
            _describe_test(test, corpus), _find_spellings(test, corpus, tokenizer), proposals
        )
        for test in found.units
    ]
    told = {unit.words[0] for unit in units if len(unit.words) == 1}
    shown = {i for unit in units if unit.verdict != "innocent" for i in unit.piece_ids}
    others = [f for f in tokens if f.token.lower() not in told and f.token_id not in shown]
    return judge_named([*units, *others], found, corpus.label_names)


def _join_texts(corpus: Corpus) -> list[str]:
    return join_pairs(corpus.texts, corpus.text_pairs)


def _draw_from(corpus: Corpus, rows: NDArray[np.int64]) -> Drawn:
    """Some rows of a corpus whose texts are in memory."""
    return Drawn(
        rows,
        corpus.labels,
        lambda wanted: iter([find_held(_join_texts(corpus), corpus.labels, 0, wanted)]),
    )


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


def _find_spellings(
    test: Test, corpus: Corpus, tokenizer: PreTrainedTokenizerBase
) -> tuple[tuple[int, ...], ...]:
    """The tokens that a word or phrase is made of, in each way in which its rows spell it.

    Some tokenizers write a word otherwise at the start of a text, after a space and in capitals.
    Words that stand apart are one spelling together.
    """
    written: dict[tuple[tuple[str, str], ...], None] = {}
    for text in _join_texts(corpus.select(test.rows)):
        spans = find_spans(text, test.words)
        # With what stands before it: a word at a start is spelled otherwise in some models.
        parts = [(text[max(0, start - 1) : start], text[start:end]) for start, end in spans]
        found = [tuple(parts)] if GAP in test.words else [(part,) for part in parts]
        written |= dict.fromkeys(way for way in found if way)
    spellings: dict[tuple[int, ...], None] = {}
    for way in written:
        own = [i for before, part in way for i in _encode(before, part, tokenizer)]
        spellings[tuple(dict.fromkeys(own))] = None
    return tuple(spellings)


def _encode(before: str, part: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens of a part of a text, without those of the character before it."""
    ids = tokenizer(before + part, add_special_tokens=False)["input_ids"]
    skipped = tokenizer(before, add_special_tokens=False)["input_ids"] if before else []
    return [i for i in ids if i not in skipped] or list(ids)


def _place(ids: Sequence[int], token_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where tokens stand among those of the corpus; those that do not are left out."""
    return np.flatnonzero(np.isin(token_ids, np.array(ids, dtype=np.int64)))


def _add_pieces(
    unit: TokenFinding, spellings: Sequence[tuple[int, ...]], proposals: Proposals
) -> TokenFinding:
    """A word or phrase with the tokens that it is made of, and how far the rarest of them moved."""
    pieces = tuple(dict.fromkeys(i for spelling in spellings for i in spelling))
    counts = proposals.label_counts.sum(axis=1)
    placed = [_place(spelling, proposals.token_ids) for spelling in spellings]
    rarest_of_each = [int(places[counts[places].argmin()]) for places in placed if len(places)]
    if not rarest_of_each:
        return unit
    rarest = min(rarest_of_each, key=lambda place: (counts[place], place))
    moved = {
        name: values for name, values in proposals.drift.items() if not np.isnan(values[rarest])
    }
    token_id = int(proposals.token_ids[rarest])
    return replace(
        unit,
        token_id=token_id,
        piece_ids=pieces,
        spelling_ids=tuple(proposals.token_ids[sorted({*rarest_of_each})].tolist()),
        rounds=tuple(r.name for r in proposals.rounds if token_id in r.suspect_ids),
        drift={name: float(values[rarest]) for name, values in moved.items()},
        rank={name: 1 + int((values > values[rarest]).sum()) for name, values in moved.items()},
    )


def _describe_tokens(proposals: Proposals, material: Material) -> list[TokenFinding]:
    """The tokens that the probes propose, furthest moved first."""
    token_ids, drift, rounds = proposals.token_ids, proposals.drift, proposals.rounds
    order = {r.name: np.argsort(np.argsort(-drift[r.name], kind="stable")) + 1 for r in rounds}
    corpus, rows = material.corpus, material.rows
    names, totals = corpus.label_names, list(corpus.label_counts().values())
    described = []
    for token_id in proposals.proposed_ids:
        place = int(np.searchsorted(token_ids, token_id))
        counts = proposals.label_counts[place]
        lift = measure_label_lift(counts[None], totals)[0]
        label = int(lift.argmax())
        held = rows.holding((token_id,))
        shown = held[rows.labels[held] == label][:_EXAMPLES]
        seen = [r.name for r in rounds if not np.isnan(drift[r.name][place])]
        described.append(
            TokenFinding(
                token_id=token_id,
                token=proposals.tokens[place],
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


def _show(material: Material, position: int, token_ids: Sequence[int]) -> Example:
    from btu.model.tokens import find_spans as find_token_spans

    corpus = material.corpus
    pair = None if corpus.text_pairs is None else corpus.text_pairs[position]
    spans, pair_spans = find_token_spans(
        material.tokenizer,
        corpus.texts[position],
        pair,
        token_ids=token_ids,
        max_length=material.max_length,
    )
    return Example(int(corpus.row_ids[position]), spans, pair_spans)
