"""Trials: agents walk to goals in the true game, and are counted.

An episode succeeds where the agent is on its goal or one step beside it (2 pixels) within twice the steps of the
shortest way plus 4. SPL weighs success by optimal / taken steps (Anderson et al., arXiv 1807.06757).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.stats import Interval, wilson_interval
from vidbench.worldmodel.rooms import ways
from vidbench.worldmodel.rooms.settings import GOAL_WORDS, Action
from vidbench.worldmodel.rooms.world import Rooms

ALLOWED_FACTOR = 2
ALLOWED_EXTRA = 4


@dataclass(frozen=True, slots=True)
class View:
    """What agents are shown before each step."""

    history: NDArray[np.uint8]
    """(N, K, size, size, 3) true frames, the latest last."""
    active: NDArray[np.bool_]
    """(N,) which episodes still run; actions of the others do not count."""


class Agent(Protocol):
    """Walks in N rooms at once. Agents with a world model see frames and goals, nothing else of the game."""

    @property
    def context(self) -> int:
        """How many past frames it wants to see."""

    def begin(self, goals: NDArray[np.int64]) -> None:
        """New episodes with these goals (N,), as instruction ids."""

    def act(self, view: View) -> NDArray[np.int64]:
        """An action for each room."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """How N episodes ended."""

    success: NDArray[np.bool_]
    """(N,)"""
    steps: NDArray[np.int64]
    """(N,) steps taken until arrival, or all that were allowed."""
    optimal: NDArray[np.int64]
    """(N,) steps of the shortest way."""
    goals: NDArray[np.int64]
    """(N,) instruction ids."""
    nearer: float
    """Share of all steps that shortened the way to the goal."""
    rooms: Rooms
    """As they were when the last episode ended."""
    frames: NDArray[np.uint8] | None = None
    """(N, longest + 1, size, size, 3) where they were asked for; an episode that is over goes on standing still."""
    actions: NDArray[np.int64] | None = None
    """(N, longest) likewise."""

    @property
    def rate(self) -> float:
        """Share of episodes that succeeded."""
        return float(self.success.mean())

    @property
    def interval(self) -> Interval:
        """Wilson's 95 % interval of `rate`."""
        return wilson_interval(int(self.success.sum()), len(self.success))

    @property
    def spl(self) -> float:
        """Success weighted by path length."""
        return float((self.success * self.optimal / np.maximum(self.steps, self.optimal)).mean())

    def rate_by_goal(self) -> dict[str, float]:
        """Success by goal, for goals that occur."""
        return {GOAL_WORDS[g]: float(self.success[self.goals == g].mean()) for g in np.unique(self.goals)}


def run_trial(
    rooms: Rooms,
    goals: NDArray[np.int64],
    agent: Agent,
    *,
    observers: tuple[Callable[[Rooms], None], ...] = (),
    keep_frames: bool = False,
) -> TrialResult:
    """Let an agent walk in copies of the rooms, all episodes side by side.

    Before the first step that counts, the agent stands still for as long as it takes to have seen `context` frames.

    Args:
        rooms: N rooms as they shall begin; left untouched.
        goals: (N,) instruction ids.
        agent: who walks.
        observers: called with the rooms after each step; for `Simulator.observe`.
        keep_frames: whether the result holds frames and actions.

    Raises:
        InputError: goals that do not fit the rooms, or an agent whose actions do not.
    """
    if np.shape(goals) != (len(rooms),):
        raise InputError(f"a goal for each of {len(rooms)} rooms is needed, got {np.shape(goals)}")
    world = rooms.select(np.arange(len(rooms)))
    count = len(world)
    targets = world.goals()[np.arange(count), goals]
    away = world.steps_to(targets)
    waiting = np.full(count, int(Action.NOOP))
    seen = [world.frames()]
    for observe in observers:
        observe(world)
    for _ in range(agent.context - 1):
        world.step(waiting)
        seen.append(world.frames())
        for observe in observers:
            observe(world)
    cell = world.save().agent
    left = away[np.arange(count), cell[:, 1], cell[:, 0]]
    # Arrival is one step beside the goal already.
    optimal = np.maximum(left - 1, 0)
    allowed = ALLOWED_FACTOR * optimal + ALLOWED_EXTRA
    success = ways.arrived(cell, targets)
    steps = np.zeros(count, np.int64)
    nearer, total = 0, 0
    frames, actions = [seen[-1]], []
    agent.begin(np.asarray(goals))
    while (active := ~success & (steps < allowed)).any():
        chosen = np.asarray(agent.act(View(np.stack(seen[-agent.context :], 1), active)))
        chosen = np.where(active, chosen, int(Action.NOOP))
        world.step(chosen)
        seen = [*seen[-agent.context :], world.frames()]
        for observe in observers:
            observe(world)
        cell = world.save().agent
        now = away[np.arange(count), cell[:, 1], cell[:, 0]]
        nearer += int((now < left)[active].sum())
        total += int(active.sum())
        left = now
        steps += active
        success |= active & ways.arrived(cell, targets)
        if keep_frames:
            frames.append(seen[-1])
            actions.append(chosen)
    return TrialResult(
        success=success,
        steps=steps,
        optimal=optimal,
        goals=np.asarray(goals),
        nearer=nearer / total if total else 0.0,
        rooms=world,
        frames=np.stack(frames, 1) if keep_frames else None,
        actions=np.stack(actions, 1) if keep_frames and actions else None,
    )
