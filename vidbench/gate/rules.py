"""Rules on one run: a floor or ceiling of a value, of a quantile, and how many clips may have findings.

A limit is broken where what was measured lies beyond it. It is met where that does not, and, for rules that want to be
certain, where the one-sided confidence bound does not either; between the two there are not enough clips to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vidbench import wording
from vidbench.gate.policy import FindingsRule, QuantileRule, ValueRule, percent, told_bounds
from vidbench.gate.rows import ModelRows
from vidbench.gate.verdict import Check, Outcome, WorstClip
from vidbench.results import FindingRow, ModelScore
from vidbench.stats import wilson_upper

FEW = 3
"""Worst clips that a rule on values names."""


def shown(value: float) -> str:
    """A score with four significant digits."""
    return wording.number(value, wording.decimals([value]))


def unjudged(rule: str, rows: ModelRows, metric: str, bound: str) -> Check:
    """The check of a rule whose metric has no value."""
    score = rows.summary(metric)
    reason = rows.absent(metric) or (score.reason if score is not None else None) or "no clip was scored"
    return Check(rule, rows.model, "incomplete", "no value", bound, f"{metric} has no value: {reason}.")


def judge_value(rule: ValueRule, rows: ModelRows) -> Check:
    """A floor or a ceiling of the model's value."""
    bound = told_bounds(rule.min, rule.max)
    score, facts = rows.summary(rule.metric), rows.facts(rule.metric)
    if score is None or score.value is None or facts is None:
        return unjudged(rule.name, rows, rule.metric, bound)
    measured = shown(score.value) + interval(score)
    outcome: Outcome = "passed"
    reason = ""
    if _beyond(score.value, rule.min, rule.max):
        outcome, reason = "failed", f"{rule.metric} is {shown(score.value)} and must be {bound}."
    elif rule.certain and (score.low is None or score.high is None):
        outcome, reason = "incomplete", f"Not enough clips: {rule.metric} has no interval ({score.interval})."
    elif rule.certain and (_beyond(score.low, rule.min, None) or _beyond(score.high, None, rule.max)):
        outcome = "incomplete"
        reason = f"Not enough clips: {rule.metric} is {measured}, so that it may really not be {bound}."
    return Check(
        rule.name,
        rows.model,
        outcome,
        measured,
        bound,
        reason,
        value=score.value,
        limit=_only(rule.min, rule.max),
        clips=worst_clips(
            rows, rule.metric, lowest=rule.max is None or (rule.min is not None and facts.higher_is_better)
        ),
    )


def worst_clips(rows: ModelRows, metric: str, *, lowest: bool, most: int = FEW) -> tuple[WorstClip, ...]:
    """The clips that pull a value towards its bound."""
    ordered = rows.scores(metric).worst(higher_is_better=lowest)
    return tuple(WorstClip(clip, f"{metric} {shown(value)}") for clip, value in ordered[:most])


def judge_quantile(rule: QuantileRule, rows: ModelRows) -> Check:
    """A floor or a ceiling of a quantile: how many clips lie beyond the bound."""
    bound = f"{told_bounds(rule.min, rule.max)} in all but {percent(rule.allowed)} of clips"
    scores = rows.scores(rule.metric)
    n = len(scores.clips)
    if n == 0:
        return unjudged(rule.name, rows, rule.metric, bound)
    beyond = np.array([_beyond(value, rule.min, rule.max) for value in scores.values.tolist()])
    value = float(np.quantile(scores.values, rule.quantile, method="inverted_cdf"))
    hits = int(beyond.sum())
    outcome, reason, upper = share_verdict(
        hits, n, scores.units, rule.allowed, rule.confidence, certain=rule.certain, what="beyond the bound"
    )
    ordered = scores.worst(higher_is_better=rule.min is not None)
    return Check(
        rule.name,
        rows.model,
        outcome,
        f"{rule.quantile:.4g} quantile {shown(value)}; {share(hits, n)} beyond{upper}",
        bound,
        reason,
        value=value,
        limit=_only(rule.min, rule.max),
        clips=tuple(WorstClip(clip, f"{rule.metric} {shown(v)}") for clip, v in ordered[: max(FEW, hits)]),
    )


def judge_findings(rule: FindingsRule, rows: ModelRows) -> tuple[Check, tuple[FindingRow, ...]]:
    """How many clips have findings; also the findings that were counted."""
    scores, found = rows.hits(rule.findings)
    hits, n = len(found), len(scores.clips)
    most = rule.max_clips
    bound = rule.limit
    absent = next((why for metric in rule.findings.metrics if (why := rows.absent(metric))), None)
    told = f"{share(hits, n)} with findings"
    outcome: Outcome = "passed"
    reason = ""
    if most is not None:
        # A count of these very clips: however many there are, one too many is one too many.
        if hits > most:
            outcome, reason = "failed", f"{wording.count(hits, 'clip')} with findings; wanted is {bound}."
        elif n == 0:
            outcome, reason = "incomplete", f"No clip was judged: {absent or 'see coverage'}."
    elif n == 0:
        outcome, reason = "incomplete", f"No clip was judged: {absent or 'see coverage'}."
    else:
        limit = float(rule.max_rate or 0)
        outcome, reason, upper = share_verdict(
            hits, n, scores.units, limit, rule.confidence, certain=rule.certain, what="with findings"
        )
        told += upper
    if outcome == "passed" and absent is not None:
        outcome, reason = "incomplete", f"A metric whose findings count did not run: {absent}."
    value = hits if most is not None else hits / n if n else None
    order = sorted(found, key=lambda clip: (_doubt(found[clip][0]), clip))
    check = Check(
        rule.name,
        rows.model,
        outcome,
        told,
        bound,
        reason,
        value=value,
        limit=most if most is not None else rule.max_rate,
        clips=tuple(WorstClip(clip, told_findings(found[clip])) for clip in order),
    )
    return check, tuple(finding for clip in order for finding in found[clip])


def share_verdict(
    hits: int, n: int, units: Sequence[str], limit: float, confidence: float, *, certain: bool, what: str
) -> tuple[Outcome, str, str]:
    """Whether a share of clips keeps a limit; the reason where it does not; and what to add to the measured share.

    Clips of one prompt may fail together, so the bound counts prompts: the share as if of so many independent clips.

    Args:
        hits: clips that count.
        n: clips, 1 or more.
        units: of each clip, what is independent.
        limit: largest share.
        confidence: of the bound.
        certain: whether the bound must keep the limit too.
        what: the clips are, for the reason.
    """
    independent = len(set(units))
    if hits / n > limit:
        return "failed", f"{share(hits, n)} {what}; at most {percent(limit)} may be.", ""
    if not certain:
        return "passed", "", ""
    upper = upper_bound(hits, n, independent, confidence)
    told = f", really at most {percent(upper)} (with {percent(confidence)} confidence)"
    if upper <= limit:
        return "passed", "", told
    of = "" if independent == n else f" of {wording.count(independent, 'prompt')}"
    needed = enough(hits, limit, confidence)
    more = ""
    if needed is not None:
        what_of = "clips" if independent == n else "prompts"
        more = f"; {needed} {what_of} with {'no more than these' if hits else 'none'} would do"
    reason = (
        f"Not enough clips: {share(hits, n)}{of} {what}, so the true share may be as high as {percent(upper)}, "
        f"and at most {percent(limit)} may be{more}."
    )
    return "incomplete", reason, told


def upper_bound(hits: int, n: int, independent: int, confidence: float) -> float:
    """Wilson's one-sided bound of a share of clips, with `independent` of them."""
    return wilson_upper(math.ceil(hits * independent / n - 1e-9), independent, confidence)


def enough(hits: int, limit: float, confidence: float, most: int = 1_000_000) -> int | None:
    """How many independent clips with so many hits would keep the limit for certain; None where none would."""
    if limit <= 0 or wilson_upper(hits, max(most, hits), confidence) > limit:
        return None
    low, high = max(hits, 1), most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if wilson_upper(hits, middle, confidence) <= limit else (middle + 1, high)
    return low


def share(hits: int, n: int) -> str:
    """`1 of 12 clips (8.3 %)`."""
    return f"{hits} of {wording.count(n, 'clip')}" + (f" ({percent(hits / n)})" if n and hits else "")


def told_findings(findings: Sequence[FindingRow], most: int = 3) -> str:
    """`teleport, frames 3 to 7, 0.10 s to 0.23 s, confidence 91%; …`."""
    told = [
        f"{f.kind}, {wording.span(f)}" + ("" if f.confidence is None else f", confidence {f.confidence:.0%}")
        for f in findings[:most]
    ]
    return "; ".join([*told, *([f"and {len(findings) - most} more"] if len(findings) > most else [])])


def interval(score: ModelScore) -> str:
    """` [0.1, 0.3]`; empty where there is none."""
    return "" if score.low is None or score.high is None else f" [{shown(score.low)}, {shown(score.high)}]"


def _beyond(value: float | None, low: float | None, high: float | None) -> bool:
    return value is not None and ((low is not None and value < low) or (high is not None and value > high))


def _only(low: float | None, high: float | None) -> float | None:
    return (low if high is None else high) if low is None or high is None else None


def _doubt(finding: FindingRow) -> float:
    return 1.0 if finding.confidence is None else -finding.confidence
