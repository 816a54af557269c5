"""psnr and its extractor against scikit-image, and its refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skimage.metrics
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.testing import observe, score
from vidbench_metrics.extractors.pair_error import PairError, PairErrorObservation, mean_squared_error
from vidbench_metrics.psnr import Psnr, psnr

Clips = Callable[..., NDArray[np.uint8]]


def _reference_psnr(reference: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    upstream: Any = skimage.metrics.peak_signal_noise_ratio
    return float(upstream(reference, generated, data_range=255))


def _noisy(clip: NDArray[np.uint8], amount: float, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, amount, clip.shape)
    return np.clip(clip + noise, 0, 255).astype(np.uint8)


def test_psnr_matches_skimage(moving_square: Clips) -> None:
    clip = moving_square(frames=5, height=37, width=51)
    for amount in (0.6, 5.0, 60.0):
        generated = _noisy(clip, amount)
        expected = [_reference_psnr(r, g) for r, g in zip(clip, generated, strict=True)]
        seen = observe(PairError, generated, reference=clip, chunk=2)
        assert isinstance(seen, PairErrorObservation)
        np.testing.assert_allclose(psnr(seen.values), expected, rtol=1e-9)
        result = score(Psnr, generated, reference=clip)
        assert result.value == pytest.approx(_reference_psnr(clip, generated), rel=1e-9)
        assert result.details["worst_frame"] == int(np.argmin(expected))
        assert result.details["mean_of_frames"] == pytest.approx(np.mean(expected), rel=1e-9)


def test_exact_frames_do_not_buy_off_wrong_ones(moving_square: Clips) -> None:
    """A clip that is exact until its object teleports must not beat one that is nearly right throughout."""
    clip = moving_square(frames=12)
    teleports = clip.copy()
    teleports[6:] = np.roll(clip[6:], 25, axis=2)
    assert score(Psnr, teleports, reference=clip).value < score(Psnr, _noisy(clip, 4), reference=clip).value - 5


def test_error_of_large_frames_is_exact() -> None:
    """The largest sum that 1080p can give: no 32-bit accumulator may overflow."""
    black, white = np.zeros((1080, 1920, 3), np.uint8), np.full((1080, 1920, 3), 255, np.uint8)
    assert mean_squared_error(black, white) == 255.0**2
    almost = black.copy()
    almost[7, 9, 1] = 1
    assert mean_squared_error(black, almost) == 1 / black.size


def test_equal_frames_count_as_100_db_and_opposite_ones_as_0(moving_square: Clips) -> None:
    clip = moving_square(frames=4)
    assert score(Psnr, clip, reference=clip).value == 100.0
    assert score(Psnr, np.zeros_like(clip), reference=np.full_like(clip, 255)).value == 0.0
    half = clip.copy()
    half[2:] = 255 - half[2:]
    result = score(Psnr, half, reference=clip)
    assert result.details["equal_frames"] == 2
    inverse = _reference_psnr(clip[2], half[2])
    assert result.details["worst_frame_psnr"] == pytest.approx(inverse, abs=0.5)
    assert psnr(np.array([1e-12]))[0] == 100.0


def test_other_sizes_are_unscored_and_named(moving_square: Clips) -> None:
    result = score(Psnr, moving_square(width=80, height=64), reference=moving_square(width=40, height=32))
    assert result.value is None
    assert result.reason is not None
    assert "80×64" in result.reason
    assert "40×32" in result.reason


def test_other_lengths_are_unscored_unless_common_frames_are_asked_for(moving_square: Clips) -> None:
    long, short = moving_square(frames=9), _noisy(moving_square(frames=6), 4)
    for generated, reference in ((long, short), (short, long)):
        refused = score(Psnr, generated, reference=reference)
        assert refused.value is None
        assert refused.reason is not None
        assert "lengths=common" in refused.reason
        asked = score(Psnr.from_mapping({"lengths": "common"}), generated, reference=reference)
        assert asked.value == score(Psnr, generated[:6], reference=reference[:6]).value
        assert asked.details["frames"] == 6


def test_unknown_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="equal, common"):
        Psnr.from_mapping({"lengths": "longest"})
