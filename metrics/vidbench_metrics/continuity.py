"""Does everything go on without a break? Teleports, sudden velocities, frozen pictures, jump cuts, flicker."""

from __future__ import annotations

from vidbench.extractor import NoParameters
from vidbench_metrics.physics.verdict import PhysicsMetric


class Continuity(PhysicsMetric[NoParameters]):
    """1 minus the probability of the clip's most suspicious break of motion, cut, frozen run or flicker."""

    name = "continuity"
    version = "1"
    summary = "does motion go on without teleports, sudden velocities, frozen pictures, jumps and flicker"
    protocol = "learned over tracks and whole frames; shipped model, 3 % false alarms"
    sees = ("shuffled", "teleport")
    kinds = frozenset({"teleport", "velocity_jump", "freeze", "jump_cut", "flicker"})
