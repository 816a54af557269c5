"""What changes from each frame to the next and which way it moves: what a reader of actions looks at.

No optical flow: things of a few pixels that jump by their own width, as in games, defeat it. Instead, over strips of
the picture,

* the first moment of the change, the sum of x · (I(t+1) - I(t)): for a thing that moves over an even ground it is its
  brightness times its displacement, however far it jumps;
* the products of change and slope, -dI/dx · dI/dt and -dI/dy · dI/dt, with which the Lucas-Kanade equations begin:
  their sign says which way something went, whether it is brighter or darker than its ground.

All of it is zero where a frame repeats the one before, so that a frozen clip shows nothing of the scene it stands in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import Extractor, NoParameters, Observation, Session
from vidbench.video import Frames

LONG_SIDE = 64
"""Pixels to which the longer side is reduced; smaller frames stay as they are."""
STRIPS = 8
"""Columns, and rows, into which the picture is cut."""
BLURS = (0.8, 2.0)
"""Gaussian sigmas in working pixels: a thing that moves by more than its edges are wide is not seen to move."""
NOISE = 3.0
"""Changes up to so many deviations of the noise are none. The deviation is reckoned from the median change, which is
noise wherever less than half of the picture moves."""
MOST_NOISE = 12.0
"""Grey levels beyond which no change is taken for noise: then the whole picture moves."""
CHANNELS = 3
"""Luma, red - green, blue - luma: things of one brightness may differ in colour."""
FEATURES = CHANNELS * STRIPS * (2 + 2 * 2 * len(BLURS))

Planes = NDArray[np.float32]


@dataclass(frozen=True)
class StepMotionObservation(Observation):
    """Of T - 1 steps between T frames."""

    steps: NDArray[np.float16]
    """(T - 1, FEATURES): by channel and strip, first moments of the change down each column of the picture and along
    each row, in grey levels times shares of the side; then, for each blur, motion along x and y summed over each
    column and over each row, in grey levels squared per 16 pixels. Means over the strip's pixels."""


def opponents(frame: NDArray[np.uint8]) -> Planes:
    """(H, W, 3) luma, red - green and blue - luma in grey levels of an RGB frame, reduced to the working size."""
    height, width = frame.shape[:2]
    scale = LONG_SIDE / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    red, green, blue = np.moveaxis(frame.astype(np.float32), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([luma, red - green, blue - luma], axis=-1)


def step_features(before: Planes, after: Planes) -> NDArray[np.float16]:
    """One step: see `StepMotionObservation`.

    Args:
        before: (H, W, 3) as `opponents` gives it.
        after: the next frame, of the same shape.

    Returns:
        (FEATURES,).
    """
    height, width = before.shape[:2]
    change, middle = _beyond_noise(after - before), (after + before) / 2
    down = (np.arange(height, dtype=np.float32) - (height - 1) / 2) / height
    along = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / width
    sums = [
        np.einsum("h,hwc->wc", down, change) / height,
        np.einsum("w,hwc->hc", along, change) / width,
    ]
    for blur in BLURS:
        soft_change = cv2.GaussianBlur(change, (0, 0), blur, borderType=cv2.BORDER_REPLICATE)
        soft = cv2.GaussianBlur(middle, (0, 0), blur, borderType=cv2.BORDER_REPLICATE)
        for axis in (1, 0):
            # A frame of one row or column has no slope along it.
            slope = np.gradient(soft, axis=axis) if soft.shape[axis] > 1 else np.zeros_like(soft)
            motion = -slope * soft_change / 16
            sums += [motion.mean(axis=0), motion.mean(axis=1)]
    strips = [_strips(values) for values in sums]
    return np.asarray(np.clip(np.concatenate(strips, axis=None), -6e4, 6e4), np.float16)


def _beyond_noise(change: Planes) -> Planes:
    """(H, W, 3) change less what noise makes: nothing is taken off where most pixels repeat exactly."""
    size = np.abs(change)
    limit = np.minimum(NOISE / 0.6745 * np.median(size, axis=(0, 1)), MOST_NOISE)
    return np.asarray(np.sign(change) * np.maximum(size - limit, 0), np.float32)


def _strips(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """(STRIPS, 3) means over strips of (n, 3) values; pictures with fewer pixels than strips leave some at 0."""
    parts = np.array_split(values, STRIPS)
    return np.stack([part.mean(axis=0) if len(part) else np.zeros(CHANNELS) for part in parts])


@dataclass
class _Session(Session):
    before: Planes | None = None
    steps: list[NDArray[np.float16]] = field(default_factory=list)

    def push(self, frames: Frames) -> None:
        for frame in frames.pixels:
            now = opponents(frame)
            if self.before is not None:
                self.steps.append(step_features(self.before, now))
            self.before = now

    def close(self) -> StepMotionObservation:
        return StepMotionObservation(np.stack(self.steps) if self.steps else np.zeros((0, FEATURES), np.float16))


class StepMotion(Extractor[NoParameters]):
    """Change and signed motion over strips: see `StepMotionObservation`."""

    name = "step_motion"
    version = "1"
    summary = "change and signed motion from each frame to the next over strips, by luma and two colour opponents"
    observation_type = StepMotionObservation

    def open(self, clip: Clip) -> Session:
        """Begin a clip."""
        return _Session()
