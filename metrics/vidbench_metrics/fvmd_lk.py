"""Fréchet distance of histograms of point motion: FVMD's mathematics on a simpler tracker's points.

Liu et al., arXiv 2407.16124; ljh0v0/FMD-frechet-motion-distance 3c435ddd (PyPI fvmd 1.0.0). Grid, histograms and
formula are FVMD's, its 1e-5 on both diagonals inside the matrix square root included; the points are followed by
Lucas-Kanade and not by PIPs++, so this is not FVMD and compares with no published number.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidbench.errors import InputError
from vidbench.metric import ExtractorSpec, Needs, Observations
from vidbench_metrics.extractors.lk_tracks import LkTracksObservation
from vidbench_metrics.feature_sets import Rows
from vidbench_metrics.motion_metric import MotionMetric


@dataclass(frozen=True)
class FvmdLkParameters:
    """Which windows."""

    stride: int = 8
    """Frames from one window's beginning to the next's; 1 as in FVMD, whose windows overlap by 15 frames."""

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise InputError(f"fvmd_lk.stride must be at least 1, got {self.stride}")


class FvmdLk(MotionMetric[FvmdLkParameters]):
    """Fréchet distance of motion histograms."""

    name = "fvmd_lk"
    version = "1"
    summary = (
        "how far the motion of points is from the reference set's (Fréchet distance of motion histograms on "
        "Lucas-Kanade tracks); blind to look; FVMD's formula but not its tracker, so not FVMD"
    )
    reference = (
        "formula: Liu et al., arXiv 2407.16124, ljh0v0/FMD-frechet-motion-distance 3c435ddd; tracker: Bouguet 2000"
    )
    protocol = (
        "a window of 16 frames from every 8th (stride=1: from every) frame, squashed to 256, "
        "400 points on a grid, followed by Lucas-Kanade; histograms of "
        "velocity and of velocity without its first step, 1024 numbers; covariance over n - 1, 1e-5 on both diagonals "
        "inside the square root; float64"
    )
    needs = Needs(extractors=(ExtractorSpec("lk_tracks"),))
    parameters_type = FvmdLkParameters

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """Tracks of these windows."""
        return (ExtractorSpec("lk_tracks", {"stride": self.parameters.stride}),)

    def features(self, observations: Observations) -> tuple[Rows, str]:
        """The clip's windows."""
        return observations.of("lk_tracks", LkTracksObservation).features, ""
