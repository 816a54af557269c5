"""Imaging quality, VBench's formula: how good single frames look to MUSIQ, trained on people's ratings of phone photos.

Huang et al., "VBench", CVPR 2024 (arXiv 2311.17982); upstream `vbench/imaging_quality.py` at commit
45e79ec14e69a2187202c675d2dbce1a71843d53 of Vchitect/VBench (Apache-2.0), which this does not copy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, NoParameters, Observations, Score
from vidbench_metrics.extractors.musiq import MusiqObservation


def imaging_quality(ratings: NDArray[np.float64]) -> float:
    """Mean of the (T,) ratings of 100, as a share of 1."""
    return float(ratings.mean()) / 100.0


class ImagingQuality(ClipMetric[NoParameters]):
    """VBench's imaging quality."""

    name = "imaging_quality"
    version = "1"
    summary = (
        "how free of blur, noise and wrong exposure single frames look to MUSIQ, about 0 to 1; blind to time, and to "
        "detail that is gone at 512 pixels on the longer side"
    )
    reference = (
        "Huang et al., VBench, CVPR 2024 (arXiv 2311.17982); Vchitect/VBench vbench/imaging_quality.py "
        "at 45e79ec14e69a2187202c675d2dbce1a71843d53; MUSIQ: Ke et al., ICCV 2021, weights for SPAQ of IQA-PyTorch"
    )
    protocol = "vbench, imaging_quality_preprocessing_mode longer, every frame; averaging: mean over clips"
    higher_is_better = True
    unit = "1"
    value_range = (-math.inf, math.inf)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("musiq"),))

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip; unscored where nothing is left of the picture's shorter side."""
        ratings = observations.of("musiq", MusiqObservation).ratings
        if not len(ratings):
            facts = observations.facts
            return Score.unscored(f"the picture is {facts.width}x{facts.height} pixels, too thin a strip for MUSIQ")
        worst = int(ratings.argmin())
        return Score(imaging_quality(ratings), details={"least": float(ratings[worst]), "least_frame": worst})
