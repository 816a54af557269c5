"""What changed from clip to clip: scores that moved, findings that came and went, scores that were lost or won."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vidbench.compare.sides import ClipPair
from vidbench.results import FindingRow, MetricFacts, Run, ScoreRow

NEAR = 2
"""Frames that may lie between two findings that are taken for the same one."""


@dataclass(frozen=True, slots=True)
class ClipChange:
    """How one score of a clip moved."""

    pair: ClipPair
    metric: str
    before: float
    after: float
    spreads: float
    """The change towards better, in standard deviations of the metric's clip scores; negative where it got worse."""


@dataclass(frozen=True, slots=True)
class FindingChange:
    """A finding that only one clip of a pair has."""

    pair: ClipPair
    finding: FindingRow
    new: bool
    """True where only the second clip has it."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of the paired clips one metric scored, and what came or went."""

    metric: str
    before: int
    after: int
    pairs: int
    lost: tuple[tuple[str, str], ...]
    """Clips scored before and not after, each with the reason."""
    won: tuple[tuple[str, str], ...]
    """Clips scored after and not before, each with the reason why they were not."""


Scores = Mapping[tuple[str, str], ScoreRow]
"""By clip and metric."""


def clip_scores(run: Run, model: str) -> Scores:
    """The clip scores of one model."""
    return {(row.clip, row.metric): row for row in run.scores if row.model == model and row.clip is not None}


def moved(pairs: Sequence[ClipPair], before: Scores, after: Scores, metrics: Iterable[MetricFacts]) -> list[ClipChange]:
    """Of every pair the score that got worse most and the one that got better most, among the metrics given.

    Moves are measured in standard deviations of all clip scores of that metric on both sides, so that metrics of
    different units stand in one list.
    """
    most: dict[tuple[str, bool], ClipChange] = {}
    for facts in metrics:
        both = [
            (pair, a, b)
            for pair in pairs
            if (a := _value(before, pair.before.clip, facts.name)) is not None
            and (b := _value(after, pair.after.clip, facts.name)) is not None
        ]
        spread = float(np.std([v for _, a, b in both for v in (a, b)])) if both else 0.0
        for pair, a, b in both if spread > 0 else ():
            change = ClipChange(pair, facts.name, a, b, (b - a) / spread * (1 if facts.higher_is_better else -1))
            key = pair.after.clip, change.spreads > 0
            if change.spreads and (key not in most or abs(change.spreads) > abs(most[key].spreads)):
                most[key] = change
    return sorted(most.values(), key=lambda change: (change.spreads, change.pair.after.clip))


def _value(scores: Scores, clip: str, metric: str) -> float | None:
    row = scores.get((clip, metric))
    return None if row is None else row.value


def findings_changed(
    pairs: Sequence[ClipPair],
    before: Iterable[FindingRow],
    after: Iterable[FindingRow],
    metrics: Iterable[str],
) -> list[FindingChange]:
    """Findings of one clip of a pair without a like one in the other, most confident first.

    Alike are findings of one metric and kind whose frames overlap or lie at most `NEAR` frames apart; each finding has
    one like it at most.
    """
    wanted = set(metrics)
    left, right = (_by_clip(f for f in findings if f.metric in wanted) for findings in (before, after))
    changes = []
    for pair in pairs:
        gone = list(left.get(pair.before.clip, ()))
        for finding in right.get(pair.after.clip, ()):
            same = next((f for f in gone if _alike(f, finding)), None)
            if same is None:
                changes.append(FindingChange(pair, finding, new=True))
            else:
                gone.remove(same)
        changes += [FindingChange(pair, finding, new=False) for finding in gone]
    return sorted(
        changes,
        key=lambda c: (
            -c.finding.confidence if c.finding.confidence is not None else 1.0,
            c.finding.clip,
            c.finding.start,
            c.finding.metric,
        ),
    )


def _by_clip(findings: Iterable[FindingRow]) -> dict[str, list[FindingRow]]:
    found: dict[str, list[FindingRow]] = {}
    for finding in findings:
        found.setdefault(finding.clip, []).append(finding)
    return found


def _alike(one: FindingRow, other: FindingRow) -> bool:
    return (
        one.metric == other.metric
        and one.kind == other.kind
        and one.start <= other.end + NEAR
        and other.start <= one.end + NEAR
    )


def coverage(
    pairs: Sequence[ClipPair], before: Scores, after: Scores, metrics: Iterable[MetricFacts]
) -> list[Coverage]:
    """Coverage of every clip metric over the pairs, whether it changed or not."""
    rows = []
    for facts in metrics:
        if facts.granularity == "set":
            continue
        scored = [
            (pair, before.get((pair.before.clip, facts.name)), after.get((pair.after.clip, facts.name)))
            for pair in pairs
        ]
        rows.append(
            Coverage(
                facts.name,
                sum(a is not None and a.value is not None for _, a, _ in scored),
                sum(b is not None and b.value is not None for _, _, b in scored),
                len(pairs),
                lost=tuple(
                    (pair.after.clip, _reason(b))
                    for pair, a, b in scored
                    if a is not None and a.value is not None and (b is None or b.value is None)
                ),
                won=tuple(
                    (pair.after.clip, _reason(a))
                    for pair, a, b in scored
                    if b is not None and b.value is not None and (a is None or a.value is None)
                ),
            )
        )
    return rows


def _reason(row: ScoreRow | None) -> str:
    return "not computed" if row is None else row.reason or "no reason given"
