"""Frame statistics against plain NumPy and SciPy, frame by frame, and whatever the chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.testing import observe
from vidbench.video import Frames
from vidbench_metrics.extractors.frame_statistics import FrameStatistics, FrameStatisticsObservation

Pixels = NDArray[np.uint8]


def grey_clip(frames: int = 5, height: int = 37, width: int = 53, seed: int = 0) -> Pixels:
    """Noise with every level in it; its luma is known exactly, because its colours are equal."""
    grey = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 1), dtype=np.uint8)
    return np.repeat(grey, 3, axis=3)


def statistics(pixels: Pixels, *, fps: float | None = 8.0, chunk: int | None = None) -> FrameStatisticsObservation:
    seen = observe(FrameStatistics, pixels, fps=fps, chunk=chunk)
    assert isinstance(seen, FrameStatisticsObservation)
    return seen


def _reference_local_difference(difference: NDArray[np.float64]) -> float:
    side = round(min(difference.shape) / 16)
    return float(np.lib.stride_tricks.sliding_window_view(difference, (side, side)).mean((2, 3)).max())


def test_matches_numpy_and_scipy() -> None:
    clip = grey_clip()
    seen = statistics(clip)
    luma = clip[..., 0].astype(np.float64)
    steps = np.abs(np.diff(luma, axis=0))

    np.testing.assert_allclose(seen.rgb_difference, steps.mean((1, 2)), rtol=1e-13)
    np.testing.assert_allclose(seen.luma_difference, steps.mean((1, 2)), rtol=1e-13)
    np.testing.assert_allclose(seen.local_difference, [_reference_local_difference(s) for s in steps], rtol=1e-13)
    np.testing.assert_allclose(seen.luma_mean, luma.mean((1, 2)), rtol=1e-13)
    np.testing.assert_allclose(seen.luma_deviation, luma.std((1, 2)), rtol=1e-12)
    np.testing.assert_array_equal(seen.black_share, (luma <= 25).mean((1, 2)))
    np.testing.assert_array_equal(seen.clipped_low_share, (luma <= 5).mean((1, 2)))
    np.testing.assert_array_equal(seen.clipped_high_share, (luma >= 250).mean((1, 2)))
    edges = [scipy.ndimage.laplace(frame, mode="mirror").var() for frame in luma]
    np.testing.assert_allclose(seen.sharpness, edges, rtol=1e-12)


def test_colours_count_separately_and_luma_is_rec_601() -> None:
    clip = np.random.default_rng(1).integers(0, 256, (3, 24, 32, 3), dtype=np.uint8)
    seen = statistics(clip)
    wide = clip.astype(np.float64)
    np.testing.assert_allclose(seen.rgb_difference, np.abs(np.diff(wide, axis=0)).mean((1, 2, 3)), rtol=1e-13)
    # OpenCV rounds each pixel's luma to a whole level; the mean of the rounding errors is far below half a level.
    np.testing.assert_allclose(seen.luma_mean, (wide @ [0.299, 0.587, 0.114]).mean((1, 2)), atol=0.1)


def test_local_difference_finds_what_the_mean_hides() -> None:
    clip = np.full((2, 160, 240, 3), 100, np.uint8)
    clip[1, 75:85, 120:130] = 200
    seen = statistics(clip)
    assert seen.luma_difference[0] == pytest.approx(100 * 100 / (160 * 240))
    assert seen.local_difference[0] == pytest.approx(100)  # the window is 10 x 10 and meets the square exactly


@pytest.mark.parametrize("corner", [(0, 0), (-1, -1), (1, 1), (1, -2), (-2, 1), (-2, -2)])
def test_local_difference_looks_into_every_corner_and_not_beyond(corner: tuple[int, int]) -> None:
    clip = np.zeros((2, 64, 80, 3), np.uint8)
    clip[1, corner[0], corner[1]] = 160
    # The window is 4 x 4 and holds the changed pixel once; a border that is mirrored would hold it several times.
    assert statistics(clip).local_difference[0] == 10.0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=12), st.integers(0, 3))
def test_does_not_depend_on_chunk_borders(lengths: list[int], seed: int) -> None:
    clip = grey_clip(frames=sum(lengths), height=18, width=20, seed=seed)
    times = np.arange(len(clip)) / 30
    session = FrameStatistics().open(Clip("a.mp4", Path("a.mp4"), "m"))
    buffer = np.empty((max(lengths), *clip.shape[1:]), np.uint8)
    start = 0
    for length in lengths:
        # One buffer for all chunks, as a decoder may have: what is kept across the border must be a copy.
        chunk = buffer[:length]
        chunk[:] = clip[start : start + length]
        session.push(Frames(chunk, times[start : start + length], start))
        start += length
    pieces, _ = session.close().to_parts()
    whole, _ = statistics(clip, fps=30).to_parts()
    for name, array in whole.items():
        assert array.tobytes() == pieces[name].tobytes(), name


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (8.0, range(40)),
        (30000 / 1001, range(0, 40, 4)),
        (24.0, range(0, 40, 3)),
        (60.0, range(0, 40, 8)),
        (5.0, range(40)),
        (None, range(40)),
    ],
)
def test_sharpness_is_measured_at_most_eight_times_a_second(fps: float | None, expected: range) -> None:
    seen = statistics(grey_clip(frames=40, height=8, width=8), fps=fps)
    assert seen.sharpness_frames.tolist() == list(expected)
    assert len(seen.sharpness) == len(expected)


def test_sharpness_of_every_frame_at_eight_a_second_in_a_gif() -> None:
    clip = grey_clip(frames=8, height=8, width=8)
    session = FrameStatistics().open(Clip("a.gif", Path("a.gif"), "m"))
    session.push(Frames(clip, np.round(np.arange(8) / 8, 2), 0))  # GIF counts in hundredths of a second
    seen = session.close()
    assert isinstance(seen, FrameStatisticsObservation)
    assert seen.sharpness_frames.tolist() == list(range(8))


def test_sharpness_is_measured_at_one_size() -> None:
    rng = np.random.default_rng(0)
    small = scipy.ndimage.gaussian_filter(rng.uniform(0, 255, (256, 340)), 1.0)
    small = np.clip((small - small.mean()) * 4 + 128, 0, 255).astype(np.uint8)
    large = small.repeat(2, axis=0).repeat(2, axis=1)  # its area average is the small picture again
    clips = [np.repeat(image[None, ..., None], 3, axis=3) for image in (small, large)]
    a, b = (statistics(clip).sharpness[0] for clip in clips)
    assert a == b


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 9, 9, 3), (2, 1, 1, 3), (3, 2, 300, 3)])
def test_tiny_clips(shape: tuple[int, ...]) -> None:
    seen = statistics(np.full(shape, 90, np.uint8))
    assert seen.rgb_difference.shape == seen.local_difference.shape == (shape[0] - 1,)
    assert seen.luma_mean.tolist() == [90.0] * shape[0]
    assert not seen.rgb_difference.any()
    assert not seen.sharpness.any()
