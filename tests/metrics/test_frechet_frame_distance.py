"""frechet_frame_distance: the formula on the extractor's features, its order on real clips, its refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.damage import damage
from vidbench.metric import Observations
from vidbench.testing import score_set, synthetic_clips
from vidbench.video import ClipFacts, ClipReader
from vidbench_metrics.extractors.efficientnet_lite0 import EfficientNetLite0, EfficientNetLite0Observation
from vidbench_metrics.frechet_frame_distance import FrechetFrameDistance

needs_models = pytest.mark.skipif(
    EfficientNetLite0.requires.missing() is not None, reason=str(EfficientNetLite0.requires.missing())
)


def _clip(features: NDArray[np.float32]) -> Observations:
    numbers = np.arange(len(features), dtype=np.int64)
    facts = ClipFacts(len(features), 8.0, 64, 64, numbers / 8)
    return Observations({"efficientnet_lite0": EfficientNetLite0Observation(features, numbers)}, facts)


def _distance(generated: list[NDArray[np.float32]], reference: list[NDArray[np.float32]]) -> float:
    metric = FrechetFrameDistance()
    states = []
    for clips in (generated, reference):
        state = metric.new_state()
        for features in clips:
            state = metric.observe(state, _clip(features))
        states.append(state)
    result = metric.compare(*states)
    assert result.value is not None
    assert result.details["clips"] == len(generated)
    assert result.details["reference_frames"] == sum(map(len, reference))
    return result.value


def test_distance_matches_sqrtm_over_all_frames() -> None:
    """Every frame counts alike, whichever clip it is from; covariance over n - 1."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(12, 12))
    sets = [
        [(rng.normal(size=(n, 12)) @ mix + shift).astype(np.float32) for n in counts]
        for counts, shift in (((16, 9, 16, 16), 0.0), ((16, 16, 5, 30), 0.4))
    ]
    a, b = (np.concatenate(clips).astype(np.float64) for clips in sets)
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(
        cov_a + cov_b - 2 * scipy.linalg.sqrtm(cov_a @ cov_b).real
    )
    assert _distance(sets[0], sets[1]) == pytest.approx(expected, rel=1e-8)


def test_fewer_than_two_clips_are_unscored() -> None:
    metric = FrechetFrameDistance()
    features = np.random.default_rng(1).normal(size=(16, 5)).astype(np.float32)
    one = metric.observe(metric.new_state(), _clip(features))
    two = metric.observe(metric.observe(metric.new_state(), _clip(features)), _clip(features))
    for generated, reference, said in (
        (one, two, "generated set has 1 clip;"),
        (two, one, "reference set has 1 clip;"),
        (metric.new_state(), two, "generated set has 0 clips;"),
    ):
        result = metric.compare(generated, reference)
        assert result.value is None
        assert result.reason is not None
        assert said in result.reason


@needs_models
def test_real_clips_are_nearer_to_real_clips_than_damaged_ones(real_clips: Path) -> None:
    """Other shots of the same videos are nearer than the same shots blurred or noisy."""
    clips = []
    for shot in (0, 1):
        paths = [real_clips / f"{video}_{shot}.mp4" for video in ("sam2_dog", "mm_struct", "decord_pancake")]
        clips.append([_some_frames(path) for path in paths])
    here, there = clips
    near = score_set(FrechetFrameDistance, generated=here, reference=there).value
    assert near is not None
    for name in ("blur", "noise"):
        damaged = [damage(name, clip, 0.6) for clip in here]
        far = score_set(FrechetFrameDistance, generated=damaged, reference=there).value
        assert far is not None
        assert far > 1.2 * near


def _some_frames(path: Path) -> NDArray[np.uint8]:
    with ClipReader(Clip(id=path.name, path=path, model="real")) as reader:
        return np.concatenate([frames.pixels for frames in reader])[::18]


@needs_models
def test_time_makes_no_difference() -> None:
    """What the summary admits: the order of frames is not seen."""
    clips = synthetic_clips(count=2, frames=4)
    forwards = score_set(FrechetFrameDistance, generated=[255 - clip for clip in clips], reference=clips).value
    backwards = score_set(FrechetFrameDistance, generated=[255 - clip[::-1] for clip in clips], reference=clips).value
    assert backwards == pytest.approx(forwards, rel=1e-5)
