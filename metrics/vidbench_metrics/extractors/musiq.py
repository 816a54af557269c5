"""MUSIQ ratings of every frame: what VBench's imaging quality is.

The network and its source are in `vidbench_metrics.networks.musiq`. Frames are prepared as VBench does by default
(`longer` in vbench/imaging_quality.py at 45e79ec14e69a2187202c675d2dbce1a71843d53 of Vchitect/VBench).
"""

from __future__ import annotations

from collections.abc import Mapping
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
from vidbench_metrics.networks import musiq

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "musiq-spaq"
LONGEST = 512


@dataclass(frozen=True)
class MusiqObservation(Observation):
    """Ratings of a clip's frames."""

    ratings: NDArray[np.float64]
    """(T,) mean opinion scores, about 0 to 100; none where a picture is so thin a strip that nothing of it is left."""

    def curves(self) -> Mapping[str, NDArray[np.float64]]:
        """The ratings over all frames: see `Observation.curves`."""
        return {"imaging quality (MUSIQ points of 100)": self.ratings} if len(self.ratings) else {}


class MusiqRatings(NetworkExtractor[NoParameters, "musiq.Musiq"]):
    """See the module."""

    name = "musiq"
    version = "1"
    summary = "MUSIQ's rating of every frame, trained on SPAQ, as VBench prepares frames"
    observation_type = MusiqObservation
    requires = Requires(extra="models", modules=("torch",), weights=(WEIGHTS,))

    def build(self, files: list[Read]) -> musiq.Musiq:
        """See `NetworkExtractor.build`."""
        ((data, found),) = files
        return musiq.load_checkpoint(data, found.path.name, musiq.PUBLISHED)

    def open(self, clip: Clip) -> Session:
        """Begin a clip; loads the network where that was not done before."""
        return _Session(self.network)


class _Session(Session):
    def __init__(self, network: musiq.Musiq) -> None:
        self._network = network
        self._ratings: list[float] = []

    def push(self, frames: Frames) -> None:
        if not musiq.fits(*prepared_size(*frames.pixels.shape[1:3])):
            return
        with one_thread():
            self._ratings += [self._network(prepare(pixels)) for pixels in frames.pixels]

    def close(self) -> MusiqObservation:
        return MusiqObservation(np.array(self._ratings, np.float64))


def prepared_size(height: int, width: int) -> tuple[int, int]:
    """Height and width after VBench's `longer`: never enlarged, cut off to whole pixels."""
    if max(height, width) <= LONGEST:
        return height, width
    scale = float(LONGEST) / max(height, width)
    return int(scale * height), int(scale * width)


def prepare(pixels: NDArray[np.uint8]) -> Tensor:
    """One frame (H, W, 3) uint8 as (3, h, w) float32 in [0, 1]: longer side at most 512, bilinear, not antialiased."""
    from torch.nn import functional

    frame = to_tensor(pixels)
    size = prepared_size(*pixels.shape[:2])
    if size != pixels.shape[:2]:
        frame = functional.interpolate(frame[None], size, mode="bilinear", align_corners=False)[0]
    return frame / 255.0
