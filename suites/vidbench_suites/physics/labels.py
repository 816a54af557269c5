"""Which events of a clip are the violation that the truth speaks of."""

from __future__ import annotations

import math

from vidbench_metrics.physics.event import Event, can_express
from vidbench_suites.physics.tables import Box, ClipTable, Truth

TOLERANCE = 0.125
"""Seconds by which an event may miss the true span: 3 frames at 24 fps, never less than 1."""
GROWTH = 0.25
"""By how much of its width and height the true box is moved out on each side: it grows by half its size."""

MOMENTS = frozenset({"break", "change"})
"""Types of event that happen at one moment: they are the violation only where it begins."""
SPANS = frozenset({"flight", "standstill", "trend"})
"""Types of event that last: they are the violation only where they share `SHARED` of the shorter span with it."""
SHARED = 0.5

LEFT_OUT = -1


def tolerance_frames(fps: float, seconds: float = TOLERANCE) -> int:
    """The tolerance in frames."""
    return max(1, math.ceil(seconds * fps - 1e-9))


def in_time(event: Event, truth: Truth, tolerance: int) -> bool:
    """Whether the spans overlap, within the tolerance."""
    return event.start <= truth.end + tolerance and event.end >= truth.start - tolerance


def in_place(event: Event, truth: Truth, tolerance: int) -> bool:
    """Whether a box of the event touches a grown true box at about the same time.

    Frames count as the same time within the tolerance. Where no two boxes are that near in time (an object is last
    seen before the gap that is wrong), the pairs nearest in time are compared. Without boxes on either side the whole
    frame is meant, which is everywhere.
    """
    if not event.boxes or not truth.boxes:
        return True
    apart = [(abs(mine[0] - true[0]), mine, true) for mine in event.boxes for true in truth.boxes]
    limit = max(tolerance, min(distance for distance, _, _ in apart))
    return any(_touch(mine, true) for distance, mine, true in apart if distance <= limit)


def _touch(mine: Box, true: Box) -> bool:
    _, a0, b0, a1, b1 = mine
    _, x0, y0, x1, y1 = true
    along, down = GROWTH * (x1 - x0), GROWTH * (y1 - y0)
    return a0 < x1 + along and a1 > x0 - along and b0 < y1 + down and b1 > y0 - down


def located(event: Event, truth: Truth) -> bool:
    """Whether an event points at the violation, in time and place, whatever it takes it for."""
    tolerance = tolerance_frames(truth.fps)
    return in_time(event, truth, tolerance) and in_place(event, truth, tolerance)


def is_violation(event: Event, truth: Truth) -> bool:
    """Whether an event is the violation itself, and not something else that happens while it can be seen.

    Stricter than `located`: a ball that bounces too high goes on bouncing, and its later bounces are as they should be.
    """
    if truth.kind is None or not can_express(event, truth.kind) or not located(event, truth):
        return False
    if event.type in MOMENTS:
        tolerance = tolerance_frames(truth.fps)
        return event.start <= truth.start + tolerance and event.end >= truth.start - tolerance
    if event.type in SPANS:
        shared = min(event.end, truth.end) - max(event.start, truth.start) + 1
        return shared >= SHARED * min(event.end - event.start + 1, truth.end - truth.start + 1)
    return True


def labels(table: ClipTable) -> list[int]:
    """For each event 1 (the violation), 0 (innocent: every event of a possible clip) or `LEFT_OUT`.

    Events of an impossible clip that do not match are left out: the violation may well have consequences that the
    truth does not name.
    """
    truth = table.truth
    if truth.possible or truth.kind is None:
        return [0] * len(table.events)
    return [1 if is_violation(event, truth) else LEFT_OUT for event in table.events]
