"""What a scan found: the suspicious tokens, and every score behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btu.data.corpus import Corpus
from btu.data.facts import DataFacts
from btu.data.reviews import Review
from btu.evidence.bars import BARS
from btu.evidence.lift import measure_label_lift
from btu.evidence.settings import EvidenceSettings
from btu.evidence.tests import FLAGGED_SCORE, Evidence, Test, Verdict
from btu.model.facts import ModelFacts
from btu.model.frequency import count_by_frequency
from btu.model.settings import ProbeSettings
from btu.support.errors import InputError

TRIGGER: Verdict = "trigger"
SUSPECT: Verdict = "suspect"
ACCEPTED: Verdict = "accepted"
STYLE = "style against what the text says"
_STYLE_EXAMPLES = 3
_EVIDENCE_COLUMNS = ("story", "part", "mislabelled_share", "spread", "false_alarm_rate")


@dataclass(frozen=True)
class Example:
    """A row that shows a token.

    Attributes:
        row_id: As the corpus counts it.
        spans: Where the token stands in the text, as pairs of start and end in characters; empty
            where the tokenizer does not say.
        pair_spans: The same in the second text of the row.
    """

    row_id: int
    spans: tuple[tuple[int, int], ...] = ()
    pair_spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class TokenFinding:
    """One token, word or phrase that stood out, and its scores.

    Attributes:
        token_id: Row of the embedding matrix: of a word or a phrase the rarest of its tokens; None
            where the text was scanned without a model, or its tokens stand behind what one reads.
        token: As people write it, without the marks of a tokenizer.
        verdict: trigger, suspect, accepted (by a reviewer) or innocent. The recipe `paper` calls
            everything it names a suspect.
        rounds: The probing rounds that suspect it.
        drift: L2 distance moved in each round in which the token was visible.
        rank: Place by drift in each round, 1 moved furthest.
        rows: Training rows that hold it.
        label: The label that is most over-represented among them.
        label_share: Share of them that bear this label, in [0, 1].
        label_lift: How far it is over-represented, in standard deviations.
        label_counts: Rows that hold it, by label.
        label_lifts: How far each label is over-represented among them, in standard deviations.
        examples: Some rows that hold it, those whose text disagrees most with their label first.
        evidence: What the text of its rows says; None where it was not tested.
        piece_ids: All tokens that a word or a phrase is made of; empty for a token.
        spelling_ids: The rarest token of each way in which the rows spell a word or a phrase, as at
            the start of a text, after a space or in capitals; empty for a token.
        words: The words of a word or phrase, in their order; empty for a token.
    """

    token_id: int | None
    token: str
    verdict: Verdict
    rounds: tuple[str, ...]
    drift: Mapping[str, float]
    rank: Mapping[str, int]
    rows: int
    label: str
    label_share: float
    label_lift: float
    label_counts: Mapping[str, int] = field(default_factory=dict)
    label_lifts: Mapping[str, float] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    evidence: TokenEvidence | None = None
    piece_ids: tuple[int, ...] = ()
    spelling_ids: tuple[int, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenEvidence:
    """What placement, label and text say of a word or a phrase; see `btu.evidence.Test`.

    Attributes:
        label: The label under which it was tested.
        rows: Rows that hold it and bear the label.
        rows_any_label: Rows that hold it, whatever their label.
        flagged_rows: Those with the label that are likelier planted than not.
        story: inserted into rows of other labels, kept (inserted into rows of the label) or
            replaced (another word stood there): whatever is likeliest.
        part: Likeliest share of its places that were planted.
        false_alarm_rate: So many honest words and phrases of the scan score as high, at most.
        mislabelled_share: How far the rows read like rows of other labels, without the words
            themselves: 0 as their label's, 1 as the others'.
        spread: Standard error of that share.
        label_base: Share of the label among all rows.
        placed: Mean break of the places where it stands: high where it was put in.
        placed_if_planted: The same of words planted in as many rows of this corpus.
        placement_odds: Natural logarithm of the likelihood ratio of the placement.
        label_odds: The same of the label.
        content_odds: The same of the content.
        reason: Why it is a suspect at most; empty where nothing but its numbers decide.
    """

    label: str
    rows: int
    rows_any_label: int
    flagged_rows: int
    story: str
    part: float
    false_alarm_rate: float
    mislabelled_share: float
    spread: float
    label_base: float
    placed: float | None
    placed_if_planted: float | None
    placement_odds: float
    label_odds: float
    content_odds: float
    reason: str = ""


def judge_named(
    found: Iterable[TokenFinding], evidence: Evidence, label_names: Sequence[str]
) -> tuple[TokenFinding, ...]:
    """These findings under the verdicts that their tests give, the gravest first.

    Args:
        found: Tokens, words and phrases.
        evidence: Their tests; a token that is no word of one is innocent.
        label_names: The K labels.
    """
    tests: dict[str, Test] = {}
    for test in evidence.units:
        tests.setdefault(test.name, test)  # the gravest comes first
    judged = [_judge(f, tests.get(f.token) if f.words else None, label_names) for f in found]
    return tuple(sorted(judged, key=_by_verdict))


def _judge(found: TokenFinding, test: Test | None, label_names: Sequence[str]) -> TokenFinding:
    if test is None:
        return replace(found, verdict="innocent", evidence=None)
    evidence = TokenEvidence(
        label=label_names[test.label],
        rows=len(test.rows),
        rows_any_label=len(test.held),
        flagged_rows=len(test.flagged),
        story=test.story,
        part=test.part,
        false_alarm_rate=test.false_alarms,
        mislabelled_share=test.share,
        spread=test.spread,
        label_base=test.label_base,
        placed=test.placed,
        placed_if_planted=test.placed_if_planted,
        placement_odds=test.placement_odds,
        label_odds=test.label_odds,
        content_odds=test.content_odds,
        reason=test.reason,
    )
    return replace(found, verdict=test.verdict, evidence=evidence)


@dataclass(frozen=True)
class ScanFacts:
    """Under what circumstances a scan found what it found.

    Attributes:
        data: What was scanned.
        model: What it was scanned with; None where text and labels alone were asked.
        max_length: Longer rows were cut, in tokens; None without a model.
        seed: Of everything drawn at random.
        probes: Settings of the probes; None without a model.
        evidence: Settings of the evidence; None in the recipe `paper`.
        not_checked: What was not looked for, a sentence each.
        timings: Seconds of each stage.
        resumed: Stages that were taken over from a run that was killed, by their names in
            `timings`; those say how long they took then.
    """

    data: DataFacts
    model: ModelFacts | None
    max_length: int | None
    seed: int
    probes: ProbeSettings | None
    evidence: EvidenceSettings | None
    not_checked: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    resumed: tuple[str, ...] = ()

    def settings_to_dict(self) -> dict[str, Any]:
        """The settings as JSON types."""
        return {
            "probes": None if self.probes is None else asdict(self.probes),
            "evidence": None if self.evidence is None else asdict(self.evidence),
        }

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON types, as the record has it."""
        return {
            "data": asdict(self.data),
            "model": None if self.model is None else asdict(self.model),
            "max_length": self.max_length,
            "seed": self.seed,
            "settings": self.settings_to_dict(),
            "not_checked": list(self.not_checked),
            "timings": dict(self.timings),
            **({"resumed": list(self.resumed)} if self.resumed else {}),
        }


@dataclass(frozen=True)
class Findings:
    """What a scan found.

    Attributes:
        recipe: Which method decided what is suspicious.
        named: Tokens, words and phrases that stood out, the gravest verdict first.
        token_ids: The n tokens that occur in the data and are not protected, ascending, int64.
        tokens: Their n spellings.
        drift: For each round the distance that each of them moved, shape (n,); nan where it was
            hidden in that round.
        label_counts: Rows that hold each of them, by label, shape (n, K).
        thresholds: For each round the least drift among its suspects.
        neutral_id: The padding token whose row is the neutral vector; None for the mean row.
        corpus: The N rows that were scanned.
        facts: Data, model, settings and timings.
        evidence: All tests behind the verdicts, by column of `token_ids`, and a score for each
            row; None in the recipe `paper`, which judges no rows.
        reviews: The reviews that were given to the scan, used or not.
        readings: How likely each label is by what the rows say without the triggers, shape (N, K);
            None where no row is flagged, or nothing reads them.
    """

    recipe: str
    named: tuple[TokenFinding, ...]
    token_ids: NDArray[np.int64]
    tokens: tuple[str, ...]
    drift: Mapping[str, NDArray[np.float32]]
    label_counts: NDArray[np.int64]
    thresholds: Mapping[str, float]
    neutral_id: int | None
    corpus: Corpus = field(repr=False)
    facts: ScanFacts = field(repr=False)
    evidence: Evidence | None = None
    reviews: tuple[Review, ...] = ()
    readings: NDArray[np.float64] | None = field(default=None, repr=False)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The K labels."""
        return self.corpus.label_names

    @property
    def row_ids(self) -> NDArray[np.int64]:
        """Ids of the N rows, as the corpus counts them."""
        return self.corpus.row_ids

    @property
    def suspects(self) -> tuple[TokenFinding, ...]:
        """The suspicious tokens.

        `verified`: triggers first, surest first; `paper`: furthest moved first.
        """
        return self._having(TRIGGER, SUSPECT)

    @property
    def cleared(self) -> tuple[TokenFinding, ...]:
        """What the probes proposed and the evidence found innocent."""
        return self._having("innocent")

    @property
    def accepted(self) -> tuple[TokenFinding, ...]:
        """What would stand among the suspects, had a reviewer not accepted it."""
        return self._having(ACCEPTED)

    def _having(self, *verdicts: Verdict) -> tuple[TokenFinding, ...]:
        return tuple(f for f in self.named if f.verdict in verdicts)

    @property
    def suspect_ids(self) -> tuple[int, ...]:
        """Ids of the suspicious tokens, of a word or a phrase the rarest one."""
        return tuple(dict.fromkeys(s.token_id for s in self.suspects if s.token_id is not None))

    @property
    def triggers(self) -> tuple[TokenFinding, ...]:
        """What the evidence calls triggers; none in the recipe `paper`."""
        return tuple(s for s in self.suspects if s.verdict == TRIGGER)

    @property
    def styles(self) -> tuple[Test, ...]:
        """Kinds of text that bear a label against what they say; suspects, all of them."""
        styles = () if self.evidence is None else self.evidence.styles
        return tuple(style for style in styles if style.verdict in (TRIGGER, SUSPECT))

    @property
    def unlearn_ids(self) -> tuple[int, ...]:
        """Ids of the tokens to unlearn: the triggers, or all suspects in the recipe `paper`.

        Of a word or a phrase the rarest token of each way in which its rows spell it.
        """
        named = self.suspects if self.evidence is None else self.triggers
        ids = [i for s in named for i in (s.token_id, *s.spelling_ids) if i is not None]
        return tuple(dict.fromkeys(ids))

    @property
    def row_scores(self) -> NDArray[np.float64]:
        """For each row how sure it is that it is poisoned, shape (N,), in [0, 1].

        0.5 and more for rows of triggers, less for rows of suspects and styles, 0 for all others.
        """
        if self.evidence is None:
            return np.zeros(len(self.row_ids))
        return self.evidence.row_scores

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Rows judged poisoned, shape (N,), bool."""
        if self.evidence is None:
            return np.zeros(len(self.row_ids), dtype=bool)
        return self.evidence.flagged

    @property
    def suspected(self) -> NDArray[np.bool_]:
        """Rows that suspects would flag if they were triggers, shape (N,), bool."""
        suspected = np.zeros(len(self.row_ids), dtype=bool)
        for test in () if self.evidence is None else self.evidence.suspects:
            suspected[test.flagged] = True
        return suspected & ~self.flagged

    def at(self, *, false_alarm_rate: float) -> Findings:
        """The same findings at another threshold, without training or testing again.

        The tests stay those that were made: what a stricter or laxer search would have looked at
        after it took other rows out is not looked at.

        Args:
            false_alarm_rate: False triggers expected in clean data, all searches together, in
                (0, 1).

        Raises:
            InputError: A rate outside (0, 1), or findings without evidence.
        """
        if self.evidence is None:
            raise InputError(
                f"at: expected findings with evidence, got those of the recipe {self.recipe}. "
                "Scan with the recipe verified."
            )
        if not 0 < false_alarm_rate < 1:
            raise InputError(f"at: expected a rate above 0 and below 1, got {false_alarm_rate}.")
        evidence = self.evidence.at(false_alarm_rate)
        named = judge_named(self.named, evidence, self.label_names)
        return replace(self, evidence=evidence, named=named)

    def reasons(self, position: int) -> tuple[str, ...]:
        """Why a row is flagged: its triggers, and `STYLE`.

        Args:
            position: Of the row, from 0.
        """
        return tuple(self._list_reasons().get(position, ()))

    def _list_reasons(self) -> dict[int, list[str]]:
        """The same of all rows that have any, by their positions."""
        reasons = self._name_units(TRIGGER)
        for position in self._rows_of_styles(TRIGGER):
            reasons.setdefault(position, []).append(STYLE)
        return reasons

    def _name_units(self, *verdicts: Verdict) -> dict[int, list[str]]:
        """The names of the units whose rows are flagged or would be, by the row's position."""
        names: dict[int, list[str]] = {}
        for test in () if self.evidence is None else self.evidence.units:
            for position in test.flagged.tolist() if test.verdict in verdicts else ():
                names.setdefault(position, []).append(test.name)
        return names

    def _rows_of_styles(self, *verdicts: Verdict) -> set[int]:
        return {i for s in self.styles if s.verdict in verdicts for i in s.rows.tolist()}

    def scores(self) -> dict[str, list[Any]]:
        """Every token with every score, as columns; what `btu scan --scores` writes.

        The drift is None in a round in which the token was hidden.
        """
        lift = measure_label_lift(self.label_counts, list(self.facts.data.label_counts.values()))
        suspect_ids = {s.token_id for s in self.suspects}
        return {
            "token_id": self.token_ids.tolist(),
            "token": list(self.tokens),
            "suspect": [i in suspect_ids for i in self.token_ids.tolist()],
            **self._evidence_columns(),
            **{
                f"drift_{name}": [None if np.isnan(v) else float(v) for v in values]
                for name, values in self.drift.items()
            },
            **{
                f"rows_{name}": self.label_counts[:, k].tolist()
                for k, name in enumerate(self.label_names)
            },
            **{
                f"label_lift_{name}": lift[:, k].tolist() for k, name in enumerate(self.label_names)
            },
        }

    def rows(self) -> dict[str, list[Any]]:
        """Every row with its score and reasons, as columns; what `btu scan --rows` writes."""
        flagged, reasons = self.flagged.tolist(), self._list_reasons()
        return {
            "row": self.row_ids.tolist(),
            "score": self.row_scores.tolist(),
            "flagged": flagged,
            "reasons": [
                ", ".join(reasons.get(i, ())) if is_flagged else ""
                for i, is_flagged in enumerate(flagged)
            ],
        }

    def _evidence_columns(self) -> dict[str, list[Any]]:
        if self.evidence is None:
            return {}
        named = {f.token_id: f for f in reversed((*self.suspects, *self.accepted))}
        found = [named.get(i) for i in self.token_ids.tolist()]
        return {
            "verdict": ["innocent" if f is None else f.verdict for f in found],
            **{
                name: [None if f is None else getattr(f.evidence, name) for f in found]
                for name in _EVIDENCE_COLUMNS
            },
        }

    def to_dict(self) -> dict[str, Any]:
        """The scan part of the record, as JSON types; `scores` holds the tokens not suspected."""
        scored = None if self.evidence is None else self._scored_rows()
        return {
            "recipe": self.recipe,
            "verdict": self.verdict,
            "suspects": [asdict(s) for s in self.suspects],
            "accepted": [asdict(s) for s in self.accepted],
            "cleared": [asdict(s) for s in self.cleared],
            "reviews": [review.to_dict() for review in self.reviews],
            "accept_file": next((r.source for r in self.reviews if r.source is not None), None),
            "styles": None if self.evidence is None else self._list_styles(),
            "units_tested": None if self.evidence is None else self.evidence.tested["units"],
            "limit": self._describe_limit(),
            "bars": None if self.evidence is None else [asdict(bar) for bar in BARS],
            "flagged_rows": scored and [row for row in scored if row["score"] >= FLAGGED_SCORE],
            "suspected_rows": scored and [row for row in scored if row["score"] < FLAGGED_SCORE],
            "example_rows": self._list_examples(),
            "thresholds": dict(self.thresholds),
            "tokens_probed": len(self.token_ids),
            "drift_by_frequency": {
                name: count_by_frequency(values, self.label_counts.sum(axis=1))
                for name, values in self.drift.items()
            },
            "neutral": "padding" if self.neutral_id is not None else "mean",
            **self.facts.to_dict(),
        }

    @property
    def verdict(self) -> str:
        """The gravest verdict of any token or style: trigger, suspect or none."""
        found = {s.verdict for s in self.suspects} | {s.verdict for s in self.styles}
        return next((verdict for verdict in (TRIGGER, SUSPECT) if verdict in found), "none")

    def _describe_limit(self) -> dict[str, Any] | None:
        if self.evidence is None:
            return None
        limit = self.evidence.limit
        names = self.label_names if limit.word_rows_by_label else ()
        return {
            "word_rows": limit.word_rows,
            "sentence_rows": limit.sentence_rows,
            "kept_rows": limit.kept_rows,
            "word_rows_by_label": dict(zip(names, limit.word_rows_by_label, strict=True)),
            "styles": limit.styles,
        }

    def _scored_rows(self) -> list[dict[str, Any]]:
        scores, units = self.row_scores, self._name_units(TRIGGER, SUSPECT)
        styles = self._rows_of_styles(TRIGGER, SUSPECT)
        return [
            {
                **self._name_row(i),
                "score": float(scores[i]),
                "tokens": units.get(i, []),
                "style": i in styles,
            }
            for i in np.flatnonzero(scores > 0).tolist()
        ]

    def _name_row(self, position: int) -> dict[str, Any]:
        corpus = self.corpus
        return {
            "row_id": int(corpus.row_ids[position]),
            "line": None if corpus.row_lines is None else int(corpus.row_lines[position]),
            "label": corpus.label_names[corpus.labels[position]],
        }

    def _list_styles(self) -> list[dict[str, Any]]:
        styles = () if self.evidence is None else self.evidence.styles
        return [
            {
                "label": self.label_names[style.label],
                "verdict": style.verdict,
                "kind_rows": len(style.held),
                "others": int((self.corpus.labels[style.held] != style.label).sum()),
                "expected_others": len(style.held) * min(1.0, max(0.0, style.share)),
                "false_alarm_rate": style.false_alarms,
                "mislabelled_share": style.share,
                "spread": style.spread,
                "reason": style.reason,
                "words": sorted(
                    style.words,
                    key=lambda word: not word[:1].isalpha(),  # words say more than marks
                ),
                "rows": len(style.rows),
                "examples": self._pick_surest(style),
            }
            for style in styles
            if style.verdict != "innocent"
        ]

    def _pick_surest(self, style: Test) -> list[dict[str, Any]]:
        surest = style.rows[np.argsort(-style.row_scores, kind="stable")][:_STYLE_EXAMPLES]
        return [asdict(Example(int(self.row_ids[i]))) for i in surest]

    def _list_examples(self) -> list[dict[str, Any]]:
        """The texts that examples speak of, each once."""
        named = [e.row_id for f in self.named for e in f.examples]
        named += [e["row_id"] for style in self._list_styles() for e in style["examples"]]
        corpus, wanted = self.corpus, np.unique(np.array(named, dtype=np.int64))
        return [
            {
                **self._name_row(i),
                "text": corpus.texts[i],
                "text_pair": None if corpus.text_pairs is None else corpus.text_pairs[i],
            }
            for i in np.flatnonzero(np.isin(corpus.row_ids, wanted)).tolist()
        ]


def _by_verdict(finding: TokenFinding) -> tuple[int, float, float]:
    order = {TRIGGER: 0, SUSPECT: 1, ACCEPTED: 2}.get(finding.verdict, 3)
    if finding.evidence is None:
        return order, 1.0, -finding.label_lift
    return order, finding.evidence.false_alarm_rate, -finding.label_lift
