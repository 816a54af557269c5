"""Fréchet video distance: how far a model's clips are from a reference set, in the eyes of a video classifier.

Unterthiner et al., arXiv 1812.01717. The formula is in `vidbench.frechet`, the network in
`vidbench_metrics.i3d_network`, and the choices that make a number comparable with somebody else's, with their sources
and commits, in `vidbench_metrics.i3d_protocols`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vidbench.frechet import GaussianState, add_rows, frechet_distance, merge
from vidbench.metric import ExtractorSpec, Needs, Observations, Score, SetMetric
from vidbench_metrics.extractors.i3d import I3DObservation
from vidbench_metrics.i3d_protocols import DESCRIBED, ProtocolParameters, SetFacts, caution, remark

MIN_CLIPS = 2


@dataclass(slots=True)
class VideoFeatures:
    """What is kept of a set: a Gaussian of at most two 400 x 400 float64 arrays, and a few numbers."""

    gaussian: GaussianState = field(default_factory=GaussianState)
    facts: SetFacts = field(default_factory=SetFacts)


class Fvd(SetMetric[ProtocolParameters, VideoFeatures]):
    """Fréchet distance of I3D logits."""

    name = "fvd"
    version = "1"
    summary = (
        "how far the look and motion of short windows are from the reference set's (Fréchet distance of I3D logits); "
        "falls as clips are added: compare equal numbers only, and only under one protocol"
    )
    reference = "Unterthiner et al., arXiv 1812.01717; protocols: sources and commits in vidbench_metrics.i3d_protocols"
    protocol = DESCRIBED
    higher_is_better = False
    unit = "1"
    value_range = (0.0, float("inf"))
    needs = Needs(extractors=(ExtractorSpec("i3d"),))
    parameters_type = ProtocolParameters
    min_frames = 16

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """I3D as the protocol wants it."""
        return (self.parameters.extractor(),)

    def frames_needed(self) -> int:
        """A whole window."""
        return self.parameters.frames

    def new_state(self) -> VideoFeatures:
        """No clips."""
        return VideoFeatures()

    def observe(self, state: VideoFeatures, observations: Observations) -> VideoFeatures:
        """Add one clip's windows."""
        seen = observations.of("i3d", I3DObservation)
        facts = state.facts.with_(observations.facts, seen.unpublished)
        return VideoFeatures(add_rows(state.gaussian, seen.features), facts)

    def merge(self, state: VideoFeatures, other: VideoFeatures) -> VideoFeatures:
        """Both sets together."""
        return VideoFeatures(merge(state.gaussian, other.gaussian), state.facts.joined(other.facts))

    def compare(self, generated: VideoFeatures, reference: VideoFeatures) -> Score:
        """The distance under the protocol, with what it rests on."""
        for what, state in (("generated", generated), ("reference", reference)):
            if state.facts.clips < MIN_CLIPS:
                clips = "clip" if state.facts.clips == 1 else "clips"
                return Score.unscored(f"the {what} set has {state.facts.clips} {clips}; {MIN_CLIPS} are needed")
        rows = generated.gaussian.n, reference.gaussian.n
        return Score(
            frechet_distance(generated.gaussian, reference.gaussian, ddof=self.parameters.facts.ddof),
            details={
                "protocol": self.parameters.protocol,
                "clips": generated.facts.clips,
                "reference_clips": reference.facts.clips,
                "windows": rows[0],
                "reference_windows": rows[1],
                "caution": caution(generated.facts, reference.facts, rows, self.parameters),
                "remark": remark(generated.facts, reference.facts, self.parameters),
            },
        )
