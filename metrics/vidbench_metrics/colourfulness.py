"""Colourfulness: how strong and varied the colours of a clip are.

D. Hasler & S. Süsstrunk, "Measuring colourfulness in natural images", SPIE Human Vision and Electronic Imaging VIII
(2003), their M3; the formula is `picture_statistics.colourfulness`.
"""

from __future__ import annotations

import math

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, NoParameters, Observations, Score
from vidbench_metrics.extractors.picture_statistics import PictureStatisticsObservation


class Colourfulness(ClipMetric[NoParameters]):
    """Mean M3."""

    name = "colourfulness"
    version = "1"
    summary = "how strong and varied colours are; more is neither better nor worse, and noise in colours counts"
    reference = "Hasler & Süsstrunk, Measuring colourfulness in natural images, SPIE 5007 (2003), M3"
    protocol = "sRGB bytes at their own size, mean over about 8 frames a second"
    higher_is_better = True
    unit = "M3 (0 grey, 33 moderately, 82 highly colourful)"
    value_range = (0.0, math.inf)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("picture_statistics"),))
    diagnostic = True

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip."""
        values = observations.of("picture_statistics", PictureStatisticsObservation).colourfulness
        return Score(float(values.mean()), details={"least": float(values.min()), "most": float(values.max())})
