"""Two runs, or two models of one run, set side by side: what got better or worse, and whether that may be chance.

    from vidbench.compare import compare, read_side

    comparison = compare(read_side("runs/old"), read_side("runs/new"))
    for change in comparison.models[0].metrics:
        print(change.facts.name, change.difference, change.verdict)

Reads run folders and computes no score. Runs whose settings differ are not compared unless asked to, and then get no
verdict.
"""

from __future__ import annotations

from vidbench.compare.clips import ClipChange, Coverage, FindingChange
from vidbench.compare.settings import OneSided, Refused
from vidbench.compare.sides import ClipPair, Pairing, Side, read_side
from vidbench.compare.verdict import Comparison, MetricChange, ModelComparison, Verdict, compare

__all__ = [
    "ClipChange",
    "ClipPair",
    "Comparison",
    "Coverage",
    "FindingChange",
    "MetricChange",
    "ModelComparison",
    "OneSided",
    "Pairing",
    "Refused",
    "Side",
    "Verdict",
    "compare",
    "read_side",
]
