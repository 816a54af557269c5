"""Noise: deviation of what changes from pixel to pixel in smooth places.

J. Immerkær, "Fast noise variance estimation", CVIU 64 (1996), made robust after D. Donoho, "De-noising by
soft-thresholding", IEEE Trans. Inf. Theory 41 (1995); the formula is `picture_statistics.noise_deviation`.
"""

from __future__ import annotations

import math

import numpy as np

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, NoParameters, Observations, Score
from vidbench_metrics.extractors.picture_statistics import NOISE_SIDE, PictureStatisticsObservation


class Noise(ClipMetric[NoParameters]):
    """Deviation of pixel noise."""

    name = "noise"
    version = "1"
    summary = (
        "deviation of pixel noise in the smoother half of the picture; film grain that is meant counts, fine texture "
        "all over too, and enlarging a clip or smoothing it hides noise"
    )
    reference = "J. Immerkær, CVIU 64 (1996), with D. Donoho's robust scale, IEEE Trans. Inf. Theory 41 (1995)"
    protocol = "green channel, own size, smoother half by the slope of a blurred picture, mean over about 8 frames/s"
    higher_is_better = False
    unit = "grey levels"
    value_range = (0.0, math.inf)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("picture_statistics"),))
    diagnostic = True
    responds_to = ("noise",)

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip; unscored where no frame has smooth unclipped places."""
        noise = observations.of("picture_statistics", PictureStatisticsObservation).noise
        if np.isnan(noise).all():
            return Score.unscored(
                f"no frame has enough places that are neither black nor white; {NOISE_SIDE} pixels a side are needed"
            )
        return Score(float(np.nanmean(noise)), details={"largest": float(np.nanmax(noise))})
