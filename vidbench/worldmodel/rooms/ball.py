"""The ball: gravity, bounces with loss, rolling friction. Lengths in tiles, times in steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidbench.worldmodel.rooms.settings import RoomSettings

RADIUS = 1.0
"""Half the ball's side: it meets walls as a square two tiles wide and is drawn as the disc within."""

_PARTS = 4
"""Each step is done in this many parts, so that the ball never passes through a wall of one tile."""
_FASTEST = _PARTS * 0.9
_ROLLING = 0.9
"""Share of its speed that a lying ball keeps each step."""
_EPSILON = 1e-9


def advance(
    ball: NDArray[np.float64], walls: NDArray[np.bool_], settings: RoomSettings
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """One step of every ball.

    Args:
        ball: (N, 4) x, y, vx, vy.
        walls: (N, tiles, tiles).
        settings: gravity and restitution.

    Returns:
        The balls after the step, and (N, 2) whether each met something sideways, and up or down.
    """
    place, speed = ball[:, :2].copy(), ball[:, 2:].copy()
    bounced = np.zeros((len(ball), 2), bool)
    pull = settings.gravity / _PARTS
    for _ in range(_PARTS):
        speed[:, 1] = np.clip(speed[:, 1] + pull, -_FASTEST, _FASTEST)
        for axis in (0, 1):
            place[:, axis] += speed[:, axis] / _PARTS
            met = _meets_wall(place, walls)
            forward = speed[:, axis] > 0
            # Back to the face of the tile that it entered; it came less than one tile far.
            ahead = np.floor(place[:, axis] + RADIUS - _EPSILON) - RADIUS
            behind = np.floor(place[:, axis] - RADIUS + _EPSILON) + 1 + RADIUS
            place[:, axis] = np.where(met, np.where(forward, ahead, behind), place[:, axis])
            speed[:, axis] = np.where(met, -settings.restitution * speed[:, axis], speed[:, axis])
            bounced[:, axis] |= met
            if axis == 1:
                # A bounce that gravity ends within the step is none: the ball lies.
                lies = met & forward & (-speed[:, 1] < settings.gravity)
                speed[:, 1] = np.where(lies, 0, speed[:, 1])
                speed[:, 0] = np.where(lies, _ROLLING ** (1 / _PARTS) * speed[:, 0], speed[:, 0])
    speed[:, 0] = np.where(np.abs(speed[:, 0]) < 0.01, 0, speed[:, 0])
    return np.concatenate([place, speed], 1), bounced


def _meets_wall(place: NDArray[np.float64], walls: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the ball's square overlaps a wall: (N,)."""
    first = np.floor(place - RADIUS + _EPSILON).astype(np.int64)
    last = np.floor(place + RADIUS - _EPSILON).astype(np.int64)
    room = np.arange(len(place))
    met = np.zeros(len(place), bool)
    # Two tiles wide and anywhere, it overlaps two or three tiles on each axis.
    for y in (first[:, 1], first[:, 1] + 1, last[:, 1]):
        for x in (first[:, 0], first[:, 0] + 1, last[:, 0]):
            met |= walls[room, y, x]
    return met
