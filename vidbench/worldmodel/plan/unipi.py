"""From words over imagined video to actions: imagine the agent on its way, read off the actions, do them, look again.

Du et al. 2023 (UniPi, arXiv 2302.00111). The model is told the goal and no action; it has to know the way. Inverse
dynamics names the action between each two imagined frames; after `commit` of them the truth is looked at again, so that
errors do not add up.

What is not in the paper: an agent that has stood still for two steps although its goal is not reached gets a random
move, for the model would see the same frame again and imagine the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.worldmodel.inverse import InverseDynamics
from vidbench.worldmodel.plan.imagination import FrameArray, GoalImagination
from vidbench.worldmodel.plan.trial import Agent, TrialResult, View, run_trial
from vidbench.worldmodel.plan.words import WordsPlanner
from vidbench.worldmodel.rooms.settings import Action, Goal
from vidbench.worldmodel.rooms.world import Rooms

_PATIENCE = 2


class VideoAgent:
    """Does what it has imagined: goal → video → actions.

    Args:
        model: imagines the way to a goal.
        inverse: names the actions.
        ahead: frames imagined each time.
        commit: how many of their actions are done before looking again, at most `ahead`.
        nudge: whether an agent that is stuck gets a random move.
        seed: of those.
        batch: how many rooms are imagined at once.

    Raises:
        InputError: `commit` above `ahead`, or either below 1.
    """

    def __init__(
        self,
        model: GoalImagination,
        inverse: InverseDynamics,
        *,
        ahead: int = 1,
        commit: int = 1,
        nudge: bool = True,
        seed: int = 0,
        batch: int = 256,
    ) -> None:
        if not 1 <= commit <= ahead:
            raise InputError(f"only actions of imagined frames can be done: 1 to {ahead}, got {commit}")
        self._model, self._inverse = model, inverse
        self._ahead, self._commit, self._nudge, self._batch = ahead, commit, nudge, batch
        self._rng = np.random.default_rng(seed)
        self.begin(np.zeros(0, np.int64))

    @property
    def context(self) -> int:
        """As the model, and at least the two frames that show whether the agent is stuck."""
        return max(2, self._model.context)

    def begin(self, goals: NDArray[np.int64]) -> None:
        """See `Agent.begin`."""
        self._goals = goals
        self._queues: list[list[int]] = [[] for _ in goals]
        self._still = np.zeros(len(goals), np.int64)
        self.dreams: list[FrameArray] = []
        """Of each step, the first imagined frame of each room: (N, size, size, 3), black where none was imagined."""

    def act(self, view: View) -> NDArray[np.int64]:
        """See `Agent.act`."""
        now = view.history[:, -1]
        if self._nudge and self.dreams:
            stood = self._inverse.predict(view.history[:, -2], now) == int(Action.NOOP)
            self._still = np.where(stood, self._still + 1, 0)
        dream = np.zeros_like(now)
        asked = np.array([n for n in np.flatnonzero(view.active) if not self._queues[n]], np.int64)
        for at in range(0, len(asked), self._batch):
            part = asked[at : at + self._batch]
            history = view.history[part][:, -self._model.context :]
            imagined = self._model.imagine_goal(history, self._goals[part], self._ahead)
            dream[part] = imagined[:, 0]
            after = imagined[:, : self._commit]
            before = np.concatenate([now[part][:, None], after[:, :-1]], 1)
            named = self._inverse.predict(before.reshape(-1, *now.shape[1:]), after.reshape(-1, *now.shape[1:]))
            for number, queue in zip(part, named.reshape(len(part), -1).tolist(), strict=True):
                self._queues[int(number)] = queue
        self.dreams.append(dream)
        actions = np.zeros(len(now), np.int64)
        for room in np.flatnonzero(view.active):
            actions[room] = self._queues[room].pop(0)
            if self._still[room] >= _PATIENCE:
                actions[room] = self._rng.integers(1, len(Action))
                self._queues[room], self._still[room] = [], 0
        return actions


@dataclass(frozen=True, slots=True)
class Followed:
    """How sentences were followed."""

    goals: list[list[Goal]]
    """What the planner understood, for each room."""
    success: NDArray[np.bool_]
    """(N,) whether all goals were reached in their order."""
    stages: list[TrialResult]
    """The first goals' trial, the second goals' in the rooms that have one and reached the first, and so on."""


def follow(
    sentences: Sequence[str],
    rooms: Rooms,
    agent: Agent,
    planner: WordsPlanner,
    *,
    observers: tuple[Callable[[Rooms], None], ...] = (),
    keep_frames: bool = False,
) -> Followed:
    """Understand a sentence for each room, and walk to its goals one after the other.

    Args:
        sentences: N of them.
        rooms: N rooms; left untouched.
        agent: who walks; it is given goals' ids.
        planner: understands sentences.
        observers: as of `run_trial`.
        keep_frames: as of `run_trial`.

    Raises:
        InputError: another number of sentences than rooms, or one that names no goal.
    """
    if len(sentences) != len(rooms):
        raise InputError(f"a sentence for each of {len(rooms)} rooms is needed, got {len(sentences)}")
    frames = rooms.frames()
    goals = [planner.goals(sentence, frames[n]) for n, sentence in enumerate(sentences)]
    running = np.arange(len(rooms))
    world, stages = rooms, []
    success = np.ones(len(rooms), bool)
    for stage in range(max(map(len, goals))):
        wanted = np.array([int(goals[n][stage]) for n in running])
        stages.append(run_trial(world, wanted, agent, observers=observers, keep_frames=keep_frames))
        success[running] &= stages[-1].success
        further = np.flatnonzero(stages[-1].success & [len(goals[n]) > stage + 1 for n in running])
        if not len(further):
            success &= [len(each) <= stage + 1 for each in goals]
            break
        running, world = running[further], stages[-1].rooms.select(further)
    return Followed(goals, success, stages)
