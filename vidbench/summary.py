"""From rows to what a run says about models. Needs nothing but the rows: a summary can always be made again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

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
)
from vidbench.stats import Interval, aggregate, average_ranks, cluster_interval, rank_intervals, ranks
from vidbench.suite import Total

RULE = (
    "Models are ordered by their mean rank over the metrics that judge (descriptive ones are left out), each metric "
    "counting once; values with a caution are not ranked, and a model without a value in a metric that ranks others "
    "takes the last place there. The reference set itself is a yardstick: shown, never ranked."
)
YARDSTICK = "the reference set: not ranked"
BASELINE = "a broken baseline: not ranked"


def summarise(
    clips: Sequence[ClipRow],
    scores: Sequence[ScoreRow],
    metrics: Sequence[MetricFacts],
    *,
    yardsticks: Collection[str] = (),
    seed: int = 0,
    warnings: Sequence[str] = (),
    total: Total | None = None,
    left_out: Mapping[str, str] | None = None,
) -> Summary:
    """Aggregate clip scores over models, with intervals, coverage and ranks.

    Broken baselines, known by their names, are shown and not ranked; a metric that puts one above a model is flagged.

    Args:
        clips: every file met; skipped ones count for nothing.
        scores: one row a clip and metric, and one a model and set metric (its interval in `details`).
        metrics: facts of the metrics that ran.
        yardsticks: models all of whose clips are the reference set.
        seed: of the resampling.
        warnings: carried into the summary.
        total: a weighted mean of metrics that the suite asks for.
        left_out: metrics that did not run, with the reason.
    """
    counted = {row.clip: row for row in clips if row.status != "skipped" and row.model is not None}
    models = sorted({row.model for row in counted.values() if row.model is not None})
    rows: dict[tuple[str, str], list[ScoreRow]] = {}
    for score in scores:
        rows.setdefault((score.model, score.metric), []).append(score)
    broken = {model for model in models if model.startswith(BASELINE_PREFIX)}
    yardsticks = set(yardsticks) - broken
    unranked = yardsticks | broken
    values: list[ModelScore] = []
    for facts in metrics:
        of_metric = [
            _set_score(model, facts, rows.get((model, facts.name), []), counted)
            if facts.granularity == "set"
            else _clip_score(model, facts, rows.get((model, facts.name), []), counted, seed)
            for model in models
        ]
        values.extend(_ranked(of_metric, facts, unranked))
    overall = _overall(models, values, metrics, dict.fromkeys(yardsticks, YARDSTICK) | dict.fromkeys(broken, BASELINE))
    flags = _flags(values, metrics, models, unranked)
    return Summary(
        models=tuple(o.model for o in overall),
        scores=tuple(values),
        overall=tuple(overall),
        rule=RULE + (" Broken baselines are shown, never ranked." if broken else ""),
        warnings=(*warnings, *_above_the_truth(values, metrics, yardsticks), *_told_flags(flags)),
        totals=tuple(total_score(o.model, values, total, left_out or {}) for o in overall) if total is not None else (),
        flags=tuple(flags),
    )


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


def _clip_score(
    model: str, facts: MetricFacts, rows: Sequence[ScoreRow], clips: Mapping[str, ClipRow], seed: int
) -> ModelScore:
    rows = sorted(rows, key=lambda row: row.clip or "")
    scored = [row for row in rows if row.value is not None]
    reasons = Counter(row.reason or "no reason given" for row in rows if row.value is None)
    if not scored:
        return ModelScore(model, facts.name, None, _told(reasons), None, None, "no value", 0, len(rows), reasons)
    numbers = np.array([row.value for row in scored], dtype=np.float64)
    prompts = [clips[row.clip].prompt or f"clip {row.clip}" for row in scored if row.clip is not None]
    interval = cluster_interval(
        numbers,
        prompts,
        facts.aggregation,
        higher_is_better=facts.higher_is_better,
        value_range=_range(facts),
        seed=seed,
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


def _ranked(scores: list[ModelScore], facts: MetricFacts, yardsticks: Collection[str]) -> list[ModelScore]:
    entrants = [s for s in scores if s.value is not None and s.note is None and s.model not in yardsticks]
    places = ranks([s.value for s in entrants if s.value is not None], higher_is_better=facts.higher_is_better)
    spans = rank_intervals(
        [Interval(s.low, s.high, s.interval) for s in entrants], higher_is_better=facts.higher_is_better
    )
    ranked = {
        s.model: replace(s, rank=place, rank_low=low, rank_high=high)
        for s, place, (low, high) in zip(entrants, places, spans, strict=True)
    }
    return [ranked.get(s.model, s) for s in scores]


def _above_the_truth(
    scores: Sequence[ModelScore], metrics: Sequence[MetricFacts], yardsticks: Collection[str]
) -> list[str]:
    """A metric that certainly puts a generated model above the real clips does not measure how real clips look."""
    told = []
    for facts in metrics:
        of_metric = [s for s in scores if s.metric == facts.name and s.value is not None and s.note is None]
        for truth in (s for s in of_metric if s.model in yardsticks and not facts.diagnostic):
            above = [
                s.model
                for s in of_metric
                if s.model not in yardsticks
                and not s.model.startswith(BASELINE_PREFIX)
                and rank_intervals(
                    [Interval(s.low, s.high, ""), Interval(truth.low, truth.high, "")],
                    higher_is_better=facts.higher_is_better,
                )[0]
                == (1, 1)
            ]
            if above:
                told.append(
                    f"{facts.name} puts {', '.join(above)} above the real clips ({truth.model}), and the intervals do "
                    "not overlap: a better value here does not mean more like real video"
                )
    return told


def _flags(
    scores: Sequence[ModelScore], metrics: Sequence[MetricFacts], models: Sequence[str], unranked: Collection[str]
) -> list[BaselineFlag]:
    """Metrics that judge and put a broken baseline above a model.

    Right pixels with a wrong prompt or wrong actions are broken only to a metric that reads those.
    """
    flags = []
    for facts in metrics:
        if facts.diagnostic:
            continue
        values = {s.model: s for s in scores if s.metric == facts.name and s.value is not None and s.note is None}
        for broken in (m for m in models if m.startswith(BASELINE_PREFIX) and m in values):
            name = broken.removeprefix(BASELINE_PREFIX)
            if name.startswith("wrong-") and name.removeprefix("wrong-") not in facts.needs:
                continue
            above, apart = [], []
            for model in (m for m in models if m in values and m not in unranked):
                pair = (values[broken], values[model])
                place = ranks([s.value for s in pair if s.value is not None], higher_is_better=facts.higher_is_better)
                if place[0] < place[1]:
                    above.append(model)
                    intervals = [Interval(s.low, s.high, "") for s in pair]
                    if rank_intervals(intervals, higher_is_better=facts.higher_is_better)[0] == (1, 1):
                        apart.append(model)
            if above:
                flags.append(BaselineFlag(facts.name, name, tuple(above), tuple(apart)))
    return flags


def _told_flags(flags: Sequence[BaselineFlag]) -> list[str]:
    """One line a metric."""
    told = []
    for metric in dict.fromkeys(flag.metric for flag in flags):
        parts = []
        for flag in (f for f in flags if f.metric == metric):
            sure = "" if not flag.apart else f" (intervals apart: {', '.join(flag.apart)})"
            parts.append(f"{flag.baseline} above {', '.join(flag.above)}{sure}")
        told.append(
            f"{metric} puts broken baselines above models: {'; '.join(parts)}: it does not see these failures, so a "
            "better value here does not mean that they are absent"
        )
    return told


def _overall(
    models: Sequence[str],
    scores: Sequence[ModelScore],
    metrics: Sequence[MetricFacts],
    unranked: Mapping[str, str],
) -> list[OverallRank]:
    places: dict[str, list[float]] = {model: [] for model in models}
    for facts in metrics:
        if facts.diagnostic:
            continue
        entrants = [s for s in scores if s.metric == facts.name and s.rank is not None and s.value is not None]
        if not entrants:
            continue
        shared = average_ranks(
            [s.value for s in entrants if s.value is not None], higher_is_better=facts.higher_is_better
        )
        placed = {score.model: place for score, place in zip(entrants, shared, strict=True)}
        unscored = {s.model for s in scores if s.metric == facts.name and s.value is None}
        for model in models:
            if model in placed:
                places[model].append(placed[model])
            elif model in unscored and model not in unranked:
                # To be unscorable must not pay.
                places[model].append(float(len(models) - len(unranked)))
    valued = {s.model for s in scores if s.rank is not None}
    means = {model: float(np.mean(p)) for model, p in places.items() if p and model in valued}
    by_mean = dict(zip(means, ranks(list(means.values()), higher_is_better=False), strict=True))
    overall = [
        OverallRank(
            model,
            by_mean.get(model),
            means.get(model),
            len(places[model]),
            unranked.get(model),
        )
        for model in models
    ]
    return sorted(overall, key=lambda o: (o.rank is None, o.rank or 0, o.model))
