"""Content-debiased FVD: Fréchet distance of VideoMAE-v2 features, which see motion more than I3D's.

Ge et al., arXiv 2404.12391; songweige/content-debiased-fvd a1e037ab (PyPI cd-fvd 0.1.1, `cdfvd("videomae")`).
Covariance over n.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidbench.errors import InputError
from vidbench.frechet import frechet_distance
from vidbench.metric import ExtractorSpec, Needs, Observations, Score
from vidbench_metrics.extractors.videomae import VideoMaeObservation, VideoMaeParameters
from vidbench_metrics.feature_sets import GaussianMetric, GaussianSet, Rows

MIN_WINDOWS = 2
CLIPS = 2048
"""A set, in the paper."""


@dataclass(frozen=True)
class FvdVideoMaeParameters:
    """Which windows, and what is done to them first."""

    resolution: int = 0
    """The size to which cd-fvd's loader brings the clips first; 0 takes them as they are."""
    frames: int = 16
    """Length of the windows; shorter clips are unscored."""
    start: str = "random"
    """`first`, `random` or `all` windows of a clip."""
    seed: int = 0
    """Of random windows."""

    def __post_init__(self) -> None:
        try:
            VideoMaeParameters(self.resolution, self.frames, self.start, self.seed)
        except InputError as error:
            raise InputError(str(error).replace("videomae.", "fvd_videomae.")) from None


class FvdVideoMae(GaussianMetric[FvdVideoMaeParameters]):
    """Fréchet distance of VideoMAE-v2 features."""

    name = "fvd_videomae"
    version = "1"
    summary = (
        "content-debiased FVD (Fréchet distance of VideoMAE-v2 features): more about motion than FVD; falls as clips "
        "are added: compare equal numbers only"
    )
    reference = "Ge et al., arXiv 2404.12391; songweige/content-debiased-fvd a1e037ab, PyPI cd-fvd 0.1.1"
    protocol = (
        "cd-fvd with VideoMAE: one window of 16 frames at random, squash to 224, x / 255, ViT-g fine-tuned on "
        "Something-Something v2, 1408 features, covariance over n, float64; resolution=R does what its loader "
        "does before"
    )
    higher_is_better = False
    unit = "1"
    value_range = (0.0, float("inf"))
    needs = Needs(extractors=(ExtractorSpec("videomae"),))
    parameters_type = FvdVideoMaeParameters
    min_frames = 16

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """VideoMAE with these windows."""
        return (ExtractorSpec("videomae", self.parameter_values()),)

    def frames_needed(self) -> int:
        """A whole window."""
        return self.parameters.frames

    def features(self, observations: Observations) -> tuple[Rows, str]:
        """The clip's windows."""
        seen = observations.of("videomae", VideoMaeObservation)
        return seen.features, seen.unpublished

    def compare(self, generated: GaussianSet, reference: GaussianSet) -> Score:
        """The distance, with what it rests on."""
        rows = generated.gaussian.n, reference.gaussian.n
        reason = self.few(generated.facts, reference.facts, rows, MIN_WINDOWS)
        if reason is not None:
            return Score.unscored(reason)
        clips = generated.facts.clips, reference.facts.clips
        remark = f"{clips[0]} and {clips[1]} clips instead of {CLIPS} a set" if clips != (CLIPS, CLIPS) else None
        details = self.told(generated, reference, rows, generated.gaussian.dimensions)
        return Score(
            frechet_distance(generated.gaussian, reference.gaussian, ddof=0), details={**details, "remark": remark}
        )
