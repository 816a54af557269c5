"""Fréchet video motion distance: FVMD on PIPs++ tracks.

Liu et al., arXiv 2407.16124; ljh0v0/FMD-frechet-motion-distance 3c435ddd (PyPI fvmd 1.0.0). That program looks at as
many windows of the reference set as the generated set has; here all of both sets count.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidbench.errors import InputError
from vidbench.metric import ExtractorSpec, Needs, Observations
from vidbench_metrics.extractors.pips2_tracks import Pips2TracksObservation
from vidbench_metrics.feature_sets import Rows
from vidbench_metrics.motion_metric import MotionMetric


@dataclass(frozen=True)
class FvmdParameters:
    """Which windows."""

    stride: int = 1
    """Frames from one window's beginning to the next's; the published program has 1, windows that share 15 frames."""

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise InputError(f"fvmd.stride must be at least 1, got {self.stride}")


class Fvmd(MotionMetric[FvmdParameters]):
    """Fréchet distance of motion histograms on PIPs++ tracks."""

    name = "fvmd"
    version = "1"
    summary = (
        "how far the motion of points is from the reference set's (Fréchet video motion distance, PIPs++ tracks); "
        "blind to look; very slow on a CPU"
    )
    reference = "Liu et al., arXiv 2407.16124; ljh0v0/FMD-frechet-motion-distance 3c435ddd (PyPI fvmd 1.0.0)"
    protocol = (
        "windows of 16 frames from every frame (stride=8: from every 8th), squashed to 256 by Pillow's bilinear "
        "filter, 400 points on a grid followed by PIPs++ in 16 turns; histograms of velocity and of velocity without "
        "its first step, 1024 numbers; covariance over n - 1, 1e-5 on both diagonals inside the square root; float64; "
        "all windows of both sets"
    )
    needs = Needs(extractors=(ExtractorSpec("pips2_tracks"),))
    parameters_type = FvmdParameters

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """Tracks of these windows."""
        return (ExtractorSpec("pips2_tracks", {"stride": self.parameters.stride}),)

    def features(self, observations: Observations) -> tuple[Rows, str]:
        """The clip's windows."""
        seen = observations.of("pips2_tracks", Pips2TracksObservation)
        return seen.features, seen.unpublished
