"""JEDi: kernel distance of V-JEPA features between generated and real clips.

Luo et al., "Beyond FVD", arXiv 2410.05203; oooolga/JEDi c03d1785 (PyPI videojedi 1.1.0, mmd_polynomial.py): 100 times
the biased squared MMD under the kernel (x·y / d)², every row's kernel with itself included.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidbench.errors import InputError
from vidbench.metric import ExtractorSpec, Needs, Observations, Score
from vidbench_metrics.extractors.vjepa import VJepaObservation, VJepaParameters
from vidbench_metrics.feature_sets import Rows, RowSet, RowsMetric
from vidbench_metrics.kvd import Floats, polynomial_mmd

SCALE = 100.0
MIN_WINDOWS = 2


def jedi_distance(x: Floats, y: Floats) -> float:
    """100 · biased MMD² of (m, d) and (n, d) rows under (x·y / d)²; lower is nearer, never below 0 but for rounding."""
    return max(0.0, SCALE * polynomial_mmd(x, y, unbiased=False, degree=2, coef0=0.0))


@dataclass(frozen=True)
class JediParameters:
    """Which windows, and their size."""

    side: int = 224
    """Frames are squashed to this size, a multiple of 16; 0 takes them as they are, as PyPI videojedi does."""
    frames: int = 16
    """Length of the windows; shorter clips are unscored."""
    start: str = "random"
    """`first`, `random` or `all` windows of a clip."""
    seed: int = 0
    """Of random windows."""

    def __post_init__(self) -> None:
        try:
            VJepaParameters(self.side, self.frames, self.start, self.seed)
        except InputError as error:
            raise InputError(str(error).replace("vjepa.", "jedi.")) from None


class Jedi(RowsMetric[JediParameters]):
    """Kernel distance of V-JEPA features."""

    name = "jedi"
    version = "1"
    summary = (
        "how far short windows are from the reference set's in V-JEPA's eyes (polynomial MMD²); steadier than FVD with "
        "few clips; weights for non-commercial use only"
    )
    reference = "Luo et al., arXiv 2410.05203; oooolga/JEDi c03d1785, PyPI videojedi 1.1.0"
    protocol = (
        "one window of 16 frames at random, squashed to 224 (side=0: as they are); V-JEPA ViT-H/16, attentive probe of "
        "Something-Something v2, 1280 features; 100 · biased MMD², kernel (x·y / 1280)²; float64"
    )
    higher_is_better = False
    unit = "1"
    value_range = (0.0, float("inf"))
    needs = Needs(extractors=(ExtractorSpec("vjepa"),))
    parameters_type = JediParameters
    min_frames = 16

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """V-JEPA with these windows."""
        return (ExtractorSpec("vjepa", self.parameter_values()),)

    def frames_needed(self) -> int:
        """A whole window."""
        return self.parameters.frames

    def features(self, observations: Observations) -> tuple[Rows, str]:
        """The clip's windows."""
        seen = observations.of("vjepa", VJepaObservation)
        return seen.features, seen.unpublished

    def compare(self, generated: RowSet, reference: RowSet) -> Score:
        """The distance, with what it rests on."""
        ours, theirs = generated.stacked(), reference.stacked()
        rows = len(ours), len(theirs)
        reason = self.few(generated.facts, reference.facts, rows, MIN_WINDOWS)
        if reason is not None:
            return Score.unscored(reason)
        return Score(jedi_distance(ours, theirs), details=self.told(generated, reference, rows, ours.shape[1]))
