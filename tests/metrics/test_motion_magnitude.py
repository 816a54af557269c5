"""Motion magnitude in its own unit: the same motion has one value at every size and frame rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from vidbench.testing import score
from vidbench_metrics.motion_magnitude import MotionMagnitude, motion_magnitude

Pixels = NDArray[np.uint8]


def pan(frames: int, height: int, width: int, speed: float) -> Pixels:
    """A texture that moves right by `speed` pixels a frame."""
    rng = np.random.default_rng(0)
    scale = height / 128  # the same texture relative to the picture
    wide = width + 200 * round(scale)
    layers = [
        s * scipy.ndimage.gaussian_filter(rng.normal(size=(height, wide)), s)
        for s in (1.5 * scale, 4 * scale, 9 * scale)
    ]
    image = np.sum(layers, axis=0)
    image = np.clip(128 + 50 * image / image.std(), 0, 255)
    y, x = np.mgrid[0:height, 0:width]
    start = wide - width
    grey = [scipy.ndimage.map_coordinates(image, [y, x + start - speed * t], order=1) for t in range(frames)]
    return np.repeat(np.array(grey).round().astype(np.uint8)[..., None], 3, axis=3)


def value(pixels: Pixels, fps: float) -> float:
    result = score(MotionMagnitude, pixels, fps=fps)
    assert result.value is not None
    return result.value


@pytest.mark.parametrize(
    ("fps", "height", "speed"), [(8.0, 128, 4.0), (16.0, 128, 2.0), (8.0, 256, 8.0), (30.0, 128, 32 / 30)]
)
def test_the_same_motion_has_one_value(fps: float, height: int, speed: float) -> None:
    width = height * 3 // 2
    expected = 100 * speed * fps / math.hypot(height, width)
    assert value(pan(4, height, width, speed), fps) == pytest.approx(expected, rel=0.05)


def test_a_frozen_clip_has_none() -> None:
    assert value(np.repeat(pan(1, 64, 96, 0.0), 5, axis=0), 8.0) == 0.0


def test_a_pan_is_no_local_motion() -> None:
    result = score(MotionMagnitude, pan(4, 128, 192, 3.0), fps=8.0)
    local = result.details["local_motion"]
    assert result.value is not None
    assert isinstance(local, float)
    assert 0 <= local < 0.05 * result.value


def test_uneven_times_count_as_they_are() -> None:
    # Two pixels in a quarter of a second and six in three quarters: eight pixels a second.
    times = np.array([0.0, 0.25, 1.0])
    assert motion_magnitude(np.array([2.0, 6.0]), times, 30, 40) == pytest.approx(100 * 8 / 50)


def test_without_a_frame_rate_it_is_unscored() -> None:
    result = score(MotionMagnitude, pan(3, 64, 96, 1.0), fps=None)
    assert result.value is None
    assert result.reason is not None
    assert "frame rate" in result.reason


def test_too_small_a_picture_is_unscored() -> None:
    result = score(MotionMagnitude, np.zeros((4, 8, 20, 3), np.uint8))
    assert result.value is None
    assert result.reason == "the picture is 20x8 pixels; optical flow needs 16 a side"
