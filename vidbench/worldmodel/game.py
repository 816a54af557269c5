"""RoomWorld: the small game that the world model learns, exact to the pixel and to the state.

    rooms = Rooms(64, seed=training_seed(0))
    episodes = record(rooms, sticky_policy(0), 31)     # 32 frames, 31 actions
    cells, distance = find_agent(episodes.frames[:, -1])

See `Rooms` for the rules and `RoomSettings` for what can be set.
"""

from vidbench.worldmodel.rooms.episodes import (
    Episodes,
    Policy,
    expert_policy,
    greedy_policy,
    random_policy,
    record,
    sticky_policy,
)
from vidbench.worldmodel.rooms.layout import Layouts, heldout_seed, is_held_out, training_seed
from vidbench.worldmodel.rooms.parse import find_agent, find_coin
from vidbench.worldmodel.rooms.settings import GOAL_WORDS, NO_GOAL, PROMPTS, Action, Goal, RoomSettings
from vidbench.worldmodel.rooms.ways import arrived
from vidbench.worldmodel.rooms.world import Rooms, RoomState, StepResult, Truth

__all__ = [
    "GOAL_WORDS",
    "NO_GOAL",
    "PROMPTS",
    "Action",
    "Episodes",
    "Goal",
    "Layouts",
    "Policy",
    "RoomSettings",
    "RoomState",
    "Rooms",
    "StepResult",
    "Truth",
    "arrived",
    "expert_policy",
    "find_agent",
    "find_coin",
    "greedy_policy",
    "heldout_seed",
    "is_held_out",
    "random_policy",
    "record",
    "sticky_policy",
    "training_seed",
]
