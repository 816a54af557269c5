"""How steadily a picture's motion goes on, at about 8 frames a second: what `temporal_quality` is built on.

Flow: dense inverse search (Kroeger et al., ECCV 2016), as in `flow_statistics`. Acceleration in pixels a frame depends
on the frame rate, so frames are taken at a fixed stride that comes nearest to 8 a second: an uneven choice would itself
look like jerky motion.

Axes: F(t) is the (h, w, 2) flow in pixels from one taken frame to the next, of luma reduced to (h, w).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.extractor import Extractor, Observation, Session
from vidbench.video import Frames
from vidbench_metrics.extractors.flow_statistics import SMALLEST_SIDE, FlowField, magnitude, mean, without_affine
from vidbench_metrics.extractors.luma import GreyImage, luma, reduced

SMOOTHING = 2.0
"""Deviation in pixels of the Gaussian under which the flow's derivatives are taken: a quarter of DIS's patches."""
BORDER = 16
"""A border of this part of the short side is left out where the camera brings new things in."""


def stride_for(interval: float, rate: float) -> int:
    """How many frames to go on at a time, so that frames `interval` seconds apart come nearest to `rate` a second.

    1 where the interval is not known (zero or less).
    """
    return max(1, round(1 / (rate * interval))) if interval > 0 else 1


def shear(flow: FlowField) -> float:
    """Median over places of how much the flow (h, w, 2) deforms its surroundings, in pixels per pixel.

    The part of the flow's Jacobian that is no turning and no zoom, sqrt((u_x - v_y)² + (u_y + v_x)²): rigid bodies that
    move in the picture plane have none, and their edges are too few to move a median.
    """
    smooth = np.asarray(cv2.GaussianBlur(flow, (0, 0), SMOOTHING), np.float32)
    down, right = np.gradient(smooth, axis=0), np.gradient(smooth, axis=1)
    stretch, slant = right[..., 0] - down[..., 1], down[..., 0] + right[..., 1]
    return float(np.median(np.sqrt(stretch * stretch + slant * slant)))


def brought_back(after: GreyImage, flow: FlowField) -> NDArray[np.float32]:
    """The (h, w) image `after` as it looked before it moved along the flow (h, w, 2)."""
    height, width = after.shape
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    back = cv2.remap(after.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(back, np.float32)


def happening(before: GreyImage, after: GreyImage, camera: FlowField) -> float:
    """Mean luma difference of two (h, w) images that neither the camera's motion nor a change of light explains.

    Fine detail is blurred away first, because noise and the errors of bringing an image back live there; the border,
    over which the camera brings new things in, does not count.
    """
    ours, theirs = (
        np.asarray(cv2.GaussianBlur(image.astype(np.float32), (0, 0), SMOOTHING), np.float64)
        for image in (before, brought_back(after, camera))
    )
    margin = min(before.shape) // BORDER
    inside = slice(margin, before.shape[0] - margin), slice(margin, before.shape[1] - margin)
    ours, theirs = ours[inside] - ours[inside].mean(), theirs[inside] - theirs[inside].mean()
    power = float((theirs * theirs).sum())
    gain = float((ours * theirs).sum()) / power if power > 0 else 0.0
    return float(np.abs(ours - gain * theirs).mean())


@dataclass(frozen=True)
class MotionConsistencyParameters:
    """What the motion is measured on; scores are comparable only under the same."""

    short_side: int = 128
    """Short side of the picture that the flow is computed on, in pixels; smaller pictures are left as they are."""
    rate: float = 8.0
    """Frames a second; slower clips are taken as they are."""


@dataclass(frozen=True)
class MotionConsistencyObservation(Observation):
    """Means over the picture for the K frames taken; float64, in pixels of a picture reduced to `short_side`.

    Lengths are scaled to that side where the clip is smaller. NaN throughout the flow's numbers where the picture is
    smaller than `SMALLEST_SIDE`.
    """

    frames: NDArray[np.int64]
    """(K,) numbers of the frames taken, rising by one stride."""
    magnitude: NDArray[np.float64]
    """(K - 1,) mean of |F(t)|."""
    local_magnitude: NDArray[np.float64]
    """(K - 1,) the same of what a per-step affine fit leaves: motion that is not the camera's."""
    shear: NDArray[np.float64]
    """(K - 1,) median deformation of F(t): see the function; pixels per pixel."""
    difference: NDArray[np.float64]
    """(K - 1,) mean luma difference of the two frames, in grey levels."""
    unexplained: NDArray[np.float64]
    """(K - 1,) what of it is left along the flow, in grey levels."""
    restless: NDArray[np.float64]
    """(K - 1,) median over places, not mean, of what is left along the flow: free of edges that come into sight."""
    happening: NDArray[np.float64]
    """(K - 1,) what of it, without fine detail, the camera and the light leave unexplained, in grey levels."""
    acceleration: NDArray[np.float64]
    """(K - 2,) mean of |F(t+1) - F(t)|, at fixed places of the picture."""
    agreement: NDArray[np.float64]
    """(K - 2,) mean of F(t) · F(t+1)."""
    agreement_bound: NDArray[np.float64]
    """(K - 2,) mean of |F(t)| |F(t+1)|."""

    def curves(self) -> Mapping[str, NDArray[np.float64]]:
        """Each array at the frames taken: see `Observation.curves`."""
        return {
            "change that motion leaves unexplained (grey levels)": self._at(self.unexplained, 1),
            "deformation of the flow (pixels per pixel)": self._at(self.shear, 1),
            "acceleration of the flow (pixels)": self._at(self.acceleration, 2),
        }

    def _at(self, values: NDArray[np.float64], first: int) -> NDArray[np.float64]:
        series = np.full(int(self.frames[-1]) + 1, np.nan)
        series[self.frames[first : first + len(values)]] = values
        return series


@dataclass
class _Session(Session):
    parameters: MotionConsistencyParameters
    search: Any = field(init=False)
    first_time: float = 0.0
    stride: int = 0
    taken: list[int] = field(default_factory=list)
    steps: list[tuple[float, ...]] = field(default_factory=list)
    turns: list[tuple[float, ...]] = field(default_factory=list)
    last_image: GreyImage | None = None
    last_flow: FlowField | None = None

    def __post_init__(self) -> None:
        self.search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def push(self, frames: Frames) -> None:
        for number, (frame, time) in enumerate(zip(frames.pixels, frames.times, strict=True), start=frames.start):
            if number == 0:
                self.first_time = float(time)
            elif number == 1:
                self.stride = stride_for(float(time) - self.first_time, self.parameters.rate)
            # The first frame is always taken; the second one's time tells the stride.
            if number == 0 or number % self.stride == 0:
                self._take(number, reduced(luma(frame), self.parameters.short_side))

    def _take(self, number: int, image: GreyImage) -> None:
        self.taken.append(number)
        if self.last_image is not None:
            self._step(self.last_image, image)
        self.last_image = image

    def _step(self, before: GreyImage, after: GreyImage) -> None:
        difference = mean(np.abs(after.astype(np.float32) - before))
        if min(before.shape) < SMALLEST_SIDE:
            self.steps.append((np.nan, np.nan, np.nan, difference, np.nan, np.nan, np.nan))
            if len(self.steps) > 1:
                self.turns.append((np.nan,) * 3)
            return
        flow = self.search.calc(before, after, None)
        local = without_affine(flow)
        left = np.asarray(np.abs(brought_back(after, flow) - before), np.float32)
        alive = happening(before, after, np.asarray(flow - local, np.float32))
        bending = shear(flow)
        scale = np.float32(self.parameters.short_side / min(before.shape))
        flow, local = np.asarray(flow * scale, np.float32), np.asarray(local * scale, np.float32)
        size = magnitude(flow)
        self.steps.append(
            (mean(size), mean(magnitude(local)), bending, difference, mean(left), float(np.median(left)), alive)
        )
        if self.last_flow is not None:
            last = self.last_flow
            self.turns.append((mean(magnitude(flow - last)), mean(flow * last), mean(size * magnitude(last))))
        self.last_flow = flow

    def close(self) -> MotionConsistencyObservation:
        size, local, bending, difference, left, middle, alive = np.array(self.steps, np.float64).reshape(-1, 7).T.copy()
        acceleration, agreement, bound = np.array(self.turns, np.float64).reshape(-1, 3).T.copy()
        return MotionConsistencyObservation(
            frames=np.array(self.taken, np.int64),
            magnitude=size,
            local_magnitude=local,
            shear=bending,
            difference=difference,
            unexplained=left,
            restless=middle,
            happening=alive,
            acceleration=acceleration,
            agreement=agreement,
            agreement_bound=bound,
        )


class MotionConsistency(Extractor[MotionConsistencyParameters]):
    """Size, steadiness and rigidity of the optical flow: see `MotionConsistencyObservation`.

    Raises:
        InputError: the short side is too small for a search, or the rate is not above 0.
    """

    name = "motion_consistency"
    version = "1"
    summary = "acceleration, direction, deformation and explained change of the optical flow, at 8 frames a second"
    parameters_type = MotionConsistencyParameters
    observation_type = MotionConsistencyObservation

    def __init__(self, parameters: MotionConsistencyParameters | None = None) -> None:
        super().__init__(parameters)
        if self.parameters.short_side < SMALLEST_SIDE:
            raise InputError(
                f"motion_consistency.short_side must be at least {SMALLEST_SIDE}, not {self.parameters.short_side}"
            )
        if not self.parameters.rate > 0:
            raise InputError(f"motion_consistency.rate must be above 0, not {self.parameters.rate}")

    def open(self, clip: Clip) -> Session:
        """Begin a clip."""
        return _Session(self.parameters)
