"""Structural similarity between a clip and its reference clip, frame by frame.

Wang, Bovik, Sheikh & Simoncelli, "Image quality assessment: from error visibility to structural similarity",
IEEE TIP 2004. The numbers equal scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5,
use_sample_covariance=False, data_range=255, channel_axis=-1)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import NoParameters, PairExtractor, PairSession
from vidbench_metrics.pairs import FramewiseSession, PairObservation

WINDOW = 11
SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2


def structural_similarity(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean SSIM over the three channels and every position where the 11×11 window lies inside the frame.

    Args:
        a: (H, W, 3) uint8.
        b: the same shape.

    Returns:
        -1 to 1, 1 where the frames are equal; NaN where a side is shorter than the window.
    """
    if min(a.shape[:2]) < WINDOW:
        return math.nan
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    mean_xy, mean_squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    # Covariances in float64: in float32, E[x²] - E[x]² loses the digits that 1e-6 agreement needs.
    covariance = _blur(x * y) - mean_xy
    variances = _blur(x * x + y * y) - mean_squares
    similarity = (2 * mean_xy + C1) * (2 * covariance + C2) / ((mean_squares + C1) * (variances + C2))
    return float(similarity.mean())


def _blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
    margin = WINDOW // 2
    blurred = cv2.GaussianBlur(image, (WINDOW, WINDOW), SIGMA)
    return np.asarray(blurred[margin:-margin, margin:-margin], dtype=np.float64)


@dataclass(frozen=True)
class PairSsimObservation(PairObservation):
    """`values`: SSIM per pair of frames; NaN where the frames are smaller than the window."""


class PairSsim(PairExtractor[NoParameters]):
    """See the module."""

    name = "pair_ssim"
    version = "1"
    summary = "structural similarity per pair of frames, over RGB"
    observation_type = PairSsimObservation

    def open_pair(self, clip: Clip) -> PairSession:
        """Begin a clip and its reference clip."""
        return FramewiseSession(structural_similarity, PairSsimObservation)
