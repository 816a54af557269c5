"""Every registered metric and extractor keeps its contract."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests import control_worlds
from vidbench import plugins
from vidbench.clips import Clip
from vidbench.testing import Given, extractor_checks, metric_checks, missing_requirement, synthetic_clips

METRICS = plugins.metrics()
EXTRACTORS = plugins.extractors()
SHORT = Given(synthetic_clips(3, frames=6))
"""For networks, which take most of the time."""
WINDOWS = Given(synthetic_clips(3, frames=18))
"""For networks that look at windows of 16 frames and see nothing in fewer."""
WINDOWED = ("i3d", "lk_tracks", "videomae", "vjepa")
WINDOW = Given(synthetic_clips(2, frames=16))
"""For PIPs++, which takes seconds for a window even when it is small."""
LARGE = Given(synthetic_clips(2, frames=3, height=122, width=126))
"""For networks that need 128 pixels a side after padding, or take long for each frame."""
SLOW = ("amt_interpolation", "musiq")
_CLIPS, _ACTIONS = control_worlds.walks(6, 20, kinds=3)
WALKS = Given(_CLIPS, describe=control_worlds.told(_ACTIONS))
"""For readers of actions, which need some."""
RIDES = Given(control_worlds.rides(3, 8), describe=control_worlds.with_yaw)
"""For what reckons a camera's turns."""


def _with_start(clip: Clip, number: int) -> Clip:
    """Two clips a start, the second with actions drawn at random; back at the first frame after four."""
    kind = "random" if number % 2 else "true"
    return replace(clip, extra={"start": f"start {number // 2}", "actions_kind": kind, "return_pairs": "[[0, 4]]"})


STARTS = Given(describe=_with_start)
"""For what holds clips of one start against each other, or a place against itself."""
PAIR = Given(synthetic_clips(2, frames=2, height=122, width=126))
"""For RAFT, which takes half a second for each pair of frames, however small; its own tests try more."""


@pytest.fixture(autouse=True)
def _random_weights(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights are downloaded for tests; a contract is kept with random ones too."""
    if importlib.util.find_spec("torch") is not None:
        request.getfixturevalue("small_transformers")
        monkeypatch.setenv("VIDBENCH_WEIGHTS", str(request.getfixturevalue("vbench_weights")))
        request.getfixturevalue("small_vbench_networks")
        monkeypatch.setenv("VIDBENCH_WEIGHTS", str(request.getfixturevalue("clip_weights")))
        monkeypatch.setattr("vidbench_metrics.clip_model.model_config", request.getfixturevalue("tiny_clip"))


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
    check(metric, _given({spec.name for spec in metric().extractor_specs()}))


@pytest.mark.parametrize(("extractor", "check"), list(_extractor_cases()))
def test_extractor(extractor, check):
    _skip_where_something_is_missing(extractor)
    check(extractor, _given({extractor.name}))


# A plug-in that cannot be loaded has no cases above; here it fails by name.
@pytest.mark.parametrize("name", METRICS.names())
def test_metric_loads(name):
    METRICS.load(name)


@pytest.mark.parametrize("name", EXTRACTORS.names())
def test_extractor_loads(name):
    EXTRACTORS.load(name)


def _given(extractors: set[str]) -> Given | None:
    if "step_motion" in extractors:
        return WALKS
    if "keyframe_tracks" in extractors:
        return RIDES
    if extractors & {"pair_frame", "pair_thumbnails", "thumbnails"}:
        return STARTS
    if extractors & set(WINDOWED):
        return WINDOWS
    if "pips2_tracks" in extractors:
        return WINDOW
    if "raft_flow" in extractors:
        return PAIR
    if extractors & set(SLOW):
        return LARGE
    return SHORT if any(EXTRACTORS.load(name).requires.weights for name in extractors) else None


def _skip_where_something_is_missing(plugin) -> None:
    reason = missing_requirement(plugin)
    if reason is not None:
        pytest.skip(reason)
