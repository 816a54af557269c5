"""Differences, brightness, clipping and sharpness of every frame, in one streaming pass.

All sums are over integers and therefore exact, whatever the order of summing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import Extractor, NoParameters, Observation, Session
from vidbench.video import Frames
from vidbench_metrics.extractors.luma import GreyImage, luma, reduced
from vidbench_metrics.spans import from_steps

BLACK_LEVEL = 25
"""Luma up to which a pixel is black: a tenth of the full range, as in FFmpeg's `blackdetect` (`pixel_black_th`)."""
CLIPPED_LOW = 5
"""Luma up to which a shadow holds no detail."""
CLIPPED_HIGH = 250
"""Luma from which a highlight holds no detail."""
SHARPNESS_SIDE = 256
"""Short side in pixels at which sharpness is measured; at its own size a larger picture of a scene is softer."""
SHARPNESS_INTERVAL = 1 / 8
"""Seconds between frames whose sharpness is measured; reducing every frame of a 30 Hz clip would cost as much as
decoding it."""
WINDOWS_PER_SIDE = 16
"""The local difference is taken over square windows of a sixteenth of the short side."""


def local_difference(difference: GreyImage) -> float:
    """Largest mean of an (H, W) image over any square window of a sixteenth of its short side, wholly inside."""
    height, width = difference.shape
    side = max(1, round(min(height, width) / WINDOWS_PER_SIDE))
    before = side // 2
    sums = cv2.boxFilter(difference, cv2.CV_32S, (side, side), normalize=False)
    inside = sums[before : height - side + before + 1, before : width - side + before + 1]
    return float(inside.max()) / float(side**2)


def laplacian_variance(image: GreyImage) -> float:
    """Variance of the 4-neighbour Laplacian of an (H, W) image, in grey levels squared (Pech-Pacheco et al., 2000)."""
    edges = cv2.Laplacian(image, cv2.CV_16S)
    mean = cv2.sumElems(edges)[0] / edges.size
    return float(max(0.0, cv2.norm(edges, cv2.NORM_L2SQR) / edges.size - mean**2))


@dataclass(frozen=True)
class FrameStatisticsObservation(Observation):
    """Arrays over the T frames or the T - 1 steps between neighbours; float64, in grey levels of 0 to 255 or shares."""

    rgb_difference: NDArray[np.float64]
    """(T - 1,) mean over pixels and colours of abs(I(t+1) - I(t))."""
    luma_difference: NDArray[np.float64]
    """(T - 1,) the same of luma."""
    local_difference: NDArray[np.float64]
    """(T - 1,) the largest mean luma difference in any window of a sixteenth of the short side: what a small object
    that moves before a still background leaves."""
    luma_mean: NDArray[np.float64]
    """(T,)"""
    luma_deviation: NDArray[np.float64]
    """(T,) standard deviation over the pixels."""
    black_share: NDArray[np.float64]
    """(T,) share of pixels with luma up to `BLACK_LEVEL`."""
    clipped_low_share: NDArray[np.float64]
    """(T,) share of pixels with luma up to `CLIPPED_LOW`."""
    clipped_high_share: NDArray[np.float64]
    """(T,) share of pixels with luma from `CLIPPED_HIGH`."""
    sharpness: NDArray[np.float64]
    """(K,) variance of the Laplacian of luma, reduced to a short side of `SHARPNESS_SIDE`, in grey levels squared."""
    sharpness_frames: NDArray[np.int64]
    """(K,) the frames it was measured in: the first, then the first that is `SHARPNESS_INTERVAL` later, and so on;
    every frame where the frame rate is unknown."""

    def curves(self) -> Mapping[str, NDArray[np.float64]]:
        """Each array over all frames: see `Observation.curves`."""
        frames = len(self.luma_mean)
        sharpness = np.full(frames, np.nan)
        sharpness[self.sharpness_frames] = self.sharpness
        return {
            "luma difference to the frame before (grey levels)": from_steps(self.luma_difference, frames),
            "largest local luma difference (grey levels)": from_steps(self.local_difference, frames),
            "mean luma (grey levels)": self.luma_mean,
            "deviation of luma (grey levels)": self.luma_deviation,
            "black pixels (share)": self.black_share,
            "clipped shadows (share)": self.clipped_low_share,
            "clipped highlights (share)": self.clipped_high_share,
            "sharpness (grey levels squared)": sharpness,
        }


@dataclass
class _FrameStatisticsSession(Session):
    steps: list[tuple[float, float, float]] = field(default_factory=list)
    frames: list[tuple[float, float, float, float, float]] = field(default_factory=list)
    sharpness: list[tuple[int, float]] = field(default_factory=list)
    sharpness_time: float = -np.inf
    previous: tuple[NDArray[np.uint8], GreyImage] | None = None

    def push(self, frames: Frames) -> None:
        for number, (frame, time) in enumerate(zip(frames.pixels, frames.times, strict=True), start=frames.start):
            grey = luma(frame)
            if self.previous is not None:
                self.steps.append(_step(*self.previous, frame, grey))
            self.frames.append(_levels(grey))
            # Slack, because time stamps are rounded to the container's clock: GIF's ticks every hundredth of a second.
            if time >= self.sharpness_time + SHARPNESS_INTERVAL - 0.006:
                self.sharpness.append((number, laplacian_variance(reduced(grey, SHARPNESS_SIDE))))
                self.sharpness_time = float(time)
            self.previous = (frame, grey)
        if self.previous is not None:
            # A copy, because a view would keep the whole chunk alive and the decoder may fill its buffer again.
            self.previous = (self.previous[0].copy(), self.previous[1])

    def close(self) -> FrameStatisticsObservation:
        rgb, grey, local = np.array(self.steps, np.float64).reshape(-1, 3).T.copy()
        mean, deviation, black, low, high = np.array(self.frames, np.float64).reshape(-1, 5).T.copy()
        return FrameStatisticsObservation(
            rgb_difference=rgb,
            luma_difference=grey,
            local_difference=local,
            luma_mean=mean,
            luma_deviation=deviation,
            black_share=black,
            clipped_low_share=low,
            clipped_high_share=high,
            sharpness=np.array([value for _, value in self.sharpness], np.float64),
            sharpness_frames=np.array([number for number, _ in self.sharpness], np.int64),
        )


def _step(
    before: NDArray[np.uint8], grey_before: GreyImage, after: NDArray[np.uint8], grey_after: GreyImage
) -> tuple[float, float, float]:
    difference = np.asarray(cv2.absdiff(grey_before, grey_after), np.uint8)
    return (
        cv2.norm(before, after, cv2.NORM_L1) / before.size,
        cv2.sumElems(difference)[0] / difference.size,
        local_difference(difference),
    )


def _levels(grey: GreyImage) -> tuple[float, float, float, float, float]:
    mean = cv2.sumElems(grey)[0] / grey.size
    variance = cv2.norm(grey, cv2.NORM_L2SQR) / grey.size - mean**2
    black = np.count_nonzero(grey <= BLACK_LEVEL) / grey.size
    low = np.count_nonzero(grey <= CLIPPED_LOW) / grey.size
    high = np.count_nonzero(grey >= CLIPPED_HIGH) / grey.size
    return mean, max(0.0, variance) ** 0.5, black, low, high


class FrameStatistics(Extractor[NoParameters]):
    """Cheap statistics of frames and of the steps between them: see `FrameStatisticsObservation`."""

    name = "frame_statistics"
    version = "1"
    summary = "differences between neighbouring frames, brightness, clipping and sharpness of every frame"
    observation_type = FrameStatisticsObservation

    def open(self, clip: Clip) -> Session:
        """Begin a clip."""
        return _FrameStatisticsSession()
