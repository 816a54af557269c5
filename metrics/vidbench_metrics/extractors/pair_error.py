"""Mean squared error between a clip and its reference clip, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import NoParameters, PairExtractor, PairSession
from vidbench_metrics.pairs import FramewiseSession, PairObservation


def mean_squared_error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean of squared differences over all pixels and channels of two uint8 frames of one shape; 0 to 65025."""
    return float(cv2.norm(a, b, cv2.NORM_L2SQR)) / a.size


@dataclass(frozen=True)
class PairErrorObservation(PairObservation):
    """`values`: mean squared error per pair of frames, on 0..255 RGB."""


class PairError(PairExtractor[NoParameters]):
    """See the module."""

    name = "pair_error"
    version = "1"
    summary = "mean squared error per pair of frames, over RGB"
    observation_type = PairErrorObservation

    def open_pair(self, clip: Clip) -> PairSession:
        """Begin a clip and its reference clip."""
        return FramewiseSession(mean_squared_error, PairErrorObservation)
