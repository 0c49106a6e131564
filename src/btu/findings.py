"""What a scan found: the suspicious tokens, and every score behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btu.errors import InputError
from btu.evidence import Evidence, TokenTest, Verdict, measure_label_lift

TRIGGER: Verdict = "trigger"
SUSPECT: Verdict = "suspect"
PATTERN = "pattern of the triggers' rows"


@dataclass(frozen=True)
class TokenFinding:
    """One token that stood out, and its scores.

    Attributes:
        token_id: Row of the embedding matrix.
        token: As the tokenizer writes it.
        verdict: trigger, suspect or innocent. The recipe `paper` calls everything it names a
            suspect.
        rounds: The probing rounds that suspect it.
        drift: L2 distance moved in each round in which the token was visible.
        rank: Place by drift in each round, 1 moved furthest.
        rows: Training rows that hold it.
        label: The label that is most over-represented among them.
        label_share: Share of them that bear this label, in [0, 1].
        label_lift: How far it is over-represented, in standard deviations.
        evidence: What the text of its rows says; None where it was not tested.
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
    evidence: TokenEvidence | None = None


@dataclass(frozen=True)
class TokenEvidence:
    """Whether the text of a token's rows agrees with their label; see `btu.evidence.TokenTest`.

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
        label_names: The K labels.
        neutral_id: The padding token whose row is the neutral vector; None for the mean row.
        facts: Data, model, settings, versions and timings, as JSON types.
        row_ids: Ids of the N rows, as the corpus counts them.
        evidence: All tests behind the verdicts, by column of `token_ids`, and a score for each
            row; None in the recipe `paper`, which judges no rows.
    """

    recipe: str
    suspects: tuple[TokenFinding, ...]
    cleared: tuple[TokenFinding, ...]
    token_ids: NDArray[np.int64]
    tokens: tuple[str, ...]
    drift: Mapping[str, NDArray[np.float32]]
    label_counts: NDArray[np.int64]
    thresholds: Mapping[str, float]
    label_names: tuple[str, ...]
    neutral_id: int | None
    facts: Mapping[str, Any]
    row_ids: NDArray[np.int64]
    evidence: Evidence | None = None

    @property
    def suspect_ids(self) -> tuple[int, ...]:
        """Ids of the suspicious tokens."""
        return tuple(s.token_id for s in self.suspects)

    @property
    def triggers(self) -> tuple[TokenFinding, ...]:
        """The tokens that the evidence calls triggers; none in the recipe `paper`."""
        return tuple(s for s in self.suspects if s.verdict == TRIGGER)

    @property
    def unlearn_ids(self) -> tuple[int, ...]:
        """Ids of the tokens to unlearn: the triggers, or all suspects in the recipe `paper`."""
        return (
            self.suspect_ids if self.evidence is None else tuple(s.token_id for s in self.triggers)
        )

    @property
    def row_scores(self) -> NDArray[np.float64]:
        """For each row how sure it is that it is poisoned, shape (N,), in [0, 1].

        0.5 and more for rows of triggers, less for rows of suspects, 0 for all others.
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
            false_alarm_rate: False triggers expected in a clean data set, in (0, 1).

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
        return again.sort([*self.suspects, *self.cleared])

    def sort(self, found: list[TokenFinding]) -> Findings:
        """The same findings with these tokens, each under the verdict that its tests give."""
        tests = self.tests_by_token()
        judged = [replace(f, **self._describe(tests.get(f.token_id))) for f in found]
        judged.sort(key=_by_verdict)
        return replace(
            self,
            suspects=tuple(f for f in judged if f.verdict in (TRIGGER, SUSPECT)),
            cleared=tuple(f for f in judged if f.verdict not in (TRIGGER, SUSPECT)),
        )

    def tests_by_token(self) -> dict[int, TokenTest]:
        """The gravest test of each token that was tested."""
        tests: dict[int, TokenTest] = {}
        for test in [] if self.evidence is None else self.evidence.tests:
            tests.setdefault(int(self.token_ids[test.column]), test)
        return tests

    def reasons(self, position: int) -> tuple[str, ...]:
        """Why a row is flagged: its triggers, as the tokenizer writes them, or `PATTERN`.

        Args:
            position: Of the row, from 0.
        """
        tests = [] if self.evidence is None else self.evidence.tests
        held = [t for t in tests if t.verdict == TRIGGER and position in t.rows]
        patterns = () if self.evidence is None else self.evidence.patterns
        shown = [PATTERN for pattern in patterns if position in pattern.rows]
        return (*(self.tokens[t.column] for t in held), *shown)

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
        )
        return {"verdict": test.verdict, "evidence": evidence}

    def scores(self) -> dict[str, list[Any]]:
        """Every token with every score, as columns; what `btu scan --scores` writes.

        The drift is None in a round in which the token was hidden.
        """
        lift = measure_label_lift(
            self.label_counts, list(self.facts["data"]["label_counts"].values())
        )
        suspect_ids = set(self.suspect_ids)
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
        tests = self.tests_by_token()
        found = [tests.get(i) for i in self.token_ids.tolist()]
        return {
            "verdict": ["innocent" if t is None else t.verdict for t in found],
            **{
                name: [None if t is None else getattr(t, name) for t in found]
                for name in ("mislabelled_share", "spread", "share_by_states", "false_alarm_rate")
            },
        }

    def to_dict(self) -> dict[str, Any]:
        """The scan part of the record, as JSON types; `scores` holds the tokens not suspected."""
        return {
            "recipe": self.recipe,
            "suspects": [asdict(s) for s in self.suspects],
            "cleared": [asdict(s) for s in self.cleared],
            "patterns": None
            if self.evidence is None
            else [
                {
                    "label": self.label_names[pattern.label],
                    "likeness": pattern.likeness,
                    "rows": len(pattern.rows),
                }
                for pattern in self.evidence.patterns
            ],
            "tokens_tested": None if self.evidence is None else self.evidence.tested,
            "flagged_rows": None
            if self.evidence is None
            else [
                {
                    "row_id": int(self.row_ids[i]),
                    "score": float(self.row_scores[i]),
                    "reasons": list(self.reasons(i)),
                }
                for i in np.flatnonzero(self.flagged).tolist()
            ],
            "thresholds": dict(self.thresholds),
            "tokens_probed": len(self.token_ids),
            "neutral": "mean" if self.neutral_id is None else "padding",
            **self.facts,
        }


def _by_verdict(finding: TokenFinding) -> tuple[int, float, float]:
    order = {TRIGGER: 0, SUSPECT: 1}.get(finding.verdict, 2)
    if finding.evidence is None:
        return order, 1.0, -finding.label_lift
    return order, finding.evidence.p_value, -finding.evidence.mislabelled_share
