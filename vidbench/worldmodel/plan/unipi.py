"""From words over imagined video to actions: imagine the agent on its way, read off the actions, do them, look again.

Du et al. 2023 (UniPi, arXiv 2302.00111). The model is told the goal and no action; it has to know the way. Inverse
dynamics names the action between each two imagined frames; after `commit` of them the truth is looked at again, so that
errors do not add up.

What is not in the paper: an agent that has stood still for two steps although its goal is not reached gets a random
move, for the model would see the same frame again and imagine the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.worldmodel.inverse import InverseDynamics
from vidbench.worldmodel.plan.imagination import FrameArray, GoalImagination
from vidbench.worldmodel.plan.search import goal_targets
from vidbench.worldmodel.plan.trial import View
from vidbench.worldmodel.plan.words import RulesPlanner, WordsPlanner
from vidbench.worldmodel.rooms.parse import find_agent
from vidbench.worldmodel.rooms.settings import PROMPTS, STANDARD, Action, Goal, RoomSettings
from vidbench.worldmodel.rooms.ways import arrived

_PATIENCE = 2


class WordsAgent:
    """A sentence becomes goals, these become imagined video, this becomes actions, these become true frames.

    Args:
        model: imagines the way to a goal.
        inverse: names the actions.
        planner: understands sentences.
        settings: of the rooms.
        sentences: what is said in each room; None: the goal's own sentence.
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
        planner: WordsPlanner | None = None,
        settings: RoomSettings = STANDARD,
        *,
        sentences: Sequence[str] | None = None,
        ahead: int = 1,
        commit: int = 1,
        nudge: bool = True,
        seed: int = 0,
        batch: int = 256,
    ) -> None:
        if not 1 <= commit <= ahead:
            raise InputError(f"actions of imagined frames only can be done: 1 to {ahead}, got {commit}")
        self._model, self._inverse, self._settings = model, inverse, settings
        self._planner = planner or RulesPlanner()
        self._sentences = sentences
        self._ahead, self._commit, self._nudge, self._batch = ahead, commit, nudge, batch
        self._rng = np.random.default_rng(seed)
        self._goals: NDArray[np.int64] = np.zeros(0, np.int64)
        self._ways: list[list[Goal]] = []
        self._targets: list[NDArray[np.int64]] = []
        self.dreams: list[FrameArray] = []
        """Of each step, the first imagined frame of each room: (N, size, size, 3), zeros where none was imagined."""

    @property
    def context(self) -> int:
        """As the model, and at least the two frames that show whether the agent is stuck."""
        return max(2, self._model.context)

    def begin(self, goals: NDArray[np.int64]) -> None:
        """See `Agent.begin`."""
        self._goals, self._ways, self.dreams = goals, [], []

    def act(self, view: View) -> NDArray[np.int64]:
        """See `Agent.act`."""
        now = view.history[:, -1]
        count = len(now)
        if not self._ways:
            said = self._sentences or [PROMPTS[goal] for goal in self._goals]
            self._ways = [self._planner.goals(said[n], now[n]) for n in range(count)]
            # Where the goals are, to know when the next one's turn has come.
            self._targets = [
                goal_targets(np.array(way), now[[n] * len(way)], self._settings) for n, way in enumerate(self._ways)
            ]
            self._queues: list[list[int]] = [[] for _ in range(count)]
            self._still = np.zeros(count, np.int64)
        cells = find_agent(now, self._settings)[0]
        for n in range(count):
            if len(self._ways[n]) > 1 and arrived(cells[n], self._targets[n][0]):
                self._ways[n], self._targets[n], self._queues[n] = self._ways[n][1:], self._targets[n][1:], []
        moved = self._inverse.predict(view.history[:, -2], now) != int(Action.NOOP)
        self._still = np.where(moved, 0, self._still + 1)
        dream = np.zeros_like(now)
        asked = np.array([n for n in np.flatnonzero(view.active) if not self._queues[n]], np.int64)
        for at in range(0, len(asked), self._batch):
            part = asked[at : at + self._batch]
            goals = np.array([int(self._ways[n][0]) for n in part])
            history = view.history[part][:, -self._model.context :]
            imagined = self._model.imagine_goal(history, goals, self._ahead)
            dream[part] = imagined[:, 0]
            before = np.concatenate([now[part][:, None], imagined[:, : self._commit - 1]], 1)
            flat = before.reshape(-1, *now.shape[1:]), imagined[:, : self._commit].reshape(-1, *now.shape[1:])
            named = self._inverse.predict(*flat).reshape(len(part), -1)
            for number, queue in zip(part, named, strict=True):
                self._queues[number] = queue.tolist()
        self.dreams.append(dream)
        actions = np.zeros(count, np.int64)
        for n in np.flatnonzero(view.active):
            actions[n] = self._queues[n].pop(0)
            # The two frames before the first step show a waiting agent, which is not stuck.
            if self._nudge and len(self.dreams) > _PATIENCE and self._still[n] >= _PATIENCE:
                actions[n] = self._rng.integers(1, len(Action))
                self._queues[n], self._still[n] = [], 0
        return actions
