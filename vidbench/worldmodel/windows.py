"""What a generator learns from: short windows out of recorded play.

Two kinds of play. *Wandering*: sticky random actions, for a model that is told actions. *Errands*: an agent wanders a
little and then walks a shortest way to where a sentence sends it, for a model that is told sentences; only the walk
and the first moments after it are learned (standing at the goal for long would teach to stand), and the wandering
before it puts the first step of the walk behind full context, from places where a model may find itself.

Windows are drawn by number of the step, not from a running generator, so that training that was interrupted goes on as
if it had not been.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidbench.errors import InputError
from vidbench.worldmodel.rooms.episodes import Episodes, expert_policy, record, sticky_policy
from vidbench.worldmodel.rooms.layout import heldout_seed, training_seed
from vidbench.worldmodel.rooms.settings import GOAL_WORDS, STANDARD, RoomSettings
from vidbench.worldmodel.rooms.world import Rooms

ANYWHERE = RoomSettings(start="anywhere")
AFTER_ARRIVAL = 4
"""Frames after the arrival that are still learned."""


@dataclass(frozen=True, slots=True)
class Batch:
    """B windows of L frames."""

    frames: Tensor
    """(B, L, 3, H, W) float from -1 to 1."""
    actions: Tensor
    """(B, L - 1) action t lies between frames t and t + 1."""
    goals: Tensor
    """(B,) instruction ids, -1 where there is none."""


def to_unit(frames: Tensor) -> Tensor:
    """Levels 0 to 255 as float from -1 to 1."""
    return frames.float() / 127.5 - 1


def to_levels(frames: Tensor) -> Tensor:
    """Float from -1 to 1 as uint8 levels; what lies beyond is cut off."""
    return ((frames.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


class Windows:
    """Episodes to draw windows from.

    Args:
        episodes: recorded play of one length.
        first: (N,) first frame that may be the last of a window (earlier ones are context only); None: any.
        last: (N,) last frame that may be in a window; None: any.
    """

    def __init__(
        self, episodes: Episodes, first: NDArray[np.int64] | None = None, last: NDArray[np.int64] | None = None
    ) -> None:
        count, self.length = episodes.frames.shape[:2]
        self.frames = torch.from_numpy(episodes.frames).permute(0, 1, 4, 2, 3).contiguous()
        self.actions = torch.from_numpy(episodes.actions)
        self.goals = torch.from_numpy(episodes.goals)
        self._first = np.zeros(count, np.int64) if first is None else first
        self._last = np.full(count, self.length - 1) if last is None else np.minimum(last, self.length - 1)
        self._places: dict[int, NDArray[np.int64]] = {}

    def places(self, length: int) -> NDArray[np.int64]:
        """(M, 2) episode and first frame of every window of this length whose last frame is to be learned."""
        if length not in self._places:
            ends = np.arange(length - 1, self.length)
            fits = (ends >= self._first[:, None]) & (ends <= self._last[:, None])
            episode, at = np.nonzero(fits)
            if not len(episode):
                raise InputError(f"no window of {length} frames in episodes of {self.length}")
            self._places[length] = np.stack([episode, at], 1)
        return self._places[length]

    def draw(self, batch: int, length: int, rng: np.random.Generator) -> Batch:
        """Windows, each as likely."""
        places = self.places(length)
        chosen = torch.from_numpy(places[rng.integers(0, len(places), batch)])
        episode, at = chosen[:, :1], chosen[:, 1:] + torch.arange(length)
        return Batch(to_unit(self.frames[episode, at]), self.actions[episode, at[:, :-1]], self.goals[episode[:, 0]])


@dataclass(frozen=True)
class Play:
    """Play to learn from and play to measure on, drawn when first asked for."""

    errands: bool = False
    """Errands instead of wandering."""
    episodes: int = 2048
    """For training."""
    steps: int = 31
    """Actions of an episode."""
    seed: int = 0

    @cached_property
    def training(self) -> Windows:
        """In training rooms: half of the agents start where greed fails, half anywhere."""
        half = max(1, self.episodes // 2)
        parts = [
            self._windows(Rooms(half, seed=training_seed(2 * self.seed + n), settings=settings), 2 * self.seed + n)
            for n, settings in enumerate((STANDARD, ANYWHERE))
        ]
        return _joined(parts)

    @cached_property
    def held_out(self) -> Windows:
        """A little in rooms that are not trained on, for the progress line. Seeds far from those of any measure."""
        return self._windows(Rooms(64, seed=heldout_seed(1_000_000 + self.seed)), 1_000_000 + self.seed)

    def _windows(self, rooms: Rooms, seed: int) -> Windows:
        if not self.errands:
            return Windows(record(rooms, sticky_policy(seed), self.steps))
        rng = np.random.default_rng([seed, 7])
        goals = rng.integers(0, len(GOAL_WORDS), len(rooms))
        expert, wander = expert_policy(rooms, goals, wait=0), sticky_policy(seed)
        # All stand still at times, as they do where the context before the first frame is made up.
        until = rng.integers(3, 10, len(rooms))
        still = rng.random(len(rooms)) < 0.4

        def errand(now: Rooms, step: int) -> NDArray[np.int64]:
            before = np.where(still, 0, wander(now, step))
            return np.where(step < until, before, expert(now, step))

        episodes = record(rooms, errand, self.steps, goals=goals)
        return Windows(episodes, until + 1, np.maximum(episodes.arrival, until) + AFTER_ARRIVAL)


def _joined(parts: list[Windows]) -> Windows:
    whole = object.__new__(Windows)
    whole.length = parts[0].length
    for name in ("frames", "actions", "goals"):
        setattr(whole, name, torch.cat([getattr(part, name) for part in parts]))
    whole._first = np.concatenate([part._first for part in parts])
    whole._last = np.concatenate([part._last for part in parts])
    whole._places = {}
    return whole
