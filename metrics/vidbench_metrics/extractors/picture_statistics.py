"""Noise, colourfulness and block edges of some frames, at their own size, since reducing would hide them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import Extractor, NoParameters, Observation, Session
from vidbench.video import Frames
from vidbench_metrics.extractors.frame_statistics import CLIPPED_HIGH, CLIPPED_LOW, SHARPNESS_INTERVAL
from vidbench_metrics.extractors.luma import GreyImage, luma

Profile = NDArray[np.float64]

NOISE_SIDE = 32
"""Pixels a side below which there are too few places to tell noise from content."""
MOST_STEP = 16
"""Steps of luma between neighbours count up to this many grey levels: more is an edge of something, not of a block."""


def noise_deviation(channel: GreyImage) -> float:
    """Deviation of the noise in one (H, W) channel in grey levels; NaN where no place is smooth enough to tell.

    J. Immerkær's difference of two Laplacians (CVIU 64, 1996), which is blind to planes and straight edges along the
    axes, with D. Donoho's robust scale (median of magnitudes over 0.6745) in place of the mean, over the smoother half
    of the picture. Smoothness is judged on a blurred picture, so that the noise itself has next to no say in it.
    """
    if min(channel.shape) < NOISE_SIDE:
        return math.nan
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    detail = np.abs(np.asarray(cv2.filter2D(channel, cv2.CV_32F, kernel)))[1:-1, 1:-1]
    calm = np.asarray(cv2.GaussianBlur(channel, (0, 0), 2.0), np.uint8)
    slope = np.abs(cv2.Sobel(calm, cv2.CV_16S, 1, 0)).astype(np.int32) + np.abs(cv2.Sobel(calm, cv2.CV_16S, 0, 1))
    slope = slope[1:-1, 1:-1]
    # Where values are clipped the noise is cut off.
    open_ = ((calm > 2 * CLIPPED_LOW) & (calm < 255 - 2 * (255 - CLIPPED_HIGH)))[1:-1, 1:-1]
    if np.count_nonzero(open_) < NOISE_SIDE**2 / 2:
        return math.nan
    smooth = open_ & (slope <= np.median(slope[open_]))
    values = detail[smooth]
    # Details of 8-bit pictures are whole numbers. The median of whole numbers jumps; this one lies within its step.
    half = (len(values) - 1) // 2  # the lower of two middles, so that it is one of the values
    step = float(np.partition(values, half)[half])
    below, at = float((values < step).mean()), float((values == step).mean())
    middle = max(0.0, step - 0.5) + (0.5 - below) / at * (1.0 if step else 0.5)
    if step == 0 and at > 0.9:
        return 0.0
    return middle / 0.6744897501960817 / 6


def colourfulness(frame: NDArray[np.uint8]) -> float:
    """M3 of Hasler & Süsstrunk, "Measuring colourfulness in natural images" (SPIE 2003), of an (H, W, 3) RGB frame.

    0 for greys; they name 15 slightly, 33 moderately, 59 quite and 82 highly colourful.
    """
    mean, covariance = _moments(frame)
    # Opponents R - G and (R + G) / 2 - B as rows over (R, G, B).
    opponents = np.array([[1, -1, 0], [0.5, 0.5, -1]])
    spread = float(np.trace(opponents @ covariance @ opponents.T))
    return math.sqrt(max(0.0, spread)) + 0.3 * float(np.linalg.norm(opponents @ mean))


def _moments(frame: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (3,) and covariance (3, 3) of colours, from whole sums, which are exact."""
    pixels = frame.reshape(-1, 3).astype(np.float64)
    mean = pixels.sum(0) / len(pixels)
    return mean, np.asarray(pixels.T @ pixels / len(pixels) - np.outer(mean, mean))


def step_profile(image: GreyImage) -> Profile:
    """(W - 1,) mean over rows of the luma step from each column of an (H, W) image to the next, in grey levels."""
    steps = np.minimum(cv2.absdiff(image[:, 1:], image[:, :-1]), MOST_STEP)
    return np.asarray(steps.sum(axis=0, dtype=np.int64) / len(steps))


@dataclass(frozen=True)
class PictureStatisticsObservation(Observation):
    """Of the K frames looked at; float64."""

    frames: NDArray[np.int64]
    """(K,) their numbers: the first, then the first that is `SHARPNESS_INTERVAL` later, and so on."""
    noise: NDArray[np.float64]
    """(K,) deviation in grey levels of the green channel; NaN where it cannot be told."""
    colourfulness: NDArray[np.float64]
    """(K,) M3."""
    column_steps: NDArray[np.float64]
    """(W - 1,) mean over rows and frames of the luma step to the next column, in grey levels."""
    row_steps: NDArray[np.float64]
    """(H - 1,) the same down the picture."""

    def curves(self) -> Mapping[str, NDArray[np.float64]]:
        """Noise and colourfulness at the frames looked at: see `Observation.curves`."""
        result = {}
        for name, values in (("noise (grey levels)", self.noise), ("colourfulness (M3)", self.colourfulness)):
            series = np.full(int(self.frames[-1]) + 1, np.nan)
            series[self.frames] = values
            result[name] = series
        return result


@dataclass
class _Session(Session):
    frames: list[int] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    colour: list[float] = field(default_factory=list)
    columns: Profile | None = None
    rows: Profile | None = None
    last_time: float = -math.inf

    def push(self, frames: Frames) -> None:
        for number, (frame, time) in enumerate(zip(frames.pixels, frames.times, strict=True), start=frames.start):
            if time < self.last_time + SHARPNESS_INTERVAL - 0.006:
                continue
            self.last_time = float(time)
            self.frames.append(number)
            self.noise.append(noise_deviation(np.ascontiguousarray(frame[..., 1])))
            self.colour.append(colourfulness(frame))
            grey = luma(frame)
            columns, rows = step_profile(grey), step_profile(np.ascontiguousarray(grey.T))
            self.columns = columns if self.columns is None else self.columns + columns
            self.rows = rows if self.rows is None else self.rows + rows

    def close(self) -> PictureStatisticsObservation:
        none = np.empty(0)
        return PictureStatisticsObservation(
            frames=np.array(self.frames, np.int64),
            noise=np.array(self.noise, np.float64),
            colourfulness=np.array(self.colour, np.float64),
            column_steps=none if self.columns is None else self.columns / len(self.frames),
            row_steps=none if self.rows is None else self.rows / len(self.frames),
        )


class PictureStatistics(Extractor[NoParameters]):
    """Noise, colours and steps between neighbouring pixels: see `PictureStatisticsObservation`."""

    name = "picture_statistics"
    version = "1"
    summary = "noise, colourfulness and luma steps between neighbouring columns and rows, 8 frames a second"
    observation_type = PictureStatisticsObservation

    def open(self, clip: Clip) -> Session:
        """Begin a clip."""
        return _Session()
