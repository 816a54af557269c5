"""RoomWorld as a Gymnasium environment, for agents and tools that speak its interface."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError, MissingExtraError
from vidbench.worldmodel.rooms.layout import heldout_seed, training_seed
from vidbench.worldmodel.rooms.settings import GOAL_WORDS, PROMPTS, STANDARD, Action, Goal, RoomSettings
from vidbench.worldmodel.rooms.ways import arrived
from vidbench.worldmodel.rooms.world import Rooms

try:
    import gymnasium
    from gymnasium import spaces
except ModuleNotFoundError as error:
    raise MissingExtraError("the Gymnasium environment", "games") from error

ID = "vidbench/Room-v0"


class RoomEnv(gymnasium.Env[NDArray[np.uint8], np.int64]):
    """One room at a time: reach the goal for a reward of 1, which ends the episode.

    Every reset takes a new room; `reset(seed=k)` takes a certain one.

    Args:
        split: which rooms: those for training or those held out.
        goal: where to walk, in words; None: a goal of the room's own at each reset, told as `info["prompt"]`.
        settings: of the rooms.
        render_mode: `rgb_array`, or None.

    Raises:
        InputError: an unknown split, goal or render mode.

    Example:
        >>> env = gymnasium.make("vidbench/Room-v0", split="heldout", goal="coin")
        >>> frame, info = env.reset(seed=0)
        >>> frame, reward, terminated, truncated, info = env.step(Action.LEFT)
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        split: Literal["training", "heldout"] = "training",
        goal: str | None = "coin",
        settings: RoomSettings = STANDARD,
        render_mode: str | None = None,
    ) -> None:
        if split not in {"training", "heldout"}:
            raise InputError(f"rooms are of the split 'training' or 'heldout', not {split!r}")
        if goal is not None and goal not in GOAL_WORDS:
            raise InputError(f"goals are {', '.join(GOAL_WORDS)}; got {goal!r}")
        if render_mode not in {None, "rgb_array"}:
            raise InputError(f"rooms are rendered as rgb_array, not {render_mode!r}")
        self.split, self.settings, self.render_mode = split, settings, render_mode
        self._wanted = None if goal is None else Goal(GOAL_WORDS.index(goal))
        self.observation_space = spaces.Box(0, 255, (settings.size, settings.size, 3), np.uint8)
        self.action_space = spaces.Discrete(len(Action))
        self._rooms: Rooms | None = None
        self._goal = Goal.COIN

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Enter a new room."""
        super().reset(seed=seed)
        number = int(self.np_random.integers(2**31))
        self._rooms = Rooms(
            1, seed=training_seed(number) if self.split == "training" else heldout_seed(number), settings=self.settings
        )
        drawn = Goal(int(self.np_random.integers(len(Goal))))
        self._goal = drawn if self._wanted is None else self._wanted
        return self._rooms.frames()[0], self._info(self._rooms)

    def step(self, action: np.int64) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Do one action.

        Raises:
            InputError: before the first reset, or an unknown action.
        """
        rooms = self._entered()
        result = rooms.step(np.array([action]))
        there = bool(arrived(rooms.save().agent, rooms.goals()[:, self._goal])[0])
        info = self._info(rooms) | {"effective": int(result.effective[0])}
        return rooms.frames()[0], float(there), there, False, info

    def render(self) -> NDArray[np.uint8] | None:
        """The current frame, where the render mode is `rgb_array`."""
        return self._entered().frames()[0] if self.render_mode == "rgb_array" else None

    def _entered(self) -> Rooms:
        if self._rooms is None:
            raise InputError("reset the environment before its first step")
        return self._rooms

    def _info(self, rooms: Rooms) -> dict[str, Any]:
        truth = rooms.truth()
        return {
            "goal": int(self._goal),
            "prompt": PROMPTS[self._goal],
            "agent": truth.agent[0],
            "ball": truth.ball[0],
            "ball_hidden": bool(truth.ball_hidden[0]),
            "coin_taken": bool(truth.coin_taken[0]),
        }


if ID not in gymnasium.registry:
    gymnasium.register(ID, entry_point="vidbench.worldmodel.gym:RoomEnv", max_episode_steps=200)
