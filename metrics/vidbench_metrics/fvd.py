"""Fréchet video distance: how far a model's clips are from a reference set, in the eyes of a video classifier.

Unterthiner et al., arXiv 1812.01717. The formula is in `vidbench.frechet`, the network in
`vidbench_metrics.i3d_network`, and the choices that make a number comparable with somebody else's, with their sources
and commits, in `vidbench_metrics.i3d_protocols`.
"""

from __future__ import annotations

from vidbench.frechet import frechet_distance
from vidbench.metric import Score
from vidbench_metrics.feature_sets import GaussianMetric, GaussianSet
from vidbench_metrics.i3d_metric import I3DMetric
from vidbench_metrics.i3d_protocols import DESCRIBED, ProtocolParameters, caution, remark

MIN_WINDOWS = 2


class Fvd(I3DMetric[ProtocolParameters], GaussianMetric[ProtocolParameters]):
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
    parameters_type = ProtocolParameters

    def compare(self, generated: GaussianSet, reference: GaussianSet) -> Score:
        """The distance under the protocol, with what it rests on."""
        rows = generated.gaussian.n, reference.gaussian.n
        reason = self.few(generated.facts, reference.facts, rows, MIN_WINDOWS)
        if reason is not None:
            return Score.unscored(reason)
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
