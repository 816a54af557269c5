"""Motion magnitude: how far the picture's content moves in a second, as a share of the frame.

Our own definition on the optical flow of Kroeger et al., ECCV 2016 (OpenCV's dense inverse search). The unit makes
clips of different sizes and frame rates comparable.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, NoParameters, Observations, Score
from vidbench_metrics.extractors.flow_statistics import SMALLEST_SIDE, FlowStatisticsObservation


def motion_magnitude(magnitudes: NDArray[np.float64], times: NDArray[np.float64], width: int, height: int) -> float:
    """Mean speed in per cent of the frame diagonal per second.

    Args:
        magnitudes: (T - 1,) mean flow of each step, in pixels of the picture that the flow was computed on.
        times: (T,) seconds at which the frames appear, rising.
        width: of that picture, in pixels.
        height: of that picture, in pixels.
    """
    return 100.0 * float(magnitudes.sum()) / math.hypot(width, height) / float(times[-1] - times[0])


class MotionMagnitude(ClipMetric[NoParameters]):
    """Mean optical flow."""

    name = "motion_magnitude"
    version = "1"
    summary = (
        "how fast the picture's content moves, camera included; more is neither better nor worse: read it beside "
        "measures that a still clip wins"
    )
    reference = "own definition; flow: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016 (OpenCV)"
    protocol = "OpenCV DIS medium on luma, short side reduced to 128 by area averaging, every frame"
    higher_is_better = True
    unit = "% of the frame diagonal per second"
    value_range = (0.0, math.inf)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("flow_statistics"),), fps=True)
    min_frames = 2
    diagnostic = True
    responds_to = ("freeze",)

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip; unscored where the picture is too small for optical flow."""
        seen = observations.of("flow_statistics", FlowStatisticsObservation)
        times = observations.facts.times
        if np.isnan(seen.magnitude).any():
            return Score.unscored(
                f"the picture is {seen.width}x{seen.height} pixels; optical flow needs {SMALLEST_SIDE} a side"
            )
        if times[-1] <= times[0]:
            return Score.unscored("all frames have the same time stamp, so there is no speed")
        value, local = (
            motion_magnitude(steps, times, seen.width, seen.height) for steps in (seen.magnitude, seen.local_magnitude)
        )
        return Score(value, details={"local_motion": local})
