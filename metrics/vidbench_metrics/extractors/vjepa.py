"""Features of windows of frames from V-JEPA ViT-H/16 and its probe on Something-Something v2: what JEDi is computed on.

Luo et al., arXiv 2410.05203; oooolga/JEDi c03d1785 (PyPI videojedi 1.1.0), which takes clips in the size that its
loader gave them: `side=0` does that. Otherwise a frame is squashed to side x side, bilinear without antialiasing. Then
x / 255, less ImageNet's mean, by its deviation. The network: `video_transformer`; about 6 GB of memory to load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.extractor import Observation, Requires, Session
from vidbench_metrics import video_transformer
from vidbench_metrics.extractors.network import NetworkExtractor, Read
from vidbench_metrics.extractors.resize import squash, to_tensor
from vidbench_metrics.extractors.windows import STARTS, WindowSession
from vidbench_metrics.video_transformer import VJepa, load_vjepa

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = (video_transformer.VJEPA, video_transformer.PROBE)
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
LEAST_SIDE = 16
MOST_SIDE = 512
"""Beyond this a window has more than 8000 tokens."""


@dataclass(frozen=True)
class VJepaParameters:
    """All that the features depend on besides the clip and the weights."""

    side: int = 224
    """Frames are squashed to this size, a multiple of 16; 0 takes them as they are."""
    frames: int = 16
    """Length of a window: even, 16 as trained."""
    start: str = "random"
    """Which window of a longer clip: the `first`, one at `random`, or `all` that do not overlap."""
    seed: int = 0
    """Of the random start, together with the first frame: the same clip always gives the same window."""

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise InputError(f"vjepa.start must be one of {', '.join(STARTS)}, got '{self.start}'")
        if self.frames < 2 or self.frames % 2:
            raise InputError(f"vjepa.frames must be even and at least 2, got {self.frames}")
        if self.side and (self.side % LEAST_SIDE or not LEAST_SIDE <= self.side <= MOST_SIDE):
            raise InputError(f"vjepa.side must be 0 or a multiple of 16 up to {MOST_SIDE}, got {self.side}")


@dataclass(frozen=True)
class VJepaObservation(Observation):
    """Features of a clip's windows; none where the clip is shorter than a window."""

    features: NDArray[np.float32]
    """(N, 1280) after the attentive pooler."""
    starts: NDArray[np.int64]
    """(N,) first frame of each window, rising, from 0."""
    unpublished: str
    """Checksums of the weights where they are not the published ones, else empty."""


class VJepaH(NetworkExtractor[VJepaParameters, "VJepa"]):
    """See the module."""

    name = "vjepa"
    version = "1"
    summary = "1280 features of a window of 16 frames, V-JEPA ViT-H/16 with its Something-Something v2 probe"
    observation_type = VJepaObservation
    parameters_type = VJepaParameters
    requires = Requires(extra="models", modules=("torch",), weights=WEIGHTS)

    def build(self, files: list[Read]) -> VJepa:
        """See `NetworkExtractor.build`."""
        (encoder, first), (probe, second) = files
        return load_vjepa(encoder, probe, (first.path.name, second.path.name), video_transformer.VJEPA_HUGE)

    def open(self, clip: Clip) -> Session:
        """Begin a clip; loads the network where that was not done before."""
        return _Session(self.network, self.parameters, self.unpublished)


class _Session(WindowSession):
    def __init__(self, network: VJepa, parameters: VJepaParameters, unpublished: str) -> None:
        # One window at a time: a batch of this network gains nothing and takes gigabytes.
        super().__init__(network, parameters, network.config.width, batch=1)
        self._side = parameters.side
        self._unpublished = unpublished

    def _prepare(self, pixels: NDArray[np.uint8]) -> Tensor:
        import torch

        if not self._side and not LEAST_SIDE <= min(pixels.shape[:2]) <= max(pixels.shape[:2]) <= MOST_SIDE:
            height, width = pixels.shape[:2]
            raise InputError(f"side=0 takes frames of {LEAST_SIDE} to {MOST_SIDE} pixels, not {width}x{height}")
        frame = to_tensor(pixels) / 255
        if self._side:
            frame = squash(frame, self._side)
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        return (frame - mean) / deviation

    def close(self) -> VJepaObservation:
        features, starts = self.looked()
        return VJepaObservation(features=features, starts=starts, unpublished=self._unpublished)
