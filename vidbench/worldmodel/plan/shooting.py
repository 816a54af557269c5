"""Model-predictive control by sampled action sequences, scored by the straight distance left in imagined frames.

With `rounds` above 1 the cross-entropy method: sequences are drawn anew around the best ones. Known limit: it looks
`horizon` steps ahead and scores by straight distance, so in a dead end deeper than that it stays. `SearchAgent` is the
answer to that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidbench.worldmodel.plan.imagination import FrameArray, Imagination
from vidbench.worldmodel.plan.search import goal_targets
from vidbench.worldmodel.plan.trial import View
from vidbench.worldmodel.rooms.parse import find_agent
from vidbench.worldmodel.rooms.settings import STANDARD, Action, RoomSettings


class ShootingAgent:
    """Imagines many futures, takes the first action of the best, looks again.

    Args:
        model: the world model.
        settings: of the rooms.
        samples: sequences a round.
        horizon: steps each.
        rounds: of drawing; from the second on around the best tenth.
        stay: probability that a sequence repeats its last action, in the first round.
        seed: of the draws.
        batch: how many sequences are imagined at once.
    """

    def __init__(
        self,
        model: Imagination,
        settings: RoomSettings = STANDARD,
        *,
        samples: int = 24,
        horizon: int = 8,
        rounds: int = 1,
        stay: float = 0.65,
        seed: int = 0,
        batch: int = 256,
    ) -> None:
        self._model, self._settings = model, settings
        self._samples, self._horizon, self._rounds, self._stay = samples, horizon, rounds, stay
        self._rng = np.random.default_rng(seed)
        self._batch = batch
        self._goals: NDArray[np.int64] = np.zeros(0, np.int64)
        self._targets: NDArray[np.int64] | None = None

    @property
    def context(self) -> int:
        """As the model."""
        return self._model.context

    def begin(self, goals: NDArray[np.int64]) -> None:
        """See `Agent.begin`."""
        self._goals, self._targets = goals, None

    def act(self, view: View) -> NDArray[np.int64]:
        """See `Agent.act`."""
        if self._targets is None:
            self._targets = goal_targets(self._goals, view.history[:, -1], self._settings)
        running = np.flatnonzero(view.active)
        history, targets = view.history[running], self._targets[running]
        draws = self._first_draws(len(running))
        best, least = np.zeros(len(running), np.int64), np.full(len(running), np.inf)
        for number in range(self._rounds):
            costs = self._costs(history, draws, targets)
            order = costs.argsort(1, kind="stable")
            rows = np.arange(len(running))
            top = costs[rows, order[:, 0]]
            best = np.where(top < least, draws[rows, order[:, 0], 0], best)
            least = np.minimum(least, top)
            if number + 1 < self._rounds:
                draws = self._draws_around(draws, order[:, : max(2, self._samples // 10)])
        actions = np.zeros(len(view.active), np.int64)
        actions[running] = best
        return actions

    def _first_draws(self, count: int) -> NDArray[np.int64]:
        """(count, samples, horizon)."""
        draws = self._rng.integers(0, len(Action), (count, self._samples, self._horizon))
        keep = self._rng.random(draws.shape) < self._stay
        for step in range(1, self._horizon):
            draws[:, :, step] = np.where(keep[:, :, step], draws[:, :, step - 1], draws[:, :, step])
        return draws

    def _draws_around(self, draws: NDArray[np.int64], elite: NDArray[np.int64]) -> NDArray[np.int64]:
        """Each step of each sequence from a random one of the elite, one in five anew."""
        count, _, horizon = draws.shape
        rows = np.arange(count)[:, None, None]
        parent = elite[rows, self._rng.integers(0, elite.shape[1], draws.shape)]
        drawn = draws[rows, parent, np.arange(horizon)]
        anew = self._rng.random(draws.shape) < 0.2
        return np.where(anew, self._rng.integers(0, len(Action), draws.shape), drawn)

    def _costs(self, history: FrameArray, draws: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
        """(count, samples): least distance to the goal on the way, a little more the later it is reached."""
        count, samples, horizon = draws.shape
        flat, rows = draws.reshape(-1, horizon), np.repeat(np.arange(count), samples)
        cells = []
        for at in range(0, len(flat), self._batch):
            frames = self._model.imagine(history[rows[at : at + self._batch]], flat[at : at + self._batch])
            cells.append(find_agent(frames.reshape(-1, *frames.shape[2:]), self._settings)[0])
        place = np.concatenate(cells).reshape(count, samples, horizon, 2)
        left = np.abs(place - targets[:, None, None]).sum(3)
        return np.asarray((left + 0.01 * np.arange(horizon)).min(2))
