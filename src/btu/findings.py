"""What a scan found: the suspicious tokens, and every score behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btu.content import measure_label_lift
from btu.control import Control
from btu.corpus import Corpus
from btu.drift import count_by_frequency
from btu.errors import InputError
from btu.evidence import FLAGGED_SCORE, Evidence
from btu.reviews import Review
from btu.styles import Style, is_of_its_label
from btu.verdicts import Ground, TokenTest, Verdict, has_topic

TRIGGER: Verdict = "trigger"
SUSPECT: Verdict = "suspect"
ACCEPTED: Verdict = "accepted"
STYLE = "style against what the text says"
_STYLE_EXAMPLES = 3
_EVIDENCE_COLUMNS = (
    *("ground", "mislabelled_share", "spread", "share_by_states"),
    *("others", "expected_others", "topic_likeness", "topic_spread", "told_apart"),
    "false_alarm_rate",
)


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
    """One token that stood out, and its scores.

    Attributes:
        token_id: Row of the embedding matrix.
        token: As the tokenizer writes it.
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
        pair_ids: Two tokens in a row that were tested in place of one: `token` names both,
            `token_id`, `drift` and `rank` are those of the rarer one. Empty for a token.
    """

    token_id: int
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
    pair_ids: tuple[int, ...] = ()

    @property
    def ids(self) -> tuple[int, ...]:
        """The token, or the two of a pair."""
        return self.pair_ids or (self.token_id,)


@dataclass(frozen=True)
class TokenEvidence:
    """Whether the text of a token's rows agrees with their label; see `btu.verdicts.TokenTest`.

    Attributes:
        label: The label under which the token was tested.
        companions: Spellings of the tokens that stand in the same rows, itself among them.
        rows: Rows that hold them and bear the label.
        rows_any_label: Rows that hold them, whatever their label.
        mislabelled_share: Estimated share of `rows` whose text belongs to another label.
        spread: Standard error of that share.
        share_by_states: The same share by the encoder's states alone.
        share_alone: The same, with nothing but the token's own rows held out; None where the other
            numbers had cleared the token before.
        p_value: Chance of such a share where an innocent word's is a quarter.
        false_alarm_rate: The same, corrected for all tokens that were tested.
        ground: conflict (the text of the rows contradicts their label), beside (the same in few
            rows, beside a trigger that is sure by itself) or purity (too few of them bear another
            label), which is weaker; the next two numbers belong to it.
        others: Rows that hold the token and bear another label, rows that repeat others left out.
        expected_others: How many would, by everything else in them.
        topic_likeness: How much more alike the rows are than random rows, as a mean cosine; None
            where it was not measured.
        topic_spread: Standard deviation of that mean cosine over random rows.
        told_apart: Area under the ROC curve with which the rows are told from the other rows of
            their label, without the token; None where it was not measured.
        has_topic: Whether the last three say that the rows are about one thing; such a token is a
            suspect at most.
    """

    label: str
    companions: tuple[str, ...]
    rows: int
    rows_any_label: int
    mislabelled_share: float
    spread: float
    share_by_states: float | None
    share_alone: float | None
    p_value: float
    false_alarm_rate: float
    ground: Ground = "conflict"
    others: int | None = None
    expected_others: float | None = None
    topic_likeness: float | None = None
    topic_spread: float | None = None
    told_apart: float | None = None
    has_topic: bool = False


@dataclass(frozen=True)
class Findings:
    """What a scan found.

    Attributes:
        recipe: Which method decided what is suspicious.
        suspects: The suspicious tokens. `verified`: triggers first, surest first; `paper`:
            furthest moved first.
        cleared: Tokens that the probes or the screening proposed and the evidence found innocent.
        token_ids: The n tokens that occur in the data and are not protected, ascending, int64.
        tokens: Their n spellings.
        drift: For each round the distance that each of them moved, shape (n,); nan where it was
            hidden in that round.
        label_counts: Rows that hold each of them, by label, shape (n, K).
        thresholds: For each round the least drift among its suspects.
        neutral_id: The padding token whose row is the neutral vector; None for the mean row.
        corpus: The N rows that were scanned.
        facts: Data, model, settings, versions and timings, as JSON types.
        evidence: All tests behind the verdicts, by column of `token_ids`, and a score for each
            row; None in the recipe `paper`, which judges no rows.
        control: How many triggers the tests of tokens find where there is none; None without
            evidence.
        accepted: Tokens that would stand among the suspects, had a reviewer not accepted them.
        reviews: The reviews that were given to the scan, used or not.
        pair_ids: The two tokens of each pair of neighbours, shape (m, 2), int64, in the order that
            `evidence` counts them in.
    """

    recipe: str
    suspects: tuple[TokenFinding, ...]
    cleared: tuple[TokenFinding, ...]
    token_ids: NDArray[np.int64]
    tokens: tuple[str, ...]
    drift: Mapping[str, NDArray[np.float32]]
    label_counts: NDArray[np.int64]
    thresholds: Mapping[str, float]
    neutral_id: int | None
    corpus: Corpus = field(repr=False)
    facts: Mapping[str, Any] = field(repr=False)
    evidence: Evidence | None = None
    control: Control | None = None
    accepted: tuple[TokenFinding, ...] = ()
    reviews: tuple[Review, ...] = ()
    pair_ids: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((0, 2), dtype=np.int64), repr=False
    )

    @property
    def label_names(self) -> tuple[str, ...]:
        """The K labels."""
        return self.corpus.label_names

    @property
    def row_ids(self) -> NDArray[np.int64]:
        """Ids of the N rows, as the corpus counts them."""
        return self.corpus.row_ids

    @property
    def suspect_ids(self) -> tuple[int, ...]:
        """Ids of the suspicious tokens, the rarer token of a pair."""
        return tuple(dict.fromkeys(s.token_id for s in self.suspects))

    @property
    def triggers(self) -> tuple[TokenFinding, ...]:
        """The tokens that the evidence calls triggers; none in the recipe `paper`."""
        return tuple(s for s in self.suspects if s.verdict == TRIGGER)

    @property
    def styles(self) -> tuple[Style, ...]:
        """Kinds of text that bear a label against what they say, confirmed or suspected."""
        every = () if self.evidence is None else self.evidence.styles
        return tuple(style for style in every if style.verdict in (TRIGGER, SUSPECT))

    @property
    def unlearn_ids(self) -> tuple[int, ...]:
        """Ids of the tokens to unlearn: the triggers, or all suspects in the recipe `paper`."""
        named = self.suspects if self.evidence is None else self.triggers
        return tuple(dict.fromkeys(s.token_id for s in named))

    @property
    def row_scores(self) -> NDArray[np.float64]:
        """For each row how sure it is that it is poisoned, shape (N,), in [0, 1].

        0.5 and more for rows of triggers and styles, less for rows of suspects, 0 for all others.
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

    def at(self, *, false_alarm_rate: float) -> Findings:
        """The same findings at another threshold, without training or testing again.

        The tests stay those that were made: what a stricter or laxer search would have looked at
        after it took other rows out is not looked at.

        Args:
            false_alarm_rate: False triggers expected in clean data in each search, in (0, 1).

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
        again = replace(self, evidence=self.evidence.at(false_alarm_rate))
        return again.sort([*self.suspects, *self.cleared, *self.accepted])

    def sort(self, found: list[TokenFinding]) -> Findings:
        """The same findings with these tokens, each under the verdict that its tests give."""
        tests = self.tests_by_ids()
        judged = [replace(f, **self._describe(tests.get(f.ids))) for f in found]
        judged.sort(key=_by_verdict)
        return replace(
            self,
            suspects=tuple(f for f in judged if f.verdict in (TRIGGER, SUSPECT)),
            cleared=tuple(f for f in judged if f.verdict == "innocent"),
            accepted=tuple(f for f in judged if f.verdict == ACCEPTED),
        )

    def tests_by_ids(self) -> dict[tuple[int, ...], TokenTest]:
        """The gravest test of each token and of each pair that was tested."""
        tests: dict[tuple[int, ...], TokenTest] = {}
        for test in [] if self.evidence is None else self.evidence.tests:
            tests.setdefault(self.ids_of(test), test)
        return tests

    def ids_of(self, test: TokenTest) -> tuple[int, ...]:
        """The token that was tested, or the two of a pair."""
        ids = self.token_ids[[test.column]] if test.pair is None else self.pair_ids[test.pair]
        return tuple(ids.tolist())

    def reasons(self, position: int) -> tuple[str, ...]:
        """Why a row is flagged: its triggers, as the tokenizer writes them, and `STYLE`.

        Args:
            position: Of the row, from 0.
        """
        held = self._tokens_of(position, TRIGGER)
        return (*held, STYLE) if self._shows_style(position, TRIGGER) else held

    def _tokens_of(self, position: int, *verdicts: Verdict) -> tuple[str, ...]:
        tests = [] if self.evidence is None else self.evidence.tests
        held = [t for t in tests if t.verdict in verdicts and position in t.rows]
        return tuple(self._names[self.ids_of(t)] for t in held)

    @cached_property
    def _names(self) -> dict[tuple[int, ...], str]:
        return {f.ids: f.token for f in self._named()}

    def _shows_style(self, position: int, *verdicts: str) -> bool:
        return any(position in style.rows for style in self.styles if style.verdict in verdicts)

    def _describe(self, test: TokenTest | None) -> dict[str, Any]:
        if test is None:
            return {"verdict": "innocent", "evidence": None}
        evidence = TokenEvidence(
            label=self.label_names[test.label],
            companions=tuple(self.tokens[c] for c in test.companions),
            rows=len(test.rows),
            rows_any_label=test.rows_any_label,
            mislabelled_share=test.mislabelled_share,
            spread=test.spread,
            share_by_states=test.share_by_states,
            share_alone=test.share_alone,
            p_value=test.p_value,
            false_alarm_rate=test.false_alarm_rate,
            ground=test.ground,
            others=test.others,
            expected_others=test.expected_others,
            topic_likeness=test.topic_likeness,
            topic_spread=test.topic_spread,
            told_apart=test.told_apart,
            has_topic=has_topic(test),
        )
        return {"verdict": test.verdict, "evidence": evidence}

    def scores(self) -> dict[str, list[Any]]:
        """Every token with every score, as columns; what `btu scan --scores` writes.

        The drift is None in a round in which the token was hidden.
        """
        lift = measure_label_lift(
            self.label_counts, list(self.facts["data"]["label_counts"].values())
        )
        suspect_ids = {s.token_id for s in self.suspects if not s.pair_ids}
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
        flagged = self.flagged.tolist()
        return {
            "row": self.row_ids.tolist(),
            "score": self.row_scores.tolist(),
            "flagged": flagged,
            "reasons": [
                ", ".join(self.reasons(i)) if is_flagged else ""
                for i, is_flagged in enumerate(flagged)
            ],
        }

    def _evidence_columns(self) -> dict[str, list[Any]]:
        if self.evidence is None:
            return {}
        tests = self.tests_by_ids()
        found = [tests.get((i,)) for i in self.token_ids.tolist()]
        return {
            "verdict": ["innocent" if t is None else t.verdict for t in found],
            **{
                name: [None if t is None else getattr(t, name) for t in found]
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
            "reviews": [asdict(review) for review in self.reviews],
            "styles": None if self.evidence is None else self._list_styles(),
            "tokens_tested": None if self.evidence is None else self.evidence.tested,
            "pairs_tested": None if self.evidence is None else self.evidence.pairs_tested,
            "control": None if self.control is None else asdict(self.control),
            "flagged_rows": scored and [row for row in scored if row["score"] >= FLAGGED_SCORE],
            "suspected_rows": scored and [row for row in scored if row["score"] < FLAGGED_SCORE],
            "example_rows": self._list_examples(),
            "thresholds": dict(self.thresholds),
            "tokens_probed": len(self.token_ids),
            "drift_by_frequency": {
                name: count_by_frequency(values, self.label_counts.sum(axis=1))
                for name, values in self.drift.items()
            },
            "neutral": "mean" if self.neutral_id is None else "padding",
            **self.facts,
        }

    @property
    def verdict(self) -> str:
        """The gravest verdict of any token or style: trigger, suspect or none."""
        found = {s.verdict for s in self.suspects} | {s.verdict for s in self.styles}
        return next((verdict for verdict in (TRIGGER, SUSPECT) if verdict in found), "none")

    def _scored_rows(self) -> list[dict[str, Any]]:
        scores = self.row_scores
        return [
            {
                **self._name_row(i),
                "score": float(scores[i]),
                "tokens": list(self._tokens_of(i, TRIGGER, SUSPECT)),
                "style": self._shows_style(i, TRIGGER, SUSPECT),
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
        return [
            {
                "label": self.label_names[style.label],
                "verdict": style.verdict,
                "kind_rows": style.kind_rows,
                "others": style.others,
                "expected_others": style.expected_others,
                "p_value": style.p_value,
                "false_alarm_rate": style.false_alarm_rate,
                "beyond_others": style.beyond_others,
                "beyond_own": style.beyond_own,
                "is_of_its_label": is_of_its_label(style),
                "shape": style.shape,
                "words": sorted(
                    (self.tokens[column] for column in style.words),
                    key=lambda word: not word[:1].isalpha(),  # whole words say most
                ),
                "rows": len(style.rows),
                "examples": self._pick_surest(style),
            }
            for style in ([] if self.evidence is None else self.evidence.styles)
            if style.verdict != "innocent"
        ]

    def _pick_surest(self, style: Style) -> list[dict[str, Any]]:
        surest = style.rows[np.argsort(-style.row_scores, kind="stable")][:_STYLE_EXAMPLES]
        return [asdict(Example(int(self.row_ids[i]))) for i in surest]

    def _list_examples(self) -> list[dict[str, Any]]:
        """The texts that examples speak of, each once."""
        named = [e.row_id for f in self._named() for e in f.examples]
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

    def _named(self) -> Iterable[TokenFinding]:
        return (*self.suspects, *self.accepted, *self.cleared)


def _by_verdict(finding: TokenFinding) -> tuple[int, float, float]:
    order = {TRIGGER: 0, SUSPECT: 1, ACCEPTED: 2}.get(finding.verdict, 3)
    if finding.evidence is None:
        return order, 1.0, -finding.label_lift
    return order, finding.evidence.p_value, -finding.evidence.mislabelled_share
