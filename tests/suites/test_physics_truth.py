"""That truth is true: equal twins before a violation, boxes around bodies, and the laws that possible clips obey."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vidbench_suites.physics import make as suite
from vidbench_suites.physics.scenarios import compose
from vidbench_suites.physics.truth import LEAST_PIXELS, see
from vidbench_suites.physics.violations import HERO, KINDS
from vidbench_suites.physics.world import GRAVITY, Intervention, Take

from .conftest import drawn, needs

TWINS = [
    *[("flat2d", kind) for kind in KINDS],
    *[("lit3d", kind) for kind in ("vanish", "hover", "velocity_jump")],
    *[("composite", kind) for kind in ("swap", "teleport", "gravity_reversed")],
]


def centre(clip: suite.Clip, frame: int) -> Any:
    box = clip.seen.boxes[frame][HERO]
    return None if box is None else np.array([box[0] + box[2], box[1] + box[3]]) / 2


@pytest.mark.parametrize(("look", "kind"), TWINS, ids=str)
def test_twins_are_equal_pixel_for_pixel_until_the_violation(look, kind, options):
    needs(look)
    stage, (possible, impossible) = drawn(look, kind, options)
    try:
        one, two = (np.stack(list(stage.render(clip.take))) for clip in (possible, impossible))
    finally:
        stage.close()
    start, end = impossible.row["start"], impossible.row["end"]
    differ = np.flatnonzero((one != two).any(axis=(1, 2, 3)))
    assert len(differ), "the twins are the same clip"
    assert differ[0] <= end
    # A path leaves the true one gradually: what differs before `start` is too little to be seen.
    for frame in range(int(differ[0]), start):
        places = centre(possible, frame), centre(impossible, frame)
        if places[0] is None and places[1] is None:  # hidden in both, but for a soft edge
            assert np.abs(one[frame].astype(int) - two[frame]).max(axis=2).sum() / 255 < LEAST_PIXELS
            continue
        if impossible.row["variant"].endswith("-occluder") and (places[0] is None or places[1] is None):
            continue  # the larger of the two bodies comes out first
        size = possible.seen.size(frame, HERO)
        assert np.linalg.norm(places[0] - places[1]) <= max(1.5, 0.1 * size) + 1
    at_once = {"vanish", "appear", "swap", "no_reappearance", "teleport", "freeze", "jump_cut", "flicker"}
    if kind in at_once and not impossible.row["variant"].endswith("-occluder"):
        assert start - 1 <= differ[0]
    # Whatever is impossible leaves its mark within its span.
    assert (one[start : end + 1] != two[start : end + 1]).any()


@pytest.mark.parametrize("name", ["projectile", "rest", "crossing", "occlusion"])
def test_boxes_hold_exactly_what_a_render_without_the_body_lacks(look, name, options, monkeypatch):
    still = replace(options, scene={"sizes": ((128, 96),), "rates": (15.0,)})
    stage, (clip,) = drawn(look, name, still)
    if look == "composite":
        monkeypatch.setattr(stage, "_shade", lambda *what: None)
    if look == "lit3d":  # a body's shadow and mirror image are not the body
        model = stage.model  # type: ignore[attr-defined]
        model.light_castshadow[:] = 0
        model.mat_reflectance[:] = 0
    stage.scene = stage.eye.scene = replace(stage.scene, defocus=0.0, noise=0.0, nuisance="none")  # type: ignore[attr-defined]
    bare = replace(clip.take, visible=clip.take.visible.copy())
    bare.visible[:, HERO] = False
    stage.close()
    checked = 0
    try:
        for frame in range(0, clip.row["frames"], 4):
            with_it, without = (stage.picture(take, frame).astype(int) for take in (clip.take, bare))
            rows, columns = np.nonzero(np.abs(with_it - without).max(axis=2) > 12)
            box = clip.seen.boxes[frame][HERO]
            if box is None:
                assert len(rows) <= 8  # a sliver
                continue
            # Soft edges reach a little beyond the outline.
            assert columns.min() >= box[0] - 2 and columns.max() + 1 <= box[2] + 2
            assert rows.min() >= box[1] - 2 and rows.max() + 1 <= box[3] + 2
            assert columns.min() <= box[0] + 3 and columns.max() + 1 >= box[2] - 3
            assert rows.min() <= box[1] + 3 and rows.max() + 1 >= box[3] - 3
            checked += 1
    finally:
        stage.close()
    assert checked >= 2


def parallel_flight(look: str, options: suite.Options) -> tuple[Any, Any, Any, list[int]]:
    """Stage, scene, what is seen, and the frames of a ball's flight before its first contact."""
    for seed in range(60):
        rng = np.random.default_rng([seed, 5])
        wanted, extra = suite._cast(rng, look, replace(options, scene={"sizes": ((320, 240),), "rates": (24.0,)}))
        scene = compose(rng, look, "throw", nuisance="none", wish={"scaled": True, "alone": True}, **wanted)
        scene = replace(scene, extra=extra, samples=1, shutter=0.0)
        if scene.bodies[HERO].shape.kind != "sphere" or not scene.parallel:
            continue
        stage = suite.open_stage(scene)
        seen = see(stage.eye, scene, Take.plain(scene, stage.simulate()))
        frames = []
        for frame in range(scene.frames):
            x0, y0, x1, y1 = seen.whole[frame][HERO]
            if seen.touch[frame, HERO]:
                break
            if seen.share[frame, HERO] > 0.9 and x0 > 1 and y0 > 1 and x1 < 319 and y1 < 239:
                frames.append(frame)
        if len(frames) >= 7:
            return stage, scene, seen, frames
        stage.close()
    raise AssertionError("no scene shows a flight")


def test_free_fall_has_the_acceleration_that_gravity_says(look, options):
    stage, scene, seen, frames = parallel_flight(look, options)
    stage.close()
    times = np.array(frames) / scene.fps
    boxes = np.array([seen.boxes[frame][HERO] for frame in frames])
    fall = np.polyfit(times, (boxes[:, 1] + boxes[:, 3]) / 2, 2)[0] * 2
    clip = suite._row(suite.Job(look, "projectile", True, 0, "0000"), scene, seen, "possible", control="projectile")
    # Boxes have whole pixels: half a pixel over a flight of n frames is 12 * 0.5 * fps^2 / n^2 at the worst.
    tolerance = 0.04 * clip["gravity"] + 6 * scene.fps**2 / len(frames) ** 2
    assert tolerance < 0.4 * clip["gravity"]
    assert fall == pytest.approx(clip["gravity"], abs=tolerance)
    across = np.polyfit(times, (boxes[:, 0] + boxes[:, 2]) / 2, 2)[0] * 2
    assert abs(across) < tolerance
    assert clip["pixels_per_meter"] == pytest.approx(clip["gravity"] / GRAVITY, rel=1e-4)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_possible_ball_never_gains_energy_and_keeps_its_restitution(look, options, seed):
    rng = np.random.default_rng(seed)
    wanted, extra = suite._cast(rng, look, options)
    scene = replace(compose(rng, look, "bounce", nuisance="none", wish={"alone": True}, **wanted), extra=extra)
    stage = suite.open_stage(scene)
    trajectory = stage.simulate()
    stage.close()
    place, body = trajectory.place[:, HERO], scene.bodies[HERO]
    speed = np.diff(place, axis=0) / scene.step
    angles = 2 * np.arctan2(trajectory.turn[:, HERO, 2], trajectory.turn[:, HERO, 0])
    spin = np.diff(np.unwrap(angles)) / scene.step
    energy = GRAVITY * place[1:, 2] + 0.5 * (speed**2).sum(axis=1) + 0.2 * (body.shape.half[0] * spin) ** 2
    free = ~(trajectory.touch[:-1, HERO] | trajectory.touch[1:, HERO])
    flight = energy[free]
    assert len(flight) > 100
    assert (flight[1:] <= np.minimum.accumulate(flight)[:-1] * 1.01 + 1e-3).all()
    # The first bounce, from just before to just after the contact.
    touching = np.flatnonzero(trajectory.touch[:, HERO])
    last = next(int(step) for step, after in zip(touching, [*touching[1:], 10**9], strict=True) if after > step + 1)
    before, after = -speed[touching[0] - 3, 2], speed[last + 2, 2]
    assert after / before == pytest.approx(body.restitution, abs=0.05)


def test_interventions_do_what_they_say(look, options):
    rng = np.random.default_rng(8)
    wanted, extra = suite._cast(rng, look, options)
    scene = replace(compose(rng, look, "bounce", nuisance="none", wish={"alone": True}, **wanted), extra=extra)
    stage = suite.open_stage(scene)
    plain = stage.simulate()
    contact = next(step for step, body, other in plain.hits if body == HERO and other == -1)
    step = contact // 2

    def run(act: str, *values: float, at: int = step) -> Any:
        changed = stage.simulate((Intervention(at, HERO, act, values),))
        assert np.array_equal(changed.place[:at], plain.place[:at]), act
        return changed.place[:, HERO, 2]

    held = run("hold")
    assert np.ptp(held[step + 1 :]) < 1e-3
    slow = run("gravity", 0.25, at=0)
    time = np.arange(contact) * scene.step
    drop, slow_drop = plain.place[0, HERO, 2] - plain.place[:contact, HERO, 2], slow[0] - slow[:contact]
    assert slow_drop[-1] == pytest.approx(0.25 * drop[-1], rel=0.03)
    assert drop[-1] == pytest.approx(GRAVITY * time[-1] ** 2 / 2, rel=0.03)
    assert run("ghost", -1.0).min() < -scene.bodies[HERO].shape.half[2]
    assert run("shift", 0.0, 0.2)[step] == pytest.approx(plain.place[step, HERO, 2] + 0.2, abs=2e-2)
    gained = run("gain", 1.3, 1)
    top = gained[contact:].max()
    # The speed after the bounce is 1.3 times the one before it, so the rise is 1.69 times the fall.
    rest = scene.bodies[HERO].shape.half[2]
    span = scene.world_frames * scene.steps
    if contact + 1.4 * contact < span:
        assert (top - rest) / (plain.place[0, HERO, 2] - rest) == pytest.approx(1.69, rel=0.06)
    stage.close()
    with pytest.raises(ValueError, match="unknown intervention fly"):
        suite.open_stage(scene).simulate((Intervention(0, HERO, "fly"),))


def test_a_hovering_body_stands_still_and_a_slow_one_falls_slowly(options):
    needs("flat2d")
    big = replace(options, scene={"sizes": ((320, 240),), "rates": (24.0,)})
    stage, (possible, impossible) = drawn("flat2d", "hover", replace(big, seed=11))
    scene, row = stage.scene, impossible.row
    moments = slice((row["start"] + 1) * scene.steps, row["end"] * scene.steps)
    assert np.ptp(impossible.take.trajectory.place[moments, HERO, 2]) < 1e-6
    assert np.ptp(possible.take.trajectory.place[moments, HERO, 2]) > 0.02
    stage, (possible, impossible) = drawn("flat2d", "slow_fall", replace(big, seed=11))
    scene, row = stage.scene, impossible.row
    height = impossible.take.trajectory.place[
        row["start"] * scene.steps : row["end"] * scene.steps - scene.steps, HERO, 2
    ]
    fall = -2 * np.polyfit(np.arange(len(height)) * scene.step, height, 2)[0]
    assert 0.14 * GRAVITY < fall < 0.39 * GRAVITY
