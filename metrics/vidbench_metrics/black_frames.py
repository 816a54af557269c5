"""Black frames: the share of frames that are (nearly) all black.

The definition of FFmpeg's `blackdetect` filter with its defaults (`libavfilter/vf_blackdetect.c` at commit
052f4f859cfee9bb86ea3ccb0c56ea11d050ef17, LGPL-2.1; not copied): a pixel is black if its luma lies in the lowest tenth
of the range, a picture is black if 98 % of its pixels are. There is no minimal duration here: one frame counts.
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
class BlackFramesParameters:
    """When a picture is black."""

    picture_ratio: float = 0.98
    """Share of black pixels from which a picture is black."""


def black(shares: NDArray[np.float64], picture_ratio: float) -> NDArray[np.bool_]:
    """Which of T pictures are black, from their (T,) shares of black pixels."""
    return np.asarray(shares >= picture_ratio)


class BlackFrames(ClipMetric[BlackFramesParameters]):
    """Share of frames that are black."""

    name = "black_frames"
    version = "1"
    summary = "share of frames that are (nearly) all black; a fade to black that is meant counts as well"
    reference = (
        "FFmpeg libavfilter/vf_blackdetect.c at 052f4f859cfee9bb86ea3ccb0c56ea11d050ef17, without a minimal duration"
    )
    protocol = "ffmpeg blackdetect: luma <= 10 % of the range in >= 98 % of the pixels"
    higher_is_better = False
    unit = "share of frames"
    value_range = (0.0, 1.0)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("frame_statistics"),))
    parameters_type = BlackFramesParameters
    responds_to = ("black",)

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip, with a finding of kind `black` for every run of black frames."""
        shares = observations.of("frame_statistics", FrameStatisticsObservation).black_share
        is_black = black(shares, self.parameters.picture_ratio)
        return Score(
            float(is_black.mean()),
            findings=tuple(
                Finding(
                    kind="black",
                    start=start,
                    end=end,
                    message=f"The picture is black in {when(observations.facts, start, end)}.",
                    limitation="A night scene, or a fade to black that is meant, looks the same.",
                )
                for start, end in runs(is_black)
            ),
            details={"black_frames": int(is_black.sum())},
        )
