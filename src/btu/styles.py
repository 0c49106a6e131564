"""Kinds of text whose rows bear one label although what they say belongs to others.

An attacker who rewrites whole rows (a sentence template, the style of an old book) may leave no
token that stands in enough of them, and the many words of a style vouch for each other: a
classifier that saw some of those rows takes the style for a reason of the label. What gives them
away is the kind as a whole. With every row of the kind left out, whatever its label, the rest of
the corpus says how many of its rows should bear other labels; hardly any does. Honest kinds of text
(insults, a topic, praise) are read from the rest as they are labelled.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from btu.content import FOLDS, Text
from btu.evidence.bars import SUSPECT_RATE as _SUSPECT_BAR
from btu.kinds import (
    LEAST_KIND_ROWS,
    SIZES,
    STYLE_STRENGTH,
    Learned,
    Reader,
    fit_kind,
    judge_rows,
    learn_kind,
    measure_sizes,
    name_words,
    refine_kind,
)
from btu.shapes import Shape, draw_shape, find_shapes
from btu.topics import measure_topic

SUSPECT_RATE = _SUSPECT_BAR.value
LEAST_ROW_CHANCE = 0.5
"""Rows of the label from this probability on are of the style."""

_MOST_FITTED_ROWS = 6_000


@dataclass(frozen=True)
class Style:
    """The kind of text under one label that the rest of the corpus agrees with least.

    Attributes:
        label: The label.
        kind_rows: Rows of that kind, whatever their label.
        others: Those of them that bear another label.
        expected_others: How many of them would, by what they say.
        p_value: Chance of so few where the kind moves the log-odds by `INNOCENT_STYLE_ODDS`; over
            all its rows or those that clearly read like other labels, whichever surprises less.
        false_alarm_rate: The same, corrected for the labels and sizes, or for the shapes, that were
            tested.
        words: Columns of tokens that stand in the kind's rows more than elsewhere, most first.
        rows: Positions of the rows of the label that are rather of that kind and of another label's
            content than not; none where the kind is innocent.
        row_scores: For each of them the probability of that, in [0.5, 1]; at least 0.5 where the
            row has the shape.
        beyond_others: How much more alike the rows are than random rows of other labels, as a mean
            cosine (see `btu.topics`); None without word vectors.
        beyond_own: The same against random rows of the label.
        label_is_judged: False where the kind is most of what the label holds.
        shape: Characters that gave the kind away, as `btu.shapes.draw_shape` draws them; the other
            numbers are theirs then. Empty where the whole text did.
        is_accepted: Whether a reviewer accepted the style: it is never called a trigger or suspect.
        verdict: suspect, accepted or innocent: on corpora of other kinds such styles are honest
            too often to take rows away for one.
    """

    label: int
    kind_rows: int
    others: int
    expected_others: float
    p_value: float
    false_alarm_rate: float
    words: tuple[int, ...]
    rows: NDArray[np.int64]
    row_scores: NDArray[np.float64]
    beyond_others: float | None = None
    beyond_own: float | None = None
    label_is_judged: bool = True
    shape: str = ""
    is_accepted: bool = False
    verdict: Literal["suspect", "accepted", "innocent"] = "innocent"


def judge_styles(styles: Sequence[Style], accepted: Collection[int] = ()) -> tuple[Style, ...]:
    """The styles under the verdicts that their numbers give.

    An attack has one target label: what is found under several is a habit of the sources.

    Args:
        styles: Their own verdicts do not matter.
        accepted: Labels whose style a reviewer accepted.
    """
    found = [
        style
        for style in styles
        if style.label_is_judged
        and style.false_alarm_rate <= SUSPECT_RATE
        and len(style.rows)
        and not is_of_its_label(style)
    ]
    judged = []
    for style in styles:
        verdict: Literal["suspect", "accepted", "innocent"] = "innocent"
        if len(found) == 1 and style is found[0]:
            verdict = "accepted" if style.label in accepted else "suspect"
        judged.append(replace(style, is_accepted=style.label in accepted, verdict=verdict))
    return tuple(judged)


def is_of_its_label(style: Style) -> bool:
    """Whether the rows are more like rows of their label than like those of others.

    What a style shares makes its rows alike, whatever they are compared with; what they say was
    taken from other labels by an attacker, and from the label by an honest source.
    """
    if style.beyond_others is None or style.beyond_own is None:
        return False
    return style.beyond_others > style.beyond_own


def find_styles(
    text: Text,
    contexts: csr_matrix,
    texts: Sequence[str] | None,
    *,
    most_of_a_label: float,
    allowed: float = 0.05,
    skipped: Collection[int] = (),
) -> list[Style]:
    """For each label the kind of text that bears it against what it says; at most one a label.

    Round by round, a regression learns what beyond the content goes with the label (tokens, pairs
    of tokens, characters), and the content is read anew by classifiers that saw nothing of the kind
    found so far. The last round's kind is tested at several sizes. Where that is not sure and a
    shape of characters gives rows away, the kind is what those rows are of.

    Args:
        text: N rows; the encoder's states are needed, the word vectors for shapes of characters.
            Rows of triggers are active where they look rewritten, since they show what the others
            look like.
        contexts: Which row holds which pair of neighbouring tokens, shape (N, m).
        texts: The N texts, for what their characters tell: spacing, case, punctuation. Shapes are
            not looked for without them.
        most_of_a_label: A kind that is more of its label than this is what the label means.
        allowed: False-alarm rate up to which a kind is sure.
        skipped: Labels that are not judged.
    """
    if text.states is None:
        return []
    places = _pick_rows(text)
    part = _slice(text, places)
    tested = [
        c
        for c in range(text.num_labels)
        if c not in skipped and FOLDS * LEAST_KIND_ROWS <= (part.labels == c).sum() < len(places)
    ]
    if not tested:
        return []
    reader = Reader(text, contexts, texts, places)
    features = reader.read(places)
    shapes = {}
    if texts is not None:
        own = [texts[i] for i in places.tolist()]
        shapes = find_shapes(part, own, allowed=allowed, most_rate=SUSPECT_RATE, skipped=skipped)
    most = most_of_a_label * np.bincount(part.labels, minlength=text.num_labels)
    shapes = {c: shape for c, shape in shapes.items() if len(shape.rows) <= most[c]}

    def judge(label: int) -> Style | None:
        style, learned = _find_kind(part, features, label, len(tested), most_of_a_label)
        shape = shapes.get(label)
        if shape is not None and not (style is not None and _is_sure(style, allowed)):
            style, learned = _follow_shape(part, features, shape)
        elif style is not None and style.false_alarm_rate <= SUSPECT_RATE:
            learned, shape = refine_kind(part, features, learned, label), None
        if style is None or style.false_alarm_rate > SUSPECT_RATE or not style.label_is_judged:
            return style
        scores = np.full(len(text.labels), -np.inf)
        scores[places] = learned.scores
        rest = np.setdiff1d(np.flatnonzero(text.active), places)
        if len(rest):
            scores[rest] = reader.read(rest) @ learned.weights
        fitted, held = _mark(places, len(scores)), np.zeros(0, dtype=np.int64)
        if shape is not None and texts is not None:
            own = rest[text.labels[rest] == label].tolist()
            others = [i for i in own if any(s in draw_shape(texts[i]) for s in shape.shapes)]
            held = np.union1d(places[shape.rows], others).astype(np.int64)
            fitted[held] = False  # whether other rows are of the kind, they must say themselves
        chance, _ = judge_rows(text, fitted, scores, label)
        chance[held] = np.maximum(chance[held], LEAST_ROW_CHANCE)
        rows = np.flatnonzero(chance >= LEAST_ROW_CHANCE)
        return replace(
            style,
            rows=rows,
            row_scores=chance[rows],
            beyond_others=_measure_beyond(text, rows, text.labels != label),
            beyond_own=_measure_beyond(text, rows, text.labels == label),
        )

    # The regressions let go of the interpreter: labels side by side take less time.
    with ThreadPoolExecutor(max_workers=min(len(tested), os.cpu_count() or 1)) as pool:
        return [style for style in pool.map(judge, tested) if style is not None]


def _is_sure(style: Style, allowed: float) -> bool:
    return style.label_is_judged and style.false_alarm_rate <= allowed


def _find_kind(
    text: Text, features: csr_matrix, label: int, tested: int, most_of_a_label: float
) -> tuple[Style | None, Learned]:
    """The kind that the rounds find, without its rows; None where no row stands out."""
    learned = learn_kind(text, features, label)
    kinds = [] if learned is None else measure_sizes(text, learned.scores, label)
    if learned is None or not kinds:
        return None, Learned(np.zeros(0), np.zeros(0))
    decided = [kind for kind in kinds if kind.is_decided]
    best = min(decided or kinds, key=lambda kind: kind.p_value)
    rate = best.p_value * len(SIZES) * tested if decided else 1.0
    style = Style(
        label=label,
        kind_rows=int(best.rows.sum()),
        others=best.others,
        expected_others=best.expected,
        p_value=best.p_value,
        false_alarm_rate=min(1.0, rate),
        words=name_words(text, best.rows),
        rows=np.zeros(0, dtype=np.int64),
        row_scores=np.zeros(0),
        label_is_judged=best.own_share <= most_of_a_label,
    )
    return style, learned


def _follow_shape(text: Text, features: csr_matrix, shape: Shape) -> tuple[Style, Learned]:
    """The kind of text of the rows that a shape gives away, without its rows."""
    held = _mark(shape.rows, len(text.labels))
    style = Style(
        label=shape.label,
        kind_rows=shape.rows_any_label,
        others=shape.others,
        expected_others=shape.expected_others,
        p_value=shape.p_value,
        false_alarm_rate=shape.false_alarm_rate,
        words=name_words(text, held),
        rows=np.zeros(0, dtype=np.int64),
        row_scores=np.zeros(0),
        shape=shape.shapes[0],
    )
    everything = np.arange(len(held))
    return style, fit_kind(text, features, everything, held, strength=STYLE_STRENGTH)


def _measure_beyond(text: Text, rows: NDArray[np.int64], among: NDArray[np.bool_]) -> float | None:
    alike = np.zeros(len(text.labels), dtype=np.int64)
    topic = measure_topic(text, rows, (), among=among, reads_like=alike)
    return None if topic is None else topic[0]


def _pick_rows(text: Text) -> NDArray[np.int64]:
    """The active rows, or as many of them as the regressions read in seconds."""
    rows = np.flatnonzero(text.active)
    if len(rows) <= _MOST_FITTED_ROWS:
        return rows
    return np.sort(np.random.default_rng(0).permutation(rows)[:_MOST_FITTED_ROWS])


def _mark(places: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    marked = np.zeros(count, dtype=bool)
    marked[places] = True
    return marked


def _slice(text: Text, places: NDArray[np.int64]) -> Text:
    assert text.states is not None
    everything = np.ones(len(places), dtype=bool)
    states, labels = text.states[places], text.labels[places]
    return Text(
        text.presence[places], states, labels, text.num_labels, everything, vectors=text.vectors
    )
