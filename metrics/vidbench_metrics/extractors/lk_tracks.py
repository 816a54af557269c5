"""How 400 points of every window of 16 frames move, by pyramidal Lucas-Kanade (Bouguet 2000) as OpenCV has it.

Windows, grid and histograms are FVMD's (`vidbench_metrics.motion_histograms`); the tracker is not: FVMD's is PIPs++, a
network. Lucas-Kanade follows texture from frame to frame, knows no occlusion and loses fast points, so numbers on
these tracks compare with each other and with nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.extractor import Extractor, Observation, Session
from vidbench.video import Frames
from vidbench_metrics.motion_histograms import DIMENSIONS, GRID, SIDE, WINDOW, grid, motion_features

PATCH = 21
"""Side of the patch that is followed, in pixels of the resized frame."""
LEVELS = 3
"""Halvings of the frame from which the search begins."""
STEPS = 20
"""At most, of the search at one level."""
FINE = 0.03
"""Pixels; a smaller step ends the search, and a point that moves less from frame to frame rests."""


@dataclass(frozen=True)
class LkTracksParameters:
    """Which windows."""

    stride: int = 8
    """Frames from one window's beginning to the next's; 1 as in FVMD, at eight times the cost."""

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise InputError(f"lk_tracks.stride must be at least 1, got {self.stride}")


@dataclass(frozen=True)
class LkTracksObservation(Observation):
    """Histograms of a clip's windows; none where the clip is shorter than a window."""

    features: NDArray[np.float32]
    """(N, 1024), see `motion_features`."""
    starts: NDArray[np.int64]
    """(N,) first frame of each window, rising, from 0."""
    lost: float
    """Share of the points that were lost on their way, over all windows; NaN without windows."""


class LkTracks(Extractor[LkTracksParameters]):
    """See the module.

    Frames are squashed to 256x256 (bilinear, antialiased where they shrink) and grey. A lost point stays where it was
    last seen.
    """

    name = "lk_tracks"
    version = "1"
    summary = "histograms of how 400 points move in each window of 16 frames, by Lucas-Kanade"
    observation_type = LkTracksObservation
    parameters_type = LkTracksParameters

    def open(self, clip: Clip) -> Session:
        """Begin a clip."""
        return _Session(self.parameters.stride)


def grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(256, 256) of a frame (H, W, 3)."""
    height, width = pixels.shape[:2]
    how = cv2.INTER_AREA if min(height, width) >= SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.cvtColor(cv2.resize(pixels, (SIDE, SIDE), interpolation=how), cv2.COLOR_RGB2GRAY), np.uint8)


@dataclass(slots=True)
class _Window:
    start: int
    places: list[NDArray[np.float32]]
    seen: NDArray[np.bool_] = field(default_factory=lambda: np.ones(GRID * GRID, bool))


class _Session(Session):
    def __init__(self, stride: int) -> None:
        self._stride = stride
        self._before: NDArray[np.uint8] | None = None
        self._windows: list[_Window] = []
        self._features: list[NDArray[np.float32]] = []
        self._starts: list[int] = []
        self._lost = 0

    def push(self, frames: Frames) -> None:
        for number, pixels in enumerate(frames.pixels, frames.start):
            self._next(number, pixels)

    def _next(self, number: int, pixels: NDArray[np.uint8]) -> None:
        picture = grey(pixels)
        if self._windows and self._before is not None:
            self._follow(self._before, picture)
        if number % self._stride == 0:
            self._windows.append(_Window(number, [grid()]))
        self._before = picture
        while self._windows and len(self._windows[0].places) == WINDOW:
            window = self._windows.pop(0)
            self._features.append(motion_features(np.stack(window.places)))
            self._starts.append(window.start)
            self._lost += int(np.count_nonzero(~window.seen))

    def _follow(self, before: NDArray[np.uint8], now: NDArray[np.uint8]) -> None:
        """All points of all windows at once, from one frame to the next."""
        places = np.concatenate([window.places[-1] for window in self._windows])
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, STEPS, FINE)
        found, status, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]  # its stub wants a first guess
            before, now, places, None, winSize=(PATCH, PATCH), maxLevel=LEVELS, criteria=criteria
        )
        # Even between equal frames the search ends somewhere within its precision, and a histogram that rounds lengths
        # up would take that for motion.
        found = np.where(np.hypot(*(found - places).T)[:, None] < FINE, places, found)
        good = (status.ravel() == 1) & np.isfinite(found).all(axis=1)
        good &= ((found >= 0) & (found <= SIDE - 1)).all(axis=1)
        points = GRID * GRID
        for i, window in enumerate(self._windows):
            mine = slice(i * points, (i + 1) * points)
            window.seen &= good[mine]
            window.places.append(np.where(window.seen[:, None], found[mine], places[mine]).astype(np.float32))

    def close(self) -> LkTracksObservation:
        whole = len(self._features)
        return LkTracksObservation(
            features=np.stack(self._features) if whole else np.empty((0, DIMENSIONS), np.float32),
            starts=np.array(self._starts, np.int64),
            lost=self._lost / (whole * GRID * GRID) if whole else float("nan"),
        )
