"""Features of single frames from the Inception network of FID; the network and its sources: `inception_network`.

A frame is squashed to 299x299 by TensorFlow 1's legacy bilinear resize and becomes (value - 128) / 128, as in
toshas/torch-fidelity 0.4.0. (clean-fid resizes otherwise; numbers of the two do not compare.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.extractor import Observation, Requires, Session
from vidbench.video import Frames
from vidbench_metrics.extractors.network import NetworkExtractor, Read
from vidbench_metrics.extractors.resize import squash_tf1, to_tensor
from vidbench_metrics.extractors.sampled_frames import SampledFrames
from vidbench_metrics.extractors.threads import one_thread
from vidbench_metrics.inception_network import DIMENSIONS, SIDE, WEIGHTS, Inception, load_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

RESERVE = 4
"""Frames kept while a clip streams, as a multiple of the frames wanted: at most 69 MB for 16 frames."""


@dataclass(frozen=True)
class InceptionParameters:
    """How many frames are looked at."""

    frames: int = 16
    """Frames of each clip, evenly spaced over it; all of a shorter clip. At least 1."""

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise InputError(f"inception.frames must be at least 1, got {self.frames}")


@dataclass(frozen=True)
class InceptionObservation(Observation):
    """Features of some frames of a clip."""

    features: NDArray[np.float32]
    """(N, 2048), not negative: after the last pool."""
    frame_numbers: NDArray[np.int64]
    """(N,) rising, from 0."""
    unpublished: str
    """Checksum of the weights where they are not the published ones, else empty."""


class InceptionV3(NetworkExtractor[InceptionParameters, "Inception"]):
    """See the module."""

    name = "inception"
    version = "1"
    summary = "2048 features of each of 16 frames, the Inception-v3 of FID"
    observation_type = InceptionObservation
    parameters_type = InceptionParameters
    requires = Requires(extra="models", modules=("torch",), weights=(WEIGHTS,))

    def build(self, files: list[Read]) -> Inception:
        """See `NetworkExtractor.build`."""
        ((data, found),) = files
        return load_checkpoint(data, found.path.name)

    def open(self, clip: Clip) -> Session:
        """Begin a clip; loads the network where that was not done before."""
        return _Session(self.network, self.parameters.frames, self.unpublished)


def prepare(pixels: NDArray[np.uint8]) -> Tensor:
    """One frame (H, W, 3) uint8 as the network wants it: (3, 299, 299) float32."""
    return (squash_tf1(to_tensor(pixels), SIDE) - 128) / 128


class _Session(Session):
    def __init__(self, network: Inception, wanted: int, unpublished: str) -> None:
        self._network = network
        self._unpublished = unpublished
        self._frames: SampledFrames[Tensor | NDArray[np.uint8]] = SampledFrames(wanted, _smaller, RESERVE)

    def push(self, frames: Frames) -> None:
        with one_thread():
            self._frames.push(frames)

    def close(self) -> InceptionObservation:
        rows, numbers = [np.empty((0, DIMENSIONS), np.float32)], []
        with one_thread():
            # One frame at a time: its features can't depend on its neighbours.
            for number, kept in self._frames.chosen():
                frame = prepare(kept) if isinstance(kept, np.ndarray) else kept
                rows.append(np.asarray(self._network(frame[None]).numpy(), np.float32))
                numbers.append(number)
        return InceptionObservation(np.concatenate(rows), np.array(numbers, np.int64), self._unpublished)


def _smaller(pixels: NDArray[np.uint8]) -> Tensor | NDArray[np.uint8]:
    """The frame itself or what the network wants, whichever takes less memory."""
    return pixels.copy() if pixels.nbytes <= 4 * 3 * SIDE * SIDE else prepare(pixels)
