"""Violations planted in known scenes: an event of the right type stands at the right time and place."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.video import ClipFacts
from vidbench_metrics.physics.event import EVENT_TYPES, Event
from vidbench_metrics.physics.events import GATE_NUMBERS, Seen, events_of


def _scenes():
    spec = importlib.util.spec_from_file_location("physics_scenes", Path(__file__).with_name("test_motion.py"))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["physics_scenes"] = module
    spec.loader.exec_module(module)
    return module


SCENES = _scenes()
T = 48


def path() -> NDArray[np.float64]:
    t = np.arange(float(T))
    return np.stack([20 + 4.0 * t, 90 + 25 * np.sin(t / 9)], axis=1)


def seen(pixels: NDArray[np.uint8], fps: float = 24.0) -> Seen:
    facts = ClipFacts(len(pixels), fps, pixels.shape[2], pixels.shape[1], np.arange(len(pixels)) / fps)
    return events_of(SCENES.observe(pixels), facts)


def of_type(found: Seen, name: str) -> list[Event]:
    return [event for event in found.events if event.type == name]


def near(event: Event, x: float, y: float, slack: float = 12) -> bool:
    return any(x0 - slack <= x <= x1 + slack and y0 - slack <= y <= y1 + slack for _, x0, y0, x1, y1 in event.boxes)


def test_what_vanishes_in_mid_air_is_an_end_there():
    centres = path()
    centres[25:] = np.nan
    ends = of_type(seen(SCENES.with_ball(SCENES.scenery(), centres)), "track_end")
    assert any(event.start <= 25 <= event.end + 1 and near(event, *centres[24]) for event in ends)
    best = next(event for event in ends if near(event, *centres[24]))
    assert best.features["border"] > 1
    assert abs(best.features["area_last"]) < 0.1


def test_what_appears_in_mid_air_is_a_start_there():
    centres = path()
    centres[:20] = np.nan
    starts = of_type(seen(SCENES.with_ball(SCENES.scenery(), centres)), "track_start")
    assert any(event.start - 1 <= 20 <= event.end + 1 and near(event, *centres[20]) for event in starts)


def test_leaving_the_frame_ends_at_its_border():
    t = np.arange(float(T))
    centres = np.stack([120 + 6.0 * t, 90 + 0 * t], axis=1)
    ends = of_type(seen(SCENES.with_ball(SCENES.scenery(), centres)), "track_end")
    assert ends
    assert all(event.features["border_4"] < 0 for event in ends)


def test_a_frozen_run_is_found_to_the_frame():
    clip = SCENES.with_ball(SCENES.scenery(), path())
    clip[21:29] = clip[20]
    (run,) = [event for event in of_type(seen(clip), "frozen_run") if event.features["exact"] == 1]
    assert (run.start, run.end) == (20, 28)
    assert run.features["frames"] == 8


def test_a_cut_is_the_most_striking_step():
    clip = SCENES.with_ball(SCENES.scenery(), path())
    clip[30:] = SCENES.with_ball(SCENES.scenery(seed=5), path())[30:]
    strongest = max(of_type(seen(clip), "cut"), key=lambda event: event.features["thumbnail_ratio"])
    assert (strongest.start, strongest.end) == (29, 30)


def test_flicker_shows_in_the_gain():
    clip = SCENES.with_ball(SCENES.scenery(), path())
    gains = np.where(np.arange(T) % 2, 1.0, 0.85)
    lit = np.clip(clip * gains[:, None, None, None], 0, 255).astype(np.uint8)
    (calm,), (restless,) = of_type(seen(clip), "flicker"), of_type(seen(lit), "flicker")
    assert restless.features["gain_mean"] > 20 * calm.features["gain_mean"]


def test_a_changed_colour_is_a_change_at_its_frame():
    clip = SCENES.with_ball(SCENES.scenery(), path())
    clip[26:] = SCENES.with_ball(SCENES.scenery(), path(), colour=(40, 60, 220))[26:]
    changes = of_type(seen(clip), "change")
    assert max(event.features["tint"] for event in changes) > 30
    strongest = max(changes, key=lambda event: event.features["tint"])
    assert strongest.start <= 26 <= strongest.end


def test_a_fall_upwards_has_an_acceleration_upwards():
    t = np.arange(26.0)
    centres = np.stack([30 + 5.0 * t, 30 + 7.0 * t - 0.5 * 0.5 * t * t], axis=1)
    (flight,) = of_type(seen(SCENES.with_ball(SCENES.scenery(), centres)), "flight")
    assert flight.kind == "gravity_reversed"
    assert flight.features["down_certain"] < -10


def test_scale_gives_the_expected_fall():
    t = np.arange(26.0)
    fall = 0.35  # pixels a frame squared
    centres = np.stack([30 + 5.0 * t, 150 - 8.0 * t + 0.5 * fall * t * t], axis=1)
    pixels = SCENES.with_ball(SCENES.scenery(), centres)
    facts = ClipFacts(len(pixels), 24.0, pixels.shape[2], pixels.shape[1], np.arange(len(pixels)) / 24.0)
    found = events_of(SCENES.observe(pixels), facts, pixels_per_meter=fall * 24**2 / 9.81)
    (flight,) = of_type(found, "flight")
    assert flight.features["to_gravity"] == pytest.approx(0, abs=0.05)


def test_every_event_has_the_names_of_its_type_and_a_kind_it_can_be():
    clip = SCENES.with_ball(SCENES.scenery(), path())
    clip[21:29] = clip[20]
    found = seen(clip)
    names: dict[str, set[str]] = {}
    for event in found.events:
        assert event.type in EVENT_TYPES
        assert event.kind in EVENT_TYPES[event.type].kinds
        assert 0 <= event.start <= event.end < T
        assert all(isinstance(value, float | int) for value in event.features.values())
        assert names.setdefault(event.type, set(event.features)) == set(event.features)
    for group in GATE_NUMBERS.values():
        assert set(group) <= set(found.context)


def test_a_mirrored_clip_has_the_same_events():
    clip = SCENES.with_ball(SCENES.scenery(), path())
    one, other = seen(clip), seen(clip[:, :, ::-1].copy())
    assert [event.type for event in one.events] == [event.type for event in other.events]
    for a, b in zip(of_type(one, "flight"), of_type(other, "flight"), strict=True):
        assert a.features["down"] == pytest.approx(b.features["down"], rel=0.02, abs=0.01)


def test_nothing_moves_and_nothing_is_followed():
    found = seen(np.repeat(SCENES.scenery().astype(np.uint8)[None], 20, axis=0))
    assert {event.type for event in found.events} <= {"frozen_run", "cut", "flicker"}
    assert found.context["tracks"] == 0
    assert math.isnan(found.context["length"])
