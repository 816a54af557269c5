"""Two or more models: paired differences, Holm's correction and the ranks that they allow.

Every estimate carries its `Spread`: a vector with one entry a prompt, whose squared length is the estimate's variance
and whose inner product with another model's vector is their covariance. What is hard for two models in a prompt that
they share cancels in their difference; models without a common prompt come out as independent.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vidbench.stats.intervals import CONFIDENCE, TAIL_PROMPTS, Interval, aggregate, pseudo_values

Floats = NDArray[np.float64]
_ADDED = object()
"""Marks prompts that are added to a rate: no label of a user equals it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One model's clip scores."""

    values: Floats
    """(N,) finite."""
    clusters: Sequence[Hashable]
    """N labels: the prompts. Equal labels are one cluster, within a model and across models."""


@dataclass(frozen=True, slots=True)
class Difference:
    """First minus second, with a 95 % interval."""

    value: float
    """In the metric's unit; its sign alone does not say which is better."""
    low: float | None
    high: float | None
    p: float | None
    """Two-sided, not corrected for other comparisons; None where no test is possible."""
    method: str
    """How interval and p-value were made, or why there are none."""
    shared: int
    """Prompts that both have; the others enter as independent."""

    @property
    def interval(self) -> Interval:
        """Its interval alone."""
        return Interval(self.low, self.high, self.method)


@dataclass(frozen=True, slots=True)
class Spread:
    """An estimate and how it moves with the sampling of prompts."""

    value: float
    deviations: Mapping[Hashable, float]
    """By source of chance (a prompt, or a group of them), of squared length = variance."""
    clusters: frozenset[Hashable]
    """Prompts it rests on."""
    degrees: int
    """Degrees of freedom of the variance."""
    method: str
    centre: float | None = None
    """Of a rate with added prompts: the rate with them, around which its interval lies."""

    @property
    def variance(self) -> float:
        """Of the estimate."""
        return _dot(self.deviations, self.deviations)


def paired_difference(
    a: Floats,
    b: Floats,
    clusters: Sequence[Hashable],
    how: str,
    *,
    higher_is_better: bool = True,
    other_clusters: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
) -> Difference:
    """`aggregate(a) - aggregate(b)` with an interval and a p-value, prompts being the unit.

    Student's t on the linearised, cluster-robust variance of the difference (degrees of freedom: the smaller number of
    prompts less one), of pseudo-values where the aggregate is no mean. Rates are compared after one independent clip
    on which only `a` hits and one on which only `b` does are added (D. Bonett and R. Price, J. Educ. Behav. Stat. 37,
    2012, carried over to prompts), which stays honest where nothing was hit.

    Args:
        a: (N,) finite clip scores.
        b: (M,) finite clip scores; M = N unless `other_clusters` is given.
        clusters: N labels of `a`: the prompts.
        how: as for `aggregate`.
        higher_is_better: which end is the worst; only `worst_decile` reads it.
        other_clusters: M labels of `b`; None: those of `a`.
        confidence: of the interval, two-sided.

    Raises:
        ValueError: no values, labels that do not fit, or an unknown name.
    """
    theirs = clusters if other_clusters is None else other_clusters
    if len(a) != len(clusters) or len(b) != len(theirs):
        raise ValueError(f"{len(a)} and {len(b)} values cannot have {len(clusters)} and {len(theirs)} clusters")
    samples = {"a": Sample(a, clusters), "b": Sample(b, theirs)}
    return differences(samples, how, higher_is_better=higher_is_better, confidence=confidence)["a", "b"]


def differences(
    samples: Mapping[str, Sample], how: str, *, higher_is_better: bool = True, confidence: float = CONFIDENCE
) -> dict[tuple[str, str], Difference]:
    """`paired_difference` of every pair, the first named before the second in `samples`."""
    one, other = (
        {
            name: sample_spread(sample, how, higher_is_better=higher_is_better, padded=first)
            for name, sample in samples.items()
        }
        for first in ((1.0, 0.0) if how == "rate" else (None, None))
    )
    return {(a, b): spread_difference(one[a], other[b], confidence=confidence) for a, b in combinations(samples, 2)}


def sample_spread(sample: Sample, how: str, *, higher_is_better: bool = True, padded: float | None = None) -> Spread:
    """An aggregate with its spread over prompts.

    Args:
        sample: the clip scores.
        how: as for `aggregate`.
        higher_is_better: as for `aggregate`.
        padded: of a rate: add one prompt that hits and one that does not, in this order if 1, the other way if 0.

    Raises:
        ValueError: no values, or an unknown name.
    """
    if sample.values.size == 0:
        raise ValueError("nothing to compare")
    values = np.asarray(sample.values, dtype=np.float64)
    labels = list(dict.fromkeys(sample.clusters))
    place = {label: i for i, label in enumerate(labels)}
    index = np.array([place[label] for label in sample.clusters], dtype=np.int64)
    value, groups = aggregate(values, how, higher_is_better=higher_is_better), len(labels)
    if groups < 2 or (how == "worst_decile" and groups < TAIL_PROMPTS):
        needed = 2 if groups < 2 else TAIL_PROMPTS
        why = f"no interval: {groups} independent {'prompt' if groups == 1 else 'prompts'}, {needed} are needed"
        return Spread(value, {}, frozenset(labels), 0, why)
    moving = pseudo_values(values, index, groups, how, higher_is_better=higher_is_better)
    if padded is None:
        totals: Floats = np.bincount(index, moving - moving.mean(), minlength=groups) / values.size
        deviations: Floats = totals * math.sqrt(groups / (groups - 1))
        sources: list[Hashable] = [*labels]
    else:
        size = _clips_of_one(moving, index, groups)
        mean = (moving.sum() + size) / (values.size + 2 * size)
        added = size * (np.array([padded, 1 - padded]) - mean)
        totals = np.bincount(index, moving - mean, minlength=groups).astype(np.float64)
        deviations = np.concatenate([totals, added]) / (values.size + 2 * size)
        sources = [*labels, (_ADDED, 0), (_ADDED, 1)]
    moves = dict(zip(sources, deviations.tolist(), strict=True))
    if padded is None:
        return Spread(value, moves, frozenset(labels), groups - 1, "t over prompts")
    return Spread(value, moves, frozenset(labels), groups - 1, "Bonett and Price over prompts", float(mean))


def _clips_of_one(hits: Floats, index: NDArray[np.int64], groups: int) -> float:
    """How many clips are worth one independent one: 1 where those of a prompt differ as any, all of it if alike."""
    share = float(hits.mean())
    totals = np.bincount(index, hits - share, minlength=groups)
    variance = groups / (groups - 1) * float(np.sum(totals**2)) / hits.size**2
    most = hits.size / groups
    return min(max(1.0, variance * hits.size / (share * (1 - share))), most) if variance > 0 else most


def spread_difference(a: Spread, b: Spread, *, confidence: float = CONFIDENCE) -> Difference:
    """The difference of two estimates from their spreads.

    Args:
        a: the first estimate.
        b: the second.
        confidence: of the interval, two-sided.
    """
    from scipy.special import stdtr, stdtrit

    value = a.value - b.value
    shared = len(a.clusters & b.clusters)
    degrees = min(a.degrees, b.degrees)
    if degrees < 1:
        return Difference(value, None, None, None, min((a, b), key=lambda spread: spread.degrees).method, shared)
    apart = a.variance + b.variance
    variance = max(0.0, apart - 2 * _dot(a.deviations, b.deviations))
    told = f"{shared} of {len(a.clusters | b.clusters)} prompts shared"
    if variance <= 1e-18 * max(apart, value * value):  # also where both are 0
        if apart == 0 or math.isclose(value, 0.0, abs_tol=1e-12 * math.sqrt(apart)):
            return _without_spread(value, shared, a, b)
        # All prompts differ alike, which a few will by chance: rather too wide than of no width.
        variance, told = apart, "not paired, since all prompts differ alike"
    rates = a.centre is not None and b.centre is not None
    centre = a.centre - b.centre if a.centre is not None and b.centre is not None else value
    error = math.sqrt(variance)
    half = float(stdtrit(degrees, 0.5 + confidence / 2)) * error
    low, high = centre - half, centre + half
    if rates:
        low, high = max(-1.0, low), min(1.0, high)
    p = 2 * float(stdtr(degrees, -abs(centre) / error))
    return Difference(value, low, high, p, f"{a.method}; {told}", shared)


def _without_spread(value: float, shared: int, a: Spread, b: Spread) -> Difference:
    if math.isclose(value, 0.0, abs_tol=1e-12 * math.sqrt(a.variance)):
        return Difference(value, None, None, 1.0, "no interval: no prompt tells the two apart", shared)
    if shared == len(a.clusters) == len(b.clusters):
        p = 2.0 ** (1 - shared)
        return Difference(value, None, None, p, "no interval: all prompts differ alike; p by the sign test", shared)
    return Difference(value, None, None, None, "no interval: neither varies over its prompts", shared)


def jackknife_spread(
    value: float, left_out: Sequence[float], prompts: Iterable[Hashable], *, source: Hashable
) -> Spread:
    """Spread of a set metric from its values with one group of prompts left out at a time.

    Args:
        value: over all clips.
        left_out: G values, each without one group, 3 or more.
        prompts: the prompts it rests on.
        source: two spreads of equal `source` left out the same prompts in the same order, so that they are paired.
    """
    kept = np.asarray(left_out, dtype=np.float64)
    deviations = (kept - kept.mean()) * math.sqrt((kept.size - 1) / kept.size)
    return Spread(
        value,
        {(source, i): float(d) for i, d in enumerate(deviations)},
        frozenset(prompts),
        kept.size - 1,
        f"jackknife over {kept.size} groups of prompts",
    )


def unpaired_spread(value: float, error: float, degrees: int, *, source: Hashable, method: str) -> Spread:
    """Spread of an estimate of which only the standard error is known: independent of every other."""
    return Spread(value, {source: error}, frozenset(), degrees, method)


def _dot(a: Mapping[Hashable, float], b: Mapping[Hashable, float]) -> float:
    return sum(d * b[source] for source, d in a.items() if source in b)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number (S. Holm, Scand. J. Stat. 6, 1979), in the order given.

    Where all that come out at most 0.05 are claimed, one or more false claims happen in at most 5 % of cases, however
    the comparisons hang together. None stands for a comparison without a test: it stays None and does not count.
    """
    tested = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for place, (p, i) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - place) * p))
        corrected[i] = largest
    return corrected


def certain_wins(
    compared: Mapping[tuple[str, str], Difference], *, higher_is_better: bool, level: float = 1 - CONFIDENCE
) -> set[tuple[str, str]]:
    """(better, worse) of the pairs whose difference survives Holm's correction over all of `compared`."""
    corrected = holm([difference.p for difference in compared.values()])
    return {
        (a, b) if (difference.value > 0) == higher_is_better else (b, a)
        for ((a, b), difference), p in zip(compared.items(), corrected, strict=True)
        if p is not None and p <= level and difference.value != 0
    }


def allowed_ranks(models: Sequence[str], wins: Iterable[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Best and worst rank of each model that no certain win speaks against; all of them hold at once.

    Args:
        models: all that are ranked.
        wins: (better, worse), as from `certain_wins`.
    """
    pairs = set(wins)
    return {
        model: (
            1 + sum((other, model) in pairs for other in models),
            len(models) - sum((model, other) in pairs for other in models),
        )
        for model in models
    }
