"""ViCLIP's embedding of a whole clip from eight frames: what VBench's overall consistency is computed on.

The network and its source are in `vidbench_metrics.networks.viclip`; which frames are looked at is VBench's
(`read_frames_decord_by_fps(num_frames=8, sample="middle")` of vbench 0.1.5, vbench/utils.py): the clip is cut into
eight spans and the middle frame of each is taken; a shorter clip repeats its last frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import Observation, Requires, Session
from vidbench.video import Frames
from vidbench_metrics.clip_preprocess import ModelInput, normalised, vbench_bytes
from vidbench_metrics.extractors.network import NetworkExtractor, Read
from vidbench_metrics.extractors.resize import to_tensor
from vidbench_metrics.extractors.threads import one_thread
from vidbench_metrics.networks import viclip

if TYPE_CHECKING:
    from vidbench_metrics.networks.viclip import VisionTower

MOST = 256
"""Frames kept of a clip whose length is not known before its end, 150 kB each. Of longer ones every second, fourth …
frame is kept, and the nearest before a middle is taken."""


@dataclass(frozen=True)
class ViClipVideoParameters:
    """None."""


@dataclass(frozen=True)
class ViClipVideoObservation(Observation):
    """One clip."""

    embedding: NDArray[np.float32]
    """(768,), not normalised."""
    frames: NDArray[np.int64]
    """(8,) numbers of the frames looked at, from 0."""
    unpublished: str
    """Checksum of the weights where they are not the published ones, else empty."""


def middles(frames: int) -> NDArray[np.int64]:
    """(8,) middle frames of as many spans; the last is repeated where the clip has fewer frames."""
    wanted = min(viclip.FRAMES, frames)
    ends = np.linspace(0, frames, wanted + 1).astype(np.int64)
    found = (ends[:-1] + ends[1:] - 1) // 2
    return np.pad(found, (0, viclip.FRAMES - wanted), mode="edge")


class ViClipVideo(NetworkExtractor[ViClipVideoParameters, "VisionTower"]):
    """See the module."""

    name = "viclip_video"
    version = "1"
    summary = "ViCLIP's embedding of the clip from eight frames"
    observation_type = ViClipVideoObservation
    parameters_type = ViClipVideoParameters
    requires = Requires(extra="models", modules=("torch", "open_clip"), weights=(viclip.ROW,))

    def build(self, files: list[Read]) -> VisionTower:
        """See `NetworkExtractor.build`."""
        ((data, found),) = files
        return viclip.VisionTower(viclip.load(data, found.path.name))

    def open(self, clip: Clip) -> Session:
        """Begin a clip; loads the network where that was not done before."""
        return _Session(self.network, self.unpublished)


class _Session(Session):
    def __init__(self, tower: VisionTower, unpublished: str) -> None:
        self._tower = tower
        self._unpublished = unpublished
        self._input = ModelInput(side=tower.side)
        self._kept: list[NDArray[np.uint8]] = []
        self._stride = 1
        self._seen = 0

    def push(self, frames: Frames) -> None:
        with one_thread():
            for pixels in frames.pixels:
                if self._seen % self._stride == 0:
                    self._kept.append(vbench_bytes(pixels, self._input))
                self._seen += 1
                if len(self._kept) > MOST:
                    self._kept = self._kept[::2]
                    self._stride *= 2

    def close(self) -> ViClipVideoObservation:
        import torch

        numbers = middles(self._seen) // self._stride
        with one_thread():
            frames = torch.stack([normalised(to_tensor(self._kept[n]), self._input) for n in numbers])
            embedding = np.asarray(self._tower(frames).numpy(), np.float32)
        return ViClipVideoObservation(embedding=embedding, frames=numbers * self._stride, unpublished=self._unpublished)
