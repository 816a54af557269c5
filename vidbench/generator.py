"""The generator contract: train on a budget, generate clips to score, imagine what follows.

A generator is a reference model: small enough to train on one CPU core, honest enough to be measured by everything that
vidbench measures of others. `vidbench train NAME` and `vidbench generate NAME` work with any class of the entry-point
group `vidbench.generators`; planners and `vidbench play` need only `imagine`.

    class Frozen(Generator):
        name = "frozen"
        version = "1"
        summary = "repeats the last frame: the baseline that everything must beat"
        conditions = frozenset({"actions"})

        @classmethod
        def train(cls, budget, seed=0, *, progress=None, state=None):
            return cls()
        ...

This module imports neither torch nor the world model.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.extractor import Requires

if TYPE_CHECKING:
    from vidbench.worldmodel.recording import RecordedClip

CONDITIONS = frozenset({"actions", "prompt"})
"""What a generator can be told: an action for each step, or a sentence for the whole clip."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train: seconds of CPU time of this process (all its threads together), or optimiser steps.

    Steps give the same weights every time on one kind of processor; seconds give the same effort.

    Raises:
        InputError: neither or both are given, or one is not above 0.
    """

    cpu_seconds: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.cpu_seconds, self.steps) if value is not None]
        if len(given) != 1 or not 0 < given[0] < math.inf:
            raise InputError(f"a budget is a number of CPU-seconds or of steps, above 0; got {self!r}")

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.steps is not None else f"{self.cpu_seconds:g} CPU-seconds"


class Meter:
    """How much of a budget is spent.

    Args:
        budget: what there is.
        steps: already done, when training goes on.
        cpu_seconds: already spent.
    """

    def __init__(self, budget: Budget, *, steps: int = 0, cpu_seconds: float = 0.0) -> None:
        self.budget = budget
        self.steps = steps
        self._before = cpu_seconds
        self._began = time.process_time()

    @property
    def cpu_seconds(self) -> float:
        """Spent so far, in this process and before."""
        return self._before + time.process_time() - self._began

    @property
    def share(self) -> float:
        """Spent share of the budget, from 0 to 1."""
        if self.budget.steps is not None:
            return min(1.0, self.steps / self.budget.steps)
        return min(1.0, self.cpu_seconds / (self.budget.cpu_seconds or 1.0))

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return self.share >= 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """How training stands; handed to the progress function now and then."""

    share: float
    """Of the budget, 0 to 1."""
    steps: int
    cpu_seconds: float
    loss: float
    """Mean since the last report; its unit is the generator's."""
    by_time: tuple[float | None, ...] = ()
    """The same in equal bins of the noise time from 0 (noise) to 1 (clip), for generators that denoise; None where no
    time fell into the bin."""
    held_out: Mapping[str, float] = field(default_factory=dict)
    """Measured on rooms that are not trained on, e.g. `{"psnr": 31.2, "psnr of copying": 23.4}`; may be empty."""


Progress = Callable[[Report], None]


@dataclass(frozen=True, slots=True)
class History:
    """What was seen and done so far in N scenes.

    Raises:
        InputError: shapes that do not fit together.
    """

    frames: NDArray[np.uint8]
    """(N, L, H, W, 3), the last one is now; L is at least 1. A generator uses as many as it can, and takes the first
    frame as often as it lacks earlier ones."""
    actions: NDArray[np.int64] | None = None
    """(N, L - 1) action t led from frame t to frame t + 1; None where nobody knows."""

    def __post_init__(self) -> None:
        shape = self.frames.shape
        if len(shape) != 5 or shape[4] != 3 or self.frames.dtype != np.uint8 or min(shape) < 1:
            raise InputError(f"a history is (N, L, H, W, 3) uint8 frames, got {shape} {self.frames.dtype}")
        if self.actions is not None and self.actions.shape != (shape[0], shape[1] - 1):
            raise InputError(f"{shape[1]} frames have {shape[1] - 1} actions between them, got {self.actions.shape}")

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, slots=True)
class Imagined:
    """What a generator expects to follow."""

    frames: NDArray[np.uint8]
    """(N, T, H, W, 3), without the history."""
    rewards: NDArray[np.float32] | None = None
    """(N, T) expected with each frame; None from generators that foretell none."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Clips to score, and the truth about each where there is one."""

    clips: tuple[RecordedClip, ...]
    """Frame 0 is real: the state that the clip starts from. Metadata columns in `extra`: `start` (text, equal where
    clips begin in one state), `actions_kind` (`true`: actions of somebody who played; `random`: each step anew)."""
    references: tuple[RecordedClip, ...] | None = None
    """For each clip the true one: same start, same actions (for prompts: what an expert does)."""

    def __post_init__(self) -> None:
        if not self.clips or (self.references is not None and len(self.references) != len(self.clips)):
            raise InputError("there must be a clip, and a reference for each clip or for none")


class Generator(ABC):
    """A trained generator; the class says what it is and makes one.

    Files that `save` writes are safetensors: reading them runs no code.
    """

    name: ClassVar[str]
    """As in the entry point, on the command line, and as the model's name in clip folders."""
    version: ClassVar[str]
    """Goes up when the same command would give other clips."""
    summary: ClassVar[str]
    """One line."""
    conditions: ClassVar[frozenset[str]]
    """What it can be told: some of `CONDITIONS`; empty: nothing."""
    requires: ClassVar[Requires] = Requires("worldmodel", ("torch",))
    """What must be installed."""
    context_frames: ClassVar[int] = 1
    """How many past frames it makes use of; more do no harm, fewer cost quality."""
    budget: ClassVar[Budget] = Budget(cpu_seconds=600)
    """Of `vidbench train` without options."""

    @classmethod
    @abstractmethod
    def train(
        cls, budget: Budget, seed: int = 0, *, progress: Progress | None = None, state: Path | None = None
    ) -> Self:
        """Train from nothing.

        Args:
            budget: when to stop; schedules follow the share that is spent.
            seed: of weights, data and their order. Equal seeds and a budget in steps give equal weights.
            progress: called now and then.
            state: file for training that is not finished: where it exists training goes on from it, an interrupt
                (KeyboardInterrupt) writes it before it is passed on, and success removes it. None: nothing is kept.

        Raises:
            InputError: the state is of another training.
            MissingExtraError: something that `requires` names is not installed.
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the trained generator, with the command that made it.

        Raises:
            InputError: the file cannot be written.
        """

    @classmethod
    @abstractmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: no such file, or not one of this generator's; names the file.
        """

    @classmethod
    def shipped(cls) -> Path | None:
        """The trained file that comes with the package; None: there is none, train one."""
        return None

    @property
    def notes(self) -> Mapping[str, str]:
        """How it was trained: `command`, `seed`, `steps`, `cpu_seconds` and what else is known; may be empty."""
        return {}

    @abstractmethod
    def generate(self, n: int, seed: int = 0, *, frames: int = 17) -> Generated:
        """Make clips in scenes that were not trained on.

        Args:
            n: how many clips.
            seed: equal seeds give equal clips.
            frames: of each clip, the real first one among them; at least 2.

        Raises:
            InputError: numbers out of range.
        """

    def imagine(
        self,
        history: History,
        *,
        actions: NDArray[np.int64] | None = None,
        prompts: Sequence[str] | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> Imagined:
        """Go on from a history.

        Args:
            history: N scenes.
            actions: (N, T), where `conditions` names actions: what is done in each step.
            prompts: N sentences, where `conditions` names prompt.
            steps: T, where there are no actions.
            seed: of noise, where there is any.

        Raises:
            InputError: it cannot imagine, or cannot be told this; or shapes that do not fit.
        """
        raise InputError(f"{self.name} makes whole clips and cannot go on from a history")

    @classmethod
    def open(cls, path: Path | None = None) -> Self:
        """The generator in a file, or the one that comes with the package.

        Raises:
            InputError: there is none; says how to train one.
        """
        chosen = path or cls.shipped()
        if chosen is None:
            raise InputError(
                f"no trained {cls.name} comes with vidbench: train one with `vidbench train {cls.name} -o "
                f"{cls.name}.safetensors` and give it as --checkpoint"
            )
        return cls.load(chosen)

    @classmethod
    def told(
        cls,
        history: History,
        actions: NDArray[np.int64] | None,
        prompts: Sequence[str] | None,
        steps: int | None,
    ) -> int:
        """Check the arguments of `imagine`; for its implementations.

        Returns:
            T, how many frames to imagine.

        Raises:
            InputError: told what it cannot be told, not told what it must be, or shapes that do not fit.
        """
        for kind, given in (("actions", actions), ("prompt", prompts)):
            if (given is not None) != (kind in cls.conditions):
                verb = "takes no" if given is not None else "must be told"
                raise InputError(f"{cls.name} {verb} {'actions' if kind == 'actions' else 'prompts'}")
        if prompts is not None and len(prompts) != len(history):
            raise InputError(f"{len(history)} histories need as many prompts, got {len(prompts)}")
        if actions is None:
            if steps is None or steps < 1:
                raise InputError(f"how many steps to imagine must be at least 1, got {steps}")
            return steps
        if actions.ndim != 2 or len(actions) != len(history) or not actions.shape[1]:
            raise InputError(f"actions for {len(history)} histories are ({len(history)}, steps), got {actions.shape}")
        if steps not in (None, actions.shape[1]):
            raise InputError(f"{actions.shape[1]} actions are as many steps, got {steps}")
        return int(actions.shape[1])
