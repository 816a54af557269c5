"""Blockiness: how much larger the luma step is across the lines of a grid than beside them.

Our own definition. The grid is looked for, not assumed: a clip that was enlarged or cropped after compression has its
8-pixel blocks at another, perhaps broken, distance and offset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, NoParameters, Observations, Score
from vidbench_metrics.extractors.picture_statistics import PictureStatisticsObservation

Profile = NDArray[np.float64]

PERIODS = (4.0, 40.0)
"""Distances in pixels between lines that are looked for: blocks of 8 and 16, halved up to enlarged 2.5 times."""
LEAST_LINES = 6
"""Fewer lines than these are no grid."""
TWICE = 2.0
"""How far every second, third or fourth line must surpass the others to be taken for the grid itself."""
CERTAIN = 7.0
"""Standard errors by which lines must stand out: the largest of the few thousand grids tried reaches 4 by chance."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Equally spaced lines along one axis."""

    period: float
    """Pixels from line to line; of a clip enlarged by a broken scale it may be a whole fraction of that."""
    offset: float
    """Pixels to the first line: the step from pixel n - 1 to pixel n is line n."""
    strength: float
    """Share of the mean step across lines that is not there beside them, 0 to 1."""
    certainty: float
    """Standard errors by which the lines stand out."""


def excess(profile: Profile) -> Profile:
    """What each of (n,) steps has over the mean of its two neighbours, as (n - 2,): free of slow changes."""
    return np.asarray(profile[1:-1] - (profile[:-2] + profile[2:]) / 2)


def find_grid(profile: Profile) -> Grid | None:
    """The grid whose lines stand out most from an (n,) profile of mean steps, or None where none is certain."""
    if len(profile) < PERIODS[0] * LEAST_LINES + 2:
        return None
    ours = excess(profile)
    # The few largest are edges of things; they may neither make a grid nor hide one.
    scale = 1.4826 * float(np.median(np.abs(ours - np.median(ours))))
    high = float(np.percentile(ours, 98))
    ours = np.minimum(ours, max(high, float(np.median(ours)) + 3 * scale))
    spread = float(ours.std())
    if spread <= 1e-9:
        return None
    at = np.arange(len(ours), dtype=np.float64)
    best: tuple[float, float, int] | None = None
    period = PERIODS[0]
    while period <= min(PERIODS[1], len(ours) / LEAST_LINES):
        bins = np.floor(np.mod(at, period)).astype(np.int64)
        counts = np.bincount(bins)
        sums = np.bincount(bins, ours)
        # The last bin of a broken period is met less often; it is told by its own count.
        usable = counts >= LEAST_LINES
        stand = np.where(usable, (sums / np.maximum(counts, 1) - ours.mean()) * np.sqrt(counts), -np.inf)
        phase = int(stand.argmax())
        if best is None or stand[phase] > best[0]:
            best = float(stand[phase]), period, phase
        # A line's place drifts by at most a quarter pixel from one period tried to the next; whole ones are among them.
        following = period + period * period / (4 * len(ours))
        whole = math.floor(period + 1)
        period = float(whole) if period < whole <= following else following
    if best is None:
        return None
    period, start = _without_rhythm(ours, best[1], best[2])
    lines = np.floor(np.mod(at - start, period)).astype(np.int64) == 0
    rest = ours[~lines]
    error = float(rest.std()) / math.sqrt(int(lines.sum()))
    lead = float(ours[lines].mean() - rest.mean())
    certainty = lead / max(error, 1e-9)
    if certainty < CERTAIN or lead <= 0:
        return None
    # `ours` begins at the second step, and step n leads to pixel n + 1.
    offset = (start + 2) % period
    offset = 0.0 if period - offset < 0.5 else offset
    return Grid(period, offset, _strength(profile, np.flatnonzero(lines) + 1), min(certainty, 1e6))


def _without_rhythm(ours: Profile, period: float, phase: int) -> tuple[float, float]:
    """Period and first line, widened where every second, third or fourth line stands out far above the others.

    Resizing leaves a rhythm of its own between the lines of an enlarged clip, which they share.
    """
    numbers = np.arange(math.ceil((len(ours) - phase) / period))
    places = np.minimum(np.ceil(phase + numbers * period - 1e-9).astype(np.int64), len(ours) - 1)
    # A period is known to a hundredth, so after a hundred lines a place is off by a pixel.
    near = np.maximum(ours, np.maximum(np.append(ours[1:], ours[-1]), np.insert(ours[:-1], 0, ours[0])))
    for every in (4, 3, 2):
        if len(numbers) < every * LEAST_LINES:
            continue
        means = np.array([near[places[k::every]].mean() for k in range(every)])
        strongest = int(means.argmax())
        if means[strongest] >= TWICE * max(float(np.delete(means, strongest).max()), 0.0):
            return period * every, float(places[strongest])
    return period, float(phase)


def _strength(profile: Profile, lines: NDArray[np.int64]) -> float:
    across = float(profile[lines].mean())
    beside = float((profile[lines - 1] + profile[lines + 1]).mean() / 2)
    return max(0.0, 1 - beside / across) if across > 0 else 0.0


class Blockiness(ClipMetric[NoParameters]):
    """How strongly a grid stands out."""

    name = "blockiness"
    version = "1"
    summary = (
        "how much larger steps are across the lines of a block grid, at whatever distance and offset, than beside "
        "them; 0 where no grid is certain; a picture of a regular grid counts too"
    )
    reference = "own definition: 1 - mean luma step beside the lines of the most certain grid over that across them"
    protocol = (
        "Rec. 601 luma, own size, steps up to 16 grey levels, about 8 frames a second; periods 4 to 40 pixels, "
        "7 standard errors; mean of both axes"
    )
    higher_is_better = False
    unit = "share of the step across lines"
    value_range = (0.0, 1.0)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("picture_statistics"),))
    diagnostic = True

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip; unscored where the picture is too small for a grid."""
        seen = observations.of("picture_statistics", PictureStatisticsObservation)
        shortest = min(len(seen.column_steps), len(seen.row_steps)) + 1
        needed = int(PERIODS[0] * LEAST_LINES) + 3
        if shortest < needed:
            return Score.unscored(f"the picture's short side has {shortest} pixels; a grid needs {needed}")
        across, down = find_grid(seen.column_steps), find_grid(seen.row_steps)
        details: dict[str, float | int | str | None] = {}
        for axis, grid in (("x", across), ("y", down)):
            details[f"period_{axis}"] = round(grid.period, 3) if grid else None
            details[f"offset_{axis}"] = round(grid.offset, 3) if grid else None
        return Score(sum(grid.strength for grid in (across, down) if grid) / 2, details=details)
