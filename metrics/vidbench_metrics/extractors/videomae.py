"""Features of windows of frames from VideoMAE-v2 ViT-g, fine-tuned on Something-Something v2: content-debiased FVD.

Ge et al., arXiv 2404.12391; songweige/content-debiased-fvd a1e037ab. A frame becomes x / 255 and is squashed to
224x224, bilinear without antialiasing; its mean and deviation are left alone. The network: `video_transformer`. Loading
takes the checkpoint and a float32 copy of it into memory: about 8 GB.
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
from vidbench_metrics.extractors.resize import squash, through_loader, to_tensor
from vidbench_metrics.extractors.windows import STARTS, WindowSession
from vidbench_metrics.video_transformer import VideoMae, load_videomae

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = video_transformer.VIDEOMAE


@dataclass(frozen=True)
class VideoMaeParameters:
    """All that the features depend on besides the clip and the weights."""

    resolution: int = 0
    """First bring frames to this size as cd-fvd's loader does; 0 leaves that out."""
    frames: int = 16
    """Length of a window: even, 16 as trained."""
    start: str = "random"
    """Which window of a longer clip: the `first`, one at `random`, or `all` that do not overlap."""
    seed: int = 0
    """Of the random start, together with the first frame: the same clip always gives the same window."""

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise InputError(f"videomae.start must be one of {', '.join(STARTS)}, got '{self.start}'")
        if self.frames < 2 or self.frames % 2:
            raise InputError(f"videomae.frames must be even and at least 2, got {self.frames}")
        if self.resolution < 0:
            raise InputError(f"videomae.resolution must not be below 0, got {self.resolution}")


@dataclass(frozen=True)
class VideoMaeObservation(Observation):
    """Features of a clip's windows; none where the clip is shorter than a window."""

    features: NDArray[np.float32]
    """(N, 1408) normalised mean tokens."""
    starts: NDArray[np.int64]
    """(N,) first frame of each window, rising, from 0."""
    unpublished: str
    """Checksum of the weights where they are not the published ones, else empty."""


class VideoMaeV2(NetworkExtractor[VideoMaeParameters, "VideoMae"]):
    """See the module."""

    name = "videomae"
    version = "1"
    summary = "1408 features of a window of 16 frames, VideoMAE-v2 ViT-g fine-tuned on Something-Something v2"
    observation_type = VideoMaeObservation
    parameters_type = VideoMaeParameters
    requires = Requires(extra="models", modules=("torch",), weights=(WEIGHTS,))

    def build(self, files: list[Read]) -> VideoMae:
        """See `NetworkExtractor.build`."""
        ((data, found),) = files
        return load_videomae(data, found.path.name, video_transformer.VIDEOMAE_GIANT)

    def open(self, clip: Clip) -> Session:
        """Begin a clip; loads the network where that was not done before."""
        return _Session(self.network, self.parameters, self.unpublished)


class _Session(WindowSession):
    def __init__(self, network: VideoMae, parameters: VideoMaeParameters, unpublished: str) -> None:
        # One window at a time: a batch of this network gains nothing and takes gigabytes.
        super().__init__(network, parameters, network.config.width, batch=1)
        self._resolution = parameters.resolution
        self._side = network.config.side
        self._unpublished = unpublished

    def _prepare(self, pixels: NDArray[np.uint8]) -> Tensor:
        frame = to_tensor(pixels)
        if self._resolution:
            frame = through_loader(frame, self._resolution)
        return squash(frame / 255, self._side)

    def close(self) -> VideoMaeObservation:
        features, starts = self.looked()
        return VideoMaeObservation(features=features, starts=starts, unpublished=self._unpublished)
