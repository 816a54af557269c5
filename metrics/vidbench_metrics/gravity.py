"""Do things fall as things fall? Upward falls, hovering, wrong acceleration, bounces that gain, time reversed."""

from __future__ import annotations

from vidbench.extractor import NoParameters
from vidbench_metrics.physics.verdict import PhysicsMetric


class Gravity(PhysicsMetric[NoParameters]):
    """1 minus the probability of the clip's most suspicious flight, standstill, bounce or trend."""

    name = "gravity"
    version = "1"
    summary = "do things fall, land and bounce as they would; without scale, falls are compared with each other"
    protocol = "learned over tracks; shipped model, 3 % false alarms"
    kinds = frozenset({"gravity_reversed", "hover", "slow_fall", "energy_gain", "time_reversed"})
