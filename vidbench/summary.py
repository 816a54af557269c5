"""From rows to what a run says about models. Needs nothing but the rows: a summary can always be made again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vidbench.estimates import MetricRows, unit_of
from vidbench.results import (
    BASELINE_PREFIX,
    BaselineFlag,
    ClipRow,
    MetricFacts,
    ModelScore,
    OverallRank,
    ScoreRow,
    Summary,
    TotalScore,
    is_baseline,
)
from vidbench.stats import (
    Criterion,
    Overall,
    aggregate,
    allowed_ranks,
    certain_wins,
    cluster_interval,
    overall,
    ranks,
    spread_difference,
)
from vidbench.suite import Total

RULE = (
    "Models are ordered by their mean rank over the metrics that judge (descriptive ones are left out), each metric "
    "counting once unless a weight is stated; values with a caution are not ranked, and a model without a value in a "
    "metric that ranks others takes the last place there. The reference set itself is a yardstick and broken baselines "
    "are a warning: shown, never ranked."
)
YARDSTICK = "the reference set: not ranked"
BROKEN = "a broken baseline: not ranked"


@dataclass(frozen=True, slots=True)
class Assessment:
    """A summary and what it was made from."""

    summary: Summary
    estimates: Mapping[str, MetricRows]
    """By metric."""
    standing: Overall


def summarise(
    clips: Sequence[ClipRow], scores: Sequence[ScoreRow], metrics: Sequence[MetricFacts], **options: Any
) -> Summary:
    """The summary alone: see `assess`, whose options these are."""
    return assess(clips, scores, metrics, **options).summary


def assess(
    clips: Sequence[ClipRow],
    scores: Sequence[ScoreRow],
    metrics: Sequence[MetricFacts],
    *,
    yardsticks: Collection[str] = (),
    seed: int = 0,
    warnings: Sequence[str] = (),
    total: Total | None = None,
    left_out: Mapping[str, str] | None = None,
    weights: Mapping[str, float] | None = None,
) -> Assessment:
    """Aggregate clip scores over models, with intervals, coverage and ranks.

    Args:
        clips: every file met; skipped ones count for nothing.
        scores: one row a clip and metric, and one a model and set metric (its interval in `details`).
        metrics: facts of the metrics that ran.
        yardsticks: models all of whose clips are the reference set.
        seed: of the draws behind the intervals of mean ranks.
        warnings: carried into the summary.
        total: a weighted mean of metrics that the suite asks for.
        left_out: metrics that did not run, with the reason.
        weights: of metrics in the overall ranking, 1 where none is given; 0 leaves a metric out.
    """
    counted = {row.clip: row for row in clips if row.status != "skipped" and row.model is not None}
    models = sorted({row.model for row in counted.values() if row.model is not None})
    rows: dict[tuple[str, str], list[ScoreRow]] = {}
    for score in scores:
        rows.setdefault((score.model, score.metric), []).append(score)
    yardsticks = [model for model in yardsticks if not is_baseline(model)]
    values: list[ModelScore] = []
    estimates: dict[str, MetricRows] = {}
    for facts in metrics:
        own = {model: rows.get((model, facts.name), []) for model in models}
        estimates[facts.name] = MetricRows(facts, own, counted)
        of_metric = [
            _set_score(model, facts, own[model], counted)
            if facts.granularity == "set"
            else _clip_score(model, facts, own[model], counted)
            for model in models
        ]
        values.extend(_ranked(of_metric, estimates[facts.name], yardsticks))
    flags = _flags(values, estimates, yardsticks)
    standing = overall_standing(models, values, estimates, yardsticks, weights, seed)
    places = _overall(models, standing, yardsticks)
    summary = Summary(
        models=tuple(o.model for o in places),
        scores=tuple(values),
        overall=tuple(places),
        rule=RULE + _weighted(weights),
        warnings=(
            *warnings,
            *_above_the_truth(values, estimates, yardsticks),
            *_told_flags(flags),
        ),
        totals=tuple(total_score(o.model, values, total, left_out or {}) for o in places) if total is not None else (),
        flags=tuple(flags),
    )
    return Assessment(summary, estimates, standing)


def total_score(model: str, scores: Sequence[ModelScore], total: Total, left_out: Mapping[str, str]) -> TotalScore:
    """The weighted total of one model; a metric without a value is named, never counted as 0."""
    own = {score.metric: score for score in scores if score.model == model}
    terms: dict[str, float] = {}
    missing: dict[str, str] = {}
    for metric, term in total.terms.items():
        score = own.get(metric)
        if score is not None and score.value is not None:
            terms[metric] = term.normalised(score.value)
        else:
            reason = score.reason if score is not None else None
            missing[metric] = reason or left_out.get(metric, "not part of this run")
    partial = total.value(terms)
    return TotalScore(
        model=model,
        name=total.name,
        value=None if missing else partial,
        clamped=None if missing else total.value({m: min(max(x, 0.0), 1.0) for m, x in terms.items()}),
        partial=partial,
        terms=terms,
        missing=missing,
        rule=total.rule,
    )


def _range(facts: MetricFacts) -> tuple[float, float]:
    low, high = facts.value_range
    return (-math.inf if low is None else low, math.inf if high is None else high)


def _clip_score(model: str, facts: MetricFacts, rows: Sequence[ScoreRow], clips: Mapping[str, ClipRow]) -> ModelScore:
    rows = sorted(rows, key=lambda row: row.clip or "")
    scored = [row for row in rows if row.value is not None]
    reasons = Counter(row.reason or "no reason given" for row in rows if row.value is None)
    if not scored:
        return ModelScore(model, facts.name, None, _told(reasons), None, None, "no value", 0, len(rows), reasons)
    numbers = np.array([row.value for row in scored], dtype=np.float64)
    prompts = [unit_of(clips[row.clip]) for row in scored if row.clip is not None]
    interval = cluster_interval(
        numbers,
        prompts,
        facts.aggregation,
        higher_is_better=facts.higher_is_better,
        value_range=_range(facts),
    )
    return ModelScore(
        model,
        facts.name,
        aggregate(numbers, facts.aggregation, higher_is_better=facts.higher_is_better),
        None,
        interval.low,
        interval.high,
        interval.method,
        len(scored),
        len(rows) - len(scored),
        reasons,
    )


def _set_score(model: str, facts: MetricFacts, rows: Sequence[ScoreRow], clips: Mapping[str, ClipRow]) -> ModelScore:
    total = sum(row.model == model for row in clips.values())
    if not rows:
        return ModelScore(
            model, facts.name, None, "not computed", None, None, "no value", 0, total, {"not computed": total}
        )
    row = rows[0]
    used = int(row.details.get("clips", 0))
    reasons: dict[str, int] = dict(row.details.get("unscored", {}))
    if row.value is None:
        reason = row.reason or "no reason given"
        if used:
            reasons = {**reasons, reason: used}
        return ModelScore(model, facts.name, None, reason, None, None, "no value", 0, total, reasons)
    return ModelScore(
        model,
        facts.name,
        row.value,
        None,
        row.details.get("low"),
        row.details.get("high"),
        str(row.details.get("interval", "no interval")),
        used,
        total - used,
        reasons,
        note=row.details.get("note") or row.details.get("caution"),
        remark=row.details.get("remark"),
    )


def _told(reasons: Counter[str]) -> str:
    if not reasons:
        return "no clips"
    reason, n = reasons.most_common(1)[0]
    return reason if n == reasons.total() else f"{reason} ({n} of {reasons.total()} clips; other reasons for the rest)"


def _ranked(scores: list[ModelScore], estimates: MetricRows, yardsticks: Collection[str]) -> list[ModelScore]:
    higher = estimates.facts.higher_is_better
    entrants = [s for s in scores if _competes(s, yardsticks)]
    places = ranks([s.value for s in entrants if s.value is not None], higher_is_better=higher)
    names = [s.model for s in entrants]
    spans = allowed_ranks(names, certain_wins(estimates.differences(names), higher_is_better=higher))
    ranked = {
        s.model: replace(s, rank=place, rank_low=spans[s.model][0], rank_high=spans[s.model][1])
        for s, place in zip(entrants, places, strict=True)
    }
    return [ranked.get(s.model, s) for s in scores]


def _competes(score: ModelScore, yardsticks: Collection[str]) -> bool:
    return (
        score.value is not None
        and score.note is None
        and score.model not in yardsticks
        and not is_baseline(score.model)
    )


def _above_the_truth(
    scores: Sequence[ModelScore], estimates: Mapping[str, MetricRows], yardsticks: Collection[str]
) -> list[str]:
    """A metric that certainly puts a generated model above the real clips does not measure how real clips look."""
    told = []
    for metric, rows in estimates.items():
        usable = [s.model for s in scores if s.metric == metric and s.value is not None and s.note is None]
        rivals = [model for model in usable if model not in yardsticks and not is_baseline(model)]
        for truth in (model for model in usable if model in yardsticks and not rows.facts.diagnostic):
            above = _certainly_above(rows, rivals, truth)
            if above:
                told.append(
                    f"{metric} puts {', '.join(above)} above the real clips ({truth}), and the difference over prompts "
                    "is certain: a better value here does not mean more like real video"
                )
    return told


def _flags(
    scores: Sequence[ModelScore], estimates: Mapping[str, MetricRows], yardsticks: Collection[str]
) -> list[BaselineFlag]:
    """Metrics that judge and put a broken baseline above a real model: they can be gamed by that kind of failure.

    A baseline whose prompts or actions are wrong says nothing of a metric that never reads them.
    """
    flags = []
    for metric, rows in estimates.items():
        if rows.facts.diagnostic:
            continue
        of_metric = {s.model: s for s in scores if s.metric == metric and s.value is not None and s.note is None}
        real = [model for model in of_metric if model not in yardsticks and not is_baseline(model)]
        sign = 1 if rows.facts.higher_is_better else -1
        for broken in filter(is_baseline, of_metric):
            name = broken.removeprefix(BASELINE_PREFIX)
            if name.startswith("wrong-") and name.removeprefix("wrong-") not in rows.facts.needs:
                continue
            level = of_metric[broken].value or 0.0
            above = [model for model in real if sign * ((of_metric[model].value or 0.0) - level) < 0]
            if above:
                certain = set(_certainly_above(rows, above, broken, turned=True))
                flags.append(BaselineFlag(metric, name, tuple(above), tuple(m for m in above if m in certain)))
    return flags


def _told_flags(flags: Sequence[BaselineFlag]) -> list[str]:
    """One line a metric."""
    told = []
    for metric in dict.fromkeys(flag.metric for flag in flags):
        parts = []
        for flag in (f for f in flags if f.metric == metric):
            sure = f" (certain for {', '.join(flag.certain)})" if flag.certain else " (not certain)"
            parts.append(f"{flag.baseline} above {', '.join(flag.above)}{sure}")
        told.append(
            f"{metric} puts broken baselines above models: {'; '.join(parts)}: it does not see these failures, so a "
            "better value here does not mean that they are absent"
        )
    return told


def _certainly_above(rows: MetricRows, models: Sequence[str], other: str, *, turned: bool = False) -> list[str]:
    """Those of `models` that are certainly better than `other`; worse, if `turned`."""
    pairs = {}
    own = rows.spread(other)
    for model in models:
        spread = rows.spread(model)
        if spread is not None and own is not None:
            pair = rows.differences([model, other])
            pairs[model, other] = pair.get((model, other), spread_difference(spread, own))
    wins = certain_wins(pairs, higher_is_better=rows.facts.higher_is_better)
    return [model for model in models if ((other, model) if turned else (model, other)) in wins]


def overall_standing(
    models: Sequence[str],
    scores: Sequence[ModelScore],
    estimates: Mapping[str, MetricRows],
    yardsticks: Collection[str],
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Overall:
    """The ranking over all metrics that judge.

    Args:
        models: all of the run.
        scores: their values with ranks.
        estimates: the rows behind them, by metric.
        yardsticks: models that do not compete; neither do broken baselines.
        weights: of metrics, 1 where none is given; 0 leaves a metric out.
        seed: of the draws.
    """
    competing = [model for model in models if model not in yardsticks and not is_baseline(model)]
    criteria = []
    for metric, rows in estimates.items():
        weight = (weights or {}).get(metric, 1.0)
        ranked = [s.model for s in scores if s.metric == metric and s.rank is not None]
        if rows.facts.diagnostic or weight <= 0 or not ranked:
            continue
        spreads = {model: spread for model in ranked if (spread := rows.spread(model)) is not None}
        # To be unscorable must not pay.
        last = frozenset(s.model for s in scores if s.metric == metric and s.value is None and s.model in competing)
        criteria.append(Criterion(metric, rows.facts.higher_is_better, weight, spreads, last))
    return overall(competing, criteria, seed=seed)


def _overall(models: Sequence[str], standing: Overall, yardsticks: Collection[str]) -> list[OverallRank]:
    places = [
        OverallRank(
            model=s.model,
            rank=s.rank,
            mean_rank=s.mean_rank,
            metrics=s.metrics,
            low=s.low,
            high=s.high,
            rank_low=s.rank_low,
            rank_high=s.rank_high,
            pareto=s.pareto if s.rank is not None else None,
        )
        for s in standing.standings
    ]
    apart = [
        OverallRank(model, None, None, 0, YARDSTICK if model in yardsticks else BROKEN)
        for model in models
        if model in yardsticks or is_baseline(model)
    ]
    return sorted([*places, *apart], key=lambda o: (o.rank is None, o.rank or 0, is_baseline(o.model), o.model))


def _weighted(weights: Mapping[str, float] | None) -> str:
    stated = {metric: weight for metric, weight in (weights or {}).items() if weight != 1}
    if not stated:
        return ""
    return " Weights: " + ", ".join(f"{metric} {weight:g}" for metric, weight in sorted(stated.items())) + "."
