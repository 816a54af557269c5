"""One track as arrays, and the fits along it: quadratics on either side of every frame, breaks, flights.

Lengths are working pixels on the canvas (the camera's motion taken out), times are frames, down is positive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vidbench_metrics.extractors.motion import MotionObservation
from vidbench_metrics.physics.tracking import COLUMNS

Floats = NDArray[np.float64]

SIDE = 6
"""Most measurements on either side of a moment that a fit uses."""
LEAST_SIDE = 3
FLOOR = 0.3
"""Pixels of position noise at least: blobs end at whole pixels."""
MOST_BREAKS = 10
STRONG = 6.0
"""Noise deviations of a break that ends a flight."""


@dataclass(frozen=True)
class Track:
    """The measured rows of one track (those inside another's blob are left out of all but `merged_frames`)."""

    number: int
    table: Floats
    """(n, len(COLUMNS)) measured rows."""
    merged_frames: Floats
    """Frames in which its place was only foretold."""

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, column: str) -> Floats:
        return self.table[:, COLUMNS.index(column)]

    @cached_property
    def frames(self) -> NDArray[np.int64]:
        """(n,) frame numbers."""
        return self["frame"].astype(np.int64)

    @cached_property
    def places(self) -> Floats:
        """(n, 2) x and y."""
        return self.table[:, 2:4]

    @cached_property
    def size(self) -> float:
        """Square root of the median area."""
        return max(3.0, float(np.sqrt(np.median(self["area"]))))

    @cached_property
    def noise(self) -> float:
        """Standard deviation of a place, from third differences, which no smooth motion leaves."""
        if len(self) < 6:
            return FLOOR
        third = np.diff(self.places, 3, axis=0)
        return max(FLOOR, float(np.median(np.hypot(third[:, 0], third[:, 1]))) / math.sqrt(20.0))

    @cached_property
    def speed(self) -> Floats:
        """(n,) pixels a frame; NaN for a track of one row."""
        if len(self) < 2:
            return np.full(len(self), np.nan)
        steps = np.diff(self.places, axis=0) / np.diff(self.frames)[:, None]
        pace = np.hypot(steps[:, 0], steps[:, 1])
        return np.concatenate([pace[:1], pace])

    def boxes(self, first: int, last: int, scale: float) -> tuple[tuple[int, float, float, float, float], ...]:
        """Boxes of the frames `first` to `last`, in pixels of the clip."""
        rows = self.table[(self.frames >= first) & (self.frames <= last)]
        return tuple((int(r[1]), *(round(float(v) * scale, 1) for v in r[4:8])) for r in rows)  # type: ignore[misc]

    @cached_property
    def joints(self) -> tuple[Joint, ...]:
        """The two-sided fit at every inner row that has enough on both sides."""
        return _joints(self, 0, len(self))

    @cached_property
    def breaks(self) -> tuple[Joint, ...]:
        """Joints at which the motion is broken, strongest first, none within three rows of a stronger one.

        A strong break parts the track: later ones are fitted without looking across it.
        """
        chosen: list[Joint] = []
        parts = [(0, len(self), self.joints)]
        while parts and len(chosen) < MOST_BREAKS:
            parts.sort(key=lambda part: max((j.strength for j in part[2]), default=0.0))
            low, high, joints = parts.pop()
            if not joints:
                break
            best = max(joints, key=lambda j: (j.strength, -j.row))
            chosen.append(best)
            if best.strength > STRONG:
                parts += [(a, b, _joints(self, a, b)) for a, b in ((low, best.row), (best.row, high))]
            else:
                parts.append((low, high, tuple(j for j in joints if abs(j.row - best.row) >= 3)))
        return tuple(sorted(chosen, key=lambda j: (-j.strength, j.row)))

    @cached_property
    def flights(self) -> tuple[Flight, ...]:
        """Stretches between strong breaks, each with one quadratic."""
        cuts = sorted(joint.row for joint in self.breaks if joint.strength > STRONG)
        bounds = [0, *cuts, len(self)]
        return tuple(_flight(self, first, stop) for first, stop in pairwise(bounds) if stop - first >= 5)


@dataclass(frozen=True, slots=True)
class Joint:
    """The motion just before a row against the motion from it on."""

    row: int
    """First row of the later side."""
    frame: int
    """Its frame."""
    jump: Floats
    """(2,) where the later side begins minus where the earlier one would be then."""
    before: Floats
    """(2,) velocity at the joint by the earlier side, pixels a frame."""
    after: Floats
    """(2,) velocity there by the later side."""
    bend_before: float
    """Vertical acceleration of the earlier side, pixels a frame squared; NaN where it is too short to tell."""
    bend_after: float
    misfit: float
    """Root mean square of both sides' residuals, pixels."""
    misfit_joined: float
    """The same of one quadratic through both sides."""
    strength: float
    """Jump and change of velocity, in deviations of what noise gives."""


def _side(t: Floats, places: Floats, curve: Floats | None) -> tuple[Floats, Floats, Floats | None, float]:
    """Value and velocity at t = 0, half the acceleration, sum of squared residuals.

    A side of less than five rows has no curve of its own: it takes the other side's, where there is one, so that a
    smooth fall is no break near its ends.
    """
    own = len(t) >= 5
    if not own and curve is not None:
        places = places - t[:, None] ** 2 * curve
    design = np.vander(t, 3 if own else 2, increasing=True)
    coefficients, *_ = np.linalg.lstsq(design, places, rcond=None)
    residual = float(np.sum((places - design @ coefficients) ** 2))
    return coefficients[0], coefficients[1], coefficients[2] if own else curve, residual


def _curve(t: Floats, places: Floats) -> Floats | None:
    """Half the acceleration of at least five rows."""
    return _side(t, places, None)[2] if len(t) >= 5 else None


def _joints(track: Track, low: int, high: int) -> tuple[Joint, ...]:
    """Joints at the inner rows of `low` to `high`, fitted on these rows alone."""
    return tuple(_joint(track, row, low, high) for row in range(low + LEAST_SIDE, high - LEAST_SIDE + 1))


def _joint(track: Track, row: int, low: int, high: int) -> Joint:
    first, stop = max(low, row - SIDE), min(high, row + SIDE)
    # Time 0 is the middle of the step into `row`.
    zero = (track.frames[row - 1] + track.frames[row]) / 2
    t = track.frames[first:stop] - zero
    places = track.places[first:stop]
    left, right = slice(0, row - first), slice(row - first, stop - first)
    at_before, before, curve_before, rest_before = _side(t[left], places[left], _curve(t[right], places[right]))
    at_after, after, curve_after, rest_after = _side(t[right], places[right], curve_before)
    *_, rest_joined = _side(t, places, None)
    rows = stop - first
    jump, turn = at_after - at_before, after - before
    # Extrapolating half a step from k rows blurs places by about 2 noise/sqrt(k), speeds by more for short sides.
    short = min(row - first, stop - row)
    deviation_place = track.noise * (2.0 if short >= 5 else 1.6) * np.sqrt(2 / short)
    deviation_speed = track.noise * (12.0 if short >= 5 else 3.5) / short**1.2
    strength = float(np.hypot(np.hypot(*jump) / deviation_place, np.hypot(*turn) / deviation_speed))
    return Joint(
        row,
        int(track.frames[row]),
        jump,
        before,
        after,
        2 * float(curve_before[1]) if curve_before is not None else float("nan"),
        2 * float(curve_after[1]) if curve_after is not None else float("nan"),
        float(np.sqrt((rest_before + rest_after) / rows)),
        float(np.sqrt(rest_joined / rows)),
        strength,
    )


@dataclass(frozen=True, slots=True)
class Flight:
    """One stretch of smooth motion."""

    first: int
    """Its rows: first, and one past the last."""
    stop: int
    start: int
    """Its frames."""
    end: int
    acceleration: Floats
    """(2,) pixels a frame squared."""
    deviation: float
    """Standard error of the acceleration."""
    velocity: Floats
    """(2,) in its middle."""
    extent: Floats
    """(2,) pixels from smallest to largest coordinate."""
    misfit: float


def _flight(track: Track, first: int, stop: int) -> Flight:
    t = track.frames[first:stop] - track.frames[first:stop].mean()
    places = track.places[first:stop]
    design = np.vander(t, 3, increasing=True)
    coefficients, *_ = np.linalg.lstsq(design, places, rcond=None)
    misfit = float(np.sqrt(np.mean(np.sum((places - design @ coefficients) ** 2, axis=1))))
    spread = float(np.sum((t**2 - np.mean(t**2)) ** 2))
    deviation = 2 * max(track.noise, misfit) / np.sqrt(max(spread, 1e-9))
    return Flight(
        first,
        stop,
        int(track.frames[first]),
        int(track.frames[stop - 1]),
        2 * coefficients[2],
        float(deviation),
        coefficients[1],
        np.ptp(places, axis=0),
        misfit,
    )


def tracks_of(observation: MotionObservation, *, backwards: bool = False) -> list[Track]:
    """The tracks of a clip with at least two measured rows.

    Args:
        observation: the clip's.
        backwards: as if the clip were played from its end: frame numbers are counted from there.
    """
    table = observation.tracks_table
    if backwards:
        table = table.copy()
        table[:, 1] = len(observation.frames_table) - 1 - table[:, 1]
    made = []
    ids = table[:, 0]
    bounds = [*np.flatnonzero(np.diff(ids, prepend=-1)), len(ids)] if len(ids) else []
    for first, stop in pairwise(bounds):
        rows = table[first:stop][::-1] if backwards else table[first:stop]
        measured = rows[rows[:, COLUMNS.index("merged")] == 0]
        if len(measured) >= 2:
            merged = rows[rows[:, COLUMNS.index("merged")] == 1, 1]
            made.append(Track(int(ids[first]), measured, merged))
    return made
