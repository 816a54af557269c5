"""Search in imagined rooms: breadth-first over the places where the model shows the agent.

In rooms with dead ends the straight distance to the goal misleads: an agent that only looks a few imagined steps ahead
stays in the pocket nearest to its goal. So the planner builds the map that it needs by asking the model: from each
place that the agent has reached in imagination, what does each of the four moves show? Places are parsed from imagined
frames; breadth-first, each place is entered once, and the first way to the goal is the shortest that the model
believes in.

What the planner knows: frames, where the goal is (corners by their names, the coin by looking for it in the true
frame), and that a step leads to the next cell or nowhere. It knows no wall. What it learns while walking: a move that
did not do in truth what was imagined is not tried again from there, and a new plan is made.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vidbench.worldmodel.plan.imagination import FrameArray, Imagination
from vidbench.worldmodel.plan.trial import View
from vidbench.worldmodel.rooms.parse import find_agent, find_coin
from vidbench.worldmodel.rooms.settings import STANDARD, Action, Goal, RoomSettings

Cell = tuple[int, int]
_MOVES = (Action.UP, Action.DOWN, Action.LEFT, Action.RIGHT)
_LOST = 70.0
"""A frame whose best place for the agent differs from its picture by more shows no agent."""


@dataclass(slots=True)
class _Room:
    """One episode: its goal, its plan, what walking has taught."""

    target: Cell
    plan: list[tuple[int, Cell]] = field(default_factory=list)
    """Actions with the cells they should lead to, the next one last."""
    trusted: int = 0
    """Steps of the plan that are still walked before a new one is made."""
    last: tuple[Cell, int, Cell] | None = None
    """Where the agent was, what it did, where it should be."""
    refuted: set[tuple[Cell, int]] = field(default_factory=set)
    visited: set[Cell] = field(default_factory=set)


class SearchAgent:
    """Walks the way that it found in imagination, and searches again when the truth differs or after `commit` steps.

    Args:
        model: the world model.
        settings: of the rooms.
        commit: steps of a plan that are walked before the next search; frames imagined many steps deep are the least
            reliable.
        depth: how far a search goes.
        batch: how many frames are imagined at once.
    """

    def __init__(
        self,
        model: Imagination,
        settings: RoomSettings = STANDARD,
        *,
        commit: int = 8,
        depth: int = 64,
        batch: int = 256,
    ) -> None:
        self._model = model
        self._settings = settings
        self._commit, self._depth, self._batch = commit, depth, batch
        self._goals: NDArray[np.int64] = np.zeros(0, np.int64)
        self._rooms: list[_Room] = []
        self.imagined = 0
        """Frames that were imagined so far."""

    @property
    def context(self) -> int:
        """As the model."""
        return self._model.context

    def begin(self, goals: NDArray[np.int64]) -> None:
        """See `Agent.begin`."""
        self._goals, self._rooms = goals, []

    def act(self, view: View) -> NDArray[np.int64]:
        """See `Agent.act`."""
        now = view.history[:, -1]
        if not self._rooms:
            self._rooms = [_Room((int(x), int(y))) for x, y in goal_targets(self._goals, now, self._settings)]
        cells = [(int(x), int(y)) for x, y in find_agent(now, self._settings)[0]]
        unplanned = []
        for n in np.flatnonzero(view.active):
            room = self._rooms[n]
            room.visited.add(cells[n])
            if room.last is not None and room.last[2] != cells[n]:
                room.refuted.add(room.last[:2])
                room.plan = []
            if not room.plan or room.trusted <= 0:
                unplanned.append(int(n))
        if unplanned:
            plans = self._search(
                [self._rooms[n] for n in unplanned], [cells[n] for n in unplanned], view.history[unplanned]
            )
            for number, plan in zip(unplanned, plans, strict=True):
                self._rooms[number].plan, self._rooms[number].trusted = plan, self._commit
        actions = np.zeros(len(now), np.int64)
        for n in np.flatnonzero(view.active):
            room = self._rooms[n]
            room.last = None
            if room.plan:
                action, there = room.plan.pop()
                room.trusted -= 1
                room.last = cells[n], action, there
                actions[n] = action
        return actions

    def _search(self, rooms: list[_Room], starts: list[Cell], histories: FrameArray) -> list[list[tuple[int, Cell]]]:
        """A plan for each room, its last step first; empty where the model shows no way to anywhere new."""
        came: list[dict[Cell, tuple[Cell, int] | None]] = [{start: None} for start in starts]
        found: list[Cell | None] = [None] * len(rooms)
        front = [(n, starts[n], histories[n]) for n in range(len(rooms))]
        for _ in range(self._depth):
            asked = [
                (n, cell, history, int(move))
                for n, cell, history in front
                for move in _MOVES
                if found[n] is None and (cell, int(move)) not in rooms[n].refuted
            ]
            if not asked:
                break
            front = []
            for at in range(0, len(asked), self._batch):
                part = asked[at : at + self._batch]
                past = np.stack([history for _, _, history, _ in part])
                after = self._model.imagine(past, np.array([[move] for *_, move in part]))[:, 0]
                self.imagined += len(part)
                cells, distance = find_agent(after, self._settings)
                for k, (n, cell, history, move) in enumerate(part):
                    there = (int(cells[k, 0]), int(cells[k, 1]))
                    one_step = abs(there[0] - cell[0]) + abs(there[1] - cell[1]) == 1
                    if found[n] is not None or there in came[n] or not one_step or distance[k] > _LOST:
                        continue
                    came[n][there] = (cell, move)
                    if abs(there[0] - rooms[n].target[0]) + abs(there[1] - rooms[n].target[1]) <= 1:
                        found[n] = there
                    front.append((n, there, np.concatenate([history[1:], after[k : k + 1]])))
        plans = []
        for n, room in enumerate(rooms):
            end = found[n]
            plans.append(_way(came[n], _nearest_new(room, came[n]) if end is None else end))
        return plans


def goal_targets(goals: NDArray[np.int64], frames: FrameArray, settings: RoomSettings = STANDARD) -> NDArray[np.int64]:
    """The cell of each goal (N,), looked for in the frames (N, size, size, 3): (N, 2), (x, y)."""
    last = settings.cells - 1
    corners = np.array([(0, 0), (0, 0), (last, 0), (0, last), (last, last)])
    return np.where((goals == Goal.COIN)[:, None], find_coin(frames, settings)[0], corners[goals])


def _nearest_new(room: _Room, came: dict[Cell, tuple[Cell, int] | None]) -> Cell:
    """Where to go when the model shows no way to the goal: the nearest place to it, preferably one not yet visited."""
    return min(
        came,
        key=lambda cell: (cell in room.visited, abs(cell[0] - room.target[0]) + abs(cell[1] - room.target[1]), cell),
    )


def _way(came: dict[Cell, tuple[Cell, int] | None], end: Cell) -> list[tuple[int, Cell]]:
    way = []
    while (step := came[end]) is not None:
        way.append((step[1], end))
        end = step[0]
    return way
