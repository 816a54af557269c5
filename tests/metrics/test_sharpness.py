"""Sharpness in closed form, and against what it must and must not follow."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from vidbench.testing import score, synthetic_clips
from vidbench_metrics.sharpness import Sharpness

Pixels = NDArray[np.uint8]


def value(pixels: Pixels, fps: float = 8.0) -> float:
    result = score(Sharpness, pixels, fps=fps)
    assert result.value is not None
    return result.value


def test_checkerboard_has_the_largest_value_there_is() -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    # Each Laplacian is 4 x 255 with alternating sign.
    assert value(np.repeat(board[None, ..., None], 3, axis=3)) == 1020.0**2 == Sharpness.value_range[1]


def test_one_colour_has_none() -> None:
    assert value(np.full((3, 30, 40, 3), 77, np.uint8)) == 0.0


def test_a_wave_has_the_value_of_its_frequency() -> None:
    frequency, amplitude = 2 * np.pi / 8, 100.0
    # From crest to crest, so that the mirrored border goes on as the wave would.
    wave = 128 + amplitude * np.cos(frequency * np.arange(257))
    clip = np.repeat(np.tile(wave.round().astype(np.uint8), (200, 1))[None, ..., None], 3, axis=3)
    # The discrete second derivative of a sine is itself times 2 cos(frequency) - 2.
    expected = (amplitude * (2 - 2 * np.cos(frequency))) ** 2 / 2
    assert value(clip) == pytest.approx(expected, rel=0.01)  # levels are rounded


def test_blur_lowers_it_at_every_size() -> None:
    for clip in (synthetic_clips()[0], synthetic_clips(1, 3, 360, 480)[0]):
        values = [
            value(scipy.ndimage.gaussian_filter(clip, (0, sigma, sigma, 0))) for sigma in (0.0, 0.5, 1.0, 2.0, 4.0)
        ]
        assert values == sorted(values, reverse=True)


def test_it_is_the_mean_over_frames_and_names_the_softest() -> None:
    clip = synthetic_clips()[0].copy()
    clip[11] = scipy.ndimage.gaussian_filter(clip[11], (2, 2, 0))
    result = score(Sharpness, clip)
    single = [value(frame[None]) for frame in clip]
    assert result.value == pytest.approx(np.mean(single))
    assert result.details == {"softest_frame": 11, "softest": pytest.approx(single[11]), "short_side": 72}
