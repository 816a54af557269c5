"""What a room is made of: actions, goals and their sentences, sizes, colours, the ball's physics."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError


class Action(IntEnum):
    """What the agent can do in a step."""

    NOOP = 0
    UP = 1
    DOWN = 2
    LEFT = 3
    RIGHT = 4


class Goal(IntEnum):
    """Where the agent may be sent; the value is the instruction's id."""

    COIN = 0
    TOP_LEFT = 1
    TOP_RIGHT = 2
    BOTTOM_LEFT = 3
    BOTTOM_RIGHT = 4


NO_GOAL = -1
"""Instruction id of an episode that nobody was sent on."""

GOAL_WORDS = ("coin", "top left", "top right", "bottom left", "bottom right")
"""The goal in the fewest words, by instruction id."""

PROMPTS = ("the agent walks to the coin", *(f"the agent walks to the {corner} corner" for corner in GOAL_WORDS[1:]))
"""The goal as a sentence, by instruction id."""

MOVES: NDArray[np.int64] = np.array([(0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)])
"""(x, y) in cells, by action; y points down."""

AGENT_TILES = 2
"""Side of the agent, of the coin and of the ball, in tiles."""

FLOOR = np.array([(38, 40, 52), (44, 38, 50), (36, 46, 46), (48, 44, 38)], np.uint8)
"""Each room has one of these floors."""
WALL = np.array((150, 152, 160), np.uint8)
OCCLUDER = np.array((40, 96, 110), np.uint8)
BALL = np.array((250, 250, 250), np.uint8)
COIN = np.array((240, 200, 40), np.uint8)
HEAD = np.array((255, 120, 100), np.uint8)
BODY = np.array((220, 40, 40), np.uint8)


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """How rooms look and move. All lengths that are not in pixels or steps grow with `tile`.

    Raises:
        InputError: sizes that do not fit together.
    """

    size: int = 32
    """Height and width of a frame in pixels."""
    tile: int = 2
    """Pixels of a tile: walls are one tile thick, a step is one tile, the agent is two tiles wide. 64 pixels with tiles
    of 4 are the same rooms drawn twice as large; with tiles of 2 they are larger rooms."""
    world: int | None = None
    """Height and width of the room in pixels, where it is larger than the frame: the camera then follows the agent in
    whole tiles and stops at the room's edges. None: the frame shows the whole room."""
    start: Literal["trap", "anywhere"] = "trap"
    """trap: the agent starts where a greedy walk reaches at most 2 of its 5 goals; anywhere: on any free cell."""
    occluder: bool = True
    """Whether a curtain hides the ball where it passes; it never hides agent, coin or walls."""
    gravity: float = 0.125
    """Tiles per step²: how much faster the ball falls each step."""
    restitution: float = 0.8
    """Share of its speed that the ball keeps when it bounces."""

    def __post_init__(self) -> None:
        if self.tile < 1 or self.size % self.tile or self.room % self.tile:
            raise InputError(f"frame and room must be whole tiles, got {self.size} and {self.room} with {self.tile}")
        if self.tiles < 16:
            raise InputError(
                f"a room needs at least 16 tiles a side, got {self.tiles}: make it larger or the tile smaller"
            )
        if self.room < self.size:
            raise InputError(f"the room ({self.room} pixels) is smaller than the frame ({self.size})")
        if self.start not in {"trap", "anywhere"}:
            raise InputError(f"start is 'trap' or 'anywhere', got {self.start!r}")
        if not 0 <= self.restitution < 1 or not 0 <= self.gravity <= 0.5:
            raise InputError("restitution must be in [0, 1) and gravity in [0, 0.5]")

    @property
    def room(self) -> int:
        """Height and width of the room in pixels."""
        return self.size if self.world is None else self.world

    @property
    def tiles(self) -> int:
        """Tiles along the room's side, its outer walls among them."""
        return self.room // self.tile

    @property
    def cells(self) -> int:
        """Cells along the room's side: places the agent can have, one tile apart."""
        return self.tiles - 1 - AGENT_TILES

    @property
    def scrolls(self) -> bool:
        """Whether the camera moves."""
        return self.room > self.size

    @property
    def agent(self) -> int:
        """Side of the agent in pixels."""
        return AGENT_TILES * self.tile


STANDARD = RoomSettings()
