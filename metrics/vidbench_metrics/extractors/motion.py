"""What moves in a clip: camera, gain, still background, moving things and their tracks, in one pass without a network.

Frames are reduced to `WIDTH` pixels and collected in windows; a window has one background. Memory is bounded by the
window, whatever the clip's length. Nothing is judged here: the physics metrics do that from these numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import Extractor, NoParameters, Observation, Session, Track
from vidbench.video import Frames
from vidbench_metrics.physics.background import build, difference
from vidbench_metrics.physics.camera import Similarity, Step, apply, camera_step, compose, identity, inverse, scale_of
from vidbench_metrics.physics.tracking import COLUMNS, Tracker, blobs

WIDTH = 320
"""Longer side in pixels at which motion is measured; smaller clips stay as they are."""
WINDOW = 240
"""Frames that share a background."""
REPEATED = 0.35
"""Mean grey difference up to which a frame repeats the one before."""
FRAME_COLUMNS = (
    "change", "grey_change", "thumbnail_change", "thumbnail_change_2", "support", "flow", "shift_x", "shift_y", "zoom",
    "turn", "red_gain", "green_gain", "blue_gain", "noise", "share", "blobs", "sharpness", "level", "unexplained",
)  # fmt: skip
"""By frame; the first five, `flow` and the camera's are of the step from the frame before, NaN for the first frame.
`change` is the mean difference of colours after the camera's motion, `unexplained` what is left of it outside moving
things. Levels are grey levels, shifts working pixels."""


@dataclass(frozen=True)
class MotionObservation(Observation):
    """T frames and their tracks; places are at the working size, times `scale` gives pixels of the clip."""

    tracks_table: NDArray[np.float64]
    """(N, len(COLUMNS)); see `vidbench_metrics.physics.tracking.COLUMNS`."""
    frames_table: NDArray[np.float64]
    """(T, len(FRAME_COLUMNS))."""
    scale: float
    """Pixels of the clip by working pixels, at least 1."""
    width: int
    """Of the working frame."""
    height: int
    moved: float
    """Share of frames in windows whose camera moved."""
    windows: NDArray[np.int64]
    """First frame of each window."""

    def curves(self) -> Mapping[str, NDArray[np.float64]]:
        """Series over the frames that are worth plotting."""
        return {
            "change after the camera's motion (grey levels)": self.frame("change"),
            "difference from the background's noise (grey levels)": self.frame("noise"),
            "share that moves (share of the frame)": self.frame("share"),
            "camera shift (working pixels)": np.hypot(self.frame("shift_x"), self.frame("shift_y")),
            "gain (times the background's)": self.frame("green_gain"),
        }

    def tracks(self) -> tuple[Track, ...]:
        """The things that were followed, where they were really seen."""
        seen = self.tracks_table[self.track("merged") == 0]
        numbers = seen[:, 0]
        places = [COLUMNS.index(name) for name in ("x0", "y0", "x1", "y1")]
        return tuple(
            Track(int(number), rows[:, 1].astype(np.int64), rows[:, places] * self.scale)
            for number in np.unique(numbers)
            for rows in [seen[numbers == number]]
        )

    def track(self, name: str) -> NDArray[np.float64]:
        """(N,) one column of `tracks_table`."""
        return self.tracks_table[:, COLUMNS.index(name)]

    def frame(self, name: str) -> NDArray[np.float64]:
        """(T,) one column of `frames_table`."""
        return self.frames_table[:, FRAME_COLUMNS.index(name)]


class Motion(Extractor[NoParameters]):
    """See the module."""

    name = "motion"
    version = "2"
    summary = "camera motion, still background, moving things and their tracks; no network"
    observation_type = MotionObservation

    def open(self, clip: Clip) -> Session:
        """Begin a clip."""
        return _MotionSession()


@dataclass
class _MotionSession(Session):
    _frames: list[NDArray[np.uint8]] = field(default_factory=list)
    _steps: list[Step] = field(default_factory=list)
    _grey: NDArray[np.uint8] | None = None
    _thumbnails: list[NDArray[np.uint8]] = field(default_factory=list)
    _rows: list[NDArray[np.float64]] = field(default_factory=list)
    _tracker: Tracker = field(default_factory=Tracker)
    _start: int = 0
    _windows: list[int] = field(default_factory=list)
    _moved: int = 0
    _scale: float = 1.0
    _pose: Similarity | None = None
    """From the last frame of the window before to its canvas."""

    def push(self, frames: Frames) -> None:
        for pixels in frames.pixels:
            small = self._reduced(pixels)
            grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
            self._step(small, grey)
            self._frames.append(small)
            self._grey = grey
            if len(self._frames) == WINDOW:
                self._close_window()

    def _reduced(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = pixels.shape[:2]
        self._scale = max(1.0, max(height, width) / WIDTH)
        if self._scale == 1.0:
            return pixels.copy()
        size = max(1, round(width / self._scale)), max(1, round(height / self._scale))
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _step(self, small: NDArray[np.uint8], grey: NDArray[np.uint8]) -> None:
        """Everything about the step from the frame before."""
        row = np.full(len(FRAME_COLUMNS), np.nan)
        step = Step(identity(), float("nan"), float("nan"))
        thumbnail = np.asarray(cv2.resize(small, (32, 24), interpolation=cv2.INTER_AREA), np.uint8)
        if self._grey is not None:
            grey_change = float(cv2.norm(self._grey, grey, cv2.NORM_L1)) / grey.size
            step = camera_step(self._grey, grey) if grey_change > REPEATED else Step(identity(), 1.0, 0.0)
            row[1] = grey_change
            row[2] = _thumbnail_change(self._thumbnails[-1], thumbnail)
            if len(self._thumbnails) > 1:
                row[3] = _thumbnail_change(self._thumbnails[-2], thumbnail)
            row[4], row[5] = step.support, step.flow
            row[6], row[7] = step.matrix[0, 2], step.matrix[1, 2]
            height, width = grey.shape
            centre = apply(step.matrix, np.array([[width / 2, height / 2]]))[0] - (width / 2, height / 2)
            row[6], row[7] = centre
            row[8] = np.log(scale_of(step.matrix))
            row[9] = np.arctan2(step.matrix[1, 0], step.matrix[0, 0])
        row[16] = float(cv2.Laplacian(grey, cv2.CV_16S).std())
        row[17] = float(grey.mean())
        self._rows.append(row)
        self._steps.append(step)
        self._thumbnails = [*self._thumbnails[-1:], thumbnail]

    def _close_window(self) -> None:
        frames, steps = self._frames, [step.matrix for step in self._steps]
        ground = build(frames, steps)
        self._windows.append(self._start)
        self._moved += len(frames) if ground.moved else 0
        if self._pose is not None:
            # From the old canvas over the last frame before and the step to this window's first frame to the new one.
            back = inverse(self._pose)
            self._tracker.rebase(compose(compose(back, steps[0]), ground.to_canvas[0]))
        before = None
        for offset, frame in enumerate(frames):
            pose = ground.to_canvas[offset]
            seen = difference(frame, ground, pose)
            found = blobs(frame, seen, pose, self._tracker.foretold(pose))
            self._tracker.push(self._start + offset, found)
            row = self._rows[self._start + offset]
            row[10:13] = seen.gain
            row[13], row[14], row[15] = seen.noise, seen.share, len(found)
            if before is not None:
                row[0], row[18] = _change(before, frame, steps[offset], seen.mask)
            before = frame
        self._pose = ground.to_canvas[-1]
        self._start += len(frames)
        self._frames, self._steps = [], []

    def close(self) -> MotionObservation:
        height, width = self._frames[0].shape[:2] if self._frames else (0, 0)
        if self._frames:
            self._size = (width, height)
            self._close_window()
        return MotionObservation(
            tracks_table=self._tracker.table(),
            frames_table=np.array(self._rows),
            scale=self._scale,
            width=self._size[0],
            height=self._size[1],
            moved=self._moved / max(1, len(self._rows)),
            windows=np.array(self._windows, dtype=np.int64),
        )

    _size: tuple[int, int] = (0, 0)


def _thumbnail_change(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(cv2.norm(a, b, cv2.NORM_L1)) / a.size


def _change(
    before: NDArray[np.uint8], frame: NDArray[np.uint8], step: Similarity, mask: NDArray[np.uint8]
) -> tuple[float, float]:
    """Mean difference of two frames after the camera's motion, over all and outside moving things."""
    height, width = frame.shape[:2]
    moved = before
    if not np.array_equal(step, identity()):
        moved = np.asarray(cv2.warpAffine(before, step, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    apart = cv2.absdiff(moved, frame)
    whole = float(np.mean(cv2.mean(apart)[:3]))
    still = cv2.bitwise_not(cv2.dilate(mask, np.ones((9, 9), np.uint8)))
    rest = float(np.mean(cv2.mean(apart, mask=still)[:3])) if cv2.countNonZero(still) else float("nan")
    return whole, rest
