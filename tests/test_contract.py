"""Every registered metric and extractor keeps its contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vidbench import plugins
from vidbench.testing import Given, extractor_checks, metric_checks, missing_requirement, synthetic_clips

METRICS = plugins.metrics()
EXTRACTORS = plugins.extractors()
SHORT = Given(synthetic_clips(3, frames=6))
"""For networks, which take most of the time."""


def _metric_cases() -> Iterator[object]:
    for name, metric in METRICS.load_all().items():
        for check in metric_checks(metric):
            yield pytest.param(metric, check, id=f"{name}-{check.__name__}")


def _extractor_cases() -> Iterator[object]:
    for name, extractor in EXTRACTORS.load_all().items():
        for check in extractor_checks():
            yield pytest.param(extractor, check, id=f"{name}-{check.__name__}")


@pytest.mark.parametrize(("metric", "check"), list(_metric_cases()))
def test_metric(metric, check):
    _skip_where_something_is_missing(metric)
    networks = any(EXTRACTORS.load(spec.name).requires.weights for spec in metric().extractor_specs())
    check(metric, SHORT if networks else None)


@pytest.mark.parametrize(("extractor", "check"), list(_extractor_cases()))
def test_extractor(extractor, check):
    _skip_where_something_is_missing(extractor)
    check(extractor, SHORT if extractor.requires.weights else None)


# A plug-in that cannot be loaded has no cases above; here it fails by name.
@pytest.mark.parametrize("name", METRICS.names())
def test_metric_loads(name):
    METRICS.load(name)


@pytest.mark.parametrize("name", EXTRACTORS.names())
def test_extractor_loads(name):
    EXTRACTORS.load(name)


def _skip_where_something_is_missing(plugin) -> None:
    reason = missing_requirement(plugin)
    if reason is not None:
        pytest.skip(reason)
