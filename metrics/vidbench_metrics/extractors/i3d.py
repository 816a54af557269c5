"""Features of windows of frames from Inception-I3D trained on Kinetics-400: what FVD and KVD are computed on.

The network and its sources are in `vidbench_metrics.i3d_network`. Two files hold its weights: `i3d_pretrained_400.pt`
(read tensor by tensor), and `i3d_torchscript.pt`, StyleGAN-V's program (universome/stylegan-v 3fecd69c), which is run
only if it is the published file: a program may do anything.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidbench import weights
from vidbench.clips import Clip
from vidbench.errors import InputError, PluginError
from vidbench.extractor import Observation, Requires, Session
from vidbench_metrics.extractors.network import NetworkExtractor, Read
from vidbench_metrics.extractors.resize import crop, squash, squash_tf1, through_loader, to_tensor
from vidbench_metrics.extractors.windows import STARTS, Network, WindowSession
from vidbench_metrics.i3d_network import CLASSES, MIN_FRAMES, SIDE, load_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = {"checkpoint": "i3d", "torchscript": "i3d-torchscript"}
RESIZES = ("squash", "squash_tf1", "crop")


@dataclass(frozen=True)
class I3DParameters:
    """All that the features depend on besides the clip and the weights."""

    backend: str = "checkpoint"
    """`checkpoint`, or `torchscript`, in which the epsilon is part of the file."""
    epsilon: float = 1e-3
    """Of the batch norms: 1e-3 as in TF-Hub, 1e-5 as in VideoGPT and cd-fvd."""
    resize: str = "squash"
    """To 224x224: `squash` (bilinear), `squash_tf1` (TensorFlow 1's legacy bilinear), `crop` (shorter side, centre)."""
    resolution: int = 0
    """First bring frames to this size as cd-fvd's loader does; 0 leaves that out."""
    frames: int = 16
    """Length of a window, at least 9."""
    start: str = "random"
    """Which window of a longer clip: the `first`, one at `random`, or `all` that do not overlap."""
    seed: int = 0
    """Of the random start, together with the first frame: the same clip always gives the same window."""

    def __post_init__(self) -> None:
        for name, known in (("backend", tuple(WEIGHTS)), ("resize", RESIZES), ("start", STARTS)):
            if getattr(self, name) not in known:
                raise InputError(f"i3d.{name} must be one of {', '.join(known)}, got '{getattr(self, name)}'")
        if self.frames < MIN_FRAMES:
            raise InputError(
                f"i3d.frames must be at least {MIN_FRAMES}, the least the network takes; got {self.frames}"
            )
        if self.epsilon <= 0 or self.resolution < 0:
            raise InputError("i3d.epsilon must be above 0 and i3d.resolution not below 0")


@dataclass(frozen=True)
class I3DObservation(Observation):
    """Features of a clip's windows; none where the clip is shorter than a window."""

    features: NDArray[np.float32]
    """(N, 400) logits, averaged over time, not softmaxed."""
    starts: NDArray[np.int64]
    """(N,) first frame of each window, rising, from 0."""
    unpublished: str
    """Checksum of the weights where they are not the published ones, else empty."""


class I3D(NetworkExtractor[I3DParameters, "Network"]):
    """See the module.

    Frames become 2x / 255 - 1. While a clip of unknown length streams, only the frames of windows that may still be
    chosen are resized and kept: 0.6 MB a frame, at most a few windows.
    """

    name = "i3d"
    version = "1"
    summary = "400 logits of a window of 16 frames, Inception-I3D trained on Kinetics-400"
    observation_type = I3DObservation
    parameters_type = I3DParameters
    requires = Requires(extra="models", modules=("torch",), weights=("i3d",))

    @property
    def weights_names(self) -> tuple[str, ...]:
        """The weights of this backend."""
        return (WEIGHTS[self.parameters.backend],)

    def build(self, files: list[Read]) -> Network:
        """See `NetworkExtractor.build`; PluginError, too, where the program is not the published one."""
        ((data, found),) = files
        if self.parameters.backend != "torchscript":
            return load_checkpoint(data, self.parameters.epsilon, found.path.name)
        if found.origin != "published":
            raise PluginError(
                f"{found.path} is not the published program, and no other is run; remove it and run: "
                f"{weights.fetch_command(found.weight)}"
            )
        return _load_program(data, found.path.name)

    def open(self, clip: Clip) -> Session:
        """Begin a clip; loads the network where that was not done before."""
        return _Session(self.network, self.parameters, self.unpublished)


class _Session(WindowSession):
    def __init__(self, network: Network, parameters: I3DParameters, unpublished: str) -> None:
        super().__init__(network, parameters, CLASSES)
        self._parameters = parameters
        self._unpublished = unpublished

    def _prepare(self, pixels: NDArray[np.uint8]) -> Tensor:
        return prepare(pixels, self._parameters)

    def close(self) -> I3DObservation:
        features, starts = self.looked()
        return I3DObservation(features=features, starts=starts, unpublished=self._unpublished)


def prepare(pixels: NDArray[np.uint8], parameters: I3DParameters) -> Tensor:
    """One frame (H, W, 3) uint8 as the network wants it: (3, 224, 224) float32 in [-1, 1]."""
    frame = to_tensor(pixels)
    if parameters.resolution:
        frame = through_loader(frame, parameters.resolution)
    resize = {"squash": squash, "squash_tf1": squash_tf1, "crop": crop}[parameters.resize]
    return resize(frame, SIDE) * (2 / 255) - 1


def _load_program(data: bytes, file: str) -> Network:
    """StyleGAN-V's TorchScript program; called as universome/fvd-comparison 33a5552c calls it."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the format, which is the authors' choice
            program: Any = torch.jit.load(io.BytesIO(data), map_location="cpu").eval()
    except Exception as error:  # torch raises what it likes for a damaged file
        reason = " ".join(str(error).split())[:120]
        raise PluginError(f"{file} cannot be read as a TorchScript program ({reason})") from None
    return lambda x: program(x, rescale=False, resize=False, return_features=True)
