"""The ranking over all metrics against arithmetic by hand, scipy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from vidbench.stats import Criterion, Sample, Spread, mean_ranks, overall, paired_difference, sample_spread

MODELS = ["a", "b", "c"]
PROMPTS = list(range(20))


def criterion(name, values, *, higher=True, weight=1.0, noise=0.0, last=(), rng=None):
    """A metric whose models have these values, and vary with 20 shared prompts by `noise`."""
    rng = rng or np.random.default_rng(sum(map(ord, name)))
    spreads = {}
    for model, value in values.items():
        scores = rng.normal(0, 1, 20) * noise
        scores += value - scores.mean()
        spreads[model] = sample_spread(Sample(scores, PROMPTS), "mean")
    return Criterion(name, higher, weight, spreads, frozenset(last))


def test_mean_ranks_by_hand_with_weights_ties_and_missing_models():
    criteria = [
        criterion("up", {"a": 3.0, "b": 2.0, "c": 1.0}),
        criterion("down", {"a": 3.0, "b": 1.0, "c": 1.0}, higher=False, weight=2.0),
        criterion("partly", {"a": 1.0, "b": 2.0}, last=["c"]),
    ]
    assert mean_ranks(MODELS, criteria) == {
        "a": pytest.approx((1 + 2 * 3 + 2) / 4),
        "b": pytest.approx((2 + 2 * 1.5 + 1) / 4),
        "c": pytest.approx((3 + 2 * 1.5 + 3) / 4),
    }


def test_standings_are_ordered_and_without_spread_have_no_width():
    found = overall([*MODELS, "nothing"], [criterion("up", {"a": 1.0, "b": 3.0, "c": 2.0})])
    assert [(s.model, s.rank, s.low, s.high) for s in found.standings] == [
        ("b", 1, 1.0, 1.0),
        ("c", 2, 2.0, 2.0),
        ("a", 3, 3.0, 3.0),
        ("nothing", None, None, None),
    ]


def test_the_pareto_front_is_who_is_not_dominated():
    criteria = [
        criterion("up", {"a": 3.0, "b": 2.0, "c": 1.0}),
        criterion("down", {"a": 5.0, "b": 1.0, "c": 2.0}, higher=False),
    ]
    assert {s.model for s in overall(MODELS, criteria).standings if s.pareto} == {"a", "b"}
    twins = [criterion("up", {"a": 3.0, "b": 3.0, "c": 1.0})]
    assert {s.model for s in overall(MODELS, twins).standings if s.pareto} == {"a", "b"}
    unscored = [*criteria, criterion("other", {"a": 1.0, "c": 1.0}, last=["b"])]
    assert {s.model for s in overall(MODELS, unscored).standings if s.pareto} == {"a", "b", "c"}


def test_with_one_metric_and_two_models_a_win_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(5)
    for _ in range(25):
        hard = rng.normal(0, 1, 20)
        a, b = hard + rng.normal(0.2, 0.4, 20), hard + rng.normal(0.0, 0.4, 20)
        spreads = {n: sample_spread(Sample(v, PROMPTS), "mean") for n, v in (("a", a), ("b", b))}
        found = overall(["a", "b"], [Criterion("up", True, 1.0, spreads)])
        p = paired_difference(a, b, PROMPTS, "mean").p
        assert p == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue)
        if abs(p - 0.05) > 0.01:  # the draws know p to a few thousandths
            assert bool(found.wins) == (p < 0.05)


def test_what_is_hard_for_all_cancels_in_the_ranking():
    rng = np.random.default_rng(6)
    hard = rng.normal(0, 1, 20)
    own = rng.normal(0, 0.02, (3, 20))
    own -= own.mean(axis=1, keepdims=True)
    values = {m: hard + own[i] - 0.1 * i for i, m in enumerate(MODELS)}
    shared = {m: sample_spread(Sample(v, PROMPTS), "mean") for m, v in values.items()}
    apart = {m: sample_spread(Sample(v, [f"{m} {i}" for i in PROMPTS]), "mean") for m, v in values.items()}
    certain, open_ = (overall(MODELS, [Criterion("up", True, 1.0, spreads)]) for spreads in (shared, apart))
    assert [(s.rank_low, s.rank_high, s.low, s.high) for s in certain.standings] == [(i, i, i, i) for i in (1, 2, 3)]
    assert [(s.rank_low, s.rank_high) for s in open_.standings] == [(1, 3)] * 3
    assert open_.standings[0].high > 2


def test_without_tells_the_ranks_that_are_left():
    criteria = [criterion("up", {"a": 3.0, "b": 2.0}), criterion("other", {"a": 1.0, "b": 9.0}, weight=3.0)]
    found = overall(["a", "b"], criteria)
    assert found.standings[0].model == "b"
    assert found.without == {"up": {"a": 2, "b": 1}, "other": {"a": 1, "b": 2}}


def test_it_repeats_and_the_order_of_models_plays_no_part_in_ranks():
    criteria = [criterion(n, {"a": 0.3, "b": 0.2, "c": 0.1}, noise=0.5) for n in ("one", "two", "three")]
    assert overall(MODELS, criteria) == overall(MODELS, criteria)
    turned = overall(MODELS[::-1], criteria)
    assert {s.model: (s.rank, s.mean_rank) for s in turned.standings} == {
        s.model: (s.rank, s.mean_rank) for s in overall(MODELS, criteria).standings
    }


def test_draws_have_the_covariances_of_the_spreads():
    from vidbench.stats.ranking import _joint_noise

    a = Spread(0.0, {"p": 3.0, "q": 4.0}, frozenset("pq"), 1, "")
    b = Spread(0.0, {"q": 1e-3}, frozenset("q"), 1, "")
    still = Spread(0.0, {}, frozenset(), 0, "")
    noise = _joint_noise([a, b, still], 40_000, np.random.default_rng(0))
    assert np.std(noise[:, 0]) == pytest.approx(5.0, rel=0.02)
    assert np.std(noise[:, 1]) == pytest.approx(1e-3, rel=0.02)
    assert np.corrcoef(noise[:, 0], noise[:, 1])[0, 1] == pytest.approx(0.8, abs=0.01)
    assert np.all(noise[:, 2] == 0)


def test_without_a_true_difference_hardly_anything_is_claimed():
    rng = np.random.default_rng(9)
    claims = 0
    for _ in range(60):
        criteria = []
        for i in range(4):
            spreads = {m: sample_spread(Sample(rng.normal(0, 1, 20), PROMPTS), "mean") for m in MODELS}
            criteria.append(Criterion(f"m{i}", True, 1.0, spreads))
        claims += bool(overall(MODELS, criteria, draws=2000).wins)
    assert claims <= 6  # 5 % of 60 is 3; more than 6 would happen in 3 of 100 at exactly that rate
