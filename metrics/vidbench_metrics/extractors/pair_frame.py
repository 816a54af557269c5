"""One frame of a clip and the same frame of its reference clip, as they are."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.extractor import Observation, PairExtractor, PairSession
from vidbench.video import Frames

LONG_SIDE = 512
"""Frames with a longer side are reduced to it, so that a set of clips fits into memory."""


@dataclass(frozen=True)
class PairFrameParameters:
    """Which frame."""

    frame: int = 4
    """Number of the frame, from 0."""

    def __post_init__(self) -> None:
        if self.frame < 0:
            raise InputError(f"pair_frame.frame must be 0 or more, got {self.frame}")


@dataclass(frozen=True)
class PairFrameObservation(Observation):
    """Both frames; empty where a clip has no such frame."""

    frame: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    reference: NDArray[np.uint8]


@dataclass
class _Session(PairSession):
    number: int
    found: list[NDArray[np.uint8]] = field(default_factory=list)

    def push_pair(self, frames: Frames, reference: Frames) -> None:
        at = self.number - frames.start
        if 0 <= at < len(frames):
            self.found = [_reduced(frames.pixels[at]), _reduced(reference.pixels[at])]

    def close_pair(self, frames: int, reference_frames: int) -> PairFrameObservation:
        nothing = np.zeros((0, 0, 3), np.uint8)
        mine, theirs = self.found or (nothing, nothing)
        return PairFrameObservation(mine, theirs)


def _reduced(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    scale = LONG_SIDE / max(height, width)
    if scale >= 1:
        return frame.copy()
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


class PairFrame(PairExtractor[PairFrameParameters]):
    """See the module."""

    name = "pair_frame"
    version = "1"
    summary = "one frame of a clip and the same one of its reference clip"
    observation_type = PairFrameObservation
    parameters_type = PairFrameParameters

    def open_pair(self, clip: Clip) -> PairSession:
        """Begin a clip and its reference clip."""
        return _Session(self.parameters.frame)
