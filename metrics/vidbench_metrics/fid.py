"""FID over frames: Fréchet distance of Inception features of single frames; blind to time.

Heusel et al., arXiv 1706.08500; numbers must match toshas/torch-fidelity 0.4.0 (metric_fid.py, covariance over n - 1)
on the same frames. Every frame counts alike, whichever clip it is from; frames of one clip resemble each other, so
there are fewer independent ones than frames.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidbench.errors import InputError
from vidbench.frechet import frechet_distance
from vidbench.metric import ExtractorSpec, Needs, Observations, Score
from vidbench_metrics.extractors.inception import InceptionObservation
from vidbench_metrics.feature_sets import GaussianMetric, GaussianSet, Rows
from vidbench_metrics.inception_network import DIMENSIONS

MIN_FRAMES = 2


@dataclass(frozen=True)
class FidParameters:
    """How many frames are looked at."""

    frames: int = 16
    """Frames of each clip, evenly spaced over it; all of a shorter clip."""

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise InputError(f"fid.frames must be at least 1, got {self.frames}")


class Fid(GaussianMetric[FidParameters]):
    """Fréchet distance of Inception features."""

    name = "fid"
    version = "1"
    summary = (
        "how far the look of single frames is from the reference set's (Fréchet Inception distance); blind to time; "
        "falls as frames are added: compare equal numbers only"
    )
    reference = "Heusel et al., arXiv 1706.08500; toshas/torch-fidelity 0.4.0"
    protocol = (
        "16 frames a clip, evenly spaced; squash to 299 by TensorFlow 1's legacy bilinear; (value - 128) / 128; "
        "Inception-v3 of 2015-12-05, 2048 features; covariance over n - 1; float64"
    )
    higher_is_better = False
    unit = "1"
    value_range = (0.0, float("inf"))
    needs = Needs(extractors=(ExtractorSpec("inception"),))
    parameters_type = FidParameters
    noun = "frames"
    dimensions = DIMENSIONS

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """Inception on so many frames."""
        return (ExtractorSpec("inception", {"frames": self.parameters.frames}),)

    def features(self, observations: Observations) -> tuple[Rows, str]:
        """The clip's frames."""
        seen = observations.of("inception", InceptionObservation)
        return seen.features, seen.unpublished

    def compare(self, generated: GaussianSet, reference: GaussianSet) -> Score:
        """The distance, with what it rests on."""
        rows = generated.gaussian.n, reference.gaussian.n
        reason = self.few(generated.facts, reference.facts, rows, MIN_FRAMES)
        if reason is not None:
            return Score.unscored(reason)
        return Score(
            frechet_distance(generated.gaussian, reference.gaussian),
            details=self.told(generated, reference, rows, generated.gaussian.dimensions),
        )
