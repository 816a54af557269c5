"""What happens in a clip stays the same in the mirror and at another size, and so must what the checks see and say."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from vidbench.testing import observe
from vidbench.testing._run import facts_of
from vidbench_metrics.extractors.motion import Motion, MotionObservation
from vidbench_metrics.physics.event import Event
from vidbench_metrics.physics.events import Seen, events_of
from vidbench_metrics.physics.model import shipped

FPS = 24.0
HEIGHT, WIDTH = 120, 160
LARGEST_CHANGE = 1.5
"""Of the clip's log-odds. Tie-breaks and subpixel rounding differ in the mirror, so that it is not 0; an alarm stands
several log-odds apart from an ordinary clip."""


@cache
def scene(what: str) -> np.ndarray:
    """Two discs that cross a textured background; one of them vanishes, or changes its place, or nothing happens."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = sum(np.sin(rng.uniform(0.05, 0.25) * x + rng.uniform(0.05, 0.25) * y + rng.uniform(0, 6)) for _ in range(5))
    ground = 120 + 14 * np.asarray(waves)[..., None] * rng.uniform(0.6, 1.0, 3)
    frames = np.repeat(ground[None], 40, axis=0)
    for t in range(40):
        left, top = 18 + 2.6 * t, 40 + 0.5 * t
        if what == "teleport" and t >= 20:
            left, top = left - 30, top + 40
        if not (what == "vanish" and t >= 20):
            frames[t][(x - left) ** 2 + (y - top) ** 2 <= 9**2] = (230, 60, 40)
        frames[t][(x - (140 - 1.7 * t)) ** 2 + (y - 100 + 0.3 * t) ** 2 <= 7**2] = (40, 60, 200)
    noisy = frames + rng.normal(0, 1.5, frames.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def seen(pixels: np.ndarray) -> Seen:
    observation = observe(Motion, pixels, fps=FPS)
    assert isinstance(observation, MotionObservation)
    return events_of(observation, facts_of(pixels, FPS))


@cache
def as_it_is(what: str) -> Seen:
    return seen(scene(what))


def strongest(found: Seen) -> Event:
    """The event that the checks find the most suspicious, of those that point somewhere."""
    chances = shipped().event_probability(found.events)
    return max(
        ((event, float(chance)) for event, chance in zip(found.events, chances, strict=True) if event.boxes),
        key=lambda pair: pair[1],
    )[0]


def counterpart(event: Event, others: Seen, scale: float, mirrored: bool) -> float:
    """How far the nearest event of the same type and span is, in pixels of its own boxes' corners."""
    nearest = np.inf
    for other in others.events:
        if other.type != event.type or abs(other.start - event.start) > 1 or abs(other.end - event.end) > 1:
            continue
        mine = {frame: np.array(box) * scale for frame, *box in event.boxes}
        for frame, x0, y0, x1, y1 in other.boxes:
            if frame in mine:
                box = np.array((WIDTH * scale - x1, y0, WIDTH * scale - x0, y1) if mirrored else (x0, y0, x1, y1))
                nearest = min(nearest, float(np.abs(box - mine[frame]).max()))
    return nearest


@pytest.mark.parametrize("what", ["nothing", "vanish", "teleport"])
def test_a_mirror_maps_boxes_and_keeps_the_score(what):
    before, after = as_it_is(what), seen(np.ascontiguousarray(scene(what)[:, :, ::-1]))
    log_odds = [shipped().clip_log_odds(found.events, found.context) for found in (before, after)]
    assert abs(log_odds[0] - log_odds[1]) < LARGEST_CHANGE
    placed = [event for event in before.events if event.boxes]
    assert placed
    distances = [counterpart(event, after, 1.0, mirrored=True) for event in placed]
    assert np.mean(np.array(distances) <= 3) >= 0.75
    # The discs are no mirror images of each other: without the mirror's mapping boxes must not fit as well.
    unmapped = [counterpart(event, after, 1.0, mirrored=False) for event in placed]
    assert np.mean(np.array(unmapped) <= 3) < 0.5


@pytest.mark.parametrize("what", ["vanish", "teleport"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_violation_is_found_where_it_is(what, mirrored):
    pixels = np.ascontiguousarray(scene(what)[:, :, ::-1]) if mirrored else scene(what)
    event = strongest(seen(pixels) if mirrored else as_it_is(what))
    assert event.start <= 23 and event.end >= 17
    left, top = 18 + 2.6 * 19.5, 40 + 0.5 * 19.5
    left = WIDTH - left if mirrored else left
    assert any(x0 - 12 <= left <= x1 + 12 and y0 - 12 <= top <= y1 + 12 for _, x0, y0, x1, y1 in event.boxes)


def test_boxes_grow_with_the_picture():
    larger = np.stack(
        [cv2.resize(f, (WIDTH * 3 // 2, HEIGHT * 3 // 2), interpolation=cv2.INTER_CUBIC) for f in scene("vanish")]
    )
    after = seen(larger)
    ends = [event for event in as_it_is("vanish").events if event.type == "track_end" and 17 <= event.end <= 23]
    assert ends
    assert min(counterpart(event, after, 1.5, mirrored=False) for event in ends) <= 4


def test_the_same_pixels_give_the_same_events():
    again = seen(scene("vanish").copy())
    assert [(e.type, e.start, e.end, e.boxes) for e in again.events] == [
        (e.type, e.start, e.end, e.boxes) for e in as_it_is("vanish").events
    ]
