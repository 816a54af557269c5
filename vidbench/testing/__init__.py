"""Contract checks for people who write metrics and extractors.

A check is a plain function that takes the class and raises `ContractError` (an `AssertionError`) with one clear message
where a promise is broken. In pytest, one decorator gives one test per promise:

    import pytest
    from vidbench.testing import metric_checks
    from my_package import MyMetric

    @pytest.mark.parametrize("check", metric_checks(MyMetric), ids=lambda check: check.__name__)
    def test_contract(check):
        check(MyMetric)

`check_metric(MyMetric)` runs them all. `observe`, `score` and `score_set` run an extractor or a metric over arrays the
way a run does, so that a test needs no video files.
"""

from __future__ import annotations

from vidbench.testing._clips import Pixels, edge_clips, synthetic_clips
from vidbench.testing._contract import ContractError, Given
from vidbench.testing._extractor import ExtractorCheck, check_extractor, extractor_checks
from vidbench.testing._install import install_plugin
from vidbench.testing._metric import SLACK, STRENGTHS, MetricCheck, check_metric, metric_checks
from vidbench.testing._run import (
    Describe,
    Extractors,
    missing_requirement,
    observations,
    observe,
    score,
    score_set,
    set_state,
)

__all__ = [
    "SLACK",
    "STRENGTHS",
    "ContractError",
    "Describe",
    "ExtractorCheck",
    "Extractors",
    "Given",
    "MetricCheck",
    "Pixels",
    "check_extractor",
    "check_metric",
    "edge_clips",
    "extractor_checks",
    "install_plugin",
    "metric_checks",
    "missing_requirement",
    "observations",
    "observe",
    "score",
    "score_set",
    "set_state",
    "synthetic_clips",
]
