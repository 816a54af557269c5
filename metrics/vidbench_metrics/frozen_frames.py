"""Frozen frames: the share of frames that only repeat the frame before them.

Our own definition. A repeat is a step in which nothing happens anywhere: neither the whole picture changes, as in a
fade, nor any part of it, as where a small object moves before a still background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Finding, Needs, Observations, Score
from vidbench_metrics.extractors.frame_statistics import FrameStatisticsObservation
from vidbench_metrics.spans import runs, when


@dataclass(frozen=True)
class FrozenFramesParameters:
    """When a frame repeats the one before it, in grey levels of 0 to 255.

    The defaults lie between what H.264 leaves of held frames and what the stillest real steps show: see
    `benchmarks/validity_frozen_frames.py`.
    """

    max_difference: float = 0.35
    """Mean luma difference of the whole picture, below which nothing happens on the whole."""
    max_local_difference: float = 6.0
    """Largest mean luma difference in a window of a sixteenth of the short side, below which perhaps nothing happens
    anywhere: an encoder goes on refining a held picture, and so changes it."""
    sure_local_difference: float = 1.5
    """The same, below which surely nothing does. A run of repeats must have one such step, or it may be slow motion."""
    min_repeats: int = 3
    """Repeats in a row that make a finding. Animation drawn "on threes" has two, a lower source rate has one."""


def repeats(
    differences: NDArray[np.float64], local_differences: NDArray[np.float64], parameters: FrozenFramesParameters
) -> NDArray[np.bool_]:
    """Which of the T - 1 steps lead to a repeated frame.

    Args:
        differences: (T - 1,) mean luma difference over the picture, in grey levels.
        local_differences: (T - 1,) largest mean luma difference in any window, in grey levels.
        parameters: the limits.

    Returns:
        (T - 1,); step t leads from frame t to frame t+1.
    """
    repeated = (differences < parameters.max_difference) & (local_differences < parameters.max_local_difference)
    sure = local_differences < parameters.sure_local_difference
    for start, end in runs(repeated):
        if not sure[start : end + 1].any():
            repeated[start : end + 1] = False
    return repeated


class FrozenFrames(ClipMetric[FrozenFramesParameters]):
    """Share of frames that repeat the one before."""

    name = "frozen_frames"
    version = "1"
    summary = "share of frames that only repeat the one before; a still scene without noise looks the same"
    reference = "own definition: mean and largest local luma difference to the frame before both below a limit"
    protocol = (
        "mean difference below 0.35 and local below 6 grey levels, with one step of each run below 1.5; "
        "every frame at its own size"
    )
    higher_is_better = False
    unit = "share of the frames after the first"
    value_range = (0.0, 1.0)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("frame_statistics"),))
    min_frames = 2
    parameters_type = FrozenFramesParameters
    responds_to = ("freeze",)

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip, with a finding of kind `freeze` for every long enough run of repeats."""
        seen = observations.of("frame_statistics", FrameStatisticsObservation)
        repeated = repeats(seen.luma_difference, seen.local_difference, self.parameters)
        still = [(start, end + 1) for start, end in runs(repeated)]  # steps to the frames that they join
        return Score(
            float(repeated.mean()),
            findings=tuple(
                Finding(
                    kind="freeze",
                    start=start,
                    end=end,
                    message=f"The picture stands still in {when(observations.facts, start, end)}.",
                    limitation="A still scene filmed by a fixed camera, without noise, looks the same.",
                )
                for start, end in still
                if end - start >= self.parameters.min_repeats
            ),
            details={
                "repeats": int(repeated.sum()),
                "longest_run": max((end - start for start, end in still), default=0),
            },
        )
