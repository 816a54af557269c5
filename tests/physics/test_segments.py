"""Which pixels belong to which thing: parts joined and divided as the tracks before foretell."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench_metrics.physics.background import build, difference
from vidbench_metrics.physics.camera import camera_step, identity
from vidbench_metrics.physics.segments import Foretold, Segment, colour_bins, histogram, segments
from vidbench_metrics.physics.tracking import COLUMNS, Tracker, blobs

RED, BLUE, GREEN = (200, 30, 30), (30, 30, 200), (20, 180, 20)
Image = NDArray[np.uint8]


def _scene(*things: tuple[int, int, int, int, tuple[int, int, int]]) -> tuple[Image, Image]:
    """A grey picture with rectangles (left, top, width, height, colour), and their mask."""
    picture = np.full((80, 120, 3), 128, np.uint8)
    mask = np.zeros((80, 120), np.uint8)
    for left, top, w, h, colour in things:
        picture[top : top + h, left : left + w] = colour
        mask[top : top + h, left : left + w] = 255
    return picture, mask


def _bins(picture: Image) -> NDArray[np.int64]:
    return colour_bins(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB), np.uint8))


def _foretold(track: int, left: int, top: int, w: int, h: int, colour: tuple[int, int, int]) -> Foretold:
    mask = np.ones((h, w), np.uint8)
    colours = histogram(_bins(np.full((h, w, 3), colour, np.uint8)), mask)
    return Foretold(track, left, top, mask, colours, float(w * h))


def _box(segment: Segment) -> tuple[int, int, int, int]:
    h, w = segment.mask.shape
    return segment.left, segment.top, w, h


def test_without_tracks_every_connected_part_is_a_thing() -> None:
    picture, mask = _scene((10, 10, 12, 8, RED), (60, 30, 20, 20, BLUE), (100, 70, 2, 2, GREEN))
    found = segments(mask, _bins(picture), [], least=11)
    assert sorted(_box(s) for s in found) == [(10, 10, 12, 8), (60, 30, 20, 20)]  # the third is too small
    assert all(s.track is None and not s.divided for s in found)


@pytest.mark.parametrize("colours", [(RED, BLUE), (RED, RED)])
def test_things_that_touch_are_parted(colours: tuple[tuple[int, int, int], tuple[int, int, int]]) -> None:
    picture, mask = _scene((20, 20, 20, 20, colours[0]), (40, 24, 16, 16, colours[1]))
    hints = [_foretold(7, 19, 20, 20, 20, colours[0]), _foretold(3, 41, 24, 16, 16, colours[1])]
    found = {s.track: s for s in segments(mask, _bins(picture), hints, least=11)}
    assert set(found) == {7, 3}
    assert all(s.divided for s in found.values())
    for track, true in ((7, (20, 20, 20, 20)), (3, (40, 24, 16, 16))):
        assert _box(found[track]) == pytest.approx(true, abs=2)


def test_where_outlines_overlap_colour_decides() -> None:
    # The blue thing is in front, and both outlines claim the places it hides.
    picture, mask = _scene((20, 20, 30, 20, RED), (40, 20, 20, 20, BLUE))
    hints = [_foretold(0, 20, 20, 30, 20, RED), _foretold(1, 40, 20, 20, 20, BLUE)]
    found = {s.track: s for s in segments(mask, _bins(picture), hints, least=11)}
    assert _box(found[0]) == (20, 20, 20, 20)
    assert _box(found[1]) == (40, 20, 20, 20)


def test_a_thing_in_pieces_stays_one() -> None:
    picture, mask = _scene((20, 20, 8, 20, RED), (32, 20, 8, 20, RED), (90, 20, 10, 20, RED))
    found = segments(mask, _bins(picture), [_foretold(0, 20, 20, 20, 20, RED)], least=11)
    assert sorted(_box(s) for s in found) == [(20, 20, 20, 20), (90, 20, 10, 20)]


def test_what_hangs_on_a_known_thing_in_another_colour_is_something_new() -> None:
    picture, mask = _scene((20, 20, 20, 20, RED), (40, 20, 20, 20, GREEN))
    found = segments(mask, _bins(picture), [_foretold(5, 20, 20, 20, 20, RED)], least=11)
    assert {s.track for s in found} == {5, None}
    new = next(s for s in found if s.track is None)
    assert _box(new) == pytest.approx((44, 20, 16, 20), abs=2)


def test_two_things_that_pass_keep_their_tracks() -> None:
    """Two balls of unlike colour cross: as one connected part for a while, but never as one track."""
    still = np.full((80, 160, 3), 128, np.uint8)
    rng = np.random.default_rng(0)
    still = np.clip(still + rng.normal(0, 3, still.shape), 0, 255).astype(np.uint8)
    frames = []
    for t in range(40):
        frame = still.copy()
        cv2.circle(frame, (15 + 3 * t, 40), 9, RED, -1)
        cv2.circle(frame, (145 - 3 * t, 46), 9, BLUE, -1)
        frames.append(frame)
    ground = build(frames, [identity()] * len(frames))
    tracker = Tracker()
    for number, frame in enumerate(frames):
        tracker.push(
            number, blobs(frame, difference(frame, ground, identity()), identity(), tracker.foretold(identity()))
        )
    table = tracker.table()
    assert table[:, COLUMNS.index("divided")].any()
    for start, end, colour in ((15, 132, "red_green"), (145, 28, "blue_yellow")):
        own = [t for t in np.unique(table[:, 0]) if abs(table[table[:, 0] == t][0, 2] - start) < 4]
        assert len(own) == 1, colour
        assert table[table[:, 0] == own[0]][-1, 2] == pytest.approx(end, abs=4)


def test_a_place_that_changes_owners_is_not_restless() -> None:
    """A thing rests there, another passes, then nothing: no look of the place has the majority of the frames."""
    rng = np.random.default_rng(1)
    frames = [np.clip(128 + rng.normal(0, 4, (80, 120, 3)), 0, 255).astype(np.uint8) for _ in range(40)]
    for number, frame in enumerate(frames[:22]):
        frame[30:45, 50:65] = GREEN if number < 18 else (200, 30, 200)
    ground = build(frames, [identity()] * len(frames))
    inside = [difference(f, ground, identity()).mask[32:43, 52:63].mean() / 255 for f in (frames[5], frames[35])]
    assert inside[0] > 0.9
    assert inside[1] == 0


def test_noise_is_no_camera_motion() -> None:
    """A shift by half a pixel averages noise away, and so explains a still but noisy picture better than stillness."""
    rng = np.random.default_rng(2)
    flat = np.full((120, 160), 140.0)
    flat[80:] = 100
    for seed in range(5):
        a, b = (np.clip(flat + rng.normal(0, 6, flat.shape), 0, 255).astype(np.uint8) for _ in range(2))
        assert np.array_equal(camera_step(a, b).matrix, identity()), seed
