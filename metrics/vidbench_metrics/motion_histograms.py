"""Histograms of how points move, as FVMD takes them: 1024 numbers of a window of 16 frames and 400 points.

Liu et al., arXiv 2407.16124; ljh0v0/FMD-frechet-motion-distance 3c435ddd (PyPI fvmd 1.0.0),
extract_motion_features.py and keypoint_tracking.py. What the paper calls acceleration, that program computes from the
tracks themselves and not from the velocities, so that it is the velocity without its first step; its numbers are
defined by that, and it is kept here.

Axes: t frames, p points, 2 x and y.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GRID = 20
"""Points along each side of the picture."""
SIDE = 256
"""Pixels along the square that frames are squashed to."""
MARGIN = 8
"""Pixels between its border and the first point."""
WINDOW = 16
CELL = 5
"""Points along each side of a cell."""
CUBE = 4
"""Frames of a cell."""
ANGLES = 8
LARGEST = 255
"""Pixels; longer steps count as this."""
DIMENSIONS = 2 * (WINDOW // CUBE) * (GRID // CELL) ** 2 * ANGLES

Floats = NDArray[np.floating]


def grid() -> NDArray[np.float32]:
    """(400, 2) x, y in pixels of the points that windows begin with, row by row."""
    places = MARGIN + np.arange(GRID) / (GRID - 1) * (SIDE - 2 * MARGIN)
    y, x = np.meshgrid(places, places, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def velocity(tracks: Floats) -> NDArray[np.float64]:
    """(t, p, 2) steps from frame to frame; zeros at the first."""
    steps = np.zeros(tracks.shape, np.float64)
    steps[1:] = tracks[1:] - tracks[:-1]
    return steps


def shifted_velocity(tracks: Floats) -> NDArray[np.float64]:
    """What the reference calls acceleration: `velocity` with zeros at the first two frames."""
    steps = velocity(tracks)
    steps[:2] = 0
    return steps


def histogram(steps: Floats) -> NDArray[np.float64]:
    """Sums of logarithmic lengths by angle, in cells of 5 x 5 points and 4 frames.

    Args:
        steps: (t, p, 2), p a square number: points row by row.

    Returns:
        (t // 4, side // 5, side // 5, 8), side the root of p.

    Raises:
        ValueError: p is no square number.
    """
    frames, points = steps.shape[:2]
    side = round(points**0.5)
    if side**2 != points:
        raise ValueError(f"{points} points are no square grid")
    x, y = (np.asarray(steps[..., axis], np.float64) for axis in (0, 1))
    # The reference gives x first to arctan2; which way is up plays no part, since both sets are treated alike.
    bins = np.clip((np.arctan2(x, y) + np.pi) // (2 * np.pi / ANGLES), 0, ANGLES - 1).astype(np.int64)
    octaves = np.log2(LARGEST + 1)
    lengths = np.ceil(np.log2(np.minimum(np.hypot(x, y), LARGEST) + 1)) / octaves
    cubes, cells = frames // CUBE, side // CELL
    grid = np.zeros((frames, side, side, ANGLES))
    t, row, column = np.ogrid[:frames, :side, :side]
    shape = (frames, side, side)
    grid[t, row, column, bins.reshape(shape)] = lengths.reshape(shape)
    kept = grid[: cubes * CUBE, : cells * CELL, : cells * CELL]
    return np.asarray(kept.reshape(cubes, CUBE, cells, CELL, cells, CELL, ANGLES).sum(axis=(1, 3, 5)))


def motion_features(tracks: Floats) -> NDArray[np.float32]:
    """(1024,) histograms of velocity and of what the reference calls acceleration, of tracks (16, 400, 2)."""
    parts = [histogram(steps).ravel() for steps in (velocity(tracks), shifted_velocity(tracks))]
    return np.concatenate(parts).astype(np.float32)
