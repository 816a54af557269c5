"""Temporal flickering, VBench's formula: how little neighbouring frames differ, pixel by pixel.

Huang et al., "VBench: Comprehensive Benchmark Suite for Video Generative Models", CVPR 2024 (arXiv 2311.17982);
upstream `vbench/temporal_flickering.py` at commit 45e79ec14e69a2187202c675d2dbce1a71843d53 of Vchitect/VBench
(Apache-2.0), which this does not copy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, NoParameters, Observations, Score
from vidbench_metrics.extractors.frame_statistics import FrameStatisticsObservation


def temporal_flickering(differences: NDArray[np.float64]) -> float:
    """VBench's value from the (T - 1,) mean absolute RGB differences of neighbouring frames, in grey levels.

    Returns:
        (255 - mean difference) / 255, from 0 to 1; 1 where no pixel ever changes.
    """
    return (255.0 - float(differences.mean())) / 255.0


class TemporalFlickering(ClipMetric[NoParameters]):
    """VBench's temporal flickering."""

    name = "temporal_flickering"
    version = "1"
    summary = (
        "how little neighbouring frames differ; it can't tell flicker from motion: a frozen clip scores 1, "
        "and a still or slow one beats a lively one"
    )
    reference = (
        "Huang et al., VBench, CVPR 2024 (arXiv 2311.17982); Vchitect/VBench vbench/temporal_flickering.py "
        "at 45e79ec14e69a2187202c675d2dbce1a71843d53"
    )
    protocol = "vbench, every frame at its own size (without the RAFT static filter of its leaderboard)"
    higher_is_better = True
    unit = "1"
    value_range = (0.0, 1.0)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("frame_statistics"),))
    min_frames = 2
    responds_to = ("flicker", "noise", "shuffle")

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip."""
        differences = observations.of("frame_statistics", FrameStatisticsObservation).rgb_difference
        worst = int(differences.argmax())
        return Score(
            temporal_flickering(differences),
            details={"largest_difference": float(differences[worst]), "largest_difference_frame": worst + 1},
        )
