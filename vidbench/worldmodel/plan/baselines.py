"""Agents without a world model, which every planner is held against: chance, greed, and one that knows all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidbench.worldmodel.plan.trial import View
from vidbench.worldmodel.rooms import ways
from vidbench.worldmodel.rooms.parse import find_agent
from vidbench.worldmodel.rooms.settings import Action
from vidbench.worldmodel.rooms.world import Rooms


class RandomAgent:
    """Every action as likely: the floor."""

    context = 1

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def begin(self, goals: NDArray[np.int64]) -> None:
        """Nothing to remember."""

    def act(self, view: View) -> NDArray[np.int64]:
        """See `Agent.act`."""
        return self._rng.integers(0, len(Action), len(view.active))


class _Knowing:
    """Knows the rooms' walls and goals; sees the agent in the frame."""

    context = 1

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._free = rooms.layouts.free
        self._targets = np.zeros((len(rooms), 2), np.int64)

    def begin(self, goals: NDArray[np.int64]) -> None:
        """See `Agent.begin`."""
        self._targets = self._rooms.goals()[np.arange(len(self._rooms)), goals]

    def _cells(self, view: View) -> NDArray[np.int64]:
        return find_agent(view.history[:, -1], self._rooms.settings)[0]


class GreedyAgent(_Knowing):
    """Always comes nearer in a straight line and feels walls: what a planner must beat to have planned at all."""

    def act(self, view: View) -> NDArray[np.int64]:
        """See `Agent.act`."""
        return ways.greedy_actions(self._free, self._cells(view), self._targets)


class OracleAgent(_Knowing):
    """Takes a shortest way by breadth-first search over the true walls: the ceiling."""

    def begin(self, goals: NDArray[np.int64]) -> None:
        """See `Agent.begin`."""
        super().begin(goals)
        self._away = ways.distances(self._free, self._targets)

    def act(self, view: View) -> NDArray[np.int64]:
        """See `Agent.act`."""
        return ways.shortest_way_actions(self._free, self._away, self._cells(view))
