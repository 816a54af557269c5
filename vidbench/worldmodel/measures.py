"""How good a world model that is told actions is, against the simulator, in rooms that it was not trained on.

PSNR is of the mean square error over all cases: a case that is right to the pixel cannot outweigh others. Where the
agent is in a frame is found by its picture, which on true frames is never wrong. One-step control is measured on
effective moves only, since a model that ignores its actions is right about all others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.generator import Generator, History
from vidbench.worldmodel.rooms.episodes import record, sticky_policy
from vidbench.worldmodel.rooms.layout import heldout_seed
from vidbench.worldmodel.rooms.parse import find_agent
from vidbench.worldmodel.rooms.settings import MOVES, Action
from vidbench.worldmodel.rooms.world import Rooms

Frames = NDArray[np.uint8]
Imagine = Callable[[History, NDArray[np.int64]], Frames]
"""History of N scenes and (N, T) actions to (N, T, H, W, 3)."""

CONTEXT = 8
"""Frames of history."""
ROLL_OUT = 16
"""Frames of the long roll-out."""
DELTA_AT = 4
"""The t of ΔPSNR, as in Genie (Bruce et al., arXiv 2402.15391)."""
OUT = 3
"""Steps out, and as many back."""
_OPPOSITE = {Action.UP: Action.DOWN, Action.DOWN: Action.UP, Action.LEFT: Action.RIGHT, Action.RIGHT: Action.LEFT}


@dataclass(frozen=True, slots=True)
class Measures:
    """All higher is better. Shares are from 0 to 1, PSNR is in dB."""

    psnr: float
    """Of the next frame, every action once from each room."""
    gain: float
    """The same less that of repeating the last frame."""
    agent_exact: float
    """Share of effective moves after which the agent is exactly where it truly is."""
    agent_exact_all: float
    """The same of all actions, those that a wall blocks among them."""
    nearest_true: float
    """Share of effective moves whose frame is, of the true frames after the five actions, nearest to the right one."""
    delta_psnr: float
    """PSNR at t = 4 under the true actions less that under random ones, against the true frame."""
    roll_gain: float
    """PSNR of frame 16 of a roll-out less that of repeating the first frame."""
    roll_agent_exact: float
    """Share of roll-outs whose agent is exactly right in frame 16."""
    revisit: float
    """Share of walks three steps out and three back that are exactly right at the turning point and end exactly where
    they began; only where the way is free."""
    n: int
    """Cases of one step."""
    n_moves: int
    """Effective moves among them."""
    n_roll: int
    n_revisit: int
    psnr_by_frame: tuple[float, ...]
    """Of the roll-out, frame 1 to 16."""
    exact_by_frame: tuple[float, ...]

    def to_json(self) -> dict[str, object]:
        """All numbers."""
        return asdict(self)


def pooled_psnr(frames: Frames, truth: Frames) -> float:
    """PSNR in dB of the mean square error over everything; at most 100."""
    error = float(np.square(frames.astype(np.float32) - truth.astype(np.float32)).mean(dtype=np.float64))
    return min(100.0, 10 * math.log10(255**2 / error)) if error else 100.0


def scenes(count: int, seed: int) -> tuple[Rooms, History]:
    """Held-out rooms after a while of wandering, with their history. Rooms differ from seed to seed."""
    rooms = Rooms(count, seed=heldout_seed(seed))
    episodes = record(rooms, sticky_policy(700 + seed), CONTEXT - 1)
    return rooms, History(episodes.frames, episodes.actions)


def repeated(history: History, times: NDArray[np.int64]) -> History:
    """The scenes of these numbers."""
    return History(history.frames[times], None if history.actions is None else history.actions[times])


def measure(imagine: Imagine, *, rooms: int = 128, seed: int = 0) -> Measures:
    """Measure a world model.

    Args:
        imagine: the model.
        rooms: how many held-out rooms; there are five times as many cases of one step.
        seed: of rooms, histories and actions.

    Raises:
        InputError: no room, or frames of another shape than asked for.
    """
    if rooms < 1:
        raise InputError(f"at least one room is needed, got {rooms}")
    world, history = scenes(rooms, seed)
    rng = np.random.default_rng([seed, 1])

    actions = np.tile(np.arange(len(Action)), rooms)
    every = world.repeat(len(Action))
    moved = every.step(actions).moved
    truth, cells = every.frames(), every.truth().agent
    scene = np.repeat(np.arange(rooms), len(Action))
    made = _asked(imagine, repeated(history, scene), actions[:, None])[:, 0]
    psnr = pooled_psnr(made, truth)
    exact = (find_agent(made)[0] == cells).all(1)
    options = truth.reshape(rooms, len(Action), -1)[scene].astype(np.float32)
    gap = np.square(options - made.reshape(len(made), 1, -1)).sum(2)
    nearest = gap[np.arange(len(gap)), actions] <= gap.min(1)

    episodes = record(world.select(np.arange(rooms)), sticky_policy(800 + seed), ROLL_OUT)
    rolled = _asked(imagine, history, episodes.actions)
    right = (
        find_agent(rolled.reshape(-1, *rolled.shape[2:]))[0].reshape(rooms, ROLL_OUT, 2) == episodes.agent[:, 1:]
    ).all(2)
    drawn = _asked(imagine, history, rng.integers(0, len(Action), (rooms, DELTA_AT)))
    delta = pooled_psnr(rolled[:, DELTA_AT - 1], episodes.frames[:, DELTA_AT])
    delta -= pooled_psnr(drawn[:, -1], episodes.frames[:, DELTA_AT])

    walkers, walks = walks_out_and_back(world)
    walked = _asked(imagine, repeated(history, walkers), walks)
    begun = world.truth().agent[walkers]
    far = begun + OUT * MOVES[walks[:, 0]]
    # Whoever never leaves is home too: the turning point must be right as well.
    home = (find_agent(walked[:, OUT - 1])[0] == far).all(1) & (find_agent(walked[:, -1])[0] == begun).all(1)
    return Measures(
        psnr=psnr,
        gain=psnr - pooled_psnr(history.frames[scene, -1], truth),
        agent_exact=float(exact[moved].mean()),
        agent_exact_all=float(exact.mean()),
        nearest_true=float(nearest[moved].mean()),
        delta_psnr=delta,
        roll_gain=pooled_psnr(rolled[:, -1], episodes.frames[:, -1])
        - pooled_psnr(history.frames[:, -1], episodes.frames[:, -1]),
        roll_agent_exact=float(right[:, -1].mean()),
        revisit=float(home.mean()) if len(home) else math.nan,
        n=len(actions),
        n_moves=int(moved.sum()),
        n_roll=rooms,
        n_revisit=len(home),
        psnr_by_frame=tuple(pooled_psnr(rolled[:, t], episodes.frames[:, t + 1]) for t in range(ROLL_OUT)),
        exact_by_frame=tuple(right.mean(0).tolist()),
    )


def walks_out_and_back(world: Rooms) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every walk three steps out and back whose way is free: (M,) which room, and (M, 6) actions."""
    free, agent = world.layouts.free, world.truth().agent
    rooms, walks = [], []
    for room in range(len(world)):
        for there, back in _OPPOSITE.items():
            way = agent[room] + np.arange(1, OUT + 1)[:, None] * MOVES[there]
            inside = ((way >= 0) & (way < free.shape[1])).all()
            if inside and free[room, way[:, 1], way[:, 0]].all():
                rooms.append(room)
                walks.append([int(there)] * OUT + [int(back)] * OUT)
    return np.array(rooms, np.int64), np.array(walks, np.int64).reshape(-1, 2 * OUT)


def imagine_of(generator: Generator, seed: int = 0) -> Imagine:
    """A generator that is told actions, as `measure` asks it."""
    return lambda history, actions: generator.imagine(history, actions=actions, seed=seed).frames


def copy_last(history: History, actions: NDArray[np.int64]) -> Frames:
    """Baseline: nothing ever changes."""
    return np.repeat(history.frames[:, -1:], actions.shape[1], 1)


def deaf(imagine: Imagine) -> Imagine:
    """Baseline: the model, always told to stand still."""
    return lambda history, actions: imagine(history, np.zeros_like(actions))


def shuffled(imagine: Imagine, seed: int = 0) -> Imagine:
    """Baseline: the model, told the actions of other scenes and steps."""

    def wrong(history: History, actions: NDArray[np.int64]) -> Frames:
        mixed = np.random.default_rng(seed).permutation(actions.reshape(-1)).reshape(actions.shape)
        return imagine(history, mixed)

    return wrong


def _asked(imagine: Imagine, history: History, actions: NDArray[np.int64]) -> Frames:
    if not len(actions):
        return np.zeros((0, OUT * 2, *history.frames.shape[2:]), np.uint8)
    made = imagine(history, actions)
    wanted = (*actions.shape, *history.frames.shape[2:])
    if made.shape != wanted or made.dtype != np.uint8:
        raise InputError(f"the model was asked for {wanted} uint8 frames and made {made.shape} {made.dtype}")
    return made
