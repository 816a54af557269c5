"""Exposure: the share of the picture that is neither crushed to black nor blown out to white.

Our own definition. Where luma sits at an end of its range the picture holds no detail.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, NoParameters, Observations, Score
from vidbench_metrics.extractors.frame_statistics import CLIPPED_HIGH, CLIPPED_LOW, FrameStatisticsObservation


def exposure(clipped_low: NDArray[np.float64], clipped_high: NDArray[np.float64]) -> float:
    """Mean share of pixels that are not clipped, from the (T,) shares clipped at either end; 0 to 1."""
    return min(1.0, max(0.0, 1.0 - float((clipped_low + clipped_high).mean())))


class Exposure(ClipMetric[NoParameters]):
    """Share of pixels that are not clipped."""

    name = "exposure"
    version = "1"
    summary = (
        "share of the picture that is neither crushed to black nor blown out to white; black bars, night scenes and "
        "white backgrounds that are meant count against it"
    )
    reference = "own definition: 1 - share of pixels with clipped luma"
    protocol = f"Rec. 601 luma of full-range RGB, clipped up to {CLIPPED_LOW} and from {CLIPPED_HIGH}, every frame"
    higher_is_better = True
    unit = "share of pixels"
    value_range = (0.0, 1.0)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("frame_statistics"),))
    # What is dark or bright on purpose can't be told from what is so by mistake, so it must not rank models.
    diagnostic = True
    responds_to = ("overexpose", "underexpose")

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip."""
        seen = observations.of("frame_statistics", FrameStatisticsObservation)
        return Score(
            exposure(seen.clipped_low_share, seen.clipped_high_share),
            details={
                "clipped_low": float(seen.clipped_low_share.mean()),
                "clipped_high": float(seen.clipped_high_share.mean()),
                "mean_luma": float(seen.luma_mean.mean()),
                "mean_contrast": float(seen.luma_deviation.mean()),
            },
        )
