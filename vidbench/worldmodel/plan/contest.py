"""Planners against each other in the same rooms with the same goals, baselines beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.worldmodel.inverse import InverseConfig, InverseDynamics, InverseScore, pairs_of, train_inverse
from vidbench.worldmodel.plan.baselines import GreedyAgent, OracleAgent, RandomAgent
from vidbench.worldmodel.plan.imagination import CopyLast, GoalImagination, Imagination, Simulator
from vidbench.worldmodel.plan.search import SearchAgent
from vidbench.worldmodel.plan.shooting import ShootingAgent
from vidbench.worldmodel.plan.trial import Agent, TrialResult, run_trial
from vidbench.worldmodel.plan.unipi import VideoAgent, follow
from vidbench.worldmodel.plan.words import RulesPlanner, WordsPlanner
from vidbench.worldmodel.rooms.episodes import random_policy, record
from vidbench.worldmodel.rooms.layout import heldout_seed, training_seed
from vidbench.worldmodel.rooms.settings import PROMPTS, STANDARD, Goal, RoomSettings
from vidbench.worldmodel.rooms.world import Rooms

PLANNERS = {
    "random": "every action as likely",
    "greedy": "straight towards the goal; feels walls, no model",
    "oracle": "shortest way over the true walls",
    "shooting": "sampled action sequences, straight distance in the imagined frames",
    "search": "breadth-first over places in imagined frames",
    "words": "sentence, imagined video, inverse dynamics",
}
"""What each planner does, by name."""
WITHOUT_MODEL = ("random", "greedy", "oracle")
UNTRAINED = ("simulator", "deaf", "copy")
"""Models that need no training."""


@dataclass(frozen=True, slots=True)
class Row:
    """One planner's result."""

    planner: str
    result: TrialResult
    cpu_seconds: float
    """Of this process, for all episodes."""
    agent: Agent

    def to_json(self) -> dict[str, Any]:
        """The numbers, and each episode."""
        result = self.result
        return {
            "planner": self.planner,
            "what": PLANNERS[self.planner],
            "episodes": len(result.success),
            "success": result.rate,
            "low": result.interval.low,
            "high": result.interval.high,
            "spl": result.spl,
            "nearer": result.nearer,
            "by_goal": result.rate_by_goal(),
            "cpu_seconds": round(self.cpu_seconds, 2),
            "succeeded": result.success.tolist(),
            "steps": result.steps.tolist(),
            "optimal": result.optimal.tolist(),
            "goals": result.goals.tolist(),
        }


@dataclass(frozen=True, slots=True)
class Models:
    """What planners imagine with; None where there is none of the kind."""

    actions: Imagination | None = None
    words: GoalImagination | None = None
    observers: tuple[Callable[[Rooms], None], ...] = ()


def named_models(name: str, rooms: Rooms, *, seed: int = 0) -> Models:
    """Models that need no training: `simulator` (the true game), `deaf` (the game with random actions), `copy`.

    Raises:
        InputError: another name.
    """
    if name == "copy":
        return Models(CopyLast(), CopyLast())
    if name not in UNTRAINED:
        raise InputError(f"models that need no training are {', '.join(UNTRAINED)}; got {name!r}")
    game = Simulator(rooms, error=1.0 if name == "deaf" else 0.0, seed=seed)
    return Models(game, game, (game.observe,))


def contest(
    rooms: Rooms,
    goals: NDArray[np.int64],
    planners: Sequence[str],
    models: Models,
    inverse: InverseDynamics | None = None,
    *,
    words: WordsPlanner | None = None,
    seed: int = 0,
    keep_frames: bool = False,
    finished: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Run planners, each in the same rooms.

    Args:
        rooms: N rooms as they begin.
        goals: (N,) instruction ids.
        planners: some of `PLANNERS`.
        models: what they imagine with.
        inverse: for the planner `words`.
        words: who understands the sentences of `words`; rules unless given.
        seed: of what is drawn.
        keep_frames: whether results hold frames.
        finished: called after each planner.

    Raises:
        InputError: an unknown planner, one whose model or inverse dynamics is missing, or a sentence that `words`
            understands as another goal than it names.
    """
    rows = []
    for name in planners:
        agent = _agent(name, rooms, models, inverse, seed)
        began = time.process_time()
        if name == "words":
            said = follow(
                [PROMPTS[goal] for goal in goals],
                rooms,
                agent,
                words or RulesPlanner(),
                observers=models.observers,
                keep_frames=keep_frames,
            )
            # A sentence that was understood wrongly is the planner's failure, whatever the agent reached.
            right = np.array([each == [Goal(goal)] for each, goal in zip(said.goals, goals, strict=True)])
            result = replace(said.stages[0], success=said.success & right, goals=np.asarray(goals))
        else:
            result = run_trial(rooms, goals, agent, observers=models.observers, keep_frames=keep_frames)
        rows.append(Row(name, result, time.process_time() - began, agent))
        finished(rows[-1])
    return rows


def quick_inverse(
    seed: int = 0, settings: RoomSettings = STANDARD, config: InverseConfig | None = None
) -> tuple[InverseDynamics, InverseScore]:
    """Inverse dynamics trained on 512 training rooms, and its score on 64 held-out ones (about 20 CPU-seconds)."""
    free = replace(settings, start="anywhere")
    played = record(Rooms(512, seed=training_seed(seed), settings=free), random_policy(seed), 24)
    model = train_inverse(*pairs_of(played), config or InverseConfig(seed=seed))
    unseen = record(Rooms(64, seed=heldout_seed(seed), settings=settings), random_policy(seed + 1), 24)
    return model, model.evaluate(*pairs_of(unseen))


def _agent(name: str, rooms: Rooms, models: Models, inverse: InverseDynamics | None, seed: int) -> Agent:
    simple: dict[str, Callable[[], Agent]] = {
        "random": lambda: RandomAgent(seed),
        "greedy": lambda: GreedyAgent(rooms),
        "oracle": lambda: OracleAgent(rooms),
    }
    if name in simple:
        return simple[name]()
    if name not in PLANNERS:
        raise InputError(f"planners are {', '.join(PLANNERS)}; got {name!r}")
    if name == "words":
        if models.words is None or inverse is None:
            missing = "inverse dynamics" if models.words is not None else "a model that is told goals in words"
            raise InputError(f"the planner 'words' needs {missing}")
        return VideoAgent(models.words, inverse, seed=seed)
    if models.actions is None:
        raise InputError(f"the planner {name!r} needs a model that is told actions")
    if name == "search":
        return SearchAgent(models.actions, rooms.settings)
    return ShootingAgent(models.actions, rooms.settings, seed=seed)
