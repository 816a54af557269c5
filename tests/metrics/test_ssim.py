"""ssim and its extractor against scikit-image, and its refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skimage.metrics
from numpy.typing import NDArray

from vidbench.testing import observe, score
from vidbench_metrics.extractors.pair_ssim import PairSsim, PairSsimObservation, structural_similarity
from vidbench_metrics.ssim import Ssim

Clips = Callable[..., NDArray[np.uint8]]


def _reference_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    upstream: Any = skimage.metrics.structural_similarity
    return float(
        upstream(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1)
    )


@pytest.mark.parametrize(("height", "width"), [(11, 11), (12, 40), (64, 80), (37, 51)])
@pytest.mark.parametrize("amount", [1.0, 12.0, 80.0])
def test_ssim_matches_skimage(moving_square: Clips, height: int, width: int, amount: float) -> None:
    clip = moving_square(frames=3, height=height, width=width)
    noise = np.random.default_rng(1).normal(0, amount, clip.shape)
    generated = np.clip(clip + noise, 0, 255).astype(np.uint8)
    seen = observe(PairSsim, generated, reference=clip, chunk=2)
    assert isinstance(seen, PairSsimObservation)
    expected = [_reference_ssim(r, g) for r, g in zip(clip, generated, strict=True)]
    np.testing.assert_allclose(seen.values, expected, rtol=0, atol=1e-9)
    assert score(Ssim, generated, reference=clip).value == pytest.approx(np.mean(expected), abs=1e-9)


def test_ssim_matches_skimage_on_flat_and_saturated_frames() -> None:
    """Where E[x²] - E[x]² is all cancellation."""
    rng = np.random.default_rng(2)
    flat = np.full((40, 40, 3), 250, np.uint8)
    nearly = (flat + rng.integers(0, 2, flat.shape)).astype(np.uint8)
    for a, b in ((flat, nearly), (flat, flat - 200), (np.zeros_like(flat), flat)):
        assert structural_similarity(a, b) == pytest.approx(_reference_ssim(a, b), abs=1e-9)


def test_equal_frames_are_1_and_inverted_structure_is_negative(moving_square: Clips) -> None:
    clip = moving_square(frames=3)
    assert score(Ssim, clip, reference=clip).value == 1.0
    stripes = np.zeros((2, 40, 40, 3), np.uint8)
    stripes[:, ::2] = 255
    inverted = score(Ssim, 255 - stripes, reference=stripes).value
    assert inverted is not None
    assert inverted < -0.9


def test_small_frames_other_sizes_and_other_lengths_are_unscored(moving_square: Clips) -> None:
    clip = moving_square(frames=4, height=64, width=80)
    cases = [
        (clip[:, :10, :40], clip[:, :10, :40], "40×10"),
        (clip, clip[:, :32], "80×32"),
        (clip, clip[:3], "lengths=common"),
    ]
    for generated, reference, said in cases:
        result = score(Ssim, generated, reference=reference)
        assert result.value is None
        assert result.reason is not None
        assert said in result.reason
    assert score(Ssim.from_mapping({"lengths": "common"}), clip, reference=clip[:3]).value == 1.0
