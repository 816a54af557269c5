"""Paired differences, Holm's correction and allowed ranks against scipy, closed forms and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from vidbench.stats import (
    Difference,
    Sample,
    aggregate,
    allowed_ranks,
    certain_wins,
    differences,
    holm,
    jackknife_spread,
    paired_difference,
    sample_spread,
    spread_difference,
    unpaired_spread,
    wilson_lower,
    wilson_upper,
)

RNG = np.random.default_rng(7)
HARD = RNG.normal(0, 1, 15)  # how hard each prompt is
A = HARD + RNG.normal(0.0, 0.2, 15)
B = HARD + RNG.normal(0.2, 0.2, 15)
PROMPTS = [f"prompt {i}" for i in range(15)]


def test_paired_means_match_scipy():
    ours = paired_difference(A, B, PROMPTS, "mean")
    theirs = scipy.stats.ttest_rel(A, B)
    low, high = theirs.confidence_interval(0.95)
    assert (ours.value, ours.p) == pytest.approx((np.mean(A - B), theirs.pvalue), rel=1e-10)
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-10)
    assert ours.shared == 15


def test_order_of_the_second_models_clips_does_not_matter():
    ours = paired_difference(A, B[::-1], PROMPTS, "mean", other_clusters=PROMPTS[::-1])
    assert ours.p == pytest.approx(scipy.stats.ttest_rel(A, B).pvalue, rel=1e-10)


def test_without_shared_prompts_the_variances_add():
    ours = paired_difference(A, B[:9], PROMPTS, "mean", other_clusters=[f"other {i}" for i in range(9)])
    error = math.sqrt(A.var(ddof=1) / 15 + B[:9].var(ddof=1) / 9)
    half = scipy.stats.t.ppf(0.975, 8) * error  # the fewer degrees of freedom of the two
    assert (ours.high - ours.low) / 2 == pytest.approx(half, rel=1e-10)
    assert ours.shared == 0
    assert ours.p > 20 * paired_difference(A[:9], B[:9], PROMPTS[:9], "mean").p


def test_clips_of_one_prompt_count_as_one():
    once = paired_difference(A, B, PROMPTS, "mean")
    thrice = paired_difference(np.repeat(A, 3), np.repeat(B, 3), np.repeat(PROMPTS, 3).tolist(), "mean")
    assert (thrice.low, thrice.p) == pytest.approx((once.low, once.p), rel=1e-10)


def test_rates_match_bonett_and_price():
    a = np.array([1.0] * 8 + [0.0] * 12)
    b = np.array([1.0] * 2 + [0.0] * 18)
    n, only_a, only_b = 20, 6, 0
    p12, p21 = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    error = math.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    ours = paired_difference(a, b, list(range(n)), "rate")
    half = scipy.stats.t.ppf(0.975, n - 1) * error
    assert ours.value == pytest.approx(0.3)
    assert (ours.low, ours.high) == pytest.approx((p12 - p21 - half, p12 - p21 + half), rel=1e-10)


def test_rates_of_nothing_stay_uncertain_and_of_all_against_nothing_are_told_apart():
    nothing, everything = np.zeros(12), np.ones(12)
    same = paired_difference(nothing, nothing, PROMPTS[:12], "rate")
    assert (same.value, same.p) == (0.0, 1.0)
    assert same.high > 0.15
    apart = paired_difference(everything, nothing, PROMPTS[:12], "rate")
    assert apart.p < 1e-3
    assert 0.4 < apart.low < apart.high <= 1.0


@pytest.mark.parametrize(("how", "times"), [("median", 1), ("worst_decile", 10)])
def test_differences_of_other_aggregates_pair_by_prompt(how, times):
    a, b = np.tile(A, times), np.tile(B, times)
    mine, others = list(range(15 * times)), list(range(1000, 1000 + 15 * times))
    paired = paired_difference(a, b, mine, how)
    apart = paired_difference(a, b, mine, how, other_clusters=others)
    expected = aggregate(a, how, higher_is_better=True) - aggregate(b, how, higher_is_better=True)
    assert paired.value == apart.value == pytest.approx(expected)
    assert paired.high - paired.low < 0.75 * (apart.high - apart.low)


@pytest.mark.parametrize(("how", "higher"), [("median", True), ("worst_decile", True), ("worst_decile", False)])
def test_the_linearised_spread_is_that_of_resampled_prompts(how, higher):
    rng = np.random.default_rng(11)
    values = rng.gamma(2.0, 1.0, (200, 1)) + rng.normal(0, 0.5, (200, 3))
    ours = sample_spread(Sample(values.ravel(), np.repeat(np.arange(200), 3).tolist()), how, higher_is_better=higher)
    drawn = [aggregate(values[rng.integers(200, size=200)].ravel(), how, higher_is_better=higher) for _ in range(1000)]
    assert math.sqrt(ours.variance) == pytest.approx(np.std(drawn), rel=0.15)


def test_a_worst_decile_of_few_prompts_has_neither_interval_nor_test():
    ours = paired_difference(A, B, PROMPTS, "worst_decile")
    assert (ours.p, ours.interval.known) == (None, False)
    assert "15 independent prompts, 100 are needed" in ours.method


@pytest.mark.parametrize(
    ("a", "b", "p", "why"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 1.0, "no prompt tells"),
        ([1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], 0.125, "sign test"),
        ([1.0], [0.0], None, "1 independent prompt, 2 are needed"),
    ],
)
def test_where_no_interval_can_be_given_it_says_why(a, b, p, why):
    ours = paired_difference(np.array(a), np.array(b), list(range(len(a))), "mean")
    assert (ours.p, ours.interval.known) == (p, False)
    assert why in ours.method


def test_where_all_prompts_differ_alike_the_models_count_as_independent():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    ours = paired_difference(a, a - 3.0, list(range(4)), "mean")
    half = scipy.stats.t.ppf(0.975, 3) * math.sqrt(2 * a.var(ddof=1) / 4)
    assert (ours.low, ours.high) == pytest.approx((3 - half, 3 + half))
    assert "all prompts differ alike" in ours.method


def test_values_must_fit_their_labels():
    with pytest.raises(ValueError, match="cannot have"):
        paired_difference(A, B, PROMPTS[:3], "mean")
    with pytest.raises(ValueError, match="nothing to compare"):
        paired_difference(A[:0], B, [], "mean", other_clusters=PROMPTS)
    with pytest.raises(ValueError, match="no aggregation"):
        paired_difference(A, B, PROMPTS, "mode")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p_values):
    """A hypothesis falls at a level where every set that holds it falls: its p-value is the largest that needs."""
    corrected = holm(p_values)
    every = range(len(p_values))
    for i in every:
        sets = [s for r in every for s in itertools.combinations(every, r + 1) if i in s]
        assert corrected[i] == pytest.approx(min(1.0, max(len(s) * min(p_values[j] for j in s) for s in sets)))


def test_holm_leaves_out_what_was_not_tested():
    assert holm([0.02, None, 0.01]) == [0.02, None, 0.02]
    assert holm([]) == []


@pytest.mark.parametrize(("hits", "n", "confidence"), [(0, 59, 0.95), (3, 12, 0.95), (40, 40, 0.99), (7, 9, 0.8)])
def test_one_sided_wilson_matches_scipy(hits, n, confidence):
    above = scipy.stats.binomtest(hits, n, alternative="less").proportion_ci(confidence, method="wilson").high
    below = scipy.stats.binomtest(hits, n, alternative="greater").proportion_ci(confidence, method="wilson").low
    assert wilson_upper(hits, n, confidence) == pytest.approx(above, abs=1e-12)
    assert wilson_lower(hits, n, confidence) == pytest.approx(below, abs=1e-12)


@pytest.mark.parametrize(("hits", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_share(hits, n):
    with pytest.raises(ValueError, match="no share"):
        wilson_upper(hits, n)


def test_all_pairs_are_what_each_pair_is_alone():
    samples = {"a": Sample(A, PROMPTS), "b": Sample(B, PROMPTS), "c": Sample(B + 1, PROMPTS)}
    together = differences(samples, "mean")
    assert list(together) == [("a", "b"), ("a", "c"), ("b", "c")]
    alone = paired_difference(A, B, PROMPTS, "mean")
    assert (together["a", "b"].low, together["a", "b"].p) == pytest.approx((alone.low, alone.p), rel=1e-12)


def _difference(value, p):
    return Difference(value, None, None, p, "given", 1)


@pytest.mark.parametrize(("higher", "winner", "loser"), [(True, "a", "b"), (False, "b", "a")])
def test_a_win_is_certain_only_after_the_correction(higher, winner, loser):
    compared = {
        ("a", "b"): _difference(1.0, 0.01),
        ("a", "c"): _difference(1.0, 0.03),
        ("b", "c"): _difference(1, None),
    }
    other = ("a", "c") if higher else ("c", "a")
    assert certain_wins(compared, higher_is_better=higher) == {(winner, loser), other}
    compared["a", "c"] = _difference(1.0, 0.051)
    assert certain_wins(compared, higher_is_better=higher) == {(winner, loser)}


def test_what_only_the_uncorrected_p_values_would_claim_is_not_claimed():
    compared = {("a", "b"): _difference(1.0, 0.03), ("a", "c"): _difference(1.0, 0.04)}
    assert certain_wins(compared, higher_is_better=True) == set()


def test_allowed_ranks_follow_certain_wins():
    wins = {("a", "c"), ("b", "c"), ("a", "d")}
    assert allowed_ranks(["a", "b", "c", "d"], wins) == {"a": (1, 2), "b": (1, 3), "c": (3, 4), "d": (2, 4)}
    assert allowed_ranks(["a"], set()) == {"a": (1, 1)}


def test_set_metrics_with_the_same_groups_are_paired():
    shift = np.array([0.3, -0.2, 0.1, -0.2])
    moved = (9 + shift + np.array([0.01, -0.01, 0.0, 0.0])).tolist()
    a = jackknife_spread(10.0, (10 + shift).tolist(), PROMPTS, source="same groups")
    b = jackknife_spread(9.0, moved, PROMPTS, source="same groups")
    apart = jackknife_spread(9.0, moved, PROMPTS, source="other groups")
    paired, unpaired = spread_difference(a, b), spread_difference(a, apart)
    assert paired.p < 1e-3 < unpaired.p
    assert a.variance == pytest.approx(3 / 4 * np.sum((shift - shift.mean()) ** 2))
    known = unpaired_spread(9.0, math.sqrt(apart.variance), 3, source="b", method="its own interval")
    assert spread_difference(a, known).p == pytest.approx(unpaired.p)
