"""Precision, recall, density and coverage: is each generated clip near a real one, and each real one near a generated?

Kynkäänniemi et al., arXiv 1904.06991 (precision, recall) and Naeem et al., arXiv 2002.09797 (density, coverage);
clovaai/generative-evaluation-prdc e320c1d2 (PyPI prdc 0.2). A sample's ball reaches to its k-th nearest neighbour in
its own set, itself not counted; a point lies in a ball where it is strictly nearer.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.metric import ExtractorSpec, Needs, Observations, Score
from vidbench_metrics.extractors.efficientnet_lite0 import EfficientNetLite0Observation
from vidbench_metrics.extractors.i3d import I3DObservation
from vidbench_metrics.feature_sets import Rows, RowSet, RowsMetric
from vidbench_metrics.i3d_protocols import DEFAULT, DESCRIBED, ProtocolParameters
from vidbench_metrics.kvd import Floats

FEATURES = ("i3d", "efficientnet_lite0")
MIN_ROWS = 2
BLOCK = 1024
SAME = 1e-12
"""Squared distances below this share of the squared lengths are rounding, and 0."""


def distances(x: Floats, y: Floats) -> NDArray[np.float64]:
    """(m, n) Euclidean distances of the rows of (m, d) and (n, d), float64."""
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    lengths = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)
    squares = lengths - 2 * first @ second.T
    squares[squares < SAME * lengths] = 0
    return np.asarray(np.sqrt(squares))


def radii(x: Floats, k: int) -> NDArray[np.float64]:
    """(n,) distance of each row to its k-th nearest other row, k < n."""
    found = [
        np.partition(distances(x[start : start + BLOCK], x), k, axis=1)[:, k]  # the 0-th is the row itself
        for start in range(0, len(x), BLOCK)
    ]
    return np.concatenate(found)


def precision(generated: Floats, reference: Floats, k: int) -> float:
    """Share of generated rows that lie in the ball of some reference row."""
    reach = radii(reference, k)[:, None]
    blocks = range(0, len(generated), BLOCK)
    inside = [(distances(reference, generated[i : i + BLOCK]) < reach).any(axis=0) for i in blocks]
    return float(np.concatenate(inside).mean())


def recall(generated: Floats, reference: Floats, k: int) -> float:
    """Share of reference rows that lie in the ball of some generated row."""
    return precision(reference, generated, k)


def density(generated: Floats, reference: Floats, k: int) -> float:
    """In how many balls of reference rows a generated row lies, mean, divided by k; may be above 1."""
    reach = radii(reference, k)[:, None]
    blocks = range(0, len(generated), BLOCK)
    count = sum(np.count_nonzero(distances(reference, generated[i : i + BLOCK]) < reach) for i in blocks)
    return float(count / (k * len(generated)))


def coverage(generated: Floats, reference: Floats, k: int) -> float:
    """Share of reference rows in whose ball some generated row lies."""
    reach = radii(reference, k)
    nearest = np.full(len(reference), np.inf)
    for i in range(0, len(generated), BLOCK):
        nearest = np.minimum(nearest, distances(reference, generated[i : i + BLOCK]).min(axis=1))
    return float((nearest < reach).mean())


@dataclass(frozen=True)
class PrdcParameters(ProtocolParameters):
    """Whose features, how many neighbours; for I3D the protocol says how features are made."""

    features: str = "i3d"
    """`i3d` (windows), or `efficientnet_lite0` (frames; needs no download)."""
    nearest: int = 5
    """Neighbours that a ball reaches to."""

    def __post_init__(self) -> None:
        ProtocolParameters.__post_init__(self)
        if self.features not in FEATURES:
            raise InputError(f"features must be one of {', '.join(FEATURES)}, got '{self.features}'")
        if self.nearest < 1:
            raise InputError(f"nearest must be at least 1, got {self.nearest}")
        if self.features != "i3d" and self.protocol != DEFAULT:
            raise InputError(f"protocol belongs to the features i3d; {self.features} has none")


class _Prdc(RowsMetric[PrdcParameters]):
    """What the four share."""

    version = "1"
    reference = "arXiv 1904.06991 and 2002.09797; clovaai/generative-evaluation-prdc e320c1d2, PyPI prdc 0.2"
    protocol = (
        "balls to the 5th nearest neighbour, Euclidean, strictly inside; float64; features=i3d (windows) or "
        f"efficientnet_lite0 (16 frames a clip); i3d by {DESCRIBED}"
    )
    higher_is_better = True
    unit = "1"
    value_range = (0.0, 1.0)
    needs = Needs(extractors=(ExtractorSpec("i3d"),))
    parameters_type = PrdcParameters
    which: ClassVar[str]

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """I3D as the protocol wants it, or EfficientNet-Lite0."""
        if self.parameters.features == "i3d":
            return (self.parameters.extractor(),)
        return (ExtractorSpec(self.parameters.features),)

    def frames_needed(self) -> int:
        """A whole window, or one frame."""
        return self.parameters.frames if self.parameters.features == "i3d" else 1

    def features(self, observations: Observations) -> tuple[Rows, str]:
        """The clip's windows or frames."""
        if self.parameters.features == "i3d":
            seen = observations.of("i3d", I3DObservation)
            return seen.features, seen.unpublished
        return observations.of("efficientnet_lite0", EfficientNetLite0Observation).features, ""

    @abstractmethod
    def value(self, generated: Rows, reference: Rows, k: int) -> float:
        """The number itself."""

    def compare(self, generated: RowSet, reference: RowSet) -> Score:
        """The value, with what it rests on."""
        ours, theirs = generated.stacked(), reference.stacked()
        rows = len(ours), len(theirs)
        reason = self.few(generated.facts, reference.facts, rows, MIN_ROWS)
        if reason is not None:
            return Score.unscored(reason)
        k = min(self.parameters.nearest, min(rows) - 1)
        fewer = f"balls reach to neighbour {k} instead of {self.parameters.nearest}: there are no more rows"
        details = self.told(
            generated,
            reference,
            rows,
            ours.shape[1],
            consequence="the balls are too wide to say much",
            more=[fewer if k < self.parameters.nearest else None],
        )
        return Score(self.value(ours, theirs, k), details={**details, "nearest": k})


class Precision(_Prdc):
    """Share of generated samples near the reference set."""

    name = "prdc_precision"
    summary = "share of generated windows that look like some real one (k-nearest-neighbour balls)"

    def value(self, generated: Rows, reference: Rows, k: int) -> float:
        """See `precision`."""
        return precision(generated, reference, k)


class Recall(_Prdc):
    """Share of reference samples near the generated set."""

    name = "prdc_recall"
    summary = "share of real windows that look like some generated one; low where a model shows few kinds of things"

    def value(self, generated: Rows, reference: Rows, k: int) -> float:
        """See `recall`."""
        return recall(generated, reference, k)


class Density(_Prdc):
    """How deep generated samples lie in the reference set.

    It describes and is not ranked: samples that crowd where real ones are dense have more than a set has with itself.
    """

    name = "prdc_density"
    summary = "in how many real windows' neighbourhoods a generated one lies, by k; about 1 where the sets are alike"
    value_range = (0.0, float("inf"))
    diagnostic = True

    def value(self, generated: Rows, reference: Rows, k: int) -> float:
        """See `density`."""
        return density(generated, reference, k)


class Coverage(_Prdc):
    """Share of the reference set's neighbourhoods that generated samples reach."""

    name = "prdc_coverage"
    summary = "share of real windows in whose neighbourhood a generated one lies; steadier than recall"

    def value(self, generated: Rows, reference: Rows, k: int) -> float:
        """See `coverage`."""
        return coverage(generated, reference, k)
