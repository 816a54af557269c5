"""Finding the agent in a frame, real or generated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.worldmodel.rooms.settings import BODY, HEAD, STANDARD, RoomSettings

_CHUNK = 4096
"""Frames looked at at once: bounds the memory."""


def find_agent(
    frames: NDArray[np.uint8], settings: RoomSettings = STANDARD
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where the agent is in each frame: the cell whose pixels differ least from the agent's picture.

    Nothing is ever drawn over the agent, so on frames of the game the distance is 0 and the cell exact.

    Args:
        frames: (N, size, size, 3) uint8.
        settings: of the rooms the frames show or imitate.

    Returns:
        (N, 2) cells as (x, y), as the frame shows them (with a moving camera: counted from the frame's corner), and
        (N,) root mean square difference to the agent's picture in levels of 255. Around 100 means that there is no
        agent.

    Raises:
        InputError: frames of another shape or type.
    """
    if frames.ndim != 4 or frames.shape[1:] != (settings.size, settings.size, 3) or frames.dtype != np.uint8:
        raise InputError(
            f"frames of rooms are (N, {settings.size}, {settings.size}, 3) uint8, got {frames.shape} {frames.dtype}"
        )
    found = [_find(frames[at : at + _CHUNK], settings) for at in range(0, len(frames), _CHUNK)]
    if not found:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    return np.concatenate([cells for cells, _ in found]), np.concatenate([distance for _, distance in found])


def _find(frames: NDArray[np.uint8], settings: RoomSettings) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    tile, side = settings.tile, settings.size // settings.tile
    pixels = frames.reshape(len(frames), side, tile, side, tile, 3).astype(np.int32)
    to_head = ((pixels - HEAD.astype(np.int32)) ** 2).sum((2, 4, 5))
    to_body = ((pixels - BODY.astype(np.int32)) ** 2).sum((2, 4, 5))
    error = to_head[:, :-1, :-1] + to_head[:, :-1, 1:] + to_body[:, 1:, :-1] + to_body[:, 1:, 1:]
    edge = 0 if settings.scrolls else 1  # the outer walls are never the agent's place
    error = error[:, edge : side - 1 - edge, edge : side - 1 - edge]
    best = error.reshape(len(frames), -1).argmin(1)
    y, x = np.divmod(best, error.shape[2])
    least = error.reshape(len(frames), -1)[np.arange(len(frames)), best]
    return np.stack([x, y], 1) + edge - 1, np.sqrt(least / (3 * settings.agent**2))
