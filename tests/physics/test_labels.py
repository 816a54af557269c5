"""Which events of a clip are the violation: cases made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidbench_metrics.physics.event import EVENT_TYPES, GROUPS, Event
from vidbench_suites.physics.labels import LEFT_OUT, labels, tolerance_frames
from vidbench_suites.physics.tables import ClipTable, Truth

Corners = tuple[float, float, float, float]
BOX = (100.0, 100.0, 120.0, 140.0)


def _truth(kind: str = "vanish", *, start: int = 30, end: int = 32, fps: float = 24.0, where: bool = True) -> Truth:
    boxes = tuple((t, *BOX) for t in range(start, end + 1)) if where else ()
    return Truth("lit", "lit/1", False, kind, fps=fps, start=start, end=end, boxes=boxes)


def _event(
    name: str = "track_end",
    start: int = 30,
    end: int = 31,
    box: Corners | None = BOX,
    kind="vanish",
):
    return Event(name, start, end, () if box is None else ((start, *box),), {}, kind)


def _label(truth: Truth, event: Event) -> int:
    return labels(ClipTable("a", Path("a"), "0", truth, (event,), {}))[0]


@pytest.mark.parametrize(("fps", "frames"), [(8, 1), (4, 1), (16, 2), (24, 3), (25, 4), (30, 4), (60, 8)])
def test_tolerance_is_an_eighth_of_a_second_and_never_less_than_a_frame(fps, frames):
    assert tolerance_frames(fps) == frames


@pytest.mark.parametrize(
    ("start", "end", "label"),
    [(30, 31, 1), (33, 34, 1), (35, 36, 1), (36, 37, LEFT_OUT), (20, 26, LEFT_OUT), (20, 27, 1), (0, 59, 1)],
)
def test_time_must_overlap_within_the_tolerance(start, end, label):
    assert _label(_truth(), _event(start=start, end=end)) == label


def test_tolerance_follows_the_frame_rate():
    late = _event(start=36, end=37)
    assert _label(_truth(fps=24), late) == LEFT_OUT
    assert _label(_truth(fps=48), late) == 1


@pytest.mark.parametrize(
    ("box", "label"),
    [
        (BOX, 1),
        ((124.0, 100.0, 130.0, 140.0), 1),  # 4 to the right of it: it grows by 5 on each side
        ((126.0, 100.0, 130.0, 140.0), LEFT_OUT),
        ((100.0, 149.0, 120.0, 160.0), 1),  # 9 below: it grows by 10
        ((100.0, 151.0, 120.0, 160.0), LEFT_OUT),
        ((10.0, 10.0, 20.0, 20.0), LEFT_OUT),
        (None, 1),  # the whole frame is everywhere
    ],
)
def test_place_must_touch_the_grown_box(box, label):
    assert _label(_truth(), _event(box=box)) == label


def test_a_violation_of_the_whole_frame_is_everywhere():
    truth = _truth("freeze", where=False)
    assert _label(truth, _event("frozen_run", box=None, kind="freeze")) == 1
    assert _label(truth, _event("frozen_run", box=(1.0, 1.0, 2.0, 2.0), kind="freeze")) == 1


def test_an_object_is_looked_for_where_it_is_at_that_time():
    """A long event whose object passes the true place long before the violation does not match."""
    boxes = tuple((t, 100.0 + 20 * (t - 10), 100.0, 120.0 + 20 * (t - 10), 140.0) for t in range(10, 40))
    passing = Event("flight", 10, 39, boxes, {}, "slow_fall")
    assert _label(_truth("slow_fall"), passing) == LEFT_OUT
    there = Event("flight", 10, 39, tuple((t, *BOX) for t in range(10, 40)), {}, "slow_fall")
    assert _label(_truth("slow_fall"), there) == 1


def test_last_sight_before_a_gap_counts():
    """A track that was last seen ten frames before it should have come back is compared where it was seen."""
    event = Event("passage", 20, 40, ((20, *BOX),), {}, "no_reappearance")
    assert _label(_truth("no_reappearance", start=31, end=40), event) == 1


def test_an_event_must_be_able_to_express_the_kind():
    assert _label(_truth("gravity_reversed"), _event("track_end")) == LEFT_OUT
    assert _label(_truth("gravity_reversed"), _event("break")) == LEFT_OUT
    assert _label(_truth("gravity_reversed"), _event("flight")) == 1
    assert _label(_truth("slow_fall"), _event("track_end", kind="slow_fall")) == 1  # it says so itself
    assert _label(_truth("gravity_reversed"), _event("something new")) == 1


def test_possible_clips_hold_innocent_events_alone():
    truth = Truth("lit", "lit/1", True)
    assert labels(ClipTable("a", Path("a"), "0", truth, (_event(), _event("cut", box=None)), {})) == [0, 0]


def test_every_kind_can_be_expressed_and_every_type_has_a_group():
    kinds = {
        *("vanish", "appear", "swap", "no_reappearance", "gravity_reversed", "hover", "slow_fall", "energy_gain"),
        *("time_reversed", "teleport", "velocity_jump", "pass_through", "freeze", "jump_cut", "flicker"),
    }
    assert {kind for told in EVENT_TYPES.values() for kind in told.kinds} == kinds
    assert {told.group for told in EVENT_TYPES.values()} == set(GROUPS)
