"""Camera motion between two frames: a similarity (shift, turn, zoom) of what does not move by itself.

Corners are tracked forward and back (Lucas-Kanade), and the motion that most of them share is found by RANSAC. A still
camera is preferred wherever it explains the picture as well, since a scene whose only texture is on the moving object
would otherwise seem to move the other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Similarity = NDArray[np.float64]
"""(2, 3) matrix that takes (x, y, 1) of the earlier frame to (x, y) of the later one."""

CELLS = (6, 8)
CORNERS_A_CELL = 4
LEAST_STRENGTH = 2e-6
"""Smaller eigenvalue of the gradients' covariance, in OpenCV's scale for 8-bit images."""
ROUND_TRIP = 0.7
"""Pixels by which a corner may miss its start after being tracked forward and back."""
RANSAC_PIXELS = 1.0
LEAST_CORNERS = 10
SPREAD = 0.4
"""Share of the frame's width or height over which the corners that agree must lie; a third of it the other way."""
STILL_GAIN = 0.93
"""A moving camera is believed where it leaves at most this share of the difference that a still one leaves."""
STILL_STEP = 0.4
"""Pixels of a frame's corner up to which a step may be the noise of the corners."""
STILL_SHARE = 0.1
"""Share of larger steps that a still camera may seem to make, by things that move before it."""
STILL_DRIFT = 1.2
"""Pixels by which a still camera may seem to have moved between frames far apart."""
KEY_FRAMES = 9
_WINDOW = (15, 15)


@dataclass(frozen=True, slots=True)
class Step:
    """How the camera moved from one frame to the next."""

    matrix: Similarity
    support: float
    """Share of tracked corners that agree, 0 to 1; 0 where there were too few to say."""
    flow: float
    """Median shift of the tracked corners in pixels; NaN without corners."""


def identity() -> Similarity:
    """The still camera."""
    return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def compose(first: Similarity, then: Similarity) -> Similarity:
    """The similarity that does `first`, then `then`."""
    square = np.vstack([first, [0.0, 0.0, 1.0]])
    return np.asarray(then @ square)


def inverse(matrix: Similarity) -> Similarity:
    """The similarity that undoes `matrix`."""
    return np.asarray(cv2.invertAffineTransform(matrix), dtype=np.float64)


def apply(matrix: Similarity, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2) points through a similarity."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def scale_of(matrix: Similarity) -> float:
    """How many times larger things become."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def displacement(matrix: Similarity, width: int, height: int) -> float:
    """Pixels by which a similarity moves the corner of a frame that it moves most."""
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64)
    return float(np.hypot(*(apply(matrix, corners) - corners).T).max())


def is_still(frames: Sequence[Grey], steps: Sequence[Similarity]) -> bool:
    """Whether the camera stood still through a window: no steps that matter, and none that add up.

    A hand-held or panning camera is seen in the distance between frames that lie far apart; what single steps seem to
    say is often the noise of the corners.

    Args:
        frames: T frames (H, W) uint8.
        steps: T similarities from the frame before; the first is not looked at.
    """
    height, width = frames[0].shape
    large = [displacement(step, width, height) > STILL_STEP for step in steps[1:]]
    if sum(large) > max(2, STILL_SHARE * len(large)):
        return False
    keys = np.unique(np.linspace(0, len(frames) - 1, min(KEY_FRAMES, len(frames))).round().astype(int))
    far = [displacement(camera_step(frames[0], frames[i]).matrix, width, height) > STILL_DRIFT for i in keys[1:]]
    return sum(far) <= len(far) // 4


def refined(reference: Grey, frame: Grey, pose: Similarity) -> Similarity:
    """A pose (frame to reference frame) that was chained step by step, set right against the reference itself.

    Left as it is where the two share too little to compare.
    """
    height, width = reference.shape
    laid = cv2.warpAffine(frame, pose, (width, height), borderMode=cv2.BORDER_CONSTANT)
    step = camera_step(np.asarray(laid, np.uint8), reference)
    if step.support < 0.4 or displacement(step.matrix, width, height) > 12:
        return pose
    return compose(pose, step.matrix)


def _same_light(earlier: Grey, later: Grey) -> Grey:
    """`later` with the mean brightness of `earlier`: Lucas-Kanade takes a flicker for motion."""
    gain = (cv2.mean(earlier)[0] + 1) / (cv2.mean(later)[0] + 1)
    return later if abs(gain - 1) < 0.004 else np.asarray(cv2.convertScaleAbs(later, alpha=gain), np.uint8)


def corners_of(grey: Grey) -> NDArray[np.float32]:
    """(N, 1, 2) corners all over the frame: the strongest few of every cell of a grid.

    Taken by strength alone, most would lie on the most striking object.
    """
    # A little blur first: the noise of a flat wall has corners too, and they go nowhere.
    strength = cv2.cornerMinEigenVal(cv2.GaussianBlur(grey, (3, 3), 0), 3)
    peaks = (strength == cv2.dilate(strength, np.ones((7, 7), np.uint8))) & (strength > LEAST_STRENGTH)
    peaks[:2], peaks[-2:], peaks[:, :2], peaks[:, -2:] = False, False, False, False
    y, x = np.nonzero(peaks)
    height, width = grey.shape
    cell = (y * CELLS[0] // height) * CELLS[1] + x * CELLS[1] // width
    order = np.lexsort((-strength[y, x], cell))
    first = np.searchsorted(cell[order], cell[order], side="left")
    chosen = order[np.arange(len(order)) - first < CORNERS_A_CELL]
    return np.stack([x[chosen], y[chosen]], axis=1).astype(np.float32).reshape(-1, 1, 2)


def camera_step(earlier: Grey, later: Grey) -> Step:
    """The camera's motion between two (H, W) uint8 frames of one size."""
    later = _same_light(earlier, later)
    corners = corners_of(earlier)
    if len(corners) < LEAST_CORNERS:
        return Step(identity(), 0.0, float("nan"))
    there, found = _tracked(earlier, later, corners)
    back, returned = _tracked(later, earlier, there)
    good = (found.ravel() == 1) & (returned.ravel() == 1)
    good &= np.hypot(*(back - corners).reshape(-1, 2).T) < ROUND_TRIP
    start, stop = corners.reshape(-1, 2)[good], there.reshape(-1, 2)[good]
    if len(start) < LEAST_CORNERS:
        return Step(identity(), 0.0, float("nan"))
    shifts = np.hypot(*(stop - start).T)
    flow = float(np.median(shifts))
    still = float(np.mean(shifts < RANSAC_PIXELS / 2))
    matrix, inliers = cv2.estimateAffinePartial2D(
        start, stop, method=cv2.RANSAC, ransacReprojThreshold=RANSAC_PIXELS, maxIters=300
    )
    if matrix is None or not np.isfinite(matrix).all() or not 0.6 < scale_of(matrix) < 1.7:
        return Step(identity(), still, flow)
    support = float(np.mean(inliers))
    if (
        support <= still
        or not _spread(start[inliers.ravel() > 0], *earlier.shape)
        or not _explains_more(earlier, later, matrix)
    ):
        return Step(identity(), still, flow)
    return Step(_simplest(np.asarray(matrix, dtype=np.float64), start, stop, support), support, flow)


def _spread(points: NDArray[np.float32], height: int, width: int) -> bool:
    """Whether corners lie all over the frame; those of one object do not speak for the camera."""
    low, high = np.percentile(points, [5, 95], axis=0)
    extent = (high - low) / (width, height)
    return bool(extent.max() > SPREAD and extent.min() > SPREAD / 3)


def _simplest(matrix: Similarity, start: NDArray[np.float32], stop: NDArray[np.float32], support: float) -> Similarity:
    """A plain shift where as many corners agree with it: a turn or zoom fitted to noise misplaces the borders."""
    missed = np.hypot(*(apply(matrix, start.astype(np.float64)) - stop).T)
    shift = np.median((stop - start)[missed < RANSAC_PIXELS], axis=0).astype(np.float64)
    agreed = float(np.mean(np.hypot(*(start + shift - stop).T) < RANSAC_PIXELS))
    return np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]]) if agreed >= 0.97 * support else matrix


def _tracked(earlier: Grey, later: Grey, corners: Any) -> tuple[Any, Any]:
    """Lucas-Kanade: where corners went, and whether they were found."""
    start: Any = None  # no first guess
    there, found, _ = cv2.calcOpticalFlowPyrLK(earlier, later, corners, start, winSize=_WINDOW, maxLevel=3)
    return there, found


def _explains_more(earlier: Grey, later: Grey, matrix: Similarity) -> bool:
    """Whether a moving camera brings the pictures clearly closer than a still one.

    Held against each other a little blurred: a shift by half a pixel averages neighbours, and so less of the noise is
    left even where nothing moved.
    """
    height, width = later.shape
    earlier, later = (np.asarray(cv2.GaussianBlur(grey, (7, 7), 1.5), np.uint8) for grey in (earlier, later))
    moved = cv2.warpAffine(earlier, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    inside = slice(height // 16, height - height // 16), slice(width // 16, width - width // 16)
    still = _bulk(np.asarray(cv2.absdiff(earlier, later)[inside], np.uint8))
    return _bulk(np.asarray(cv2.absdiff(moved, later)[inside], np.uint8)) <= STILL_GAIN * still


def _bulk(difference: NDArray[np.uint8]) -> float:
    """Mean of all but the largest fifth: what an object of its own leaves is not the camera's."""
    counts = np.bincount(difference.ravel(), minlength=256)
    left = 0.8 * difference.size
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    taken = np.clip(left - before, 0, counts)
    return float((taken * np.arange(256)).sum() / left)
