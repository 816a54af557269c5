"""Rules against a baseline: is a model worse than an earlier run says it was?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vidbench.compare.settings import differences
from vidbench.compare.sides import pair_clips
from vidbench.errors import InputError
from vidbench.gate.policy import RegressionRule, metrics_of
from vidbench.gate.rows import ClipScores, ModelRows, Rows
from vidbench.gate.rules import shown, told_findings, unjudged
from vidbench.gate.verdict import Check, Outcome, WorstClip
from vidbench.results import FindingRow, Run
from vidbench.stats import CONFIDENCE, Difference, paired_difference

FEW = 5
"""Clips that a rule names, those that lost most first."""


def judge_regression(
    rule: RegressionRule, rows: ModelRows, before: Rows, baseline_model: str | None
) -> tuple[Check, tuple[FindingRow, ...]]:
    """Hold a model against the baseline; also the findings that were counted.

    Raises:
        InputError: the two runs did not compute the same thing in the same way, or the baseline lacks model or metric.
    """
    theirs = ModelRows(before, _counterpart(rows, before, baseline_model))
    for metric in metrics_of(rule):
        check_same_settings(rows.rows.run, before.run, metric)
    bound = "no worse than the baseline, as far as noise allows" if rule.max_loss is None else _bound(rule.max_loss)
    if rule.findings is not None:
        ours, found = rows.hits(rule.findings)
        old, _ = theirs.hits(rule.findings)
        sign, how, name = 1.0, "rate", "share of clips with findings"
        counted = tuple(finding for findings in found.values() for finding in findings)
    else:
        metric = str(rule.metric)
        facts = rows.facts(metric)
        if facts is None:
            return unjudged(rule.name, rows, metric, bound), ()
        sign, how, name = (-1.0 if facts.higher_is_better else 1.0), facts.aggregation, metric
        found, counted = {}, ()
        if facts.granularity == "set":
            return _judged(rule, rows, _set_difference(rows, theirs, metric), sign, name, bound, ()), ()
        ours, old = rows.scores(metric), theirs.scores(metric)
    pairs = _pairs(rows, theirs, ours, old)
    if not pairs:
        why = "no clip of the baseline has the same prompt or name, and a value on both sides"
        reason = f"{name} cannot be compared: {why}."
        return Check(rule.name, rows.model, "incomplete", "no pairs", bound, reason), counted
    difference = paired_difference(
        np.array([pair.value for pair in pairs]),
        np.array([pair.was for pair in pairs]),
        [pair.unit for pair in pairs],
        how,
        higher_is_better=sign < 0,
    )
    clips = _most_lost(pairs, sign, found, name)
    return _judged(rule, rows, difference, sign, name, bound, clips), counted


@dataclass(frozen=True, slots=True)
class _Pair:
    """A clip, and the baseline's clip that was made for the same thing."""

    clip: str
    unit: str
    value: float
    was: float


def _pairs(rows: ModelRows, theirs: ModelRows, ours: ClipScores, old: ClipScores) -> list[_Pair]:
    """The pairs that both sides scored."""
    values, before = (dict(zip(s.clips, s.values.tolist(), strict=True)) for s in (ours, old))
    return [
        _Pair(pair.after.clip, pair.prompt or f"clip {pair.name}", values[pair.after.clip], before[pair.before.clip])
        for pair in pair_clips(theirs.clips.values(), rows.clips.values()).pairs
        if pair.after.clip in values and pair.before.clip in before
    ]


def _judged(
    rule: RegressionRule,
    rows: ModelRows,
    difference: Difference | None,
    sign: float,
    name: str,
    bound: str,
    clips: tuple[WorstClip, ...],
) -> Check:
    """The verdict on a difference, this run minus the baseline; times `sign` it is a loss."""
    if difference is None:
        return unjudged(rule.name, rows, name, bound)
    loss = sign * difference.value
    ends = sorted(sign * end for end in (difference.low, difference.high) if end is not None)
    measured = f"{'worse' if loss > 0 else 'better'} by {shown(abs(loss))}" if loss else "as good"
    if ends:
        measured += f" (95 % interval of the loss: {shown(ends[0])} to {shown(ends[1])})"
    outcome: Outcome = "passed"
    reason = ""
    if rule.max_loss is None:
        # Without a spread an interval has no ends; the sign test over prompts may still tell the two apart.
        clearly = ends[0] > 0 if ends else difference.p is not None and difference.p <= 1 - CONFIDENCE and loss > 0
        if clearly:
            outcome, reason = "failed", f"{name} is {measured}: more than noise explains."
        elif not ends and difference.p is None:
            outcome, reason = "incomplete", f"Not enough clips: {difference.method}."
    elif loss > rule.max_loss:
        outcome, reason = "failed", f"{name} is {measured}; it may lose {shown(rule.max_loss)}."
    elif rule.certain and loss != 0 and not ends:
        outcome, reason = "incomplete", f"Not enough clips: {difference.method}."
    elif rule.certain and ends and ends[1] > rule.max_loss:
        outcome = "incomplete"
        reason = f"Not enough clips: {name} is {measured}, so that it may have lost more than {shown(rule.max_loss)}."
    return Check(
        rule.name,
        rows.model,
        outcome,
        measured,
        bound,
        reason,
        value=loss,
        limit=rule.max_loss,
        clips=clips if outcome != "passed" else (),
    )


def _bound(loss: float) -> str:
    return f"worse than the baseline by at most {shown(loss)}"


def _counterpart(rows: ModelRows, before: Rows, named: str | None) -> str:
    """The baseline's model to compare with: the named one, the one of the same name, or the only one there is."""
    for name in (named, None if named else rows.model):
        if name in before.models:
            return str(name)
    if named is None and len(before.models) == 1 and len(rows.rows.models) == 1:
        return before.models[0]
    wanted = named or rows.model
    raise InputError(
        f"the baseline {before.run.path} has no model '{wanted}': its models are "
        f"{', '.join(before.models[:8]) or 'none'}; say which with [baseline] model"
    )


def check_same_settings(run: Run, baseline: Run, metric: str) -> None:
    """Refuse to compare numbers that were not made in the same way.

    Raises:
        InputError: says what differs, and what to do.
    """
    ours, theirs = run.info.metric(metric), baseline.info.metric(metric)
    if ours is None:
        return  # coverage says so
    if theirs is None:
        raise InputError(
            f"the baseline {baseline.path} has no {metric}: make it with the metrics of the policy, "
            f"for example vidbench run CLIPS --metrics {metric} --out NEW_BASELINE"
        )
    differing = differences(baseline, run, theirs, ours)
    if differing:
        raise InputError(
            f"{metric} of {run.path} and of the baseline {baseline.path} cannot be compared: they differ in "
            f"{'; '.join(differing)}; make the baseline anew with the same settings"
        )


def _set_difference(rows: ModelRows, theirs: ModelRows, metric: str) -> Difference | None:
    """Of two values of a set metric, their intervals taken as independent."""
    ours, old = rows.summary(metric), theirs.summary(metric)
    if ours is None or old is None or ours.value is None or old.value is None:
        return None
    value = ours.value - old.value
    if ours.low is None or ours.high is None or old.low is None or old.high is None:
        return Difference(value, None, None, None, f"no interval of {metric} ({ours.interval}; {old.interval})", 0)
    half = math.hypot((ours.high - ours.low) / 2, (old.high - old.low) / 2)
    return Difference(value, value - half, value + half, None, "both intervals, taken as independent", 0)


def _most_lost(
    pairs: Sequence[_Pair], sign: float, found: Mapping[str, list[FindingRow]], name: str
) -> tuple[WorstClip, ...]:
    """Clips that lost most against their pair."""
    lost = sorted(
        (pair for pair in pairs if sign * (pair.value - pair.was) > 0), key=lambda p: (sign * (p.was - p.value), p.clip)
    )
    return tuple(
        WorstClip(
            pair.clip,
            told_findings(found[pair.clip])
            if pair.clip in found
            else f"{name} {shown(pair.value)}, was {shown(pair.was)}",
        )
        for pair in lost[:FEW]
    )
