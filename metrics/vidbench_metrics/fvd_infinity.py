"""FVD of infinitely many clips: FVD of ever more clips, extrapolated along 1/N to 1/N = 0.

A Fréchet distance of N samples a set is too large by about a/N. Chong & Forsyth (arXiv 1911.07023;
mchong6/FID_IS_infinity 2cbf52e1, score_infinity.py) fit a straight line to FID against 1/N and report its intercept.
Here both sets are subsampled to N windows, without replacement and with a stated seed, because the reference set is
finite too; and the sizes begin at a share of what is there and not at 5000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidbench.errors import InputError
from vidbench.frechet import GaussianState, add_rows, frechet_distance
from vidbench.metric import Score
from vidbench_metrics.feature_sets import Rows, RowSet, RowsMetric, shuffled
from vidbench_metrics.i3d_metric import I3DMetric
from vidbench_metrics.i3d_protocols import DESCRIBED, ProtocolParameters, caution, remark

MIN_WINDOWS = 3
"""Two sizes make a line, and a covariance takes two rows."""


def extrapolated(values: Sequence[float], sizes: Sequence[int]) -> tuple[float, float]:
    """Intercept and slope of the least-squares line of `values` against 1 / size.

    Args:
        values: (K,) distances.
        sizes: (K,) samples a set, at least two different ones.

    Returns:
        The value at 1 / size = 0, and how much 1 / size adds.

    Example:
        >>> intercept, slope = extrapolated([3.0, 2.5, 2.25], [10, 20, 40])
        >>> round(intercept, 9), round(slope, 9)
        (2.0, 10.0)
    """
    x = 1 / np.asarray(sizes, np.float64)
    y = np.asarray(values, np.float64)
    slope = float((x - x.mean()) @ (y - y.mean()) / ((x - x.mean()) @ (x - x.mean())))
    return float(y.mean() - slope * x.mean()), slope


def subsample_sizes(rows: int, count: int, smallest: float) -> list[int]:
    """Up to `count` different sizes, evenly spaced from `smallest` x rows (at least 2) to all rows, rising."""
    low = min(max(2, round(smallest * rows)), rows - 1)
    return sorted({round(size) for size in np.linspace(low, rows, count)})


def frechet_of(x: Rows, y: Rows, ddof: int) -> float:
    """Fréchet distance of two sets of rows."""
    return frechet_distance(add_rows(GaussianState(), x), add_rows(GaussianState(), y), ddof=ddof)


@dataclass(frozen=True)
class FvdInfinityParameters(ProtocolParameters):
    """The protocol says how features are made and which covariance; the rest is the extrapolation's own."""

    sizes: int = 15
    """How many subsample sizes the line is fitted to."""
    repeats: int = 2
    """Draws of each size."""
    smallest: float = 0.25
    """The smallest size, as a share of the windows that both sets have."""

    def __post_init__(self) -> None:
        ProtocolParameters.__post_init__(self)
        if self.sizes < 2 or self.repeats < 1 or not 0 < self.smallest < 1:
            raise InputError("fvd_infinity wants sizes >= 2, repeats >= 1 and smallest between 0 and 1")


class FvdInfinity(I3DMetric[FvdInfinityParameters], RowsMetric[FvdInfinityParameters]):
    """Intercept of FVD against 1 / N."""

    name = "fvd_infinity"
    version = "1"
    summary = (
        "FVD extrapolated to infinitely many clips, so that sets of unlike size compare better; noisier than FVD, and "
        "may be below 0"
    )
    reference = "Chong & Forsyth, arXiv 1911.07023; mchong6/FID_IS_infinity 2cbf52e1; FVD as in `fvd`"
    protocol = (
        "15 sizes from a quarter to all of the windows that both sets have, 2 draws each, both sets alike, without "
        f"replacement, drawn by seed; intercept of the line against 1/N; features by {DESCRIBED}"
    )
    higher_is_better = False
    unit = "1"
    value_range = (-float("inf"), float("inf"))
    parameters_type = FvdInfinityParameters

    def compare(self, generated: RowSet, reference: RowSet) -> Score:
        """The intercept, with the line it was read from."""
        ours, theirs = generated.stacked(), reference.stacked()
        rows = len(ours), len(theirs)
        reason = self.few(generated.facts, reference.facts, rows, 2)
        if reason is not None:
            return Score.unscored(reason)
        if min(rows) < MIN_WINDOWS:
            # One size gives no line; what can be said is its value, and that it is FVD.
            sizes, values = [min(rows)], [frechet_of(ours, theirs, self.parameters.facts.ddof)]
            intercept, slope = values[0], 0.0
        else:
            sizes = subsample_sizes(min(rows), self.parameters.sizes, self.parameters.smallest)
            values = [self._mean_at(ours, theirs, size, max(rows)) for size in sizes]
            intercept, slope = extrapolated(values, sizes)
        said = caution(generated.facts, reference.facts, rows, self.parameters)
        if len(sizes) < 3:
            said = f"{said}; a line through {len(sizes)} sizes" if said else f"a line through {len(sizes)} sizes"
        return Score(
            intercept,
            details={
                "protocol": self.parameters.protocol,
                "clips": generated.facts.clips,
                "reference_clips": reference.facts.clips,
                "windows": rows[0],
                "reference_windows": rows[1],
                "smallest_size": sizes[0],
                "largest_size": sizes[-1],
                "at_largest_size": values[-1],
                "slope": slope,
                "seed": self.parameters.seed,
                "caution": said,
                "remark": remark(generated.facts, reference.facts, self.parameters),
            },
        )

    def _mean_at(self, ours: Rows, theirs: Rows, size: int, most: int) -> float:
        """Mean distance of subsamples of `size` rows of both; all rows are drawn once."""
        repeats = 1 if size == most else self.parameters.repeats
        drawn = []
        for repeat in range(repeats):
            seed = 1 + repeat + self.parameters.repeats * (size + (most + 1) * self.parameters.seed)
            drawn.append(
                frechet_of(shuffled(ours, seed)[:size], shuffled(theirs, -seed)[:size], self.parameters.facts.ddof)
            )
        return float(np.mean(drawn))
