"""Ways through a room: which cells are free, how far a goal is, where a greedy walk ends.

Cells are places of the agent's upper left corner, (x, y) in tiles from the inside of the outer wall. Grids of cells are
indexed [y, x]. Everything is done for many rooms at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidbench.worldmodel.rooms.settings import MOVES, Action

UNREACHABLE = -1


def open_cells(walls: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where the agent fits.

    Args:
        walls: (N, tiles, tiles), outer walls among them.

    Returns:
        (N, cells, cells), cells = tiles - 3.
    """
    inner = walls[:, 1:-1, 1:-1]
    return ~(inner[:, :-1, :-1] | inner[:, 1:, :-1] | inner[:, :-1, 1:] | inner[:, 1:, 1:])


def distances(free: NDArray[np.bool_], target: NDArray[np.int64]) -> NDArray[np.int64]:
    """Steps from every cell to the target by the shortest way.

    Args:
        free: (N, cells, cells).
        target: (N, 2) cells, (x, y).

    Returns:
        (N, cells, cells), `UNREACHABLE` where there is no way.
    """
    count, side, _ = free.shape
    steps = np.full(free.shape, UNREACHABLE, np.int64)
    front = np.zeros((count, side + 2, side + 2), bool)
    front[np.arange(count), target[:, 1] + 1, target[:, 0] + 1] = True
    front[:, 1:-1, 1:-1] &= free
    unseen = free & ~front[:, 1:-1, 1:-1]
    steps[front[:, 1:-1, 1:-1]] = 0
    for step in range(1, side * side):
        grown = (front[:, :-2, 1:-1] | front[:, 2:, 1:-1] | front[:, 1:-1, :-2] | front[:, 1:-1, 2:]) & unseen
        if not grown.any():
            break
        steps[grown] = step
        unseen &= ~grown
        front[:, 1:-1, 1:-1] = grown
    return steps


def moved(free: NDArray[np.bool_], cell: NDArray[np.int64], action: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cell after an action: (N, 2), unchanged where a wall is in the way.

    Args:
        free: (N, cells, cells).
        cell: (N, 2) cells, (x, y).
        action: (N,).
    """
    side = free.shape[1]
    aim = cell + MOVES[action]
    inside = ((aim >= 0) & (aim < side)).all(1)
    aim = np.where(inside[:, None], aim, cell)
    passable = free[np.arange(len(free)), aim[:, 1], aim[:, 0]]
    return np.where(passable[:, None], aim, cell)


def shortest_way_actions(
    free: NDArray[np.bool_], steps: NDArray[np.int64], cell: NDArray[np.int64]
) -> NDArray[np.int64]:
    """First action of a shortest way, noop at the target or where there is no way: (N,).

    Args:
        free: (N, cells, cells).
        steps: (N, cells, cells) of `distances`.
        cell: (N, 2) where the agent is.
    """
    rows = np.arange(len(free))
    here = steps[rows, cell[:, 1], cell[:, 0]]
    action = np.zeros(len(free), np.int64)
    for candidate in (Action.UP, Action.DOWN, Action.LEFT, Action.RIGHT):
        there = moved(free, cell, np.full(len(free), candidate))
        nearer = (here > 0) & (steps[rows, there[:, 1], there[:, 0]] == here - 1)
        action = np.where(nearer, int(candidate), action)
    return action


def greedy_actions(free: NDArray[np.bool_], cell: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.int64]:
    """Action of a walk that always comes nearer: along the longer axis, else along the other, else noop: (N,).

    It feels walls (it never walks into one) and has no memory: it stops where both ways nearer are blocked.

    Args:
        free: (N, cells, cells).
        cell: (N, 2) where the agent is.
        target: (N, 2) where it wants to be.
    """
    gap = target - cell
    across = np.select([gap[:, 0] > 0, gap[:, 0] < 0], [int(Action.RIGHT), int(Action.LEFT)], int(Action.NOOP))
    along = np.select([gap[:, 1] > 0, gap[:, 1] < 0], [int(Action.DOWN), int(Action.UP)], int(Action.NOOP))
    across = np.where((moved(free, cell, across) != cell).any(1), across, int(Action.NOOP))
    along = np.where((moved(free, cell, along) != cell).any(1), along, int(Action.NOOP))
    wide = np.abs(gap[:, 0]) >= np.abs(gap[:, 1])
    first, second = np.where(wide, across, along), np.where(wide, along, across)
    return np.where(first != int(Action.NOOP), first, second)


def greedy_ends(free: NDArray[np.bool_], target: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where a greedy walk ends from every cell: (N, cells, cells, 2), (x, y).

    A greedy walk comes nearer with each step, so it has ended after 2 * cells steps at most.
    """
    count, side, _ = free.shape
    ys, xs = np.divmod(np.arange(side * side), side)
    cell = np.tile(np.stack([xs, ys], 1), (count, 1))
    room = np.repeat(np.arange(count), side * side)
    every, goal = free[room], target[room]
    after = moved(every, cell, greedy_actions(every, cell, goal))
    # The walk as a map of cells; applying it to itself doubles the number of steps.
    following = (after[:, 1] * side + after[:, 0]).reshape(count, side * side)
    for _ in range(int(np.ceil(np.log2(2 * side)))):
        following = np.take_along_axis(following, following, 1)
    rows, columns = np.divmod(following.reshape(count, side, side), side)
    return np.stack([columns, rows], 3)


def arrived(cell: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the agent is at its goal: on the target or one step beside it."""
    return np.asarray(np.abs(cell - target).sum(-1) <= 1)
