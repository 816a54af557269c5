"""Embeddings of frames by CLIP's image tower, for every metric that compares frames with prompts or with each other.

The tower and its weights are in `vidbench_metrics.clip_model`, the ways of preparing a frame in
`vidbench_metrics.clip_preprocess`. Metrics that ask for the same choices share one extraction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.extractor import Extractor, Observation, Requires, Session
from vidbench.video import Frames
from vidbench_metrics.clip_model import MODULES, PUBLISHED, ClipSource, image_size, image_tower
from vidbench_metrics.clip_preprocess import PREPROCESSING, ModelInput, model_input
from vidbench_metrics.extractors.sampled_frames import evenly_spaced
from vidbench_metrics.extractors.threads import one_thread

if TYPE_CHECKING:
    from torch import Tensor

SAMPLINGS = ("all", "even", "first")
BATCH = 8
"""Frames looked at together, always the same ones whatever the chunks: 5 MB at 224 pixels."""
RESERVE = 4
"""Prepared frames kept by `even` while a clip streams, as a multiple of those wanted."""


@dataclass(frozen=True)
class ClipImageParameters:
    """All that the embeddings depend on besides the clip and the weights."""

    model: str = "ViT-B-32"
    """An architecture of open_clip by name, or the path of a JSON file in the form of `open_clip_config.json`."""
    weights: str = PUBLISHED
    """`openai` for the published file of the model, or the path of a file."""
    preprocess: str = "official"
    """How a frame is prepared: a name in `PREPROCESSING`."""
    sampling: str = "all"
    """Which frames: `all`, N `even`ly spaced ones, or the `first` N."""
    frames: int = 0
    """N; all of a shorter clip. 0 with `all`."""

    def __post_init__(self) -> None:
        if self.preprocess not in PREPROCESSING:
            known = ", ".join(PREPROCESSING)
            raise InputError(f"clip_image.preprocess must be one of {known}, got '{self.preprocess}'")
        if self.sampling not in SAMPLINGS:
            raise InputError(f"clip_image.sampling must be one of {', '.join(SAMPLINGS)}, got '{self.sampling}'")
        if (self.sampling == "all") != (self.frames == 0) or self.frames < 0:
            raise InputError(
                f"clip_image.frames must be 0 with sampling=all and at least 1 otherwise, got {self.frames}"
            )
        self.source  # noqa: B018  # refuses unknown models

    @property
    def source(self) -> ClipSource:
        """The model and its weights."""
        return ClipSource(self.model, self.weights)


@dataclass(frozen=True)
class ClipImageObservation(Observation):
    """Embeddings of a clip's frames."""

    embeddings: NDArray[np.float32]
    """(N, D), as the projection gives them: not normalised."""
    frame_numbers: NDArray[np.int64]
    """(N,) rising, from 0."""
    frames: int
    """Of the whole clip."""
    unpublished: str
    """Checksum of the weights where they are not OpenAI's published ones, else empty."""
    made_by: str = "ViT-B-32, official"
    """Model and preparation, in words."""

    def curves(self) -> Mapping[str, NDArray[Any]]:
        """How alike each frame is to the one before it; NaN where one of the two was not looked at."""
        values = np.full(self.frames, np.nan)
        neighbours = np.flatnonzero(np.diff(self.frame_numbers) == 1)
        values[self.frame_numbers[neighbours + 1]] = cosines(self.embeddings[:-1], self.embeddings[1:])[neighbours]
        return {f"likeness to the frame before in the eyes of CLIP {self.made_by} (cosine)": values}


def cosines(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosine of each row of `a` with the same row of `b`, or with `b` itself where it is one vector.

    Args:
        a: (N, D).
        b: (N, D) or (D,).

    Returns:
        (N,) float64 in [-1, 1]; NaN where a vector is zero.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = (x * y).sum(axis=-1) / (np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1))
    return np.asarray(np.clip(values, -1, 1))  # rounding goes a little beyond


class ClipImage(Extractor[ClipImageParameters]):
    """See the module."""

    name = "clip_image"
    version = "1"
    summary = "CLIP's embedding of every frame; model, weights, preparation and sampling are parameters"
    observation_type = ClipImageObservation
    parameters_type = ClipImageParameters
    requires = Requires(extra="models", modules=MODULES, weights=("clip-vit-b-32",))

    def __init__(self, parameters: ClipImageParameters | None = None) -> None:
        super().__init__(parameters)
        self._tower: Any = None
        self._wanted = ModelInput()
        self._unpublished = ""

    def requirements(self) -> Requires:
        """The weights of this model; none in the table for a file of the user's own."""
        return self.parameters.source.requirements()

    def weights_checksum(self) -> str:
        """`sha256:…` of the weight file, with a remark where it is not the published one."""
        return self.parameters.source.checksum()

    def load(self) -> None:
        """Load the image tower.

        Raises:
            WeightsError: the published weights are missing or wrong.
            InputError: the user's own file or model cannot be read.
            PluginError: the weights are not the model's.
        """
        source = self.parameters.source
        file = source.read()
        self._tower = image_tower(source, file)
        config = source.config()
        self._wanted = model_input(source.model, image_size(config), config["preprocess_cfg"])
        self._unpublished = file.unpublished

    def open(self, clip: Clip) -> Session:
        """Begin a clip; loads the tower where that was not done before."""
        if self._tower is None:
            self.load()
        return _Session(self._tower, self.parameters, self._wanted, self._unpublished)


class _Session(Session):
    def __init__(self, tower: Any, parameters: ClipImageParameters, wanted: ModelInput, unpublished: str) -> None:
        self._tower = tower
        self._parameters = parameters
        self._prepare = PREPROCESSING[parameters.preprocess]
        self._wanted = wanted
        self._unpublished = unpublished
        self._seen = 0
        self._stride = 1
        self._waiting: list[tuple[int, Tensor]] = []
        self._numbers: list[int] = []
        self._rows: list[NDArray[np.float32]] = []

    def push(self, frames: Frames) -> None:
        with one_thread():
            for number, pixels in enumerate(frames.pixels, frames.start):
                self._seen = number + 1
                if not self._looks_at(number):
                    continue
                self._waiting.append((number, self._prepare(pixels, self._wanted)))
                if self._parameters.sampling == "even":
                    self._thin_out()
                elif len(self._waiting) == BATCH:
                    self._look()

    def _looks_at(self, number: int) -> bool:
        if self._parameters.sampling == "first":
            return number < self._parameters.frames
        return number % self._stride == 0

    def _thin_out(self) -> None:
        if len(self._waiting) > RESERVE * self._parameters.frames:
            self._stride *= 2
            self._waiting = [(n, frame) for n, frame in self._waiting if n % self._stride == 0]

    def _look(self) -> None:
        import torch

        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        with torch.inference_mode():
            rows = self._tower(torch.stack([frame for _, frame in batch]))
        self._rows.append(np.asarray(rows.numpy(), np.float32))
        self._numbers += [number for number, _ in batch]

    def close(self) -> ClipImageObservation:
        if self._parameters.sampling == "even":
            self._waiting = [self._waiting[i] for i in evenly_spaced(len(self._waiting), self._parameters.frames)]
        with one_thread():
            while self._waiting:
                self._look()
        return ClipImageObservation(
            embeddings=np.concatenate(self._rows),
            frame_numbers=np.array(self._numbers, np.int64),
            frames=self._seen,
            unpublished=self._unpublished,
            made_by=f"{Path(self._parameters.model).stem}, {self._parameters.preprocess}",
        )
