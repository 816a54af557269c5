"""Recording play: policies, and episodes with everything that is known about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.worldmodel.rooms import ways
from vidbench.worldmodel.rooms.settings import GOAL_WORDS, NO_GOAL, Action
from vidbench.worldmodel.rooms.world import Rooms

Policy = Callable[[Rooms, int], NDArray[np.int64]]
"""(rooms, step) → an action for each room."""


@dataclass(frozen=True, slots=True)
class Episodes:
    """N episodes of T frames and T - 1 actions; action t lies between frames t and t + 1."""

    frames: NDArray[np.uint8]
    """(N, T, size, size, 3) RGB."""
    actions: NDArray[np.int64]
    """(N, T - 1) as chosen."""
    effective: NDArray[np.int64]
    """(N, T - 1) the action where it moved the agent, else noop."""
    moved: NDArray[np.bool_]
    """(N, T - 1)"""
    rewards: NDArray[np.float32]
    """(N, T - 1) what action t brought."""
    goals: NDArray[np.int64]
    """(N,) instruction id, -1 where nobody was sent anywhere."""
    arrival: NDArray[np.int64]
    """(N,) first frame with the agent at its goal; T where it never was or has none."""
    agent: NDArray[np.int64]
    """(N, T, 2) cell, (x, y)."""
    ball: NDArray[np.float64]
    """(N, T, 2) pixels, (x, y)."""
    ball_hidden: NDArray[np.bool_]
    """(N, T)"""
    coin: NDArray[np.int64]
    """(N, 2) cell, (x, y)."""
    coin_taken: NDArray[np.bool_]
    """(N, T)"""
    ball_bounced: NDArray[np.bool_]
    """(N, T, 2)"""

    def __len__(self) -> int:
        return len(self.frames)


def random_policy(seed: int) -> Policy:
    """Every action as likely, in every step anew: what latent actions must be learned from."""
    rng = np.random.default_rng(seed)
    return lambda rooms, step: rng.integers(0, len(Action), len(rooms))


def sticky_policy(seed: int, stay: float = 0.6) -> Policy:
    """Keeps its last action with probability `stay`, else draws a new one: goes farther than a random walk.

    Raises:
        InputError: a probability outside [0, 1].
    """
    if not 0 <= stay <= 1:
        raise InputError(f"the probability to keep an action is in [0, 1], got {stay}")
    rng = np.random.default_rng(seed)
    last = np.zeros(0, np.int64)

    def choose(rooms: Rooms, step: int) -> NDArray[np.int64]:
        nonlocal last
        new = rng.integers(0, len(Action), len(rooms))
        keep = rng.random(len(rooms)) < stay
        last = np.where(keep, last, new) if step > 0 and len(last) == len(rooms) else new
        return last

    return choose


def expert_policy(rooms: Rooms, goals: NDArray[np.int64], *, wait: int = 3) -> Policy:
    """Walks a shortest way to its goal and stays there; stands still for the first `wait` steps.

    The wait puts the expert's first moves behind full context, where a model with several past frames learns them.

    Args:
        rooms: the rooms to be recorded.
        goals: (N,) instruction ids.
        wait: steps.

    Raises:
        InputError: unknown goals.
    """
    steps = rooms.steps_to(_targets(rooms, goals))

    def choose(rooms: Rooms, step: int) -> NDArray[np.int64]:
        if step < wait:
            return np.zeros(len(rooms), np.int64)
        return ways.shortest_way_actions(rooms.layouts.free, steps, rooms.save().agent)

    return choose


def greedy_policy(rooms: Rooms, goals: NDArray[np.int64]) -> Policy:
    """Always comes nearer in a straight line, blind to what is behind a wall: the baseline that U-shaped walls stop.

    Args:
        rooms: the rooms to be recorded.
        goals: (N,) instruction ids.

    Raises:
        InputError: unknown goals.
    """
    targets = _targets(rooms, goals)
    return lambda rooms, step: ways.greedy_actions(rooms.layouts.free, rooms.save().agent, targets)


def record(
    rooms: Rooms,
    policy: Policy | NDArray[np.int64],
    steps: int | None = None,
    *,
    goals: NDArray[np.int64] | None = None,
) -> Episodes:
    """Play and write everything down; the rooms are left as they are after the last step.

    Args:
        rooms: N rooms, as they are now.
        policy: chooses actions, or the actions themselves (N, steps).
        steps: number of actions, one less than frames; may be left out where actions are given.
        goals: (N,) instruction ids, for `Episodes.goals` and `Episodes.arrival`; they do not steer the policy.

    Raises:
        InputError: actions of another shape, or no number of steps.
    """
    if isinstance(policy, np.ndarray):
        given = policy
        if given.ndim != 2 or len(given) != len(rooms) or steps not in {None, given.shape[1]}:
            raise InputError(f"actions for {len(rooms)} rooms are ({len(rooms)}, steps), got {given.shape}")
        steps = given.shape[1]
    if steps is None or steps < 1:
        raise InputError(f"the number of steps must be at least 1, got {steps}")
    wanted = np.full(len(rooms), NO_GOAL) if goals is None else np.asarray(goals)
    targets = _targets(rooms, np.where(wanted == NO_GOAL, 0, wanted))
    frames = np.empty((len(rooms), steps + 1, rooms.settings.size, rooms.settings.size, 3), np.uint8)
    truths = []
    results = []
    actions = np.empty((len(rooms), steps), np.int64)
    for step in range(steps + 1):
        frames[:, step] = rooms.frames()
        truths.append(rooms.truth())
        if step < steps:
            actions[:, step] = policy[:, step] if isinstance(policy, np.ndarray) else policy(rooms, step)
            results.append(rooms.step(actions[:, step]))
    agent = np.stack([truth.agent for truth in truths], 1)
    there = ways.arrived(agent, targets[:, None]) & (wanted != NO_GOAL)[:, None]
    return Episodes(
        frames=frames,
        actions=actions,
        effective=np.stack([result.effective for result in results], 1),
        moved=np.stack([result.moved for result in results], 1),
        rewards=np.stack([result.reward for result in results], 1),
        goals=wanted.astype(np.int64),
        arrival=np.where(there.any(1), there.argmax(1), steps + 1),
        agent=agent,
        ball=np.stack([truth.ball for truth in truths], 1),
        ball_hidden=np.stack([truth.ball_hidden for truth in truths], 1),
        coin=truths[0].coin,
        coin_taken=np.stack([truth.coin_taken for truth in truths], 1),
        ball_bounced=np.stack([truth.ball_bounced for truth in truths], 1),
    )


def _targets(rooms: Rooms, goals: NDArray[np.int64]) -> NDArray[np.int64]:
    wanted = np.asarray(goals)
    if wanted.shape != (len(rooms),) or ((wanted < 0) | (wanted >= len(GOAL_WORDS))).any():
        raise InputError(f"a goal for each of {len(rooms)} rooms is needed, 0 to {len(GOAL_WORDS) - 1}")
    return rooms.goals()[np.arange(len(rooms)), wanted]
