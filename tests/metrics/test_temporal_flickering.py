"""Temporal flickering against VBench's formula, written out on its own."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.testing import score
from vidbench_metrics.temporal_flickering import TemporalFlickering, temporal_flickering

Pixels = NDArray[np.uint8]


def _reference_vbench(frames: Pixels, dtype: type[np.floating]) -> float:
    """The published formula; upstream computes in float32."""
    bgr = [frame[..., ::-1].astype(dtype) for frame in frames]
    errors = [np.mean(cv2.absdiff(a, b)) for a, b in itertools.pairwise(bgr)]
    return (255.0 - float(np.mean(errors))) / 255.0


def value(pixels: Pixels) -> float:
    result = score(TemporalFlickering, pixels)
    assert result.value is not None
    return result.value


@pytest.mark.parametrize("seed", range(3))
def test_matches_vbench_formula_on_noise(seed: int) -> None:
    clip = np.random.default_rng(seed).integers(0, 256, (9, 33, 47, 3), dtype=np.uint8)
    assert value(clip) == pytest.approx(_reference_vbench(clip, np.float64), abs=1e-9)


def test_matches_vbench_formula_on_a_real_clip(fetv: Path) -> None:
    with av.open(fetv / "modelscope" / "2.mp4") as container:
        clip = np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], np.uint8)
    assert value(clip) == pytest.approx(_reference_vbench(clip, np.float64), abs=1e-9)
    # Upstream's own precision: a float32 mean over 200,000 pixels is good to six digits.
    assert value(clip) == pytest.approx(_reference_vbench(clip, np.float32), abs=1e-6)


def test_closed_forms() -> None:
    assert temporal_flickering(np.array([0.0, 255.0])) == 0.5
    frozen = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8), 4, axis=0)
    assert value(frozen) == 1.0
    strobe = np.zeros((4, 16, 16, 3), np.uint8)
    strobe[1::2] = 255
    assert value(strobe) == 0.0


def test_details_name_the_worst_step() -> None:
    clip = np.full((6, 8, 8, 3), 50, np.uint8)
    clip[4:] = 90
    details = score(TemporalFlickering, clip).details
    assert details == {"largest_difference": 40.0, "largest_difference_frame": 4}


def test_one_frame_has_no_flicker_to_speak_of() -> None:
    result = score(TemporalFlickering, np.zeros((1, 8, 8, 3), np.uint8))
    assert result.value is None
    assert result.reason is not None
