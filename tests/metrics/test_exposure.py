"""Exposure in closed form, and under and over."""

from __future__ import annotations

import numpy as np
import pytest

from vidbench.testing import score, synthetic_clips
from vidbench_metrics.exposure import Exposure, exposure


def test_counts_both_ends() -> None:
    clip = np.full((2, 10, 10, 3), 128, np.uint8)
    clip[0, 0], clip[0, 1], clip[1, :5] = 0, 255, 3  # a tenth dark and a tenth bright; then half dark
    result = score(Exposure, clip)
    assert result.value == pytest.approx(1 - (0.2 + 0.5) / 2)
    assert result.details["clipped_low"] == pytest.approx(0.3)
    assert result.details["clipped_high"] == pytest.approx(0.05)
    assert result.details["mean_luma"] == pytest.approx(clip.mean())


@pytest.mark.parametrize(("level", "expected"), [(0, 0.0), (5, 0.0), (6, 1.0), (249, 1.0), (250, 0.0), (255, 0.0)])
def test_limits(level: int, expected: float) -> None:
    assert score(Exposure, np.full((2, 8, 8, 3), level, np.uint8)).value == expected


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_gain_lowers_it(gain: float) -> None:
    clip = synthetic_clips()[0].astype(np.float64)
    values = []
    for power in (0, 1, 2, 3, 4):
        pixels = np.clip(clip * gain**power, 0, 255).astype(np.uint8)
        result = score(Exposure, pixels)
        assert result.value is not None
        values.append(result.value)
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0] - 0.3


def test_stays_in_range_where_rounding_would_leave_it() -> None:
    shares = np.full(3, 0.1) + np.array([0.0, 1e-17, 0.0])
    assert exposure(shares * 3, 1 - shares * 3) == 0.0
    assert exposure(np.zeros(3), np.zeros(3)) == 1.0
