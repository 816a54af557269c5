"""DINO ViT-B/16 features of every frame: what VBench's subject consistency is computed on.

The network and its source are in `vidbench_metrics.networks.dino`. Frames go through VBench's `dino_transform(224)`
(vbench/utils.py at 45e79ec14e69a2187202c675d2dbce1a71843d53 of Vchitect/VBench): short side to 224, bilinear without
antialiasing, no crop, ImageNet's mean and deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import NoParameters, Observation, Requires, Session
from vidbench.video import Frames
from vidbench_metrics.extractors.network import NetworkExtractor, Read
from vidbench_metrics.extractors.resize import to_tensor
from vidbench_metrics.extractors.threads import one_thread
from vidbench_metrics.networks import dino

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "dino-vit-b-16"
SIDE = 224
LONGEST = 8
"""Frames longer than this many times their short side are not looked at: a strip of 2000 x 8 pixels would become one
of 56,000 x 224, and attention grows with the square of that."""
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class DinoObservation(Observation):
    """Features of a clip's frames."""

    features: NDArray[np.float32]
    """(T, 768) class tokens, not normalised; (0, 768) where the picture is a strip that the network can't take."""


class DinoFeatures(NetworkExtractor[NoParameters, "dino.Dino"]):
    """See the module."""

    name = "dino"
    version = "1"
    summary = "768 features of every frame, DINO ViT-B/16 class token, as VBench prepares frames"
    observation_type = DinoObservation
    requires = Requires(extra="models", modules=("torch",), weights=(WEIGHTS,))

    def build(self, files: list[Read]) -> dino.Dino:
        """See `NetworkExtractor.build`."""
        ((data, found),) = files
        return dino.load_checkpoint(data, found.path.name, dino.VIT_B_16)

    def open(self, clip: Clip) -> Session:
        """Begin a clip; loads the network where that was not done before."""
        return _Session(self.network)


class _Session(Session):
    def __init__(self, network: dino.Dino) -> None:
        self._network = network
        self._features: list[NDArray[np.float32]] = []

    def push(self, frames: Frames) -> None:
        height, width = frames.pixels.shape[1:3]
        if max(height, width) > LONGEST * min(height, width):
            return
        with one_thread():
            # One frame at a time, as VBench does: its features cannot depend on its neighbours.
            for pixels in frames.pixels:
                self._features.append(np.asarray(self._network(prepare(pixels)[None]).numpy(), np.float32))

    def close(self) -> DinoObservation:
        empty = np.empty((0, self._network.size.width), np.float32)
        return DinoObservation(np.concatenate([empty, *self._features]))


def prepare(pixels: NDArray[np.uint8]) -> Tensor:
    """One frame (H, W, 3) uint8 as (3, h, w) float32: VBench's `dino_transform(224)`."""
    import torch
    from torch.nn import functional

    frame = to_tensor(pixels)
    height, width = frame.shape[1:]
    long = int(SIDE * max(height, width) / min(height, width))
    size = (long, SIDE) if width <= height else (SIDE, long)
    if size != (height, width):
        frame = functional.interpolate(frame[None], size, mode="bilinear", align_corners=False)[0]
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    return (frame / 255 - mean) / deviation
