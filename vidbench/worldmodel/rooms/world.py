"""N rooms stepped and drawn together."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.worldmodel.rooms import ways
from vidbench.worldmodel.rooms.ball import advance
from vidbench.worldmodel.rooms.layout import Layouts, draw, goal_cells
from vidbench.worldmodel.rooms.settings import (
    BALL,
    BODY,
    COIN,
    FLOOR,
    HEAD,
    OCCLUDER,
    STANDARD,
    WALL,
    Action,
    RoomSettings,
)


@dataclass(frozen=True, slots=True)
class RoomState:
    """All that moves, exactly: rooms with equal layouts and states have equal futures."""

    agent: NDArray[np.int64]
    """(N, 2) cell, (x, y)."""
    ball: NDArray[np.float64]
    """(N, 4): centre and velocity, x, y, vx, vy in tiles and tiles per step."""
    coin_taken: NDArray[np.bool_]
    """(N,)"""
    blocked: NDArray[np.bool_]
    """(N,) whether a wall stopped the agent in the last step."""
    bounced: NDArray[np.bool_]
    """(N, 2) whether the ball met something in the last step, sideways and up or down."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step did in each of N rooms."""

    reward: NDArray[np.float32]
    """(N,) 1 where the coin was taken in this step."""
    moved: NDArray[np.bool_]
    """(N,)"""
    effective: NDArray[np.int64]
    """(N,) the action where it moved the agent, else noop: all that frames can show of it."""
    done: NDArray[np.bool_]
    """(N,) whether the coin has been taken, now or before; rooms can be stepped on."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is where in each of N rooms, as the current frame shows it or hides it."""

    agent: NDArray[np.int64]
    """(N, 2) cell, (x, y), counted from the room's corner."""
    ball: NDArray[np.float64]
    """(N, 2) centre in pixels from the room's upper left corner, (x, y)."""
    ball_velocity: NDArray[np.float64]
    """(N, 2) pixels per step."""
    ball_hidden: NDArray[np.bool_]
    """(N,) whether not one pixel shows the ball."""
    coin: NDArray[np.int64]
    """(N, 2) cell, (x, y); stays when the coin is taken."""
    coin_taken: NDArray[np.bool_]
    """(N,)"""
    agent_blocked: NDArray[np.bool_]
    """(N,) contact: a wall stopped the agent in the last step."""
    ball_bounced: NDArray[np.bool_]
    """(N, 2) contact: the ball met a wall in the last step, sideways and up or down (lying on the floor is one)."""
    agent_meets_ball: NDArray[np.bool_]
    """(N,) their squares overlap; they do not act on each other."""
    camera: NDArray[np.int64]
    """(N, 2) the frame's upper left corner in the room, in tiles, (x, y)."""


class Rooms:
    """N rooms: an agent on a grid, a ball under gravity, walls, a curtain that hides the ball, a coin.

    The agent moves one tile a step where no wall is; a move into a wall is none. The coin is taken, for a reward of 1,
    when the agent is on it or one step beside it. The ball falls, bounces with loss off floor and walls (it never
    gains energy) and rolls to rest; nothing acts on it but gravity and walls. No step is random.

    Args:
        count: number of rooms.
        seed: equal seeds give equal rooms; use `training_seed(k)` and `heldout_seed(k)`, which never share a layout.
        settings: sizes and physics.

    Raises:
        InputError: no room asked for, or a negative seed.

    Example:
        >>> rooms = Rooms(2, seed=training_seed(0))
        >>> rooms.step(np.array([Action.RIGHT, Action.NOOP])).moved.shape
        (2,)
        >>> rooms.frames().shape
        (2, 32, 32, 3)
    """

    def __init__(self, count: int, *, seed: int, settings: RoomSettings = STANDARD) -> None:
        self._begin(draw(count, seed, settings), settings)

    @classmethod
    def of(cls, layouts: Layouts, settings: RoomSettings, state: RoomState) -> Rooms:
        """Rooms with these layouts, in this state."""
        rooms = object.__new__(cls)
        rooms._begin(layouts, settings)
        rooms.restore(state)
        return rooms

    def _begin(self, layouts: Layouts, settings: RoomSettings) -> None:
        self.settings = settings
        self.layouts = layouts
        count = len(layouts)
        self._state = RoomState(
            agent=layouts.start.copy(),
            ball=layouts.ball.copy(),
            coin_taken=np.zeros(count, bool),
            blocked=np.zeros(count, bool),
            bounced=np.zeros((count, 2), bool),
        )

    def __len__(self) -> int:
        return len(self.layouts)

    def step(self, actions: NDArray[np.int64]) -> StepResult:
        """Do one action in each room.

        Args:
            actions: (N,) of 0..4.

        Raises:
            InputError: actions of another number, or unknown ones.
        """
        chosen = np.asarray(actions)
        if chosen.shape != (len(self),) or not np.issubdtype(chosen.dtype, np.integer):
            raise InputError(f"one whole-numbered action for each of {len(self)} rooms is needed, got {chosen.shape}")
        if ((chosen < 0) | (chosen >= len(Action))).any():
            raise InputError(f"actions are 0 to {len(Action) - 1}, got {chosen.min()} to {chosen.max()}")
        before = self._state
        agent = ways.moved(self.layouts.free, before.agent, chosen)
        moved = (agent != before.agent).any(1)
        ball, bounced = advance(before.ball, self.layouts.walls, self.settings)
        taken = before.coin_taken | ways.arrived(agent, self.layouts.coin)
        self._state = RoomState(agent, ball, taken, (chosen != int(Action.NOOP)) & ~moved, bounced)
        return StepResult(
            reward=(taken & ~before.coin_taken).astype(np.float32),
            moved=moved,
            effective=np.where(moved, chosen, int(Action.NOOP)),
            done=taken,
        )

    def save(self) -> RoomState:
        """The state; it is never changed in place."""
        return self._state

    def restore(self, state: RoomState) -> None:
        """Go back to a saved state of these rooms.

        Raises:
            InputError: the state of another number of rooms.
        """
        if len(state.agent) != len(self):
            raise InputError(f"the state is of {len(state.agent)} rooms, these are {len(self)}")
        self._state = state

    def select(self, indices: NDArray[np.int64]) -> Rooms:
        """Independent copies of some rooms as they are now, in this order; an index may come twice."""
        chosen = np.asarray(indices)
        state = RoomState(*(getattr(self._state, part.name)[chosen] for part in fields(RoomState)))
        return Rooms.of(self.layouts.take(chosen), self.settings, state)

    def repeat(self, k: int) -> Rooms:
        """Independent copies, each room k times in a row: room i becomes rooms i * k to i * k + k - 1."""
        return self.select(np.repeat(np.arange(len(self)), k))

    def goals(self) -> NDArray[np.int64]:
        """The cell of every goal, by instruction id: (N, 5, 2), (x, y)."""
        return goal_cells(self.layouts.coin, self.settings.cells)

    def steps_to(self, target: NDArray[np.int64]) -> NDArray[np.int64]:
        """Steps of the shortest way from each cell to the target (N, 2): (N, cells, cells), indexed [y, x]."""
        return ways.distances(self.layouts.free, np.asarray(target))

    def frames(self) -> NDArray[np.uint8]:
        """(N, size, size, 3) uint8 RGB."""
        return self._drawn()[0]

    def truth(self) -> Truth:
        """Positions, contacts and what is hidden, exactly."""
        state, tile = self._state, self.settings.tile
        apart = np.abs(state.ball[:, :2] - (state.agent + 2))
        return Truth(
            agent=state.agent.copy(),
            ball=state.ball[:, :2] * tile,
            ball_velocity=state.ball[:, 2:] * tile,
            ball_hidden=self._drawn()[1],
            coin=self.layouts.coin.copy(),
            coin_taken=state.coin_taken.copy(),
            agent_blocked=state.blocked.copy(),
            ball_bounced=state.bounced.copy(),
            agent_meets_ball=np.asarray((apart < 2).all(1)),
            camera=self._camera(),
        )

    def _camera(self) -> NDArray[np.int64]:
        view = self.settings.size // self.settings.tile
        return np.clip(self._state.agent + 2 - view // 2, 0, self.settings.tiles - view)

    @cached_property
    def _still(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Floor, curtain and walls, (N, room, room, 3), and what of them stands before the ball, (N, room, room)."""
        layouts, tile = self.layouts, self.settings.tile
        columns = np.arange(self.settings.tiles)
        curtain = (columns >= layouts.curtain[:, :1]) & (columns < layouts.curtain[:, 1:])
        curtains = np.broadcast_to(curtain[:, None], layouts.walls.shape)
        tiles = np.where(curtains[..., None], OCCLUDER, FLOOR[layouts.floor][:, None, None])
        tiles = np.where(layouts.walls[..., None], WALL, tiles)
        before = curtains | layouts.walls
        return tiles.repeat(tile, 1).repeat(tile, 2), before.repeat(tile, 1).repeat(tile, 2)

    def _drawn(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Frames, and whether the ball is hidden: from back to front floor, ball, curtain, walls, coin, agent."""
        state, settings, layouts = self._state, self.settings, self.layouts
        tile, side, view = settings.tile, settings.agent, settings.size
        still, before = self._still
        room = np.arange(len(self))[:, None, None]
        picture = still.copy()
        # The ball, antialiased so that its place shows to a fraction of a pixel.
        centre = state.ball[:, :2] * tile
        reach = np.arange(-tile - 1, tile + 2)
        xs = (np.floor(centre[:, 0]).astype(np.int64)[:, None] + reach)[:, None, :]
        ys = (np.floor(centre[:, 1]).astype(np.int64)[:, None] + reach)[:, :, None]
        away = np.hypot(xs + 0.5 - centre[:, 0, None, None], ys + 0.5 - centre[:, 1, None, None])
        inside = (xs >= 0) & (ys >= 0) & (xs < settings.room) & (ys < settings.room)
        xs, ys = np.clip(xs, 0, settings.room - 1), np.clip(ys, 0, settings.room - 1)
        cover = np.clip(tile + 0.5 - away, 0, 1) * (inside & ~before[room, ys, xs])
        behind = picture[room, ys, xs]
        mixed = np.rint(behind + cover[..., None] * (BALL.astype(float) - behind)).astype(np.uint8)
        # Only pixels that change are written: a window that was clipped at the edge names some of them twice.
        changed = (mixed != behind).any(3)
        where = np.nonzero(changed)
        ys, xs = np.broadcast_to(ys, changed.shape)[where], np.broadcast_to(xs, changed.shape)[where]
        picture[where[0], ys, xs] = mixed[where]
        balls = np.zeros(before.shape, bool)
        balls[where[0], ys, xs] = True

        square = np.arange(side)
        corner = np.isin(square, (0, side - 1))
        disc = ~(corner[:, None] & corner)
        there = np.flatnonzero(~state.coin_taken)
        first = (layouts.coin[there] + 1) * tile
        dy, dx = np.nonzero(disc)
        ys, xs = first[:, 1, None] + dy, first[:, 0, None] + dx
        picture[there[:, None], ys, xs] = COIN
        balls[there[:, None], ys, xs] = False

        first = (state.agent + 1) * tile
        ys, xs = first[:, 1, None, None] + square[:, None], first[:, 0, None, None] + square
        picture[room, ys, xs] = np.where((square < tile)[:, None, None], HEAD, BODY)
        balls[room, ys, xs] = False
        if settings.scrolls:
            origin = self._camera() * tile
            ys = origin[:, 1, None, None] + np.arange(view)[:, None]
            xs = origin[:, 0, None, None] + np.arange(view)
            picture, balls = picture[room, ys, xs], balls[room, ys, xs]
        return picture, np.asarray(~balls.any((1, 2)))
