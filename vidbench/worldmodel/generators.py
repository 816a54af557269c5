"""The reference generators that draw pixels: `dit-action`, told what is done, and `dit`, told in words where to go.

Both are one network: a transformer that sees the last four frames as channels and predicts the next one
(docs/worldmodel.md says how they are trained and how good they are). torch is imported when they are used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError, MissingExtraError
from vidbench.generator import Budget, Generated, Generator, History, Imagined, Progress
from vidbench.worldmodel.recording import RecordedClip, recorded
from vidbench.worldmodel.rooms.episodes import Episodes, expert_policy, record, sticky_policy
from vidbench.worldmodel.rooms.layout import heldout_seed
from vidbench.worldmodel.rooms.settings import GOAL_WORDS, PROMPTS, Action
from vidbench.worldmodel.rooms.world import Rooms

if TYPE_CHECKING:
    from vidbench.worldmodel.dit import DiT
    from vidbench.worldmodel.training import Recipe
    from vidbench.worldmodel.windows import Play

PAST_FRAMES = 4
RANDOM_A_START = 3
"""Clips with random actions beside each one with a player's actions, from the same start."""
_WEIGHTS = Path(__file__).parent / "weights"


def goal_of(prompt: str) -> int:
    """Instruction id of a sentence: the goal whose words stand in it.

    Raises:
        InputError: none of them does, or several do.
    """
    plain = " ".join(prompt.lower().replace("-", " ").split())
    found = [goal for goal, words in enumerate(GOAL_WORDS) if words in plain]
    if len(found) != 1:
        raise InputError(f"a prompt names one goal ({', '.join(GOAL_WORDS)}); got {prompt!r}")
    return found[0]


class PixelDiT(Generator):
    """What both generators share. Subclasses say their facts, their recipe and how they are asked."""

    context_frames = PAST_FRAMES
    errands: ClassVar[bool]
    """Whether they learn from errands, not from wandering."""

    def __init__(self, network: DiT, notes: Mapping[str, str]) -> None:
        self.network = network
        self._notes = dict(notes)

    @classmethod
    def recipe(cls) -> Recipe:
        """Network and training."""
        raise NotImplementedError

    @classmethod
    def play(cls, seed: int) -> Play:
        """What it learns from."""
        from vidbench.worldmodel.windows import Play

        return Play(errands=cls.errands, seed=seed)

    @classmethod
    def train(
        cls, budget: Budget, seed: int = 0, *, progress: Progress | None = None, state: Path | None = None
    ) -> Self:
        """See `Generator.train`."""
        missing = cls.requires.missing()
        if missing is not None:
            raise MissingExtraError(cls.name, "worldmodel")
        if seed < 0:
            raise InputError(f"seeds count from 0, got {seed}")
        from vidbench import __version__
        from vidbench.worldmodel.training import train

        trained = train(cls.recipe(), cls.play(seed), budget, seed, progress=progress, state=state)
        asked = f"--steps {budget.steps}" if budget.steps is not None else f"--cpu-seconds {budget.cpu_seconds:g}"
        return cls(
            trained.network,
            {
                "generator": cls.name,
                "version": cls.version,
                "vidbench": __version__,
                "command": f"vidbench train {cls.name} {asked} --seed {seed}",
                "seed": str(seed),
                "steps": str(trained.steps),
                "cpu_seconds": f"{trained.cpu_seconds:.0f}",
            },
        )

    def save(self, path: Path) -> None:
        """See `Generator.save`."""
        from vidbench.worldmodel.checkpoint import save

        save(path, self.network, self._notes)

    @classmethod
    def load(cls, path: Path) -> Self:
        """See `Generator.load`."""
        if cls.requires.missing() is not None:
            raise MissingExtraError(cls.name, "worldmodel")
        from vidbench.worldmodel.checkpoint import load

        network, notes = load(path)
        if notes.get("generator") != cls.name:
            raise InputError(f"{path} is of the generator '{notes.get('generator', 'none')}', not of '{cls.name}'")
        return cls(network, notes)

    @classmethod
    def shipped(cls) -> Path | None:
        """See `Generator.shipped`."""
        path = _WEIGHTS / f"{cls.name}.safetensors"
        return path if path.exists() else None

    @property
    def notes(self) -> Mapping[str, str]:
        """See `Generator.notes`."""
        return self._notes

    def imagine(
        self,
        history: History,
        *,
        actions: NDArray[np.int64] | None = None,
        prompts: Sequence[str] | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> Imagined:
        """See `Generator.imagine`. Frames are 32 pixels a side.

        Raises:
            InputError: also where a prompt names no goal, or an action is unknown.
        """
        from vidbench.worldmodel.imagining import imagine

        length = self.told(history, actions, prompts, steps)
        if actions is not None and ((actions < -1) | (actions >= len(Action))).any():
            raise InputError(f"actions are 0 to {len(Action) - 1}, or -1 for not said; got {actions.tolist()}"[:200])
        goals = None if prompts is None else np.array([goal_of(prompt) for prompt in prompts])
        return Imagined(imagine(self.network, history.frames, length, actions=actions, goals=goals, seed=seed))


def check_sizes(n: int, seed: int, frames: int) -> None:
    """Numbers given to `generate`.

    Raises:
        InputError: out of range.
    """
    if n < 1 or frames < 2 or seed < 0:
        raise InputError(
            f"at least 1 clip of at least 2 frames and a seed from 0 are needed; got {n}, {frames}, {seed}"
        )


def begin(rooms: Rooms, seed: int, frames: int = PAST_FRAMES) -> NDArray[np.uint8]:
    """Let agents wander until so many frames are seen; the last one is now: (N, frames, size, size, 3)."""
    return record(rooms, sticky_policy(seed), frames - 1).frames if frames > 1 else rooms.frames()[:, None]


class DitAction(PixelDiT):
    """A world model: told an action for each step."""

    name = "dit-action"
    version = "1"
    summary = "world model of the game RoomWorld: a video diffusion transformer told an action for each frame"
    conditions = frozenset({"actions"})
    errands = False

    @classmethod
    def recipe(cls) -> Recipe:
        """See `PixelDiT.recipe`."""
        from vidbench.worldmodel.config import DiTConfig
        from vidbench.worldmodel.training import Recipe

        return Recipe(
            DiTConfig(
                patch=(1, 4, 4),
                width=96,
                depth=4,
                heads=3,
                temporal_blocks=(),
                past_frames=PAST_FRAMES,
                actions=len(Action),
            )
        )

    def generate(self, n: int, seed: int = 0, *, frames: int = 17) -> Generated:
        """From each start one clip with a player's (sticky) actions and three with random ones; see `Generator`."""
        check_sizes(n, seed, frames)
        starts = -(-n // (1 + RANDOM_A_START))
        rooms = Rooms(starts, seed=heldout_seed(seed))
        history = begin(rooms, seed).repeat(1 + RANDOM_A_START, 0)[:n]
        copies = rooms.repeat(1 + RANDOM_A_START).select(np.arange(n))
        played = record(rooms, sticky_policy(seed + 1), frames - 1).actions.repeat(1 + RANDOM_A_START, 0)[:n]
        drawn = np.random.default_rng([seed, 3]).integers(0, len(Action), played.shape)
        random = np.arange(n) % (1 + RANDOM_A_START) != 0
        actions = np.where(random[:, None], drawn, played)
        truth = record(copies, actions)
        extra = [
            {"start": f"{seed}-{i // (1 + RANDOM_A_START)}", "actions_kind": "random" if random[i] else "true"}
            for i in range(n)
        ]
        made = self.imagine(History(history), actions=actions, seed=seed).frames
        return as_generated(history[:, -1:], made, truth, seed, extra)


class Dit(PixelDiT):
    """Told in a sentence where the agent goes; what it does to get there it must imagine itself."""

    name = "dit"
    version = "1"
    summary = "clips of RoomWorld from a sentence such as 'the agent walks to the coin': a video diffusion transformer"
    conditions = frozenset({"prompt"})
    errands = True

    @classmethod
    def recipe(cls) -> Recipe:
        """See `PixelDiT.recipe`."""
        from vidbench.worldmodel.config import DiTConfig
        from vidbench.worldmodel.training import Recipe

        return Recipe(
            DiTConfig(
                patch=(1, 4, 4),
                width=96,
                depth=4,
                heads=3,
                temporal_blocks=(),
                past_frames=PAST_FRAMES,
                classes=len(GOAL_WORDS),
            )
        )

    def generate(self, n: int, seed: int = 0, *, frames: int = 17) -> Generated:
        """Goals take turns; the true clip is a shortest way. See `Generator`."""
        check_sizes(n, seed, frames)
        rooms = Rooms(n, seed=heldout_seed(seed))
        history = begin(rooms, seed)
        goals = np.arange(n) % len(GOAL_WORDS)
        truth = record(rooms, expert_policy(rooms, goals, wait=0), frames - 1, goals=goals)
        prompts = [PROMPTS[goal] for goal in goals]
        made = self.imagine(History(history), prompts=prompts, steps=frames - 1, seed=seed).frames
        return as_generated(history[:, -1:], made, truth, seed, [{"start": f"{seed}-{i}"} for i in range(n)])


def as_generated(
    start: NDArray[np.uint8],
    made: NDArray[np.uint8],
    truth: Episodes,
    seed: int,
    extra: Sequence[Mapping[str, Any]],
) -> Generated:
    """Clips with what is known about them, beside the true ones.

    Args:
        start: (N, 1, H, W, 3) the real first frames.
        made: (N, T, H, W, 3) what was imagined.
        truth: N episodes from there; where a clip was told actions they are these.
        seed: of the command.
        extra: further metadata columns of each clip.
    """
    clips, references = [], []
    frames = np.concatenate([start, made], 1)
    told_actions = bool(extra) and "actions_kind" in extra[0]
    for i, true in enumerate(recorded(truth)):
        more = dict(extra[i])
        names = {"action_names": true.extra["action_names"]} if told_actions else {}
        actions = truth.actions[i] if told_actions else None
        goal = {"goal": true.extra["goal"]} if "goal" in true.extra else {}
        clips.append(RecordedClip(frames[i], actions, true.prompt, seed, {**more, **names, **goal}))
        references.append(RecordedClip(true.frames, true.actions, true.prompt, seed, {**true.extra, **more}))
    return Generated(tuple(clips), tuple(references))


def one_thread() -> None:
    """Many small products are slower on several threads, by far where cores are shared. VIDBENCH_THREADS overrules."""
    import torch

    torch.set_num_threads(int(os.environ.get("VIDBENCH_THREADS", "1")))
