"""What a planner asks of a world model, and models that are not learned: the true game and two that must fail."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.worldmodel.rooms.layout import Layouts
from vidbench.worldmodel.rooms.settings import Action
from vidbench.worldmodel.rooms.ways import distances, shortest_way_actions
from vidbench.worldmodel.rooms.world import Rooms, RoomState

FrameArray = NDArray[np.uint8]


class Imagination(Protocol):
    """A world model that is told actions."""

    @property
    def context(self) -> int:
        """How many past frames it looks at (K)."""

    def imagine(self, history: FrameArray, actions: NDArray[np.int64]) -> FrameArray:
        """What follows.

        Args:
            history: (B, K, size, size, 3) uint8, the latest frame last.
            actions: (B, S).

        Returns:
            (B, S, size, size, 3) uint8: the frame after each action.
        """


class GoalImagination(Protocol):
    """A world model that is told where the agent goes, in words or their ids, and no actions."""

    @property
    def context(self) -> int:
        """How many past frames it looks at (K)."""

    def imagine_goal(self, history: FrameArray, goals: NDArray[np.int64], steps: int) -> FrameArray:
        """The agent on its way.

        Args:
            history: (B, K, size, size, 3) uint8, the latest frame last.
            goals: (B,) instruction ids.
            steps: S.

        Returns:
            (B, S, size, size, 3) uint8.
        """


class Simulator:
    """The true game as a world model: the ceiling of every planner.

    It knows the state behind each frame that it drew or was shown (`observe`), and plays on from there. With `error`,
    it is wrong at times: it then shows what an action drawn at random would have done.

    Args:
        rooms: where it begins; more can be shown to it later.
        error: share of steps that show a random action's result; 0 the truth, 1 a model that is deaf to actions.
        seed: of the errors.
    """

    context = 1

    def __init__(self, rooms: Rooms, *, error: float = 0.0, seed: int = 0) -> None:
        if not 0 <= error <= 1:
            raise InputError(f"the share of errors is in [0, 1], got {error}")
        self._settings = rooms.settings
        self._error = error
        self._rng = np.random.default_rng(seed)
        self._known: dict[bytes, tuple[Layouts, int, RoomState]] = {}
        self.observe(rooms)

    def observe(self, rooms: Rooms) -> None:
        """See rooms as they are now."""
        self._remember(rooms)

    def imagine(self, history: FrameArray, actions: NDArray[np.int64]) -> FrameArray:
        """See `Imagination.imagine`.

        Raises:
            InputError: a frame that this game never showed.
        """
        rooms = self._enter(history)
        frames = []
        for chosen in np.asarray(actions).T:
            wrong = self._rng.random(len(rooms)) < self._error
            played = np.where(wrong, self._rng.integers(0, len(Action), len(rooms)), chosen)
            rooms.step(played)
            frames.append(self._remember(rooms))
        return np.stack(frames, 1)

    def imagine_goal(self, history: FrameArray, goals: NDArray[np.int64], steps: int) -> FrameArray:
        """See `GoalImagination.imagine_goal`: the agent takes a shortest way.

        Raises:
            InputError: a frame that this game never showed.
        """
        rooms = self._enter(history)
        targets = rooms.goals()[np.arange(len(rooms)), goals]
        away = distances(rooms.layouts.free, targets)
        frames = []
        for _ in range(steps):
            wrong = self._rng.random(len(rooms)) < self._error
            best = shortest_way_actions(rooms.layouts.free, away, rooms.save().agent)
            rooms.step(np.where(wrong, self._rng.integers(0, len(Action), len(rooms)), best))
            frames.append(self._remember(rooms))
        return np.stack(frames, 1)

    def _enter(self, history: FrameArray) -> Rooms:
        found = [self._known.get(_digest(frame)) for frame in history[:, -1]]
        known = [entry for entry in found if entry is not None]
        if len(known) < len(found):
            raise InputError("the simulator was asked about a frame that it never drew; let it observe the rooms first")
        layouts = Layouts(
            *(np.stack([getattr(layout, part.name)[n] for layout, n, _ in known]) for part in fields(Layouts))
        )
        states = RoomState(
            *(np.stack([getattr(state, part.name) for *_, state in known]) for part in fields(RoomState))
        )
        return Rooms.of(layouts, self._settings, states)

    def _remember(self, rooms: Rooms) -> FrameArray:
        """The frames as they are now, and from now on what is behind them."""
        frames, states = rooms.frames(), rooms.save()
        parts = [getattr(states, part.name) for part in fields(RoomState)]
        for n, frame in enumerate(frames):
            self._known[_digest(frame)] = rooms.layouts, n, RoomState(*(part[n] for part in parts))
        return frames


class CopyLast:
    """Nothing ever moves: a model of which the pixel error looks good and that is of no use."""

    context = 1

    def imagine(self, history: FrameArray, actions: NDArray[np.int64]) -> FrameArray:
        """See `Imagination.imagine`."""
        return np.repeat(history[:, -1:], np.shape(actions)[1], 1)

    def imagine_goal(self, history: FrameArray, goals: NDArray[np.int64], steps: int) -> FrameArray:
        """See `GoalImagination.imagine_goal`."""
        return np.repeat(history[:, -1:], steps, 1)


def _digest(frame: FrameArray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(frame).tobytes(), digest_size=16).digest()
