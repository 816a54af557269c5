"""Two or more models: paired differences, Holm's correction and the ranks that they allow.

Every estimate carries its `Spread`: a vector whose squared length is the estimate's variance and whose inner product
with another model's vector is their covariance. Prompts that two models share make their vectors lean the same way, so
that what is hard for both cancels in the difference; models without a common prompt come out as independent.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vidbench.stats.intervals import CONFIDENCE, DRAWS, Interval, aggregate, reduce_weighted

Floats = NDArray[np.float64]


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
    deviations: Mapping[Hashable, float] | Floats
    """By source of chance, of squared length = variance. Two arrays share their sources place by place, two mappings by
    key; an array and a mapping share none."""
    clusters: frozenset[Hashable]
    """Prompts it rests on."""
    degrees: int
    """Degrees of freedom of the variance."""
    method: str

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
    seed: int = 0,
) -> Difference:
    """`aggregate(a) - aggregate(b)` with an interval and a p-value, prompts being the unit.

    A difference of means takes Student's t on the linearised, cluster-robust variance of the difference (degrees of
    freedom: the smaller number of prompts less one). Rates are the same after one prompt on which only `a` hits and
    one on which only `b` does are added (D. Bonett and R. Price, J. Educ. Behav. Stat. 37, 2012, carried over to
    prompts), which stays honest where nothing was hit. Median and worst decile take the variance from `DRAWS` seeded
    resamples of whole prompts, the same for both.

    Args:
        a: (N,) finite clip scores.
        b: (M,) finite clip scores; M = N unless `other_clusters` is given.
        clusters: N labels of `a`: the prompts.
        how: as for `aggregate`.
        higher_is_better: which end is the worst; only `worst_decile` reads it.
        other_clusters: M labels of `b`; None: those of `a`.
        confidence: of the interval, two-sided.
        seed: of the resampling.

    Raises:
        ValueError: no values, labels that do not fit, or an unknown name.
    """
    theirs = clusters if other_clusters is None else other_clusters
    if len(a) != len(clusters) or len(b) != len(theirs):
        raise ValueError(f"{len(a)} and {len(b)} values cannot have {len(clusters)} and {len(theirs)} clusters")
    samples = {"a": Sample(a, clusters), "b": Sample(b, theirs)}
    return differences(samples, how, higher_is_better=higher_is_better, confidence=confidence, seed=seed)["a", "b"]


def differences(
    samples: Mapping[str, Sample],
    how: str,
    *,
    higher_is_better: bool = True,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> dict[tuple[str, str], Difference]:
    """`paired_difference` of every pair, the first named before the second in `samples`."""
    if any(sample.values.size == 0 for sample in samples.values()):
        raise ValueError("nothing to compare")
    place = {
        label: i for i, label in enumerate(dict.fromkeys(c for sample in samples.values() for c in sample.clusters))
    }
    index = {
        name: np.array([place[label] for label in sample.clusters], dtype=np.int64) for name, sample in samples.items()
    }
    values = {
        name: aggregate(sample.values, how, higher_is_better=higher_is_better) for name, sample in samples.items()
    }
    owned = {name: frozenset(sample.clusters) for name, sample in samples.items()}

    def spreads(deviations: Mapping[str, Floats], method: str) -> dict[str, Spread]:
        return {
            name: Spread(values[name], deviations[name], owned[name], len(owned[name]) - 1, method) for name in samples
        }

    if how == "mean":
        first = spreads(
            {name: _influence(sample.values, index[name], len(place)) for name, sample in samples.items()},
            "t over prompts",
        )
        second = first
    elif how == "rate":
        hit = {name: (sample.values != 0).astype(np.float64) for name, sample in samples.items()}
        first, second = (
            spreads(
                {name: _padded_influence(hit[name], index[name], len(place), one) for name in samples},
                "Bonett and Price over prompts",
            )
            for one in (1.0, 0.0)
        )
    else:
        resampled = _resampled(samples, index, len(place), how, higher_is_better=higher_is_better, seed=seed)
        first = spreads(resampled, f"t over prompts, spread of {DRAWS} resamples")
        second = first
    shrunk = how == "rate"
    return {
        (a, b): spread_difference(first[a], second[b], confidence=confidence, shrunk=shrunk)
        for a, b in combinations(samples, 2)
    }


def spread_difference(a: Spread, b: Spread, *, confidence: float = CONFIDENCE, shrunk: bool = False) -> Difference:
    """The difference of two estimates from their spreads.

    Args:
        a: the first estimate.
        b: the second.
        confidence: of the interval, two-sided.
        shrunk: the spreads are those of shares with one added prompt each way, towards which the centre of the
            interval is drawn as well.
    """
    from scipy.special import stdtr, stdtrit

    value = a.value - b.value
    shared = len(a.clusters & b.clusters)
    degrees = min(a.degrees, b.degrees)
    if degrees < 1:
        return Difference(value, None, None, None, "no interval: 2 independent prompts are needed", shared)
    variance = max(0.0, a.variance + b.variance - 2 * _dot(a.deviations, b.deviations))
    size = max(a.variance, b.variance, value * value)
    if variance <= 1e-18 * size:  # also where both are 0
        return _without_spread(value, shared, a, b)
    centre = value
    if shrunk:
        prompts = len(a.clusters), len(b.clusters)
        centre = (a.value * prompts[0] + 1) / (prompts[0] + 2) - (b.value * prompts[1] + 1) / (prompts[1] + 2)
    error = math.sqrt(variance)
    half = float(stdtrit(degrees, 0.5 + confidence / 2)) * error
    low, high = centre - half, centre + half
    if shrunk:
        low, high = max(-1.0, low), min(1.0, high)
    p = 2 * float(stdtr(degrees, -abs(centre) / error))
    union = len(a.clusters | b.clusters)
    return Difference(value, low, high, p, f"{a.method}; {shared} of {union} prompts shared", shared)


def _without_spread(value: float, shared: int, a: Spread, b: Spread) -> Difference:
    if value == 0:
        return Difference(value, None, None, 1.0, "no interval: no prompt tells the two apart", shared)
    if shared == len(a.clusters) == len(b.clusters):
        p = 2.0 ** (1 - shared)
        return Difference(value, None, None, p, "no interval: all prompts differ alike; p by the sign test", shared)
    return Difference(value, None, None, None, "no interval: neither varies over its prompts", shared)


def _influence(values: Floats, index: NDArray[np.int64], groups: int) -> Floats:
    """Deviations of a mean by cluster: (groups,)."""
    totals = np.bincount(index, values - values.mean(), minlength=groups) / values.size
    own = np.unique(index).size
    return np.asarray(totals * math.sqrt(own / (own - 1)) if own > 1 else totals, dtype=np.float64)


def _padded_influence(hits: Floats, index: NDArray[np.int64], groups: int, first: float) -> Floats:
    """Deviations of a rate by cluster, with two more clusters: (groups + 2,).

    Of those one hits and one does not, in this order if `first` is 1.
    """
    own = np.unique(index).size
    size = hits.size / own  # clips in an added cluster: as many as in a usual one
    padded = np.array([first, 1 - first])
    total = hits.size + 2 * size
    mean = (hits.sum() + size) / total
    deviations = np.concatenate([np.bincount(index, hits - mean, minlength=groups), size * (padded - mean)]) / total
    return np.asarray(deviations, dtype=np.float64)


def _resampled(
    samples: Mapping[str, Sample],
    index: Mapping[str, NDArray[np.int64]],
    groups: int,
    how: str,
    *,
    higher_is_better: bool,
    seed: int,
) -> dict[str, Floats]:
    """Deviations of any aggregate by resample of all prompts at once: (DRAWS,) each."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(groups, np.full(groups, 1 / groups), size=DRAWS)
    result = {}
    for name, sample in samples.items():
        drawn = reduce_weighted(sample.values, counts[:, index[name]], how, higher_is_better=higher_is_better)
        own = np.unique(index[name]).size
        # A resample without any of this model's prompts says nothing of it.
        centred = np.where(np.isnan(drawn), 0.0, drawn - np.nanmean(drawn)) if own > 1 else np.zeros(DRAWS)
        result[name] = centred * math.sqrt(own / max(1, own - 1) / (DRAWS - 1))
    return result


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


def _dot(a: Mapping[Hashable, float] | Floats, b: Mapping[Hashable, float] | Floats) -> float:
    if isinstance(a, Mapping) or isinstance(b, Mapping):
        if not (isinstance(a, Mapping) and isinstance(b, Mapping)):
            return 0.0
        return sum(d * b[source] for source, d in a.items() if source in b)
    return float(a @ b)


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
