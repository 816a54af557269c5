"""Temporal quality: its questions in closed form, and clips whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from vidbench.damage import damage
from vidbench.errors import InputError
from vidbench.testing import observe, score, synthetic_clips
from vidbench_metrics.extractors.motion_consistency import (
    MotionConsistency,
    MotionConsistencyObservation,
    shear,
    stride_for,
)
from vidbench_metrics.temporal_quality import (
    REAL,
    TemporalQuality,
    calmness,
    liveliness,
    questions,
    ramp,
    steadiness,
)

Pixels = NDArray[np.uint8]


def seen(pixels: Pixels, fps: float = 8.0) -> MotionConsistencyObservation:
    found = observe(MotionConsistency, pixels, fps=fps)
    assert isinstance(found, MotionConsistencyObservation)
    return found


def value(pixels: Pixels, fps: float = 8.0) -> float:
    result = score(TemporalQuality, pixels, fps=fps)
    assert result.value is not None
    return result.value


@pytest.fixture(scope="module")
def texture() -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    layers = [s * scipy.ndimage.gaussian_filter(rng.normal(size=(220, 260)), s) for s in (1.5, 3, 6, 12)]
    image = np.sum(layers, axis=0)
    return np.asarray(128 + 45 * image / image.std())


@pytest.fixture(scope="module")
def scene(texture) -> Pixels:
    """A textured body that moves steadily before a still textured wall; 16 frames of 128 x 160."""
    wall, body = texture[:128, :160], texture[140:200, 100:160]
    frames = []
    for t in range(16):
        frame = wall.copy()
        moved = scipy.ndimage.shift(body, (0, 0.5 * (t % 2)), order=3, mode="nearest")
        left = 10 + (3 * t) // 2
        frame[30:90, left : left + 60] = moved
        frames.append(frame)
    return np.repeat(np.clip(frames, 0, 255).astype(np.uint8)[..., None], 3, axis=3)


@pytest.mark.parametrize(
    ("fps", "stride"), [(4, 1), (8, 1), (10, 1), (12, 2), (15, 2), (24, 3), (25, 3), (30, 4), (60, 8)]
)
def test_the_stride_is_even_and_nearest_to_eight_a_second(fps: float, stride: int) -> None:
    assert stride_for(1 / fps, 8.0) == stride
    clip = synthetic_clips(1, 25)[0]
    np.testing.assert_array_equal(seen(clip, fps).frames, np.arange(0, 25, stride))


def test_the_same_motion_at_more_frames_a_second_scores_the_same(scene: Pixels) -> None:
    """Frames between those at 8 a second have no say."""
    dense = np.repeat(scene, 3, axis=0)
    rng = np.random.default_rng(1)
    for t in range(len(dense)):
        if t % 3:
            dense[t] = rng.integers(0, 256, dense[t].shape)
    assert value(dense, 24.0) == value(scene, 8.0)


def test_shear_of_known_flows() -> None:
    y, x = np.mgrid[0:64, 0:80].astype(np.float32)
    still = np.zeros_like(x)
    assert shear(np.stack([still + 3, still - 2], -1)) == pytest.approx(0, abs=1e-5)  # pan
    assert shear(np.stack([0.1 * x, 0.1 * y], -1)) == pytest.approx(0, abs=1e-5)  # zoom
    assert shear(np.stack([-0.1 * y, 0.1 * x], -1)) == pytest.approx(0, abs=1e-5)  # turn
    assert shear(np.stack([0.1 * x, still], -1)) == pytest.approx(0.1, rel=1e-3)  # stretch
    assert shear(np.stack([0.1 * y, still], -1)) == pytest.approx(0.1, rel=1e-3)  # slant


def steps(**given: float) -> MotionConsistencyObservation:
    names = ("magnitude", "local_magnitude", "shear", "difference", "unexplained", "restless", "happening")
    arrays = {name: np.full(9, given.get(name, 1.0)) for name in names}
    arrays |= {name: np.full(8, given.get(name, 1.0)) for name in ("acceleration", "agreement", "agreement_bound")}
    return MotionConsistencyObservation(frames=np.arange(10), **arrays)


def test_questions_in_closed_form() -> None:
    answers = questions(
        steps(magnitude=3.75, acceleration=0.75, agreement=9.0, agreement_bound=15.9375, shear=0.011, unexplained=2.8)
    )
    assert answers["speed"] == pytest.approx(np.log(1.0 / 4.0))
    assert answers["direction"] == pytest.approx(-9 / 16)
    assert answers["rigidity"] == pytest.approx(np.log(0.013 / 3.25))
    assert answers["explanation"] == pytest.approx(np.log(3.0 / 1.2))


def test_typical_answers_score_a_half_and_worse_ones_less() -> None:
    typical = {name: real.typical for name, real in REAL.items()}
    assert steadiness(typical) == 0.5
    assert sum(real.weight for real in REAL.values()) == pytest.approx(1)
    for name, real in REAL.items():
        worse = steadiness({**typical, name: real.typical + real.spread})
        assert worse == pytest.approx(1 / (1 + np.exp(real.weight)))


def test_guards_in_closed_form() -> None:
    assert [ramp(x, 1, 3) for x in (0, 1, 2, 3, 9)] == [0, 0, 0.5, 1, 1]
    lively = np.full(4, 9.0)
    assert liveliness(lively, lively, lively) == 1
    assert liveliness(lively, lively, np.array([9, 0, 0.1, 9.0])) == 0.5
    assert liveliness(lively * 0, lively, lively) == liveliness(lively, lively * 0, lively) == 0
    assert calmness(np.array([20.0])) == 0.5


@pytest.mark.parametrize("name", ["frozen", "pan", "frozen and noisy"])
def test_what_does_not_live_never_wins(name: str, scene: Pixels) -> None:
    frozen = damage("freeze", scene, 1.0)
    still = {"frozen": frozen, "pan": damage("pan", scene, 1.0), "frozen and noisy": damage("noise", frozen, 0.1)}
    assert value(scene) > 0.5
    assert value(still[name]) < 0.5 * value(scene)


@pytest.mark.parametrize("name", ["jitter", "shuffle", "flicker", "noise", "freeze", "warp"])
def test_damage_costs(name: str, scene: Pixels) -> None:
    assert value(damage(name, scene, 0.4)) < value(scene)


def test_a_light_that_changes_is_nothing_that_happens(scene: Pixels) -> None:
    frozen = np.repeat(scene[:1], 8, axis=0).astype(float)
    dimmed = (frozen * np.linspace(1, 0.6, 8)[:, None, None, None]).astype(np.uint8)
    assert seen(dimmed).difference.mean() > 3
    assert seen(dimmed).happening.mean() < 0.5
    assert value(dimmed) == 0


def test_grey_short_small_and_slow_clips(scene: Pixels) -> None:
    assert value(np.full_like(scene, 77)) == 0
    assert 0 < value(scene[:3]) <= 1
    assert "needs at least 3 frames" in str(score(TemporalQuality, scene[:2], fps=8.0).reason)
    assert "has 2 frames at about 8 a second" in str(score(TemporalQuality, scene[:5], fps=30.0).reason)
    assert "8x8 pixels" in str(score(TemporalQuality, scene[:, :8, :8], fps=8.0).reason)
    assert "frame rate" in str(score(TemporalQuality, scene, fps=None).reason)
    assert 0 < value(np.ascontiguousarray(scene[:, :97, :131])) <= 1


def test_wrong_parameters_are_said() -> None:
    with pytest.raises(InputError, match=r"short_side must be at least 16, not 4"):
        MotionConsistency.from_mapping({"short_side": 4})
    with pytest.raises(InputError, match=r"rate must be above 0"):
        MotionConsistency.from_mapping({"rate": 0})
