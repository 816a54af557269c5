"""Sharpness: variance of the Laplacian of luma, at one size for all clips.

Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study", ICPR 2000 (LAPV). The
measure depends on the size of the picture, so pictures are first reduced to a short side of 256 pixels; smaller ones
stay as they are, and clips of different small sizes can't be compared.
"""

from __future__ import annotations

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, NoParameters, Observations, Score
from vidbench_metrics.extractors.frame_statistics import SHARPNESS_SIDE, FrameStatisticsObservation


class Sharpness(ClipMetric[NoParameters]):
    """Mean variance of the Laplacian."""

    name = "sharpness"
    version = "1"
    summary = (
        "how much fine detail frames hold; noise and block edges count as detail, smooth scenes have little, "
        "so compare only clips of the same prompts and, below 256 pixels, of the same size"
    )
    reference = (
        "Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000 (variance of the Laplacian)"
    )
    protocol = (
        "variance of the 4-neighbour Laplacian of Rec. 601 luma, short side reduced to 256 by area averaging, "
        "about 8 frames a second at most"
    )
    higher_is_better = True
    unit = "grey levels squared"
    value_range = (0.0, 1020.0**2)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("frame_statistics"),))
    diagnostic = True
    responds_to = ("blur",)

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip."""
        seen = observations.of("frame_statistics", FrameStatisticsObservation)
        softest = int(seen.sharpness.argmin())
        return Score(
            float(seen.sharpness.mean()),
            details={
                "softest_frame": int(seen.sharpness_frames[softest]),
                "softest": float(seen.sharpness[softest]),
                "short_side": min(observations.facts.height, observations.facts.width, SHARPNESS_SIDE),
            },
        )
