"""All metrics together: mean ranks with weights, their intervals, the Pareto front, and what each metric does to them.

The interval of a mean rank speaks of the sampling of prompts: every metric's values of all models are drawn anew, by
one joint normal distribution that carries the covariances over prompts (between models and between metrics) with
Student's t for its scale, and ranked again. To first order that is a resampling of the prompts.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vidbench.stats.comparison import Spread, allowed_ranks, holm
from vidbench.stats.intervals import CONFIDENCE, average_ranks, ranks

DRAWS = 10_000
"""Enough for Holm's correction over 190 pairs (20 models): the smallest p-value must fall below 0.05 / 190."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One metric of an overall ranking."""

    metric: str
    higher_is_better: bool
    weight: float
    """Above 0."""
    spreads: Mapping[str, Spread]
    """By model: values that are ranked, with how they move with the prompts."""
    last: frozenset[str] = frozenset()
    """Models that have no value and take the last place."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A model's place over all metrics."""

    model: str
    mean_rank: float | None
    """Weighted mean of its ranks; None where no metric ranks it."""
    low: float | None
    """95 % interval of the mean rank, lower end."""
    high: float | None
    rank: int | None
    """By mean rank; 1 is best; ties share a rank."""
    rank_low: int | None
    """Best rank that the certain differences of mean ranks allow."""
    rank_high: int | None
    """Worst rank that they allow."""
    pareto: bool
    """No other model is at least as good in every metric and better in one."""
    metrics: int
    """How many metrics entered."""


@dataclass(frozen=True, slots=True)
class Overall:
    """The ranking over all metrics."""

    standings: tuple[Standing, ...]
    """Best first."""
    wins: frozenset[tuple[str, str]]
    """(better, worse) by mean rank, after Holm's correction over all pairs."""
    without: Mapping[str, Mapping[str, int]]
    """Metric left out to the ranks that are then left, by model."""


def mean_ranks(models: Sequence[str], criteria: Sequence[Criterion]) -> dict[str, float]:
    """Weighted mean rank by model; models that no criterion ranks by a value are left out.

    Equal values share the mean of their places. A model in `last` takes the last place of all `models`.
    """
    sums, weights = dict.fromkeys(models, 0.0), dict.fromkeys(models, 0.0)
    for criterion in criteria:
        for model, place in _places(models, criterion).items():
            sums[model] += criterion.weight * place
            weights[model] += criterion.weight
    valued = {model for criterion in criteria for model in criterion.spreads}
    return {model: sums[model] / weights[model] for model in models if model in valued}


def overall(models: Sequence[str], criteria: Sequence[Criterion], *, draws: int = DRAWS, seed: int = 0) -> Overall:
    """Rank models over all criteria.

    Args:
        models: all that compete, in any order.
        criteria: the metrics, each with the models that it ranks.
        draws: how often the values are drawn anew.
        seed: of the draws.
    """
    means = mean_ranks(models, criteria)
    placed = dict(zip(means, ranks(list(means.values()), higher_is_better=False), strict=True))
    drawn = _drawn_mean_ranks(models, criteria, draws, seed)
    wins = _wins(means, drawn)
    spans = allowed_ranks(list(means), wins)
    front = _pareto(list(means), criteria)
    tails = [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]
    standings = []
    for model in models:
        entered = sum(model in criterion.spreads or model in criterion.last for criterion in criteria)
        if model not in means:
            standings.append(Standing(model, None, None, None, None, None, None, pareto=False, metrics=0))
            continue
        low, high = (float(q) for q in np.percentile(drawn[model], tails))
        # Drawing anew evens ranks out: the value itself may lie beyond what the draws reach.
        low, high = min(low, means[model]), max(high, means[model])
        best, worst = spans[model]
        standings.append(
            Standing(model, means[model], low, high, placed[model], best, worst, model in front, metrics=entered)
        )
    standings.sort(key=lambda s: (s.rank is None, s.rank or 0, s.model))
    without = {}
    for criterion in criteria:
        rest = mean_ranks(models, [c for c in criteria if c is not criterion])
        without[criterion.metric] = dict(zip(rest, ranks(list(rest.values()), higher_is_better=False), strict=True))
    return Overall(tuple(standings), frozenset(wins), without)


def _places(models: Sequence[str], criterion: Criterion) -> dict[str, float]:
    values = {model: criterion.spreads[model].value for model in models if model in criterion.spreads}
    if not values:
        return {}
    shared = average_ranks(list(values.values()), higher_is_better=criterion.higher_is_better)
    return dict(zip(values, shared, strict=True)) | {m: float(len(models)) for m in models if m in criterion.last}


def _drawn_mean_ranks(
    models: Sequence[str], criteria: Sequence[Criterion], draws: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """(draws,) mean ranks by model, of values drawn anew."""
    rng = np.random.default_rng(seed)
    entries = [(c, model) for c in criteria for model in models if model in c.spreads]
    noise = _joint_noise([c.spreads[model] for c, model in entries], draws, rng)
    sums = {model: np.zeros(draws) for model in models}
    weights = dict.fromkeys(models, 0.0)
    at = 0
    for criterion in criteria:
        ranked = [model for model in models if model in criterion.spreads]
        if not ranked:
            continue
        spreads = [criterion.spreads[model] for model in ranked]
        # Where a variance is estimated from few prompts it may well be too small: all draws of a metric share its t.
        degrees = min((s.degrees for s in spreads if s.degrees > 0), default=1)
        scale = np.sqrt(degrees / rng.chisquare(degrees, size=(draws, 1)))
        values = np.array([s.value for s in spreads]) + scale * noise[:, at : at + len(ranked)]
        at += len(ranked)
        places = _drawn_places(values if criterion.higher_is_better else -values)
        for i, model in enumerate(ranked):
            sums[model] += criterion.weight * places[:, i]
            weights[model] += criterion.weight
        for model in models:
            if model in criterion.last:
                sums[model] += criterion.weight * len(models)
                weights[model] += criterion.weight
    return {model: sums[model] / weights[model] for model in models if weights[model] > 0}


def _joint_noise(spreads: Sequence[Spread], draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(draws, estimates) normal numbers with the covariances that the spreads share."""
    columns: dict[Hashable, int] = {}
    for spread in spreads:
        for source in spread.deviations:
            columns.setdefault(source, len(columns))
    moves = np.zeros((len(spreads), len(columns)))
    for row, spread in zip(moves, spreads, strict=True):
        row[[columns[source] for source in spread.deviations]] = list(spread.deviations.values())
    sizes = np.linalg.norm(moves, axis=1)
    moves /= np.where(sizes > 0, sizes, 1.0)[:, None]  # metrics live on very different scales
    values, vectors = np.linalg.eigh(moves @ moves.T)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(rng.standard_normal((draws, len(spreads))) @ root.T * sizes)


def _drawn_places(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(draws, models) average ranks, the largest value first; what differs by rounding alone is level."""
    level = 1e-9 * max(float(np.max(np.abs(values))), 1e-300)
    places = np.empty_like(values)
    for i in range(values.shape[1]):
        ahead = values - values[:, i : i + 1]
        places[:, i] = 0.5 + (ahead > level).sum(axis=1) + 0.5 * (np.abs(ahead) <= level).sum(axis=1)
    return places


def _wins(means: Mapping[str, float], drawn: Mapping[str, NDArray[np.float64]]) -> set[tuple[str, str]]:
    pairs, p_values = [], []
    for a, b in combinations(means, 2):
        better, worse = (a, b) if means[a] < means[b] else (b, a)
        turned = int(np.count_nonzero(drawn[better] >= drawn[worse]))
        pairs.append((better, worse))
        p_values.append(1.0 if math.isclose(means[a], means[b]) else min(1.0, 2 * (turned + 1) / (len(drawn[a]) + 1)))
    return {pair for pair, p in zip(pairs, holm(p_values), strict=True) if p is not None and p <= 1 - CONFIDENCE}


def _pareto(models: Sequence[str], criteria: Sequence[Criterion]) -> set[str]:
    def worth(criterion: Criterion, model: str) -> float:
        spread = criterion.spreads.get(model)
        if spread is None:
            return -math.inf
        return spread.value if criterion.higher_is_better else -spread.value

    worths = {model: [worth(criterion, model) for criterion in criteria] for model in models}

    def dominated(mine: Sequence[float]) -> bool:
        return any(
            all(o >= m for o, m in zip(other, mine, strict=True)) and list(other) != list(mine)
            for other in worths.values()
        )

    return {model for model in models if not dominated(worths[model])}
