"""Small copies of all frames of a clip, and of a clip beside its reference clip."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import Extractor, NoParameters, Observation, PairExtractor, PairSession, Session
from vidbench.video import Frames

LONG_SIDE = 32
"""Pixels to which the longer side is reduced; smaller frames stay as they are."""

Thumbnails = NDArray[np.uint8]


def thumbnail(frame: NDArray[np.uint8]) -> Thumbnails:
    """A uint8 (H, W, 3) frame, reduced by area averaging."""
    height, width = frame.shape[:2]
    scale = LONG_SIDE / max(height, width)
    if scale >= 1:
        return frame.copy()
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True)
class ThumbnailsObservation(Observation):
    """All T frames."""

    frames: Thumbnails
    """(T, h, w, 3) RGB."""


@dataclass(frozen=True)
class PairThumbnailsObservation(Observation):
    """The frames that a clip and its reference clip both have; empty where their thumbnails differ in size."""

    frames: Thumbnails
    """(T, h, w, 3) RGB, of the clip."""
    reference: Thumbnails
    """The same of its reference clip."""


@dataclass
class _Session(Session):
    kept: list[Thumbnails] = field(default_factory=list)

    def push(self, frames: Frames) -> None:
        self.kept += [thumbnail(frame) for frame in frames.pixels]

    def close(self) -> ThumbnailsObservation:
        return ThumbnailsObservation(np.stack(self.kept) if self.kept else np.zeros((0, 1, 1, 3), np.uint8))


@dataclass
class _PairSession(PairSession):
    mine: _Session = field(default_factory=_Session)
    theirs: _Session = field(default_factory=_Session)

    def push_pair(self, frames: Frames, reference: Frames) -> None:
        self.mine.push(frames)
        self.theirs.push(reference)

    def close_pair(self, frames: int, reference_frames: int) -> PairThumbnailsObservation:
        mine, theirs = self.mine.close().frames, self.theirs.close().frames
        if mine.shape != theirs.shape:
            mine = theirs = np.zeros((0, 1, 1, 3), np.uint8)
        return PairThumbnailsObservation(mine, theirs)


class FrameThumbnails(Extractor[NoParameters]):
    """See `ThumbnailsObservation`."""

    name = "thumbnails"
    version = "1"
    summary = "all frames, 32 pixels on their longer side"
    observation_type = ThumbnailsObservation

    def open(self, clip: Clip) -> Session:
        """Begin a clip."""
        return _Session()


class PairThumbnails(PairExtractor[NoParameters]):
    """See `PairThumbnailsObservation`."""

    name = "pair_thumbnails"
    version = "1"
    summary = "all frames of a clip and of its reference clip, 32 pixels on their longer side"
    observation_type = PairThumbnailsObservation

    def open_pair(self, clip: Clip) -> PairSession:
        """Begin a clip and its reference clip."""
        return _PairSession()
