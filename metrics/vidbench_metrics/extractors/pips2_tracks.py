"""How 400 points of every window of 16 frames move, by PIPs++: what FVMD is computed on.

The network and its source are in `vidbench_metrics.networks.pips2`; windows, grid and histograms in
`vidbench_metrics.motion_histograms`. A window takes about 40 CPU-seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.extractor import Observation, Requires, Session
from vidbench.video import Frames
from vidbench_metrics.extractors.network import NetworkExtractor, Read
from vidbench_metrics.extractors.resize import to_tensor
from vidbench_metrics.extractors.threads import one_thread
from vidbench_metrics.motion_histograms import DIMENSIONS, SIDE, WINDOW, grid, motion_features
from vidbench_metrics.networks import pips2

if TYPE_CHECKING:
    from torch import Tensor

TURNS = 16
"""How often tracks are refined."""


@dataclass(frozen=True)
class Pips2TracksParameters:
    """Which windows."""

    stride: int = 1
    """Frames from one window's beginning to the next's."""

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise InputError(f"pips2_tracks.stride must be at least 1, got {self.stride}")


@dataclass(frozen=True)
class Pips2TracksObservation(Observation):
    """Histograms of a clip's windows; none where the clip is shorter than a window."""

    features: NDArray[np.float32]
    """(N, 1024), see `motion_features`."""
    starts: NDArray[np.int64]
    """(N,) first frame of each window, rising, from 0."""
    unpublished: str
    """Checksum of the weights where they are not the published ones, else empty."""


class Pips2Tracks(NetworkExtractor[Pips2TracksParameters, "pips2.Pips2"]):
    """See the module."""

    name = "pips2_tracks"
    version = "1"
    summary = "histograms of how 400 points move in each window of 16 frames, by PIPs++"
    observation_type = Pips2TracksObservation
    parameters_type = Pips2TracksParameters
    requires = Requires(extra="models", modules=("torch", "PIL"), weights=("pips2",))

    def build(self, files: list[Read]) -> pips2.Pips2:
        """See `NetworkExtractor.build`."""
        ((data, found),) = files
        return pips2.load(data, found.path.name)

    def open(self, clip: Clip) -> Session:
        """Begin a clip; loads the network where that was not done before."""
        return _Session(self.network, self.parameters, self.unpublished)


class _Session(Session):
    def __init__(self, network: pips2.Pips2, parameters: Pips2TracksParameters, unpublished: str) -> None:
        self._network = network
        self._parameters = parameters
        self._unpublished = unpublished
        self._maps: deque[Tensor] = deque(maxlen=WINDOW)
        self._features: list[NDArray[np.float32]] = []
        self._starts: list[int] = []

    def push(self, frames: Frames) -> None:
        with one_thread():
            for number, pixels in enumerate(frames.pixels, frames.start):
                self._next(number, pixels)

    def _next(self, number: int, pixels: NDArray[np.uint8]) -> None:
        import torch
        from PIL import Image

        small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        self._maps.append(self._network.features(to_tensor(np.asarray(small))))
        start = number + 1 - WINDOW
        if start < 0 or start % self._parameters.stride:
            return
        points = torch.from_numpy(grid())
        tracks = self._network(torch.stack(list(self._maps)), points, TURNS)
        self._features.append(motion_features(tracks.numpy()))
        self._starts.append(start)

    def close(self) -> Pips2TracksObservation:
        return Pips2TracksObservation(
            features=np.stack(self._features) if self._features else np.empty((0, DIMENSIONS), np.float32),
            starts=np.array(self._starts, np.int64),
            unpublished=self._unpublished,
        )
