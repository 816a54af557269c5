"""Optical flow of RAFT between frames an eighth of a second apart: what VBench's dynamic degree is computed on.

The network and its source are in `vidbench_metrics.networks.raft`; which frames are looked at and what is kept of each
flow is VBench's (vbench/dynamic_degree.py at 45e79ec14e69a2187202c675d2dbce1a71843d53 of Vchitect/VBench).
"""

from __future__ import annotations

from collections.abc import Mapping
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
from vidbench_metrics.networks import raft

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = {"authors": "raft", "torchvision": "raft-torchvision"}
HELD = 9
"""Frames that are held until the frame rate is known: eight steps tell it to a fraction of a per cent."""
NTSC = tuple(rate * 1000 / 1001 for rate in (24, 30, 60, 120))
TOP_SHARE = 0.05


@dataclass(frozen=True)
class RaftFlowParameters:
    """Which frames, how exactly, and what is kept."""

    weights: str = "authors"
    """`authors`: raft-things.pth out of their zip; `torchvision`: torchvision's port of the same weights."""
    rate: float = 8.0
    """Frames a second that are looked at, as near as leaving out frames evenly comes to it; 0 looks at all."""
    iterations: int = 20
    """How often a flow is refined."""
    keep_flow: bool = False
    """Keep the flow itself, at an eighth of the picture's size: 8 bytes a cell and pair."""

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise InputError(f"raft_flow.weights must be one of {', '.join(WEIGHTS)}, got '{self.weights}'")
        if self.rate < 0 or self.iterations < 1:
            raise InputError("raft_flow.rate must not be below 0 and raft_flow.iterations not below 1")


@dataclass(frozen=True)
class RaftFlowObservation(Observation):
    """Of the P pairs of neighbours among the N frames looked at."""

    frames: NDArray[np.int64]
    """(N,) their numbers, rising, from 0."""
    top: NDArray[np.float64]
    """(P,) mean of the largest 5 % of the flow's magnitudes, in pixels."""
    mean: NDArray[np.float64]
    """(P,) mean of all magnitudes, in pixels."""
    flow: NDArray[np.float32]
    """(P, h, w, 2) flow in pixels, x before y, one cell for 8 x 8 pixels; (0, 0, 0, 2) unless asked for."""
    interval: int
    """Every how many frames one was looked at."""
    tail: int
    """Frames after the last that was looked at."""
    unfit: str
    """Why nothing was looked at; empty where it was."""

    def curves(self) -> Mapping[str, NDArray[np.float64]]:
        """Mean and largest flow where it was looked at: see `Observation.curves`."""
        if not len(self.top):
            return {}
        curves = {}
        for name, values in (("mean flow", self.mean), ("largest 5 % of the flow", self.top)):
            curve = np.full(int(self.frames[-1]) + self.tail + 1, np.nan)
            curve[self.frames[1:]] = values
            curves[f"{name} (pixels in {self.interval} frames)"] = curve
        return curves


def interval_of(fps: float, rate: float) -> int:
    """Every how many frames one is looked at, rounded as VBench does (halves to even)."""
    return max(1, round(fps / rate)) if rate > 0 else 1


def rate_of(times: NDArray[np.float64]) -> float:
    """Frames a second from the first times of a clip, put right where the file's clock rounded it.

    Args:
        times: seconds, or frame numbers where the rate is unknown, which then counts as one frame a second.
    """
    if len(times) < 2 or times[-1] <= times[0]:
        return 1.0
    found = float((len(times) - 1) / (times[-1] - times[0]))
    near = min((round(found), *NTSC), key=lambda rate: abs(rate - found))
    return float(near) if near and abs(near - found) < 5e-3 * found else found


class RaftFlow(NetworkExtractor[RaftFlowParameters, "raft.Raft"]):
    """See the module."""

    name = "raft_flow"
    version = "1"
    summary = "RAFT's optical flow between frames an eighth of a second apart: mean and largest magnitudes"
    observation_type = RaftFlowObservation
    parameters_type = RaftFlowParameters
    requires = Requires(extra="models", modules=("torch", "torchvision"), weights=("raft",))

    @property
    def weights_names(self) -> tuple[str, ...]:
        """The weights that these parameters use."""
        return (WEIGHTS[self.parameters.weights],)

    def build(self, files: list[Read]) -> raft.Raft:
        """See `NetworkExtractor.build`."""
        ((data, found),) = files
        load = raft.load_original if self.parameters.weights == "authors" else raft.load_torchvision
        return load(data, found.path.name)

    def open(self, clip: Clip) -> Session:
        """Begin a clip; loads the network where that was not done before."""
        return _Session(self.network, self.parameters, clip.fps)


class _Session(Session):
    def __init__(self, network: raft.Raft, parameters: RaftFlowParameters, fps: float | None) -> None:
        self._network = network
        self._parameters = parameters
        self._interval = interval_of(fps, parameters.rate) if fps is not None else 0
        self._held: list[tuple[float, NDArray[np.uint8]]] = []
        self._seen = 0
        self._unfit = ""
        self._before: tuple[Tensor, Tensor] | None = None
        self._frames: list[int] = []
        self._top: list[float] = []
        self._mean: list[float] = []
        self._flows: list[NDArray[np.float32]] = []

    def push(self, frames: Frames) -> None:
        self._unfit = raft.unfit(*frames.pixels.shape[1:3])
        if self._unfit:
            return
        for time, pixels in zip(frames.times, frames.pixels, strict=True):
            if self._interval:
                self._take(pixels)
                continue
            # A copy, because the decoder may fill its buffer again.
            self._held.append((float(time), pixels.copy()))
            if len(self._held) == HELD:
                self._settle()

    def _settle(self) -> None:
        """Now the rate is known, as well as it will be."""
        rate = rate_of(np.array([time for time, _ in self._held]))
        self._interval = interval_of(rate, self._parameters.rate)
        held, self._held = self._held, []
        for _, pixels in held:
            self._take(pixels)

    def _take(self, pixels: NDArray[np.uint8]) -> None:
        number = self._seen
        self._seen += 1
        if number % self._interval:
            return
        with one_thread():
            now = self._network.features(to_tensor(pixels))
            self._frames.append(number)
            if self._before is not None:
                self._pair(self._before, now)
            self._before = now

    def _pair(self, before: tuple[Tensor, Tensor], now: tuple[Tensor, Tensor]) -> None:
        flow, cells = self._network(before, now, self._parameters.iterations)
        size = magnitudes(flow.numpy())
        self._top.append(top_mean(size))
        self._mean.append(float(size.mean(dtype=np.float64)))
        if self._parameters.keep_flow:
            self._flows.append(np.ascontiguousarray(raft.CELL * cells.numpy().transpose(1, 2, 0), np.float32))

    def close(self) -> RaftFlowObservation:
        if self._held:
            self._settle()
        return RaftFlowObservation(
            frames=np.array(self._frames, np.int64),
            top=np.array(self._top, np.float64),
            mean=np.array(self._mean, np.float64),
            flow=np.stack(self._flows) if self._flows else np.empty((0, 0, 0, 2), np.float32),
            interval=max(1, self._interval),
            unfit=self._unfit,
            tail=self._seen - 1 - self._frames[-1] if self._frames else 0,
        )


def magnitudes(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Length of each vector of a (2, h, w) flow, as (h, w)."""
    return np.asarray(np.sqrt(flow[0] * flow[0] + flow[1] * flow[1]), np.float32)


def top_mean(size: NDArray[np.float32]) -> float:
    """Mean of the largest 5 % of an (h, w) array, whose number is rounded down; the padding that RAFT adds counts."""
    flat = size.ravel()
    count = int(size.shape[0] * size.shape[1] * TOP_SHARE)
    return float(np.sort(np.partition(flat, len(flat) - count)[len(flat) - count :]).mean(dtype=np.float64))
