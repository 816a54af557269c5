"""Where points of one keyframe are in the next: what camera motion is reckoned from.

Frame-by-frame motion is too small to tell a turn from a step aside, so points are followed (Lucas-Kanade, forwards and
back) until they have moved by a share of the picture, and only those two frames are held against each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import Extractor, NoParameters, Observation, Session
from vidbench.video import Frames
from vidbench_metrics.extractors.luma import GreyImage, luma

Points = NDArray[np.float32]

LONG_SIDE = 480
"""Pixels to which the longer side is reduced; smaller frames stay as they are."""
MOST_POINTS = 300
MOVED = 0.12
"""Median way of the points, as a share of the longer side, after which a keyframe is taken."""
LOST = 0.5
"""Share of the points that must still be there; when fewer would be, the frame before becomes the keyframe."""
LONGEST = 24
"""Frames after which a keyframe is taken whatever happens."""
ROUND_TRIP = 0.5
"""Pixels by which a point may miss itself when followed forth and back."""


@dataclass(frozen=True)
class KeyframeTracksObservation(Observation):
    """Of K keyframes, the first being frame 0 and the last the clip's last."""

    keyframes: NDArray[np.int64]
    """(K,) their numbers."""
    segment: NDArray[np.int64]
    """(N,) of each point, the number of the keyframe that it begins in, 0 to K - 2."""
    points: Points
    """(N, 4) x, y in that keyframe and x, y in the next, in pixels of the working frame."""
    begun: NDArray[np.int64]
    """(K - 1,) how many points each segment began with; where few of them are left, these met by chance."""
    width: int
    """Of the working frame."""
    height: int


def corners(grey: GreyImage) -> Points:
    """(n, 2) points worth following."""
    distance = max(3.0, max(grey.shape) / 60)
    found: Any = cv2.goodFeaturesToTrack(grey, MOST_POINTS, 0.01, distance)
    return np.zeros((0, 2), np.float32) if found is None else np.asarray(found, np.float32).reshape(-1, 2)


def follow(before: GreyImage, after: GreyImage, points: Points) -> tuple[Points, NDArray[np.bool_]]:
    """Where points went, and which of them found their way back."""
    if not len(points):
        return points, np.zeros(0, bool)
    size = 15 if min(before.shape) >= 64 else 9
    options = {"winSize": (size, size), "maxLevel": 3}
    there, ahead, _ = cv2.calcOpticalFlowPyrLK(before, after, points[:, None], None, **options)  # type: ignore[call-overload]
    back, behind, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **options)  # type: ignore[call-overload]
    miss = np.linalg.norm(back[:, 0] - points, axis=1)
    height, width = before.shape
    inside = (there[:, 0] >= 0).all(axis=1) & (there[:, 0, 0] < width) & (there[:, 0, 1] < height)
    return there[:, 0], (ahead[:, 0] == 1) & (behind[:, 0] == 1) & (miss < ROUND_TRIP) & inside


@dataclass
class _Session(Session):
    size: tuple[int, int] = (0, 0)
    keyframes: list[int] = field(default_factory=list)
    segments: list[NDArray[np.float32]] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    before: GreyImage | None = None
    number: int = -1
    origin: Points = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    now: Points = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    begun_with: int = 0

    def push(self, frames: Frames) -> None:
        for frame in frames.pixels:
            self._take(_reduced(luma(frame)))

    def _take(self, grey: GreyImage) -> None:
        self.number += 1
        if self.before is None:
            self.size = grey.shape[1], grey.shape[0]
            self._begin(grey)
        else:
            there, found = follow(self.before, grey, self.now)
            lost = int(found.sum()) < LOST * self.begun_with
            if lost and self.number - 1 > self.keyframes[-1]:
                self._end()
                self._begin(self.before, self.number - 1)
                there, found = follow(self.before, grey, self.now)
            self.origin, self.now = self.origin[found], there[found]
            way = np.linalg.norm(self.now - self.origin, axis=1)
            far = len(way) > 0 and float(np.median(way)) >= MOVED * max(self.size)
            if far or self.number - self.keyframes[-1] >= LONGEST:
                self._end()
                self._begin(grey)
        self.before = grey

    def _begin(self, grey: GreyImage, number: int | None = None) -> None:
        self.keyframes.append(self.number if number is None else number)
        self.origin = self.now = corners(grey)
        self.begun_with = len(self.now)

    def _end(self) -> None:
        self.begun.append(self.begun_with)
        self.segments.append(np.concatenate([self.origin, self.now], axis=1).astype(np.float32))

    def close(self) -> KeyframeTracksObservation:
        if self.keyframes and self.number > self.keyframes[-1]:
            self._end()
            self.keyframes.append(self.number)
        lengths = [len(points) for points in self.segments]
        return KeyframeTracksObservation(
            keyframes=np.array(self.keyframes, np.int64),
            segment=np.repeat(np.arange(len(lengths)), lengths).astype(np.int64),
            points=np.concatenate(self.segments) if self.segments else np.zeros((0, 4), np.float32),
            begun=np.array(self.begun, np.int64),
            width=self.size[0],
            height=self.size[1],
        )


def _reduced(grey: GreyImage) -> GreyImage:
    height, width = grey.shape
    scale = LONG_SIDE / max(height, width)
    if scale >= 1:
        return grey.copy()
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


class KeyframeTracks(Extractor[NoParameters]):
    """See `KeyframeTracksObservation`."""

    name = "keyframe_tracks"
    version = "1"
    summary = "points followed from keyframe to keyframe, far enough apart to tell a turn from a step aside"
    observation_type = KeyframeTracksObservation

    def open(self, clip: Clip) -> Session:
        """Begin a clip."""
        return _Session()
