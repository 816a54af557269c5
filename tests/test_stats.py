"""Aggregates, intervals and ranks against scipy, closed forms and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from vidbench.stats import (
    Interval,
    aggregate,
    average_ranks,
    cluster_interval,
    jackknife_interval,
    rank_intervals,
    ranks,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("how", "higher", "expected"),
    [
        ("mean", True, 5.5),
        ("median", True, 5.5),
        ("worst_decile", True, 1.0),
        ("worst_decile", False, 10.0),
        ("rate", True, 1.0),
    ],
)
def test_aggregate_of_one_to_ten(how, higher, expected):
    assert aggregate(np.arange(1.0, 11.0), how, higher_is_better=higher) == expected


def test_worst_decile_takes_at_least_one_clip():
    assert aggregate(np.array([0.2, 0.9, 0.8]), "worst_decile", higher_is_better=True) == 0.2


def test_rate_counts_what_is_not_zero():
    assert aggregate(np.array([0.0, 0.0, 3.0, 1.0]), "rate", higher_is_better=False) == 0.5


def test_aggregate_refuses_nothing_and_unknown_names():
    with pytest.raises(ValueError, match="nothing"):
        aggregate(np.array([]), "mean", higher_is_better=True)
    with pytest.raises(ValueError, match="no aggregation"):
        aggregate(np.array([1.0]), "mode", higher_is_better=True)


def _symmetric(rng, *shape):
    drawn = rng.normal(0, 1, shape)
    return np.concatenate([3 + drawn, 3 - drawn])


def test_mean_interval_of_independent_clips_without_skew_matches_scipy_t():
    values = _symmetric(np.random.default_rng(0), 9)
    interval = cluster_interval(values, list(range(18)), "mean", higher_is_better=True)
    low, high = scipy.stats.t.interval(0.95, 17, loc=values.mean(), scale=scipy.stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-9)
    assert "18 clips" in interval.method


def test_equal_clusters_match_t_over_their_means():
    values = _symmetric(np.random.default_rng(1), 5, 4)
    interval = cluster_interval(values.ravel(), np.repeat(np.arange(10), 4).tolist(), "mean", higher_is_better=True)
    means = values.mean(axis=1)
    low, high = scipy.stats.t.interval(0.95, 9, loc=means.mean(), scale=scipy.stats.sem(means))
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-9)
    assert "10 prompts" in interval.method


def test_mean_interval_of_skewed_clips_is_halls():
    """Its ends are the means whose studentised distance, transformed, is t: found here by bisection."""
    values = np.random.default_rng(2).exponential(1.0, 14)
    skew = scipy.stats.skew(values, bias=False) / math.sqrt(14)
    t = scipy.stats.t.ppf(0.975, 13)

    def end(target):
        def off(x):
            return x + skew * x**2 / 3 + skew**2 * x**3 / 27 + skew / 6 - target

        return values.mean() - scipy.stats.sem(values) * scipy.optimize.brentq(off, -50, 50, xtol=1e-14)

    interval = cluster_interval(values, list(range(14)), "mean", higher_is_better=True)
    assert (interval.low, interval.high) == pytest.approx((end(t), end(-t)), rel=1e-9)
    assert interval.high - values.mean() > 1.2 * (values.mean() - interval.low)


def test_clusters_widen_the_interval_that_ignoring_them_would_give():
    rng = np.random.default_rng(3)
    values = np.repeat(rng.normal(0, 1, 10), 5) + rng.normal(0, 0.1, 50)
    by_prompt = cluster_interval(values, np.repeat(np.arange(10), 5).tolist(), "mean", higher_is_better=True)
    by_clip = cluster_interval(values, list(range(50)), "mean", higher_is_better=True)
    assert by_prompt.high - by_prompt.low > 1.8 * (by_clip.high - by_clip.low)


@pytest.mark.parametrize("how", ["mean", "median", "rate"])
def test_stated_intervals_cover_the_truth(how):
    rng = np.random.default_rng(4)
    truth = {"mean": 1.0, "median": math.log(2), "rate": 0.3}[how]
    hits = 0
    for _ in range(300):
        values = (rng.random(40) < 0.3).astype(float) if how == "rate" else rng.exponential(1.0, 40)
        interval = cluster_interval(values, list(range(40)), how, higher_is_better=True)
        hits += interval.low <= truth <= interval.high
    assert 0.90 <= hits / 300 <= 0.985


def test_interval_is_cut_to_the_range():
    values = np.array([1.0, 1.0, 1.0, 0.6])
    interval = cluster_interval(values, [0, 1, 2, 3], "mean", higher_is_better=True, value_range=(0.0, 1.0))
    assert interval.high == 1.0
    assert interval.low < 0.9


def test_median_interval_is_the_order_statistics_that_a_share_of_one_half_allows():
    """For 20 independent clips: Wilson's interval of 10 of 20 with t for z, read off the sorted values at i - 0.5."""
    values = np.arange(20.0) ** 2
    t = scipy.stats.t.ppf(0.975, 19)
    interval = cluster_interval(
        np.random.default_rng(5).permutation(values), list(range(20)), "median", higher_is_better=True
    )
    half = t / 2 / math.sqrt(19 + t * t)  # the indicator's variance over 20 clips is 0.25 / 19
    low, high = np.interp(20 * np.array([0.5 - half, 0.5 + half]) - 0.5, np.arange(20), values)
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert interval.method == "Woodruff over 20 clips"


def test_rates_of_clustered_clips_are_worth_less():
    hits = np.repeat([1.0, 0.0, 1.0, 0.0, 0.0, 0.0], 5)
    prompts = np.repeat(np.arange(6), 5).tolist()
    clustered = cluster_interval(hits, prompts, "rate", higher_is_better=True)
    alone = cluster_interval(hits[::5], list(range(6)), "rate", higher_is_better=True)
    assert clustered.low < alone.low < alone.high < clustered.high  # six prompts, whatever their clips; t for z
    nothing = cluster_interval(np.zeros(30), prompts, "rate", higher_is_better=True)
    assert (nothing.low, nothing.high > 0.4) == (0.0, True)


def test_a_worst_decile_has_an_interval_from_a_hundred_prompts_on():
    values = np.random.default_rng(8).normal(0, 1, 100)
    few = cluster_interval(values[:99], list(range(99)), "worst_decile", higher_is_better=True)
    assert (few.known, "needs 100 independent clips, not 99" in few.method) == (False, True)
    many = cluster_interval(values, list(range(100)), "worst_decile", higher_is_better=True)
    assert many.low < np.sort(values)[:10].mean() < many.high


@pytest.mark.parametrize(
    ("values", "clusters", "why"),
    [([1.0, 2.0], ["a", "a"], "1 independent prompt"), ([2.0, 2.0, 2.0], ["a", "b", "c"], "all 3 values are equal")],
)
def test_where_no_interval_can_be_given_it_says_why(values, clusters, why):
    interval = cluster_interval(np.array(values), clusters, "mean", higher_is_better=True)
    assert not interval.known
    assert why in interval.method


@pytest.mark.parametrize(("hits", "n"), [(0, 12), (3, 12), (12, 12), (50, 100)])
def test_wilson_matches_scipy(hits, n):
    interval = wilson_interval(hits, n)
    expected = scipy.stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_jackknife_of_a_mean_is_its_t_interval():
    values = np.random.default_rng(6).normal(0, 1, 10)
    left_out = [float(np.delete(values, i).mean()) for i in range(10)]
    interval = jackknife_interval(float(values.mean()), left_out)
    low, high = scipy.stats.t.interval(0.95, 9, loc=values.mean(), scale=scipy.stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-9)
    assert not jackknife_interval(1.0, [1.0, 1.1]).known


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.booleans())
def test_ranks_match_scipy(values, higher):
    signed = [-v if higher else v for v in values]
    assert ranks(values, higher_is_better=higher) == scipy.stats.rankdata(signed, "min").tolist()
    assert average_ranks(values, higher_is_better=higher) == scipy.stats.rankdata(signed, "average").tolist()


def test_a_rank_is_claimed_only_where_intervals_part():
    intervals = [Interval(0.8, 0.9, ""), Interval(0.85, 0.95, ""), Interval(0.1, 0.2, ""), Interval(None, None, "")]
    assert rank_intervals(intervals, higher_is_better=True) == [(1, 3), (1, 3), (3, 4), (1, 4)]
    assert rank_intervals(intervals[:3], higher_is_better=False) == [(2, 3), (2, 3), (1, 1)]
