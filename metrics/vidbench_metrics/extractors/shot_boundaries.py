"""How much the picture changes from frame to frame, and whether it comes back: what cuts are decided on.

The content value is that of PySceneDetect's ContentDetector and AdaptiveDetector (release 0.7.2, BSD-3-Clause,
github.com/Breakthrough/PySceneDetect): mean absolute difference of hue, saturation and value in OpenCV's 8-bit HSV,
of frames whose longer side is at most 256 pixels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.extractor import Extractor, Observation, Session
from vidbench.video import Frames

LONGER_SIDE = 256


def hsv_thumbnail(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame as PySceneDetect compares it.

    Args:
        frame: (H, W, 3) uint8 RGB.

    Returns:
        (h, w, 3) uint8: hue 0 to 179, saturation and value 0 to 255; max(h, w) <= 256.
    """
    height, width = frame.shape[:2]
    factor = max(height, width) / LONGER_SIDE
    if factor > 1:
        size = max(1, round(width / factor)), max(1, round(height / factor))
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2HSV), dtype=np.uint8)


def content_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean absolute difference of two thumbnails over pixels and channels; 0 to 255, 0 where they are equal."""
    return float(cv2.norm(a, b, cv2.NORM_L1)) / a.size


@dataclass(frozen=True)
class ShotBoundariesParameters:
    """How far apart frames are compared."""

    lags: int = 4
    """Each frame is compared with this many before it; at least 1."""

    def __post_init__(self) -> None:
        if self.lags < 1:
            raise InputError(f"shot_boundaries.lags must be at least 1, got {self.lags}")


@dataclass(frozen=True)
class ShotBoundariesObservation(Observation):
    """Content differences of a clip of T frames."""

    content: NDArray[np.float64]
    """(lags, T); [l, t] is the difference between frames t - l - 1 and t, 0 to 255; NaN where t <= l."""

    def curves(self) -> Mapping[str, NDArray[np.float64]]:
        """The difference to the frame before: see `Observation.curves`."""
        return {"content difference to the frame before (HSV levels)": self.content[0]}


class ShotBoundaries(Extractor[ShotBoundariesParameters]):
    """See the module."""

    name = "shot_boundaries"
    version = "1"
    summary = "content difference of each frame to the few before it, in HSV"
    observation_type = ShotBoundariesObservation
    parameters_type = ShotBoundariesParameters

    def open(self, clip: Clip) -> Session:
        """Begin a clip."""
        return _Session(self.parameters.lags)


class _Session(Session):
    def __init__(self, lags: int) -> None:
        self._before: deque[NDArray[np.uint8]] = deque(maxlen=lags)
        self._columns: list[NDArray[np.float64]] = []
        self._lags = lags

    def push(self, frames: Frames) -> None:
        for frame in frames.pixels:
            thumbnail = hsv_thumbnail(frame)
            column = np.full(self._lags, np.nan)
            for lag, earlier in enumerate(reversed(self._before)):
                column[lag] = content_difference(earlier, thumbnail)
            self._columns.append(column)
            self._before.append(thumbnail)

    def close(self) -> ShotBoundariesObservation:
        return ShotBoundariesObservation(np.stack(self._columns, axis=1))
