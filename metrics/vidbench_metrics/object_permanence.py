"""Do things go on existing? Things that vanish, appear, change into others, or never come out from behind."""

from __future__ import annotations

from vidbench.extractor import NoParameters
from vidbench_metrics.physics.verdict import PhysicsMetric


class ObjectPermanence(PhysicsMetric[NoParameters]):
    """1 minus the probability of the clip's most suspicious end, beginning, passage or change of a moving thing."""

    name = "object_permanence"
    version = "1"
    summary = "do things go on existing as what they are: nothing vanishes, appears from nowhere or turns into another"
    protocol = "learned over tracks; shipped model, 3 % false alarms"
    sees = ("teleport",)
    kinds = frozenset({"vanish", "appear", "swap", "no_reappearance"})
