"""Trained generators as the models that planners ask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.generator import Generator, History
from vidbench.worldmodel.plan.contest import Models
from vidbench.worldmodel.plan.imagination import FrameArray
from vidbench.worldmodel.rooms.settings import PROMPTS


class GeneratorModel:
    """A generator's `imagine` with the planners' arguments.

    Args:
        generator: trained on rooms; told actions, or told prompts.
        seed: of its noise.
    """

    def __init__(self, generator: Generator, *, seed: int = 0) -> None:
        self._generator = generator
        self._seed = seed

    @property
    def context(self) -> int:
        """How many past frames it looks at."""
        return self._generator.context_frames

    def imagine(self, history: FrameArray, actions: NDArray[np.int64]) -> FrameArray:
        """See `Imagination.imagine`."""
        return self._generator.imagine(History(history), actions=actions, seed=self._seed).frames

    def imagine_goal(self, history: FrameArray, goals: NDArray[np.int64], steps: int) -> FrameArray:
        """See `GoalImagination.imagine_goal`."""
        prompts = [PROMPTS[goal] for goal in goals]
        return self._generator.imagine(History(history), prompts=prompts, steps=steps, seed=self._seed).frames


def trained_models(names: str, *, seed: int = 0) -> Models:
    """Models from `NAME` or `NAME=FILE`, one or two of them with a comma between: one told actions, one told prompts.

    Raises:
        InputError: no such generator or file, two of one kind, or a generator that is told neither.
        PluginError: no generator is called that.
    """
    from vidbench.plugins import generators

    models: dict[str, GeneratorModel] = {}
    for part in names.split(","):
        name, _, file = part.strip().partition("=")
        kind: type[Generator] = generators().load(name)
        told = sorted(kind.conditions)
        if len(told) != 1:
            raise InputError(
                f"planners use a generator that is told actions or prompts; {name} is told {told or 'none'}"
            )
        if told[0] in models:
            raise InputError(f"--model {names}: two models are told {told[0]}; give one of each kind")
        models[told[0]] = GeneratorModel(kind.open(Path(file) if file else None), seed=seed)
    return Models(models.get("actions"), models.get("prompt"))
