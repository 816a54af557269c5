"""What FVMD and its relative on other tracks share: windows, formula, and what the distance rests on."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from vidbench.frechet import frechet_distance
from vidbench.metric import Score
from vidbench_metrics.feature_sets import GaussianMetric, GaussianSet
from vidbench_metrics.motion_histograms import DIMENSIONS, WINDOW

P = TypeVar("P")

OFFSET = 1e-5
"""On both diagonals, inside the square root only."""
MIN_WINDOWS = 2


class MotionMetric(GaussianMetric[P]):
    """Fréchet distance of motion histograms; a subclass says whose tracks."""

    higher_is_better = False
    unit = "1"
    value_range = (-2 * OFFSET * DIMENSIONS, float("inf"))
    min_frames = WINDOW
    dimensions: ClassVar[int | None] = DIMENSIONS

    def compare(self, generated: GaussianSet, reference: GaussianSet) -> Score:
        """The distance, with what it rests on."""
        rows = generated.gaussian.n, reference.gaussian.n
        reason = self.few(generated.facts, reference.facts, rows, MIN_WINDOWS)
        if reason is not None:
            return Score.unscored(reason)
        return Score(
            frechet_distance(generated.gaussian, reference.gaussian, offset=OFFSET),
            details=self.told(generated, reference, rows, generated.gaussian.dimensions),
        )
