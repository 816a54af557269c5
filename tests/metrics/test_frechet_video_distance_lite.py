"""The lite video distance on features made by hand, where what time does is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.metric import Observations
from vidbench.video import ClipFacts
from vidbench_metrics.extractors.efficientnet_lite0 import EfficientNetLite0Observation
from vidbench_metrics.frechet_video_distance_lite import (
    BEND,
    CHANGE,
    PLACE,
    FrechetVideoDistanceLite,
    Stretches,
    projection,
    stretches,
)

Features = NDArray[np.float32]


def paths(count: int, seed: int, *, drift: float = 0.0) -> list[Features]:
    """Smooth walks through feature space; with `drift` they all go the same way."""
    rng = np.random.default_rng(seed)
    way = np.random.default_rng(99).normal(size=1280)
    made = []
    for _ in range(count):
        phase, size = rng.uniform(0, 6, 1280), rng.normal(size=1280)
        time = np.arange(16)[:, None]
        made.append((rng.normal(size=1280) + size * np.sin(0.2 * time + phase) + drift * time * way).astype(np.float32))
    return made


def state_of(clips: list[Features], fps: float | None = 8.0) -> Stretches:
    metric = FrechetVideoDistanceLite()
    state = metric.new_state()
    for rows in clips:
        times = np.arange(len(rows)) / (fps or 1.0)
        facts = ClipFacts(frames=len(rows), fps=fps, width=64, height=64, times=times)
        seen = EfficientNetLite0Observation(rows, np.arange(len(rows)))
        state = metric.observe(state, Observations({"efficientnet_lite0": seen}, facts))
    return state


def distance(a: list[Features], b: list[Features]) -> float:
    value = FrechetVideoDistanceLite().compare(state_of(a), state_of(b)).value
    assert value is not None
    return value


def test_the_projection_is_signs_and_keeps_lengths() -> None:
    matrix = projection()
    assert set(np.unique(np.abs(matrix * np.sqrt(1280)).round(12))) == {1.0}
    assert abs(matrix.sum()) < 4 * 16**0.5  # as many of either sign as chance gives
    assert matrix[0, :4].tolist() == projection()[0, :4].tolist()
    vectors = np.random.default_rng(0).normal(size=(200, 1280))
    kept = ((vectors @ matrix) ** 2).sum(1) / (vectors**2).sum(1) * 1280 / 16
    assert kept.mean() == pytest.approx(1, abs=0.1)


def test_a_stretch_in_closed_form() -> None:
    clip = np.random.default_rng(0).normal(size=(5, 1280))
    p = clip @ projection()
    rows = stretches(clip)
    assert rows.shape == (3, 48)
    np.testing.assert_allclose(rows[1, :16] * PLACE, p[2])
    np.testing.assert_allclose(rows[1, 16:32] * CHANGE, (p[3] - p[1]) / 2)
    np.testing.assert_allclose(rows[1, 32:] * BEND, p[3] + p[1] - 2 * p[2])


def test_reversal_turns_the_change_and_nothing_else() -> None:
    clip = paths(1, 0)[0]
    forward, backward = stretches(clip), stretches(clip[::-1])[::-1]
    signs = np.repeat([1.0, -1.0, 1.0], 16)
    np.testing.assert_allclose(backward, forward * signs, atol=1e-9)


def test_lost_order_is_far_and_farther_the_more_is_lost() -> None:
    clips = paths(40, 1)
    rng = np.random.default_rng(0)
    found = []
    for delay in (0.0, 2.0, 4.0, 16.0):
        orders = [np.argsort(np.arange(16) + delay * rng.uniform(size=16), kind="stable") for _ in clips]
        found.append(distance([clip[order] for clip, order in zip(clips, orders, strict=True)], clips))
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert (np.diff(found) > 0).all()
    assert found[-1] > distance(paths(40, 2), clips)  # farther than other clips in good order


def test_reversal_is_seen_where_motions_share_a_direction_only() -> None:
    sharing, other = paths(40, 1, drift=0.1), paths(40, 2, drift=0.1)
    assert distance([clip[::-1] for clip in other], sharing) > 1.5 * distance(other, sharing)
    free, free_too = paths(40, 1), paths(40, 2)
    assert distance([clip[::-1] for clip in free_too], free) == pytest.approx(distance(free_too, free), rel=0.3)


def test_merging_gives_the_same_as_one_pass() -> None:
    metric, clips, reference = FrechetVideoDistanceLite(), paths(12, 1), state_of(paths(12, 2))
    parts = metric.merge(state_of(clips[:5]), state_of(clips[5:]))
    assert metric.compare(parts, reference).value == pytest.approx(metric.compare(state_of(clips), reference).value)


def test_cautions_and_refusals() -> None:
    metric, many = FrechetVideoDistanceLite(), state_of(paths(30, 1))
    assert metric.compare(many, state_of(paths(30, 2))).details["caution"] is None
    assert "5 clips for 48 dimensions" in str(metric.compare(state_of(paths(5, 1)), many).details["caution"])
    slower = metric.compare(state_of(paths(30, 2), fps=4.0), many)
    assert "0.250 s apart in the clips and 0.125 s" in str(slower.details["caution"])
    assert metric.compare(state_of(paths(30, 2), fps=None), many).details["caution"] is None
    assert "the generated set has 1 clip; 2 are needed" in str(metric.compare(state_of(paths(1, 1)), many).reason)
