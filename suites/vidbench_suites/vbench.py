"""VBench: its 16 dimensions, how they become Quality, Semantic and Total, and a suite of those that take any clip.

Huang et al., CVPR 2024 (arXiv 2311.17982). Bounds and weights: Vchitect/VBench scripts/constant.py, rule:
scripts/cal_final_score.py, both at 45e79ec14e69a2187202c675d2dbce1a71843d53 (Apache-2.0). What each of our dimensions
was checked against is in docs/vbench.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vidbench.suite import Suite, Term, Total

QUALITY = {
    "subject_consistency": Term(0.1462, 1.0),
    "background_consistency": Term(0.2615, 1.0),
    "temporal_flickering": Term(0.6293, 1.0),
    "motion_smoothness": Term(0.706, 0.9975),
    "dynamic_degree": Term(0.0, 1.0, weight=0.5),
    "aesthetic_quality": Term(0.0, 1.0),
    "imaging_quality": Term(0.0, 1.0),
}
"""The dimensions that judge a clip by itself."""
SEMANTIC = {
    "object_class": Term(0.0, 1.0),
    "multiple_objects": Term(0.0, 1.0),
    "human_action": Term(0.0, 1.0),
    "color": Term(0.0, 1.0),
    "spatial_relationship": Term(0.0, 1.0),
    "scene": Term(0.0, 0.8222),
    "appearance_style": Term(0.0009, 0.2855),
    "temporal_style": Term(0.0, 0.364),
    "overall_consistency": Term(0.0, 0.364),
}
"""The dimensions that compare a clip with its prompt, and need VBench's own prompts."""
DIMENSIONS = {**QUALITY, **SEMANTIC}
COSINES = frozenset({"appearance_style", "temporal_style", "overall_consistency"})
"""Means of cosines: from -1 to 1, where the others are from 0 to 1."""
QUALITY_WEIGHT = 4.0
SEMANTIC_WEIGHT = 1.0

_SOURCE = "bounds and weights: Vchitect/VBench scripts/constant.py at 45e79ec1"
QUALITY_TOTAL = Total(
    "VBench quality",
    QUALITY,
    "VBench quality is the mean of (value - low) / (high - low) over seven dimensions, dynamic_degree counting half "
    f"({_SOURCE}); each dimension is a mean over clips, where VBench on one GPU pools subject and background "
    "consistency over frames; compares with VBench's leaderboard only for clips of VBench's own prompts, as many of "
    "each as it asks for, and static ones alone for temporal_flickering",
)
SEMANTIC_TOTAL = Total("VBench semantic", SEMANTIC, f"mean of nine normalised dimensions ({_SOURCE})")


@dataclass(frozen=True, slots=True)
class VBenchTotals:
    """What the leaderboard shows for one model, as a share of 1."""

    quality: float
    semantic: float
    total: float


def totals(values: Mapping[str, float], *, clamp: bool = False) -> VBenchTotals:
    """Quality, Semantic and Total from all 16 dimensions.

    Args:
        values: dimension to its value, as VBench prints them (shares of 1, not per cent).
        clamp: cut each normalised dimension to 0 … 1, which VBench does not.

    Raises:
        KeyError: a dimension is missing.
    """

    def part(total: Total) -> float:
        normalised = {name: term.normalised(values[name]) for name, term in total.terms.items()}
        if clamp:
            normalised = {name: min(max(x, 0.0), 1.0) for name, x in normalised.items()}
        value = total.value(normalised)
        if value is None:
            raise ValueError(f"{total.name} has no dimensions")
        return value

    quality, semantic = part(QUALITY_TOTAL), part(SEMANTIC_TOTAL)
    both = QUALITY_WEIGHT + SEMANTIC_WEIGHT
    return VBenchTotals(quality, semantic, (QUALITY_WEIGHT * quality + SEMANTIC_WEIGHT * semantic) / both)


VBENCH_CUSTOM = Suite(
    name="vbench-custom",
    version="1",
    summary="VBench's seven dimensions that take any clip, and their weighted mean; needs weight files",
    metrics={name: {} for name in QUALITY},
    total=QUALITY_TOTAL,
)
