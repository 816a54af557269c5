"""What the distances over I3D's windows share: the extractor as the protocol wants it, and the rows it gives."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from vidbench.metric import ExtractorSpec, Needs, Observations
from vidbench_metrics.extractors.i3d import I3DObservation
from vidbench_metrics.feature_sets import FeatureMetric, Rows
from vidbench_metrics.i3d_network import CLASSES
from vidbench_metrics.i3d_protocols import ProtocolParameters

Q = TypeVar("Q", bound=ProtocolParameters)


class I3DMetric(FeatureMetric[Q]):
    """To be put before `GaussianMetric` or `RowsMetric`, which say in what form the windows are kept."""

    needs = Needs(extractors=(ExtractorSpec("i3d"),))
    min_frames = 16
    dimensions: ClassVar[int | None] = CLASSES

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """I3D as the protocol wants it."""
        return (self.parameters.extractor(),)

    def frames_needed(self) -> int:
        """A whole window."""
        return self.parameters.frames

    def features(self, observations: Observations) -> tuple[Rows, str]:
        """The clip's windows."""
        seen = observations.of("i3d", I3DObservation)
        return seen.features, seen.unpublished
