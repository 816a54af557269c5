"""Are things solid? Things that pass through a wall, a platform or the floor."""

from __future__ import annotations

from vidbench.extractor import NoParameters
from vidbench_metrics.physics.verdict import PhysicsMetric


class Solidity(PhysicsMetric[NoParameters]):
    """1 minus the probability of the clip's most suspicious crossing of an obstacle."""

    name = "solidity"
    version = "1"
    summary = "do things stop at walls, platforms and floors; obstacles are known by their straight edges only"
    protocol = "learned over tracks; shipped model, 3 % false alarms"
    kinds = frozenset({"pass_through"})
