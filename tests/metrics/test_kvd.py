"""kvd: the estimators by their definition, blocks, order, and what the score says."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.metric import Observations
from vidbench.video import ClipFacts
from vidbench_metrics.extractors.i3d import I3DObservation
from vidbench_metrics.feature_sets import RowSet, shuffled
from vidbench_metrics.kvd import Kvd, block_sizes, blockwise_mmd, polynomial_mmd

Rows = NDArray[np.float32]


def _rows(n: int, seed: int = 0, shift: float = 0.0, dimensions: int = 5) -> Rows:
    return np.asarray(np.random.default_rng((seed, n)).normal(size=(n, dimensions)) + shift, np.float32)


def _by_definition(x: Rows, y: Rows, *, unbiased: bool) -> float:
    """Sums over pairs, one at a time: Gretton et al., JMLR 13 (2012), equations 3 and 5, k(a, b) = (a·b / d + 1)³."""

    def k(a: Rows, b: Rows) -> float:
        return float((sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3)

    def within(rows: Rows) -> float:
        n = len(rows)
        if unbiased:
            return sum(k(rows[i], rows[j]) for i, j in itertools.permutations(range(n), 2)) / (n * (n - 1))
        return sum(k(a, b) for a in rows for b in rows) / n**2

    return within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


@pytest.mark.parametrize("unbiased", [True, False])
def test_the_estimators_match_their_definitions(unbiased: bool) -> None:
    x, y = _rows(7), _rows(5, seed=1, shift=0.4)
    assert polynomial_mmd(x, y, unbiased=unbiased) == pytest.approx(_by_definition(x, y, unbiased=unbiased), rel=1e-12)


def test_the_biased_one_of_a_set_with_itself_is_0_and_the_unbiased_one_has_no_bias() -> None:
    x = _rows(20)
    assert polynomial_mmd(x, x, unbiased=False) == pytest.approx(0, abs=1e-12)
    means = {}
    for unbiased in (True, False):
        values = [polynomial_mmd(_rows(10, s), _rows(10, s + 1000), unbiased=unbiased) for s in range(400)]
        means[unbiased] = np.mean(values) / (np.std(values) / 20)
    assert abs(means[True]) < 3  # deviations of the mean from 0
    assert means[False] > 20


def test_blocks_are_tfgans() -> None:
    """`kernel_classifier_distance_and_std_from_activations`: even parts, the larger first; mean and its error."""
    assert block_sizes(2050, 3) == [684, 683, 683]
    x, y = _rows(25), _rows(17, seed=1, shift=0.2)
    value, error, blocks = blockwise_mmd(x, y, unbiased=True, most=10)
    parts = zip(np.split(x, [9, 17]), np.split(y, [6, 12]), strict=True)
    each = [_by_definition(a, b, unbiased=True) for a, b in parts]
    assert blocks == 3
    assert value == pytest.approx(np.mean(each), rel=1e-10)
    assert error == pytest.approx(np.std(each, ddof=1) / np.sqrt(3), rel=1e-10)
    assert blockwise_mmd(x, y, unbiased=True, most=25)[1:] == (None, 1)
    assert blockwise_mmd(_rows(100), _rows(3), unbiased=True, most=10)[2] == 1, "no block of a single row"


def _state(metric: Kvd, rows: Rows) -> RowSet:
    state = metric.new_state()
    facts = ClipFacts(16, 8.0, 64, 48, np.arange(16) / 8)
    for row in rows:
        seen = I3DObservation(row[None], np.zeros(1, np.int64), "")
        state = metric.observe(state, Observations({"i3d": seen}, facts))
    return state


def test_the_order_of_clips_makes_no_difference_although_there_are_blocks() -> None:
    metric = Kvd.from_mapping({"block": 8})
    x, y = _rows(30), _rows(30, seed=1, shift=0.3)
    results = [
        metric.compare(_state(metric, x[order]), _state(metric, y))
        for order in (np.arange(30), np.arange(30)[::-1], np.random.default_rng(0).permutation(30))
    ]
    assert results[0].value == results[1].value == results[2].value
    assert results[0].details["blocks"] == 4
    assert results[0].details["standard_error"] is not None
    # And the order is not the input's own: rows that come sorted end up mixed.
    rising = np.sort(_rows(400, dimensions=1), axis=0)
    assert abs(np.corrcoef(np.arange(400), shuffled(rising)[:, 0])[0, 1]) < 0.2


def test_the_estimator_is_named_and_told() -> None:
    x, y = _rows(9), _rows(9, seed=1)
    for estimator in ("unbiased", "biased"):
        metric = Kvd.from_mapping({"estimator": estimator})
        result = metric.compare(_state(metric, x), _state(metric, y))
        assert result.value == pytest.approx(_by_definition(x, y, unbiased=estimator == "unbiased"), rel=1e-10)
        assert result.details["estimator"] == estimator
        assert "9 windows a set for 400 dimensions" in str(result.details["caution"])
        assert "9 and 9 clips instead of 2048" in str(result.details["remark"])


def test_too_few_windows_are_unscored() -> None:
    metric = Kvd()
    one, two = _state(metric, _rows(1)), _state(metric, _rows(2))
    assert metric.compare(one, two).reason == "the generated set has 1 window; 2 are needed"
    assert metric.compare(two, metric.new_state()).reason == "the reference set has 0 windows; 2 are needed"
    with pytest.raises(ValueError, match="needs"):
        polynomial_mmd(_rows(3), _rows(3, dimensions=4))


def test_it_reads_the_features_of_fvd() -> None:
    """One extraction serves both."""
    from vidbench_metrics.fvd import Fvd

    for protocol in ("stylegan-v", "cd-fvd"):
        values: dict[str, Any] = {"protocol": protocol}
        assert Kvd.from_mapping(values).extractor_specs() == Fvd.from_mapping(values).extractor_specs()


@pytest.mark.parametrize("values", [{"estimator": "median"}, {"block": 1}, {"protocol": "none"}, {"frames": 3}])
def test_parameters_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Kvd.from_mapping(values)
