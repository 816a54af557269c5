"""Drawing rooms: walls with a dead end in them, a curtain, a coin, a start.

Whether a layout is for training or held out is a property of its walls, so the two can never share a room, whatever
the seeds: a digest of the walls decides, one layout in five is held out. Even seeds draw training rooms, odd seeds
held-out ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.worldmodel.rooms.settings import AGENT_TILES, FLOOR, RoomSettings
from vidbench.worldmodel.rooms.ways import UNREACHABLE, arrived, distances, greedy_ends, open_cells

HELD_OUT_SHARE = 5
"""One layout in this many is held out."""

_BLOCK = 64
"""Rooms are drawn in blocks of their own seeds: the first rooms of a seed are the same however many are asked for."""
_CANDIDATES = 192
_ROUNDS = 400
_CURTAIN_TILES = 3
_GREEDY_GOALS = 2


@dataclass(frozen=True, slots=True)
class Layouts:
    """What stands still in N rooms, and how they begin."""

    walls: NDArray[np.bool_]
    """(N, tiles, tiles)"""
    free: NDArray[np.bool_]
    """(N, cells, cells) where the agent fits."""
    coin: NDArray[np.int64]
    """(N, 2) cell, (x, y)."""
    start: NDArray[np.int64]
    """(N, 2) cell, (x, y)."""
    curtain: NDArray[np.int64]
    """(N, 2) first column of tiles behind the curtain, and the first after it."""
    floor: NDArray[np.int64]
    """(N,) which floor colour."""
    ball: NDArray[np.float64]
    """(N, 4) the ball's centre and velocity at the start: x, y, vx, vy in tiles and tiles per step."""

    def __len__(self) -> int:
        return len(self.walls)

    def take(self, indices: NDArray[np.int64]) -> Layouts:
        """Some of the rooms, in this order."""
        return Layouts(*(getattr(self, part.name)[indices] for part in fields(self)))


def training_seed(k: int) -> int:
    """The k-th seed of training rooms (k from 0)."""
    return 2 * _checked(k)


def heldout_seed(k: int) -> int:
    """The k-th seed of held-out rooms (k from 0): no training seed ever draws one of their layouts."""
    return 2 * _checked(k) + 1


def is_held_out(walls: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether layouts (N, tiles, tiles) are held out: (N,). Depends on their walls alone."""
    digests = [hashlib.sha256(np.packbits(room).tobytes()).digest() for room in walls]
    return np.array([digest[0] % HELD_OUT_SHARE == 0 for digest in digests], bool)


def draw(count: int, seed: int, settings: RoomSettings) -> Layouts:
    """Draw rooms; equal arguments give equal rooms, and fewer rooms are the first of more.

    Raises:
        InputError: a negative count or seed.
    """
    if count < 1:
        raise InputError(f"at least one room is needed, got {count}")
    _checked(seed)
    blocks = [
        _block(np.random.default_rng([seed, block]), seed % 2 == 1, settings) for block in range(-(-count // _BLOCK))
    ]
    return Layouts(
        *(np.concatenate([getattr(block, part.name) for block in blocks])[:count] for part in fields(Layouts))
    )


def goal_cells(coin: NDArray[np.int64], cells: int) -> NDArray[np.int64]:
    """The cell of every goal, by instruction id: (N, 5, 2), (x, y)."""
    last = cells - 1
    corners = np.array([(0, 0), (last, 0), (0, last), (last, last)])
    return np.concatenate([coin[:, None], np.tile(corners, (len(coin), 1, 1))], 1)


def _checked(number: int) -> int:
    if number < 0:
        raise InputError(f"seeds count from 0, got {number}")
    return number


def _block(rng: np.random.Generator, held_out: bool, settings: RoomSettings) -> Layouts:
    kept: list[Layouts] = []
    for _ in range(_ROUNDS):
        kept.append(_candidates(rng, held_out, settings))
        if sum(len(layouts) for layouts in kept) >= _BLOCK:
            return Layouts(
                *(
                    np.concatenate([getattr(layouts, part.name) for layouts in kept])[:_BLOCK]
                    for part in fields(Layouts)
                )
            )
    raise InputError(f"no rooms with these settings could be drawn: {settings}")


def _candidates(rng: np.random.Generator, held_out: bool, settings: RoomSettings) -> Layouts:
    """Rooms as they come, less those that cannot be used."""
    tries = _CANDIDATES * (HELD_OUT_SHARE - 1) if held_out else _CANDIDATES
    walls = np.stack([_walls(rng, settings.tiles) for _ in range(tries)])
    walls = walls[is_held_out(walls) == held_out]
    free = open_cells(walls)
    corners = free[:, 0, 0] & free[:, 0, -1] & free[:, -1, 0] & free[:, -1, -1]
    walls, free = walls[corners], free[corners]
    from_corner = distances(free, np.zeros((len(free), 2), np.int64))
    connected = (free == (from_corner != UNREACHABLE)).all((1, 2))
    walls, free = walls[connected], free[connected]
    count, tiles, cells = len(walls), settings.tiles, settings.cells
    ys, xs = np.mgrid[:cells, :cells]
    from_corners = np.minimum(ys, cells - 1 - ys) + np.minimum(xs, cells - 1 - xs)
    coin, has_coin = _pick(rng, free & (from_corners >= 4))
    to_coin = distances(free, coin)
    goals = goal_cells(coin, cells)
    place = np.stack([xs, ys], 2)
    usable = free & (to_coin >= 5)
    failures = np.zeros(free.shape, np.int64)
    for goal in range(goals.shape[1]):
        usable &= ~arrived(place, goals[:, goal, None, None])
        failures += ~arrived(greedy_ends(free, goals[:, goal]), goals[:, goal, None, None])
    if settings.start == "trap":
        usable &= failures >= goals.shape[1] - _GREEDY_GOALS
    start, has_start = _pick(rng, usable)
    ball_cell, has_ball = _pick(rng, free & (ys < cells // 2))
    left = rng.integers(3, tiles - 3 - _CURTAIN_TILES, count)
    speed = rng.uniform(0.3, 0.75, count) * rng.choice((-1, 1), count)
    layouts = Layouts(
        walls=walls,
        free=free,
        coin=coin,
        start=start,
        curtain=np.stack([left, left + _CURTAIN_TILES], 1) if settings.occluder else np.zeros((count, 2), np.int64),
        floor=rng.integers(0, len(FLOOR), count),
        ball=np.concatenate([ball_cell + 1 + AGENT_TILES / 2, speed[:, None], np.zeros((count, 1))], 1),
    )
    return layouts.take(np.flatnonzero(has_coin & has_start & has_ball))


def _walls(rng: np.random.Generator, tiles: int) -> NDArray[np.bool_]:
    """Outer walls, one U whose inside the agent fits in, and one straight wall; larger rooms have more of both."""
    walls = np.ones((tiles, tiles), bool)
    inner = walls[1:-1, 1:-1]
    inner[:] = False
    side = tiles - 2
    for _ in range(max(1, (side // 14) ** 2)):
        width, depth = rng.integers(5, 9), rng.integers(4, 8)
        shape = np.ones((depth, width), bool)
        shape[1:, 1:-1] = False  # open downwards; turned below
        shape = np.rot90(shape, int(rng.integers(4)))
        y, x = rng.integers(0, side - shape.shape[0] + 1), rng.integers(0, side - shape.shape[1] + 1)
        inner[y : y + shape.shape[0], x : x + shape.shape[1]] |= shape
        length, at, along = rng.integers(3, 8), rng.integers(2, side - 2), rng.integers(0, side - 2)
        line = inner if rng.integers(2) else inner.T
        line[at, along : along + length] = True
    return walls


def _pick(rng: np.random.Generator, allowed: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """One allowed cell a room, each as likely: (N, 2) as (x, y), and whether there was one."""
    scores = np.where(allowed, rng.random(allowed.shape), -1).reshape(len(allowed), allowed.shape[1] * allowed.shape[2])
    best = scores.argmax(1)
    y, x = np.divmod(best, allowed.shape[2])
    return np.stack([x, y], 1), scores[np.arange(len(best)), best] >= 0
