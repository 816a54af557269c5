"""Finding agent and coin in a frame, real or generated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.worldmodel.rooms.settings import BODY, COIN, HEAD, STANDARD, RoomSettings

_CHUNK = 4096
"""Frames looked at at once: bounds the memory."""


_ErrorOf = Callable[[NDArray[np.uint8]], NDArray[np.float64]]


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
    return _everywhere(frames, settings, _agent_error(settings))


def find_coin(
    frames: NDArray[np.uint8], settings: RoomSettings = STANDARD
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where the coin is in each frame. Arguments, results and errors as of `find_agent`.

    On frames of the game the distance is 0 unless the coin is taken or the agent stands before a part of it.
    """
    return _everywhere(frames, settings, _coin_error(settings))


def _everywhere(
    frames: NDArray[np.uint8], settings: RoomSettings, error_of: _ErrorOf
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if frames.ndim != 4 or frames.shape[1:] != (settings.size, settings.size, 3) or frames.dtype != np.uint8:
        raise InputError(
            f"frames of rooms are (N, {settings.size}, {settings.size}, 3) uint8, got {frames.shape} {frames.dtype}"
        )
    cells, distances = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    for at in range(0, len(frames), _CHUNK):
        error = error_of(frames[at : at + _CHUNK])
        edge = 0 if settings.scrolls else 1  # the outer walls are nobody's place
        error = error[:, edge : error.shape[1] - edge, edge : error.shape[2] - edge]
        flat = error.reshape(len(error), -1)
        y, x = np.divmod(flat.argmin(1), error.shape[2])
        cells.append(np.stack([x, y], 1) + edge - 1)
        distances.append(np.sqrt(flat.min(1)))
    return np.concatenate(cells), np.concatenate(distances)


def _agent_error(settings: RoomSettings) -> _ErrorOf:
    """Mean square difference to the agent's picture at every place of it: (N, side - 1, side - 1)."""
    tile, side = settings.tile, settings.size // settings.tile

    def error(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        pixels = frames.reshape(len(frames), side, tile, side, tile, 3).astype(np.int32)
        to_head = ((pixels - HEAD.astype(np.int32)) ** 2).sum((2, 4, 5))
        to_body = ((pixels - BODY.astype(np.int32)) ** 2).sum((2, 4, 5))
        total = to_head[:, :-1, :-1] + to_head[:, :-1, 1:] + to_body[:, 1:, :-1] + to_body[:, 1:, 1:]
        return np.asarray(total / (3 * settings.agent**2))

    return error


def _coin_error(settings: RoomSettings) -> _ErrorOf:
    """The same for the coin, a square without its four corner pixels."""
    tile, side = settings.tile, settings.agent
    square = np.arange(side)
    corner = np.isin(square, (0, side - 1))
    disc = ~(corner[:, None] & corner)

    def error(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        squares = ((frames.astype(np.int32) - COIN.astype(np.int32)) ** 2).sum(3)
        windows = np.lib.stride_tricks.sliding_window_view(squares, (side, side), (1, 2))[:, ::tile, ::tile]
        return np.asarray((windows * disc).sum((3, 4)) / (3 * disc.sum()))

    return error
