"""vidbench.frechet against SciPy's matrix square root, closed forms and its own invariants."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidbench.frechet import GaussianState, add_rows, covariance, frechet_distance, mean, merge


def _state(rows: NDArray[np.float64], chunk: int | None = None) -> GaussianState:
    state = GaussianState()
    for start in range(0, len(rows), chunk or len(rows)):
        state = add_rows(state, rows[start : start + (chunk or len(rows))])
    return state


def _reference_frechet(a: NDArray[np.float64], b: NDArray[np.float64], ddof: int) -> float:
    """pytorch-fid's formula with scipy.linalg.sqrtm, float64."""
    shift = a.mean(0) - b.mean(0)
    cov_a, cov_b = (np.atleast_2d(np.cov(x, rowvar=False, ddof=ddof)) for x in (a, b))
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    return float(shift @ shift + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root).real)


def _features(n: int, d: int, seed: int, rank: int | None = None) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(rank or d, d))
    return rng.normal(size=(n, rank or d)) @ mix + rng.normal(size=d)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize(
    ("n_a", "n_b", "d"),
    [(60, 90, 8), (500, 400, 64), (40, 300, 24)],
    ids=["small", "wide", "unequal"],
)
def test_frechet_matches_sqrtm_at_full_rank(n_a: int, n_b: int, d: int, ddof: int) -> None:
    a, b = _features(n_a, d, 1), _features(n_b, d, 2)
    assert frechet_distance(_state(a), _state(b), ddof) == pytest.approx(_reference_frechet(a, b, ddof), rel=1e-8)


@pytest.mark.parametrize(("n_a", "n_b"), [(10, 12), (10, 200), (200, 10)], ids=["rows-rows", "rows-full", "full-rows"])
def test_frechet_matches_sqrtm_with_fewer_rows_than_dimensions(n_a: int, n_b: int) -> None:
    a, b = _features(n_a, 40, 3), _features(n_b, 40, 4)
    # sqrtm itself loses half the digits on singular products: 4e-8 as measured against extended precision.
    assert frechet_distance(_state(a), _state(b)) == pytest.approx(_reference_frechet(a, b, 1), rel=1e-6)


@pytest.mark.parametrize(("n_a", "n_b"), [(10, 12), (10, 200), (200, 150)])
def test_frechet_of_rank_deficient_sets_equals_that_in_their_own_subspace(n_a: int, n_b: int) -> None:
    """An exact reference without sqrtm of a singular matrix: rotate r-dimensional sets into d dimensions."""
    r, d = 6, 40
    small_a, small_b = _features(n_a, r, 5), _features(n_b, r, 6)
    basis = np.linalg.qr(np.random.default_rng(7).normal(size=(d, r)))[0]
    expected = _reference_frechet(small_a, small_b, 1)
    got = frechet_distance(_state(small_a @ basis.T), _state(small_b @ basis.T))
    assert got == pytest.approx(expected, rel=1e-7)


def test_frechet_of_diagonal_gaussians_is_the_closed_form() -> None:
    """Points at mu ± s·e_i have mean mu and diagonal covariance; then d² = |Δmu|² + Σ(s_a - s_b)²."""
    d = 7
    rng = np.random.default_rng(8)
    mu_a, mu_b, s_a, s_b = rng.normal(size=d), rng.normal(size=d), rng.uniform(0.5, 2, d), rng.uniform(0.5, 2, d)

    def crossed(mu: NDArray[np.float64], s: NDArray[np.float64]) -> NDArray[np.float64]:
        arms = np.diag(s * np.sqrt(d))  # 2d points: covariance with ddof=0 is diag(s²)
        return np.concatenate([mu + arms, mu - arms])

    expected = np.sum((mu_a - mu_b) ** 2) + np.sum((s_a - s_b) ** 2)
    assert frechet_distance(_state(crossed(mu_a, s_a)), _state(crossed(mu_b, s_b)), 0) == pytest.approx(
        expected, rel=1e-12
    )


def test_frechet_of_constant_sets_is_the_squared_distance_of_means() -> None:
    for n in (3, 30):
        a, b = np.full((n, 5), 2.0), np.full((n, 5), 4.0)
        assert frechet_distance(_state(a), _state(b)) == pytest.approx(20.0, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    n_a=st.integers(2, 40),
    n_b=st.integers(2, 40),
    d=st.integers(1, 12),
    rank=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_frechet_is_symmetric_non_negative_and_blind_to_translation(
    n_a: int, n_b: int, d: int, rank: int, seed: int
) -> None:
    a, b = _features(n_a, d, seed, min(rank, d)), _features(n_b, d, seed + 1, min(rank, d))
    scale = float(np.trace(np.atleast_2d(np.cov(a.T))) + np.trace(np.atleast_2d(np.cov(b.T)))) + 1
    forth, back = frechet_distance(_state(a), _state(b)), frechet_distance(_state(b), _state(a))
    assert forth >= 0
    assert forth == pytest.approx(back, rel=1e-9, abs=1e-9 * scale)
    moved = frechet_distance(_state(a + 1000.0), _state(b + 1000.0))
    assert moved == pytest.approx(forth, rel=1e-7, abs=1e-7 * scale)
    assert frechet_distance(_state(a), _state(a)) == pytest.approx(0, abs=1e-9 * scale)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(2, 60), d=st.integers(1, 9), chunk=st.integers(1, 25), seed=st.integers(0, 2**32 - 1))
def test_statistics_do_not_depend_on_chunks(n: int, d: int, chunk: int, seed: int) -> None:
    rows = _features(n, d, seed)
    state = _state(rows, chunk)
    assert state.n == n
    np.testing.assert_allclose(mean(state), rows.mean(0), rtol=1e-10, atol=1e-12)
    for ddof in (0, 1):
        expected = np.atleast_2d(np.cov(rows, rowvar=False, ddof=ddof))
        np.testing.assert_allclose(covariance(state, ddof), expected, rtol=1e-9, atol=1e-10)


def test_merging_in_any_order_equals_one_pass_and_leaves_the_arguments() -> None:
    rows = _features(90, 8, 9)
    other = _state(_features(50, 8, 10))
    expected = frechet_distance(_state(rows), other)
    parts = [rows[:3], rows[3:20], rows[20:70], rows[70:]]
    for order in itertools.permutations(range(4)):
        states = [_state(part) for part in parts]
        merged = GaussianState()
        for i in order:
            before = [(s.n, mean(s).copy(), covariance(s).copy()) for s in states]
            kept = merged.n
            merged_new = merge(merged, states[i])
            assert merged.n == kept
            for s, (n, mu, cov) in zip(states, before, strict=True):
                assert s.n == n
                np.testing.assert_array_equal(mean(s), mu)
                np.testing.assert_array_equal(covariance(s), cov)
            merged = merged_new
        assert merged.n == 90
        assert frechet_distance(merged, other) == pytest.approx(expected, rel=1e-10)


def test_merged_state_shares_no_memory() -> None:
    a, b = _state(_features(20, 4, 1)), _state(_features(3, 4, 2))
    merged = merge(a, b)
    before = covariance(a).copy(), covariance(b).copy()
    add_rows(merged, _features(30, 4, 3))
    np.testing.assert_array_equal(covariance(a), before[0])
    np.testing.assert_array_equal(covariance(b), before[1])


def test_memory_is_bounded_by_the_dimensions() -> None:
    state = GaussianState()
    for seed in range(50):
        add_rows(state, _features(37, 16, seed))
        assert len(state.rows) <= 16
    assert state.n == 50 * 37


def test_digits_survive_a_far_mean() -> None:
    """Raw sums of squares would lose the covariance entirely at an offset of 1e8."""
    rows = _features(200, 4, 11)
    np.testing.assert_allclose(covariance(_state(rows + 1e8, 7)), np.cov(rows.T), rtol=1e-6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros(4), "must be"),
        (np.zeros((2, 0)), "must be"),
        (np.array([[1.0, np.nan]]), "NaN"),
        (np.array([[1.0, np.inf]]), "infinity"),
        (np.zeros((2, 3)), "3 dimensions, those before had 2"),
    ],
)
def test_bad_rows_are_refused(rows: NDArray[np.float64], message: str) -> None:
    state = add_rows(GaussianState(), np.zeros((1, 2)))
    with pytest.raises(ValueError, match=message):
        add_rows(state, rows)
    assert state.n == 1


def test_too_few_rows_and_mixed_dimensions_are_refused() -> None:
    one, two, three_wide = _state(np.zeros((1, 2))), _state(np.zeros((2, 2))), _state(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="1 rows were seen; 2 are needed"):
        frechet_distance(one, two)
    with pytest.raises(ValueError, match="0 rows"):
        frechet_distance(two, GaussianState())
    with pytest.raises(ValueError, match="2 and 3 dimensions"):
        frechet_distance(two, three_wide)
    with pytest.raises(ValueError, match="2 and 3 dimensions"):
        merge(two, three_wide)
    with pytest.raises(ValueError, match="no rows"):
        mean(GaussianState())
    assert merge(GaussianState(), GaussianState()).n == 0
    assert add_rows(GaussianState(), np.empty((0, 3))).n == 0
