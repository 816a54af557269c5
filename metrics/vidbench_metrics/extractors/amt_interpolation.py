"""How far every second frame is from what AMT-S draws between its neighbours: VBench's motion smoothness.

The network and its source are in `vidbench_metrics.networks.amt`; which frames are compared and how is VBench's
(vbench/motion_smoothness.py at 45e79ec14e69a2187202c675d2dbce1a71843d53 of Vchitect/VBench, on a processor).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import NoParameters, Observation, Requires, Session
from vidbench.video import Frames
from vidbench_metrics.extractors.network import NetworkExtractor, Read
from vidbench_metrics.extractors.resize import to_tensor
from vidbench_metrics.extractors.threads import one_thread
from vidbench_metrics.networks import amt

WEIGHTS = "amt-s"


@dataclass(frozen=True)
class AmtInterpolationObservation(Observation):
    """Of frames 1, 3, 5, … that have a frame on either side."""

    errors: NDArray[np.float64]
    """(K,) mean over pixels and colours of abs(frame - drawn frame), in grey levels."""
    frames: int
    """How many frames the clip has."""
    unfit: str
    """Why nothing was drawn; empty where it was."""

    def curves(self) -> Mapping[str, NDArray[np.float64]]:
        """The errors where frames were drawn: see `Observation.curves`."""
        if not len(self.errors):
            return {}
        curve = np.full(self.frames, np.nan)
        curve[1 : 2 * len(self.errors) : 2] = self.errors
        return {"difference to the interpolated frame (grey levels)": curve}


class AmtInterpolation(NetworkExtractor[NoParameters, "amt.Amt"]):
    """See the module."""

    name = "amt_interpolation"
    version = "1"
    summary = "differences of every second frame from what AMT-S draws between its neighbours"
    observation_type = AmtInterpolationObservation
    requires = Requires(extra="models", modules=("torch",), weights=(WEIGHTS,))

    def build(self, files: list[Read]) -> amt.Amt:
        """See `NetworkExtractor.build`."""
        ((data, found),) = files
        return amt.load_checkpoint(data, found.path.name)

    def open(self, clip: Clip) -> Session:
        """Begin a clip; loads the network where that was not done before."""
        return _Session(self.network)


class _Session(Session):
    def __init__(self, network: amt.Amt) -> None:
        self._network = network
        self._seen = 0
        self._unfit = ""
        self._before: NDArray[np.uint8] | None = None
        self._between: NDArray[np.uint8] | None = None
        self._errors: list[float] = []

    def push(self, frames: Frames) -> None:
        self._unfit = amt.unfit(*frames.pixels.shape[1:3])
        if self._unfit:
            self._seen += len(frames)
            return
        for pixels in frames.pixels:
            if self._seen % 2:
                self._between = pixels
            else:
                if self._before is not None and self._between is not None:
                    drawn = interpolate(self._network, self._before, pixels)
                    self._errors.append(difference(self._between, drawn))
                self._before = pixels
            self._seen += 1
        # Copies, because the decoder may fill its buffer again.
        self._before = self._before.copy() if self._before is not None else None
        self._between = self._between.copy() if self._between is not None else None

    def close(self) -> AmtInterpolationObservation:
        return AmtInterpolationObservation(np.array(self._errors, np.float64), self._seen, self._unfit)


def interpolate(network: amt.Amt, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame in the middle of two (H, W, 3) frames, cut off to whole grey levels as VBench does, not rounded."""
    with one_thread():
        drawn = network(to_tensor(before) / 255.0, to_tensor(after) / 255.0)
        levels = (drawn * 255.0).clamp(0, 255).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(levels.astype(np.uint8))


def difference(frame: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean over pixels and colours of the absolute difference of two (H, W, 3) frames, in grey levels."""
    return float(cv2.norm(frame, other, cv2.NORM_L1) / frame.size)
