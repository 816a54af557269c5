"""Boosted trees in numpy against the scikit-learn classifier they came from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vidbench_metrics.physics.trees import Trees

HistGradientBoostingClassifier = pytest.importorskip(
    "sklearn.ensemble", reason="scikit-learn is not installed: pip install 'vidbench[physics]'"
).HistGradientBoostingClassifier


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads that wait for each other on a busy machine turn milliseconds into seconds."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def _data(seed: int, rows: int = 1500, features: int = 9):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features)) * 10.0 ** rng.integers(-3, 4, features)
    x[:, 3] = rng.integers(0, 4, rows)  # few distinct values
    signal = x[:, 0] / x[:, 0].std() + (x[:, 3] > 1) - np.abs(x[:, 5] / x[:, 5].std())
    y = signal + rng.normal(size=rows) > 0
    x[rng.random(x.shape) < 0.15] = np.nan
    x[rng.random(rows) < 0.4, 0] = np.nan  # missing says something too
    return x, y


@pytest.mark.parametrize("seed", range(4))
def test_log_odds_match_sklearns_decision_function(seed):
    x, y = _data(seed)
    classifier = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=9, random_state=seed).fit(x, y)
    trees = Trees.from_sklearn(classifier)
    fresh, _ = _data(100 + seed, rows=9000)
    fresh[:50, 1] = np.inf
    fresh[50:100, 1] = -np.inf
    fresh[100:120] = np.nan
    np.testing.assert_allclose(trees.log_odds(fresh), classifier.decision_function(fresh), rtol=0, atol=1e-9)
    assert np.ptp(trees.log_odds(fresh)) > 1


def test_values_on_a_threshold_go_as_in_sklearn():
    x = np.repeat(np.arange(5.0), 60)[:, None]
    y = np.tile([0, 0, 1], 100) ^ (x[:, 0] > 2)
    classifier = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5).fit(x, y)
    trees = Trees.from_sklearn(classifier)
    edges = np.unique(trees.threshold[trees.feature >= 0])
    at = np.concatenate([edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)])[:, None]
    np.testing.assert_allclose(trees.log_odds(at), classifier.decision_function(at), rtol=0, atol=1e-9)


def test_no_rows_and_no_trees():
    x, y = _data(0, rows=300)
    trees = Trees.from_sklearn(HistGradientBoostingClassifier(max_iter=3).fit(x, y))
    assert trees.log_odds(np.zeros((0, 9))).shape == (0,)
    assert Trees.constant(-1.5).log_odds(np.zeros((4, 0))).tolist() == [-1.5] * 4


def test_three_classes_are_refused():
    x, y = _data(0, rows=300)
    classifier = HistGradientBoostingClassifier(max_iter=3).fit(x, y.astype(int) + (x[:, 3] > 2))
    with pytest.raises(ValueError, match="two classes"):
        Trees.from_sklearn(classifier)


@pytest.mark.parametrize(
    ("part", "value"),
    [("left", 0), ("right", 10**6), ("left", -1), ("value", np.nan), ("threshold", np.nan)],
)
def test_arrays_that_form_no_trees_are_refused(part, value):
    x, y = _data(0, rows=300)
    trees = Trees.from_sklearn(HistGradientBoostingClassifier(max_iter=3).fit(x, y))
    broken = getattr(trees, part).copy()
    broken[0] = value
    with pytest.raises(ValueError, match="do not form trees"):
        dataclasses.replace(trees, **{part: broken})


def test_too_few_columns_are_refused():
    x, y = _data(0, rows=300)
    trees = Trees.from_sklearn(HistGradientBoostingClassifier(max_iter=3).fit(x, y))
    with pytest.raises(ValueError, match="features"):
        trees.log_odds(np.zeros((3, 1)))
