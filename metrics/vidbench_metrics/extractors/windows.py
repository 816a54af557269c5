"""Windows of consecutive frames that networks of video look at: which of a clip are chosen, kept and looked at.

While a clip of unknown length streams, only the frames of windows that may still be chosen are prepared and kept: a few
windows, however long the clip is.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from vidbench.extractor import Session
from vidbench.video import Frames
from vidbench_metrics.extractors.threads import one_thread

if TYPE_CHECKING:
    from torch import Tensor

STARTS = ("first", "random", "all")
BATCH = 4
"""Windows looked at together: beyond this a processor gains nothing and a batch is 39 MB."""

Network = Callable[["Tensor"], "Tensor"]
"""(n, 3, t, height, width) prepared frames to (n, d) features."""


class Choice(Protocol):
    """What of an extractor's parameters says which windows are chosen."""

    @property
    def frames(self) -> int:
        """Length of a window."""

    @property
    def start(self) -> str:
        """Which window of a longer clip: the `first`, one at `random`, or `all` that do not overlap."""

    @property
    def seed(self) -> int:
        """Of the random start, together with the first frame: the same clip always gives the same window."""


@dataclass(slots=True)
class _Window:
    start: int
    frames: list[Tensor] = field(default_factory=list)


class WindowSession(Session):
    """Chooses windows and looks at them; a subclass says how a frame is prepared and what is observed."""

    def __init__(self, network: Network, choice: Choice, dimensions: int, batch: int = BATCH) -> None:
        self._network = network
        self._choice = choice
        self._dimensions = dimensions
        self._batch = batch
        self._growing: list[_Window] = []
        self._whole: list[_Window] = []
        self._starts: list[int] = []
        self._features: list[NDArray[np.float32]] = []
        self._rng: np.random.Generator | None = None

    @abstractmethod
    def _prepare(self, pixels: NDArray[np.uint8]) -> Tensor:
        """One frame (H, W, 3) as the network wants it."""

    def push(self, frames: Frames) -> None:
        """Take the next frames."""
        with one_thread():
            for number, pixels in enumerate(frames.pixels, frames.start):
                if self._begins(number, pixels):
                    self._growing.append(_Window(number))
                if self._growing:
                    self._grow(self._prepare(pixels))

    def _begins(self, number: int, pixels: NDArray[np.uint8]) -> bool:
        """Whether a window that begins here may be chosen."""
        if self._choice.start == "first":
            return number == 0
        if self._choice.start == "all":
            return number % self._choice.frames == 0
        if self._rng is None:
            self._rng = np.random.default_rng(_seed(pixels, self._choice.seed))
        # A reservoir of one: the last that was chosen and is whole is equally likely any window of the clip.
        return bool(self._rng.random() * (number + 1) < 1)

    def _grow(self, frame: Tensor) -> None:
        for window in self._growing:
            window.frames.append(frame)
        if len(self._growing[0].frames) < self._choice.frames:
            return
        window = self._growing.pop(0)
        if self._choice.start == "random":
            self._whole = [window]
            return
        self._whole.append(window)
        if len(self._whole) == self._batch:
            self._look()

    def _look(self) -> None:
        import torch

        batch = torch.stack([torch.stack(window.frames, dim=1) for window in self._whole])
        with torch.inference_mode():
            features = self._network(batch)
        self._features.append(np.asarray(features.numpy(), dtype=np.float32))
        self._starts += [window.start for window in self._whole]
        self._whole = []

    def looked(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Features (n, d) and first frames (n,) of the windows; call once, at the end."""
        if self._whole:
            with one_thread():
                self._look()
        features = np.concatenate([np.empty((0, self._dimensions), np.float32), *self._features])
        return features, np.array(self._starts, dtype=np.int64)


def _seed(pixels: NDArray[np.uint8], seed: int) -> int:
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes() + str(seed).encode()).digest()
    return int.from_bytes(digest[:8], "big")
