"""Size, coherence and change of the optical flow between neighbouring frames.

Flow: dense inverse search (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016), as in OpenCV.
Measured on textures of known motion, with the defaults: from 1 to 12 pixels a step the magnitude is within 5 % of the
truth, below one pixel it is up to 25 % too large, and beyond a sixth of the short side a step is not followed reliably.

Axes: F(t) is the (h, w, 2) flow in pixels from frame t to frame t+1 of the luma, reduced to (h, w).
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
from vidbench_metrics.extractors.luma import GreyImage, luma, reduced
from vidbench_metrics.spans import from_steps

FlowField = NDArray[np.float32]

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
SMALLEST_SIDE = 16
"""Dense inverse search refuses images below 12 pixels, and one of its patches is 8 wide."""


def magnitude(flow: FlowField) -> NDArray[np.float32]:
    """Length of each vector of an (h, w, 2) flow, as (h, w).

    Not `cv2.magnitude`: its last bit depends on where in memory the array lies, and a run must repeat bit for bit.
    """
    along_x, along_y = flow[..., 0], flow[..., 1]
    return np.asarray(np.sqrt(along_x * along_x + along_y * along_y), np.float32)


def mean(values: NDArray[np.float32]) -> float:
    """Mean over places of an (h, w) array, or of the sum of both components of an (h, w, 2) one; summed in float64."""
    height, width = values.shape[:2]
    return float(sum(cv2.sumElems(values)[:2]) / (height * width))


def without_affine(flow: FlowField) -> FlowField:
    """What a least-squares affine motion (pan, zoom, rotation, shear of the whole picture) leaves of an (h, w, 2) flow.

    On a full grid with its origin at the centre 1, x and y are orthogonal, so each coefficient is one projection.
    """
    height, width = flow.shape[:2]
    x = np.arange(width) - (width - 1) / 2
    y = np.arange(height) - (height - 1) / 2
    columns = cv2.reduce(flow, 0, cv2.REDUCE_SUM, dtype=cv2.CV_64F)[0]  # (w, 2)
    rows = cv2.reduce(flow, 1, cv2.REDUCE_SUM, dtype=cv2.CV_64F)[:, 0]  # (h, 2)
    shift = columns.sum(0) / (height * width)
    along_x = x @ columns / (height * (x @ x))
    along_y = y @ rows / (width * (y @ y))
    by_column = (shift + x[:, None] * along_x).astype(np.float32)  # (w, 2)
    by_row = (y[:, None] * along_y).astype(np.float32)  # (h, 2)
    return np.asarray(flow - by_column[None] - by_row[:, None], np.float32)


@dataclass(frozen=True)
class FlowParameters:
    """How the flow is computed; metrics that are compared with each other must use the same."""

    short_side: int = 128
    """Short side of the picture that the flow is computed on, in pixels; smaller pictures are left as they are."""
    preset: str = "medium"
    """Accuracy of the search: ultrafast, fast or medium."""


@dataclass(frozen=True)
class FlowStatisticsObservation(Observation):
    """Means over the picture, for T frames; float64, in pixels of the reduced picture per step.

    NaN throughout where the picture is smaller than `SMALLEST_SIDE`.
    """

    magnitude: NDArray[np.float64]
    """(T - 1,) mean of |F(t)|."""
    local_magnitude: NDArray[np.float64]
    """(T - 1,) the same of what a per-step affine fit leaves: motion that is not the camera's."""
    acceleration: NDArray[np.float64]
    """(T - 2,) mean of |F(t+1) - F(t)|, at fixed places of the picture."""
    agreement: NDArray[np.float64]
    """(T - 2,) mean of F(t) · F(t+1)."""
    agreement_bound: NDArray[np.float64]
    """(T - 2,) mean of |F(t)| |F(t+1)|: what the agreement would be if no vector changed its direction."""
    width: int
    """Width of the reduced picture in pixels."""
    height: int
    """Height of the reduced picture in pixels."""

    def curves(self) -> Mapping[str, NDArray[np.float64]]:
        """Sizes of the flow and of its change over all frames: see `Observation.curves`."""
        frames = len(self.magnitude) + 1
        unit = f"pixels of {self.width} x {self.height} a frame"
        return {
            f"optical flow ({unit})": from_steps(self.magnitude, frames),
            f"optical flow without the camera's ({unit})": from_steps(self.local_magnitude, frames),
            f"change of the optical flow ({unit})": from_steps(self.acceleration, frames),
        }


@dataclass
class _FlowStatisticsSession(Session):
    parameters: FlowParameters
    # A search object keeps the last pair's pyramids, so each clip has its own.
    search: Any = field(init=False)
    steps: list[tuple[float, float]] = field(default_factory=list)
    turns: list[tuple[float, float, float]] = field(default_factory=list)
    last_image: GreyImage | None = None
    last_flow: FlowField | None = None
    size: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.search = cv2.DISOpticalFlow.create(PRESETS[self.parameters.preset])

    def push(self, frames: Frames) -> None:
        for frame in frames.pixels:
            image = reduced(luma(frame), self.parameters.short_side)
            self.size = image.shape[0], image.shape[1]
            if self.last_image is not None:
                self._step(self.last_image, image)
            self.last_image = image

    def _step(self, before: GreyImage, after: GreyImage) -> None:
        if min(self.size) < SMALLEST_SIDE:
            self.steps.append((np.nan, np.nan))
            if len(self.steps) > 1:
                self.turns.append((np.nan, np.nan, np.nan))
            return
        flow = self.search.calc(before, after, None)
        self.steps.append((mean(magnitude(flow)), mean(magnitude(without_affine(flow)))))
        if self.last_flow is not None:
            self.turns.append(
                (
                    mean(magnitude(flow - self.last_flow)),
                    mean(flow * self.last_flow),
                    mean(magnitude(flow) * magnitude(self.last_flow)),
                )
            )
        self.last_flow = flow

    def close(self) -> FlowStatisticsObservation:
        size, local = np.array(self.steps, np.float64).reshape(-1, 2).T.copy()
        acceleration, agreement, bound = np.array(self.turns, np.float64).reshape(-1, 3).T.copy()
        return FlowStatisticsObservation(
            magnitude=size,
            local_magnitude=local,
            acceleration=acceleration,
            agreement=agreement,
            agreement_bound=bound,
            width=self.size[1],
            height=self.size[0],
        )


class FlowStatistics(Extractor[FlowParameters]):
    """Statistics of the optical flow: see `FlowStatisticsObservation`.

    Raises:
        InputError: the preset is unknown, or the short side is too small for a search.
    """

    name = "flow_statistics"
    version = "1"
    summary = "size, coherence and change of the optical flow between neighbouring frames"
    parameters_type = FlowParameters
    observation_type = FlowStatisticsObservation

    def __init__(self, parameters: FlowParameters | None = None) -> None:
        super().__init__(parameters)
        if self.parameters.preset not in PRESETS:
            raise InputError(
                f"flow_statistics.preset must be one of {', '.join(PRESETS)}, not '{self.parameters.preset}'"
            )
        if self.parameters.short_side < SMALLEST_SIDE:
            raise InputError(
                f"flow_statistics.short_side must be at least {SMALLEST_SIDE}, not {self.parameters.short_side}"
            )

    def open(self, clip: Clip) -> Session:
        """Begin a clip."""
        return _FlowStatisticsSession(self.parameters)
