"""Motion smoothness, VBench's formula: how well every second frame can be told from its neighbours.

Huang et al., "VBench", CVPR 2024 (arXiv 2311.17982); upstream `vbench/motion_smoothness.py` at commit
45e79ec14e69a2187202c675d2dbce1a71843d53 of Vchitect/VBench (Apache-2.0), which this does not copy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, NoParameters, Observations, Score
from vidbench_metrics.extractors.amt_interpolation import AmtInterpolationObservation


def motion_smoothness(errors: NDArray[np.float64]) -> float:
    """VBench's value from the (K,) mean absolute differences to the interpolated frames, in grey levels.

    Returns:
        (255 - mean error) / 255, from 0 to 1; 1 where every interpolated frame is the true one.
    """
    return (255.0 - float(errors.mean())) / 255.0


class MotionSmoothness(ClipMetric[NoParameters]):
    """VBench's motion smoothness."""

    name = "motion_smoothness"
    version = "1"
    summary = (
        "how well AMT-S draws every second frame from its neighbours; a frozen clip scores best, and fine texture or "
        "fast motion costs as much as jerks"
    )
    reference = (
        "Huang et al., VBench, CVPR 2024 (arXiv 2311.17982); Vchitect/VBench vbench/motion_smoothness.py "
        "at 45e79ec14e69a2187202c675d2dbce1a71843d53"
    )
    protocol = (
        "vbench on a processor: AMT-S at the clip's own size (a GPU with little memory would reduce it), middle frames "
        "cut off to whole grey levels; averaging: mean over clips"
    )
    higher_is_better = True
    unit = "1"
    value_range = (0.0, 1.0)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("amt_interpolation"),))
    min_frames = 3

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip; unscored where AMT-S can't take its size."""
        seen = observations.of("amt_interpolation", AmtInterpolationObservation)
        if seen.unfit:
            return Score.unscored(seen.unfit)
        worst = int(seen.errors.argmax())
        return Score(
            motion_smoothness(seen.errors),
            details={"largest_error": float(seen.errors[worst]), "largest_error_frame": 2 * worst + 1},
        )
