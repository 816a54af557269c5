"""Black frames against FFmpeg's own detector, and located."""

from __future__ import annotations

from fractions import Fraction

import av
import av.filter
import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.testing import score, synthetic_clips
from vidbench_metrics.black_frames import BlackFrames

Pixels = NDArray[np.uint8]


def _reference_blackdetect(picture: NDArray[np.uint8]) -> bool:
    """Whether FFmpeg's `blackdetect` calls one (H, W) full-range luma picture black."""
    height, width = picture.shape
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat("gray", width, height), time_base=Fraction(1, 10)
    )
    detector, sink = graph.add("blackdetect", "d=0"), graph.add("buffersink")
    source.link_to(detector)
    detector.link_to(sink)
    graph.configure()
    frame = av.VideoFrame.from_ndarray(picture, format="gray")
    frame.pts, frame.time_base, frame.color_range = 0, Fraction(1, 10), 2  # 2: full range
    source.push(frame)
    return "lavfi.black_start" in sink.pull().metadata


def picture(level: int, bright_pixels: int) -> NDArray[np.uint8]:
    image = np.full((40, 50), level, np.uint8)
    image.ravel()[:bright_pixels] = 200
    return image


@pytest.mark.parametrize("level", [0, 16, 25, 26, 37, 38])
@pytest.mark.parametrize("bright_pixels", [0, 39, 40, 41])  # of 2,000: a share of 2 % is 40
def test_matches_ffmpeg_blackdetect(level: int, bright_pixels: int) -> None:
    image = picture(level, bright_pixels)
    clip = np.repeat(image[None, ..., None], 3, axis=3)
    assert score(BlackFrames, clip).value == float(_reference_blackdetect(image))


def test_black_frames_are_counted_and_located() -> None:
    clip = synthetic_clips()[0].copy()
    clip[0], clip[5:9] = 0, 12
    result = score(BlackFrames, clip, fps=8.0)
    assert result.value == pytest.approx(5 / 16)
    assert [(f.kind, f.start, f.end) for f in result.findings] == [("black", 0, 0), ("black", 5, 8)]
    assert result.findings[0].message == "The picture is black in frame 0 (0.00 s)."
    assert result.findings[1].message == "The picture is black in frames 5 to 8 (0.62 s to 1.00 s)."
    assert result.details == {"black_frames": 5}


def test_a_clip_without_black_frames() -> None:
    result = score(BlackFrames, synthetic_clips()[0])
    assert result.value == 0.0
    assert result.findings == ()


def test_the_ratio_is_a_parameter() -> None:
    clip = np.repeat(picture(0, 400)[None, ..., None], 3, axis=3)  # four fifths are black
    assert score(BlackFrames, clip).value == 0.0
    assert score(BlackFrames.from_mapping({"picture_ratio": "0.8"}), clip).value == 1.0
