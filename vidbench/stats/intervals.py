"""One model: aggregates, their intervals, and ranks by value alone."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
TAIL_PROMPTS = 100
"""Independent prompts below which a worst decile has no interval: it rests on a tenth of them, and its bias is larger
than its spread."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval, or the reason why there is none."""

    low: float | None
    high: float | None
    method: str

    @property
    def known(self) -> bool:
        """Whether there are two ends."""
        return self.low is not None and self.high is not None


def aggregate(values: NDArray[np.float64], how: str, *, higher_is_better: bool) -> float:
    """Clip scores to a model's value.

    Args:
        values: (N,) finite, N >= 1.
        how: `mean`, `median`, `worst_decile` (mean of the worst tenth, at least one clip) or `rate` (share of values
            that are not 0).
        higher_is_better: which end is the worst.

    Raises:
        ValueError: no values, or an unknown name.
    """
    if values.size == 0:
        raise ValueError("nothing to aggregate")
    return float(_reduce(values, how, higher_is_better=higher_is_better))


def _reduce(values: NDArray[np.float64], how: str, *, higher_is_better: bool) -> NDArray[np.float64]:
    """`aggregate` along the last axis."""
    if how == "mean":
        result = np.mean(values, axis=-1)
    elif how == "median":
        result = np.median(values, axis=-1)
    elif how == "worst_decile":
        worst = np.sort(values, axis=-1)[..., :: 1 if higher_is_better else -1]
        result = np.mean(worst[..., : math.ceil(values.shape[-1] / 10)], axis=-1)
    elif how == "rate":
        result = np.mean(values != 0, axis=-1)
    else:
        raise ValueError(f"no aggregation is called '{how}'")
    return np.asarray(result, dtype=np.float64)


def cluster_interval(
    values: NDArray[np.float64],
    clusters: Sequence[Hashable],
    how: str,
    *,
    higher_is_better: bool,
    value_range: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """95 % interval of `aggregate` by clusters of clips.

    No draws are made: all follow from how the aggregate moves when a prompt weighs more or less, to first order, which
    at few prompts covers the truth more often than percentiles of resamples do (`benchmarks/stats_coverage.py`).

    - mean: Student's t on the cluster-robust variance (G/(G-1) times the sum of squared cluster totals of the
      residuals, over N^2; G-1 degrees of freedom), its ends set right for the skewness of the prompts by the cubic
      transformation of P. Hall (J. R. Stat. Soc. B 54, 1992): scores near the end of their range are skewed, and t
      alone then covers 86 to 91 % at a dozen prompts. Without skewness it is t's interval.
    - rate: Wilson's interval, which stays honest at 0 of N. Where clips share prompts, their number is cut to what
      they are worth (N over the design effect; the number of prompts where nothing varies) and z becomes t.
    - median: the values at the ranks that bound a share of one half by the same interval (R. Woodruff, JASA 47, 1952).
    - worst decile: as the mean, of each clip's part in it (see `pseudo_values`); none below `TAIL_PROMPTS` prompts.

    Args:
        values: (N,) finite clip scores.
        clusters: N labels; equal labels are one cluster.
        how: as for `aggregate`.
        higher_is_better: as for `aggregate`.
        value_range: the interval is cut to it.
    """
    labels = {label: i for i, label in enumerate(dict.fromkeys(clusters))}
    index = np.array([labels[label] for label in clusters], dtype=np.int64)
    groups = len(labels)
    what = "prompts" if groups < values.size else "clips"
    none = _no_interval(values, groups, what, how)
    if none is not None:
        return Interval(None, None, f"no interval: {none}")
    if how == "rate":
        if groups == values.size:
            return wilson_interval(int(np.count_nonzero(values)), values.size)
        low, high = _share_interval((values != 0).astype(np.float64), index, groups)
        return Interval(max(0.0, low), min(1.0, high), f"Wilson over {groups} prompts")
    if how == "median":
        low, high, _ = _around_the_median(values, index, groups)
        method = f"Woodruff over {groups} {what}"
    elif how == "mean":
        mean, error = float(np.mean(values)), math.sqrt(_variance(values, index, groups))
        t, skewness = _student(groups - 1), _skewness(values, index, groups)
        low, high = (mean - error * _without_skewness(end, skewness / math.sqrt(groups)) for end in (t, -t))
        method = f"t with Hall's correction over {groups} {what}"
    else:
        value = aggregate(values, how, higher_is_better=higher_is_better)
        moving = pseudo_values(values, index, groups, how, higher_is_better=higher_is_better)
        half = _student(groups - 1) * math.sqrt(_variance(moving, index, groups))
        low, high, method = value - half, value + half, f"t over {groups} {what}"
    if low == high:
        return Interval(None, None, f"no interval: most of the {values.size} values are equal")
    return Interval(max(low, value_range[0]), min(high, value_range[1]), method)


def _no_interval(values: NDArray[np.float64], groups: int, what: str, how: str) -> str | None:
    """Why nothing can be said of the spread of these values."""
    if groups < 2:
        return f"{groups} independent {what[:-1]}, 2 are needed"
    if how == "worst_decile" and groups < TAIL_PROMPTS:
        return f"a worst decile needs {TAIL_PROMPTS} independent {what}, not {groups}"
    if how != "rate" and np.all(values == values[0]):
        return f"all {values.size} values are equal, so their spread is not known"
    return None


def pseudo_values(
    values: NDArray[np.float64], index: NDArray[np.int64], groups: int, how: str, *, higher_is_better: bool
) -> NDArray[np.float64]:
    """Numbers whose mean moves as the aggregate does, to first order, when clips weigh more or less: (N,).

    Args:
        values: (N,) finite clip scores.
        index: (N,) the cluster of each, 0..groups-1.
        groups: how many clusters, 2 or more.
        how: as for `aggregate`.
        higher_is_better: as for `aggregate`.
    """
    if how == "mean":
        return values
    if how == "rate":
        return np.asarray(values != 0, dtype=np.float64)
    if how == "median":
        # Raising the share below the median by d lowers the median by d times the width that such a share spans here.
        _, _, slope = _around_the_median(values, index, groups)
        return np.asarray(-slope * _below(values), dtype=np.float64)
    if how == "worst_decile":
        edge = np.quantile(values, 0.1 if higher_is_better else 0.9, method="hazen")
        return np.asarray(np.minimum(values - edge, 0) if higher_is_better else np.maximum(values - edge, 0)) * 10
    raise ValueError(f"no aggregation is called '{how}'")


def _below(values: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = np.median(values)
    return np.asarray((values < middle) + 0.5 * (values == middle))


def _around_the_median(
    values: NDArray[np.float64], index: NDArray[np.int64], groups: int
) -> tuple[float, float, float]:
    """Woodruff's interval, and its width over the width in shares."""
    shares = np.clip(_share_interval(_below(values), index, groups, share=0.5), 0.0, 1.0)
    low, high = (float(q) for q in np.quantile(values, shares, method="hazen"))
    return low, high, (high - low) / float(shares[1] - shares[0])


def _variance(values: NDArray[np.float64], index: NDArray[np.int64], groups: int) -> float:
    """Cluster-robust variance of the mean."""
    totals = np.bincount(index, values - np.mean(values), minlength=groups)
    return groups / (groups - 1) * float(np.sum(totals**2)) / values.size**2


def _skewness(values: NDArray[np.float64], index: NDArray[np.int64], groups: int) -> float:
    """Of the clusters' parts in the mean, corrected for few of them; 0 where there are 2 or no spread."""
    parts = np.bincount(index, values - np.mean(values), minlength=groups)
    parts = parts - parts.mean()
    spread = float(np.mean(parts**2))
    if groups < 3 or spread <= 0:
        return 0.0
    return float(np.mean(parts**3) / spread**1.5) * math.sqrt(groups * (groups - 1)) / (groups - 2)


def _without_skewness(t: float, slant: float) -> float:
    """The studentised mean whose transform is `t`: inverse of g(x) = x + s x^2 / 3 + s^2 x^3 / 27 + s / 6."""
    if abs(slant) < 1e-6:
        return t
    return float(3 / slant * (math.cbrt(1 + slant * (t - slant / 6)) - 1))


def _share_interval(
    hits: NDArray[np.float64], index: NDArray[np.int64], groups: int, share: float | None = None
) -> tuple[float, float]:
    """Wilson's interval with as many clips as clusters of them are worth, around `share` (None: that of `hits`)."""
    share = float(np.mean(hits)) if share is None else share
    variance = _variance(hits, index, groups)
    worth = min(float(hits.size), share * (1 - share) / variance) if variance > 0 else float(groups)
    t = _student(groups - 1)
    return _wilson(share * worth, worth, -t), _wilson(share * worth, worth, t)


def wilson_interval(hits: int, n: int) -> Interval:
    """Wilson's 95 % score interval of a share (E. B. Wilson, JASA 22, 1927).

    Args:
        hits: how many, 0..n.
        n: of how many, at least 1.
    """
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    low, high = _wilson(hits, n, -z), _wilson(hits, n, z)
    return Interval(max(0.0, low), min(1.0, high), f"Wilson over {n} clips")


def wilson_lower(hits: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound of a share by Wilson's score: the true share is at least this with `confidence`.

    Args:
        hits: how many, 0..n.
        n: of how many, at least 1.
        confidence: one-sided, 0.5 or more.
    """
    return max(0.0, _wilson(hits, n, -NormalDist().inv_cdf(confidence)))


def wilson_upper(hits: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper bound of a share by Wilson's score: the true share is at most this with `confidence`."""
    return min(1.0, _wilson(hits, n, NormalDist().inv_cdf(confidence)))


def _wilson(hits: float, n: float, z: float) -> float:
    """The end of Wilson's interval that lies `z` standard errors off."""
    if n <= 0 or not 0 <= hits <= n:
        raise ValueError(f"{hits} of {n} is no share")
    share = hits / n
    return (share + z * z / (2 * n) + z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))) / (1 + z * z / n)


def jackknife_interval(
    value: float, left_out: Sequence[float], value_range: tuple[float, float] = (-math.inf, math.inf)
) -> Interval:
    """95 % interval of a set metric from its values with one group of clips left out at a time.

    Delete-a-group jackknife: variance = (G-1)/G * sum (v_g - mean v)^2, Student's t with G-1 degrees of freedom. The
    bias of the estimate itself (a Fréchet distance is too large for few clips) is not in it.

    Args:
        value: over all clips.
        left_out: G values, each without one group.
        value_range: the interval is cut to it.
    """
    groups = len(left_out)
    if groups < 3:
        return Interval(None, None, f"no interval: {groups} groups of clips, 3 are needed")
    spread = np.asarray(left_out, dtype=np.float64)
    variance = (groups - 1) / groups * float(np.sum((spread - spread.mean()) ** 2))
    half = _student(groups - 1) * math.sqrt(variance)
    return Interval(
        max(value - half, value_range[0]),
        min(value + half, value_range[1]),
        f"jackknife over {groups} groups of prompts",
    )


def _student(degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + CONFIDENCE / 2))


def ranks(values: Sequence[float], *, higher_is_better: bool) -> list[int]:
    """Competition ranks, 1 is best; equal values share the better rank."""
    return [1 + sum((other > v) if higher_is_better else (other < v) for other in values) for v in values]


def rank_intervals(intervals: Sequence[Interval], *, higher_is_better: bool) -> list[tuple[int, int]]:
    """Best and worst rank that each model's interval allows.

    A model is certainly better than another only where their 95 % intervals do not touch; a model without an interval
    is certain of nothing. This is conservative: paired comparisons find more.
    """

    def better(a: Interval, b: Interval) -> bool:
        if a.low is None or a.high is None or b.low is None or b.high is None:
            return False
        return a.low > b.high if higher_is_better else a.high < b.low

    n = len(intervals)
    return [
        (
            1 + sum(better(other, mine) for k, other in enumerate(intervals) if k != i),
            n - sum(better(mine, other) for k, other in enumerate(intervals) if k != i),
        )
        for i, mine in enumerate(intervals)
    ]


def average_ranks(values: Sequence[float], *, higher_is_better: bool) -> list[float]:
    """Ranks where equal values share the mean of their places, so that every metric hands out the same total."""
    best = ranks(values, higher_is_better=higher_is_better)
    return [rank + (sum(other == v for other in values) - 1) / 2 for rank, v in zip(best, values, strict=True)]
