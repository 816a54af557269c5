"""Camera, background and tracks against scenes whose truth is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.video import Frames
from vidbench_metrics.extractors.motion import WINDOW, Motion, MotionObservation
from vidbench_metrics.physics.camera import apply, camera_step, displacement
from vidbench_metrics.physics.tracks import Track, tracks_of

Pixels = NDArray[np.uint8]
HEIGHT, WIDTH = 180, 240


def scenery(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> NDArray[np.float32]:
    """A still picture with texture at several scales."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 120, np.float32)
    for cells, weight in ((6, 30), (20, 16), (60, 10)):
        rough = rng.normal(0, weight, (cells * height // width + 1, cells, 3)).astype(np.float32)
        picture += cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 5, 250)


def with_ball(
    ground: NDArray[np.float32], centres: NDArray[np.float64], radius: float = 9.0, colour=(220, 40, 50)
) -> Pixels:
    """The ground with an antialiased ball at (T, 2) centres; NaN hides it."""
    y, x = np.mgrid[0 : ground.shape[0], 0 : ground.shape[1]]
    clip = np.empty((len(centres), *ground.shape), np.uint8)
    for t, (cx, cy) in enumerate(centres):
        picture = ground
        if np.isfinite(cx):
            cover = np.clip(radius + 0.5 - np.hypot(x - cx, y - cy), 0, 1)[..., None].astype(np.float32)
            picture = ground * (1 - cover) + np.array(colour, np.float32) * cover
        clip[t] = picture.round().astype(np.uint8)
    return clip


def observe(pixels: Pixels, chunk: int = 32) -> MotionObservation:
    session = Motion().open(Clip("x.npy", None, "m", "array"))  # type: ignore[arg-type]
    for start in range(0, len(pixels), chunk):
        part = pixels[start : start + chunk]
        session.push(Frames(part, np.arange(start, start + len(part)) / 24.0, start))
    seen = session.close()
    assert isinstance(seen, MotionObservation)
    return seen


def the_track(seen: MotionObservation) -> Track:
    (track,) = tracks_of(seen)
    return track


@pytest.mark.parametrize(
    ("shift", "turn", "zoom"), [((3.0, -2.0), 0.0, 1.0), ((0.0, 0.0), 2.0, 1.0), ((1.5, 1.0), -1.0, 1.03)]
)
def test_a_camera_step_is_found_to_a_fraction_of_a_pixel(shift, turn, zoom):
    ground = scenery().astype(np.uint8)
    matrix = np.asarray(cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), turn, zoom), np.float64)
    matrix[:, 2] += shift
    later = cv2.warpAffine(ground, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    greys = [np.asarray(cv2.cvtColor(im, cv2.COLOR_RGB2GRAY), np.uint8) for im in (ground, later)]
    step = camera_step(*greys)
    corners = np.array([[20.0, 20], [WIDTH - 20, 20], [20, HEIGHT - 20], [WIDTH - 20, HEIGHT - 20]])
    missed = np.hypot(*(apply(step.matrix, corners) - apply(matrix, corners)).T)
    assert missed.max() < 0.35
    assert step.support > 0.8


def test_an_object_that_moves_is_not_the_camera():
    """All texture is on the object: most corners move, the camera does not."""
    plain = np.full((HEIGHT, WIDTH, 3), 120, np.float32)
    patch = scenery(60, 60, seed=3)
    frames = []
    for t in range(2):
        picture = plain.copy()
        picture[60:120, 80 + 4 * t : 140 + 4 * t] = patch
        frames.append(np.asarray(cv2.cvtColor(picture.astype(np.uint8), cv2.COLOR_RGB2GRAY), np.uint8))
    assert displacement(camera_step(*frames).matrix, WIDTH, HEIGHT) == 0


def test_without_texture_nothing_is_said_of_the_camera():
    flat = np.full((HEIGHT, WIDTH), 90, np.uint8)
    step = camera_step(flat, flat)
    assert step.support == 0
    assert np.isnan(step.flow)


def test_a_ball_is_one_track_at_its_true_place():
    t = np.arange(48.0)
    centres = np.stack([20 + 4.0 * t, 90 + 25 * np.sin(t / 9)], axis=1)
    seen = observe(with_ball(scenery(), centres))
    track = the_track(seen)
    assert track.frames.tolist() == list(range(48))
    assert np.abs(track.places - centres).max() < 0.6
    assert np.sqrt(track["area"] / np.pi) == pytest.approx(9.0, abs=0.8)
    assert seen.moved == 0


def test_a_moving_camera_is_taken_out():
    """The same ball under a pan and a shake: its path over the ground is found again."""
    t = np.arange(48.0)
    centres = np.stack([80 + 4.0 * t, 110 + 20 * np.sin(t / 9)], axis=1)
    wide = with_ball(scenery(220, 380, seed=1), centres)
    rng = np.random.default_rng(0)
    shake = np.cumsum(rng.integers(-1, 2, (48, 2)), axis=0) + np.stack([1.5 * t, 0 * t], axis=1)
    offsets = (np.array([20, 15]) + shake).round().astype(int)
    clip = np.stack([frame[y : y + HEIGHT, x : x + WIDTH] for frame, (x, y) in zip(wide, offsets, strict=True)])
    seen = observe(clip)
    assert seen.moved == 1
    track = max(tracks_of(seen), key=len)
    assert len(track) >= 44
    true = centres[track.frames]
    found = track.places - track.places.mean(axis=0) + true.mean(axis=0)
    assert np.abs(found - true).max() < 2.0


def test_free_fall_has_its_acceleration():
    t = np.arange(26.0)
    centres = np.stack([30 + 5.0 * t, 150 - 9.0 * t + 0.5 * 0.7 * t * t], axis=1)
    track = the_track(observe(with_ball(scenery(), centres)))
    (flight,) = track.flights
    assert flight.acceleration[1] == pytest.approx(0.7, rel=0.03)
    assert flight.acceleration[0] == pytest.approx(0, abs=4 * flight.deviation)


def test_a_teleport_is_where_the_path_breaks():
    t = np.arange(40.0)
    centres = np.stack([20 + 3.0 * t, 80 + 0 * t], axis=1)
    centres[22:, 1] += 14
    track = the_track(observe(with_ball(scenery(), centres)))
    strongest = track.breaks[0]
    assert strongest.frame == 22
    assert strongest.jump[1] == pytest.approx(14, abs=0.7)
    assert strongest.strength > 3 * track.breaks[1].strength


def test_mirrored_clips_have_mirrored_tracks():
    t = np.arange(30.0)
    clip = with_ball(scenery(), np.stack([20 + 5.0 * t, 60 + 2.0 * t], axis=1))
    one, other = the_track(observe(clip)), the_track(observe(clip[:, :, ::-1].copy()))
    assert one.frames.tolist() == other.frames.tolist()
    assert np.abs(one["x"] - (WIDTH - 1 - other["x"])).max() < 0.1
    assert np.abs(one["y"] - other["y"]).max() < 0.1


def test_light_that_changes_is_gain_and_not_motion():
    clip = np.repeat(scenery()[None], 24, axis=0)
    gains = 1 + 0.25 * np.sin(np.arange(24) / 2)
    lit = np.clip(clip * gains[:, None, None, None], 0, 255).astype(np.uint8)
    seen = observe(lit)
    assert tracks_of(seen) == []
    measured = seen.frame("green_gain")
    assert np.abs(measured / np.median(measured) - gains / np.median(gains)).max() < 0.03


def test_a_track_goes_on_over_the_end_of_a_window():
    frames = WINDOW + 40
    t = np.arange(frames)
    centres = np.stack([120 + 90 * np.sin(t / 25), 90 + 50 * np.cos(t / 31)], axis=1)
    seen = observe(with_ball(scenery(), centres))
    assert seen.windows.tolist() == [0, WINDOW]
    track = the_track(seen)
    assert len(track) == frames
    assert np.abs(track.places - centres).max() < 1.5


def test_memory_holds_one_window_whatever_the_length():
    session = Motion().open(Clip("x.npy", None, "m", "array"))  # type: ignore[arg-type]
    ground = scenery(48, 64).astype(np.uint8)
    for start in range(0, 3 * WINDOW, 30):
        session.push(Frames(np.repeat(ground[None], 30, 0), np.arange(start, start + 30) / 24.0, start))
        assert len(session._frames) < WINDOW  # type: ignore[attr-defined]
