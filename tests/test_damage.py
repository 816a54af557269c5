"""Damage is what it says: identity at 0, growing with strength, repeatable, and the very fault it is named for."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.damage import DAMAGES, damage
from vidbench.errors import InputError

Pixels = NDArray[np.uint8]
STRENGTHS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


@pytest.fixture
def clip(moving_square: Callable[..., Pixels]) -> Pixels:
    return moving_square(24, 64, 80)


@pytest.fixture
def ramp() -> Pixels:
    """Frame t is t * 10 everywhere: a pixel tells which moment it shows."""
    return np.broadcast_to((np.arange(24) * 10).astype(np.uint8)[:, None, None, None], (24, 16, 16, 3)).copy()


def moments(ramp: Pixels) -> NDArray[np.float64]:
    return ramp[:, 0, 0, 0] / 10


def changed(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def inversions(order: NDArray[np.float64]) -> float:
    return float(sum((order[:t] > order[t]).sum() for t in range(len(order))))


@pytest.mark.parametrize("name", DAMAGES)
def test_contract_of_every_damage(name: str, clip: Pixels) -> None:
    before = clip.copy()
    np.testing.assert_array_equal(damage(name, clip, 0.0), clip)
    for strength in (0.0, 0.37, 1.0):
        first, again = damage(name, clip, strength, seed=3), damage(name, clip, strength, seed=3)
        assert first.shape == clip.shape
        assert first.dtype == np.uint8
        assert first.flags.c_contiguous
        assert not np.shares_memory(first, clip)
        np.testing.assert_array_equal(first, again)
    assert changed(damage(name, clip, 1.0), clip) > 1
    np.testing.assert_array_equal(clip, before)


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_shortest_clips(name: str, frames: int, clip: Pixels) -> None:
    for strength in STRENGTHS:
        assert damage(name, clip[:frames], strength).shape == clip[:frames].shape


@pytest.mark.parametrize("name", ["flicker", "noise", "freeze", "black", "cut", "overexpose", "underexpose"])
def test_change_grows_with_strength(name: str, clip: Pixels) -> None:
    changes = [changed(damage(name, clip, strength), clip) for strength in STRENGTHS]
    assert changes[0] == 0
    assert (np.diff(changes) > 0).all()


@pytest.mark.parametrize("name", ["blur", "jitter", "block", "smear"])
def test_change_grows_with_strength_between_steps(name: str, clip: Pixels) -> None:
    """Whole pixels, JPEG's tables and small blurs move in steps, so only clearly different strengths are compared."""
    changes = [changed(damage(name, clip, strength), clip) for strength in (0.0, 0.3, 0.6, 1.0)]
    assert changes[0] == 0
    assert (np.diff(changes) > 0).all()


@pytest.mark.parametrize("name", ["flicker", "noise", "freeze", "black", "shuffle", "jitter"])
def test_seeds_differ(name: str, clip: Pixels) -> None:
    assert changed(damage(name, clip, 0.5, seed=0), damage(name, clip, 0.5, seed=1)) > 0


def test_flicker_is_one_gain_a_frame() -> None:
    gray = np.full((16, 8, 8, 3), 100, np.uint8)
    levels = damage("flicker", gray, 0.8)
    assert (levels == levels[:, :1, :1, :1]).all()
    assert 60 <= levels.min() < 90 < 110 < levels.max() <= 140


def test_noise_has_the_stated_deviation() -> None:
    gray = np.full((8, 64, 64, 3), 128, np.uint8)
    noisy = damage("noise", gray, 0.25).astype(float)
    assert noisy.std() == pytest.approx(16, rel=0.02)
    assert noisy.mean() == pytest.approx(128, abs=0.2)
    assert np.corrcoef(noisy[0].ravel(), noisy[1].ravel())[0, 1] == pytest.approx(0, abs=0.05)


def test_blur_removes_fine_detail_and_keeps_the_mean(clip: Pixels) -> None:
    blurred = damage("blur", clip, 0.5)
    assert blurred.mean() == pytest.approx(clip.mean(), abs=0.5)
    assert cv2.Laplacian(blurred[0], cv2.CV_64F).var() < 0.2 * cv2.Laplacian(clip[0], cv2.CV_64F).var()


@pytest.mark.parametrize("strength", STRENGTHS)
def test_freeze_repeats_that_share_of_frames(strength: float, ramp: Pixels) -> None:
    shown = moments(damage("freeze", ramp, strength))
    assert (np.diff(shown) == 0).sum() == round(strength * 23)
    assert (shown <= np.arange(24)).all()
    moving = np.flatnonzero(np.diff(shown)) + 1
    np.testing.assert_array_equal(shown[moving], moving)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_black_share(strength: float, clip: Pixels) -> None:
    assert (damage("black", clip, strength).max(axis=(1, 2, 3)) == 0).sum() == round(strength * 24)


def test_shuffle_keeps_every_frame_and_loses_order_with_strength(ramp: Pixels) -> None:
    orders = [moments(damage("shuffle", ramp, strength)) for strength in STRENGTHS]
    assert all(sorted(order) == list(range(24)) for order in orders)
    lost = [inversions(order) for order in orders]
    assert lost[0] == 0 < lost[2] < lost[-1]
    assert (np.diff(lost) >= 0).all()


def test_reverse(ramp: Pixels, clip: Pixels) -> None:
    np.testing.assert_array_equal(damage("reverse", clip, 1.0), clip[::-1])
    assert moments(damage("reverse", ramp, 0.25)).tolist() == [5, 4, 3, 2, 1, 0, *range(6, 24)]


@pytest.mark.parametrize("strength", STRENGTHS[1:])
def test_jump_is_one_step_in_the_middle(strength: float, ramp: Pixels) -> None:
    shown = moments(damage("jump", ramp, strength))
    steps = np.diff(shown)
    assert (shown[0], shown[-1]) == (0, 23)
    assert steps.argmax() == 11
    assert steps.max() == pytest.approx(23 * strength / 2 + 1 - strength / 2, abs=0.11)
    others = np.delete(steps, 11)
    assert np.abs(others - (1 - strength / 2)).max() <= 0.11  # rounding of the ramp


def test_cut_shows_something_else_from_the_middle_on(clip: Pixels) -> None:
    spliced = damage("cut", clip, 1.0)
    np.testing.assert_array_equal(spliced[:12], clip[:12])
    np.testing.assert_array_equal(spliced[12:], np.roll(clip[12:, :, ::-1], 1, axis=3))
    np.testing.assert_array_equal(damage("cut", clip, 0.5)[:18], clip[:18])


def test_exposure_is_a_gain() -> None:
    gray = np.full((2, 8, 8, 3), 40, np.uint8)
    assert damage("overexpose", gray, 0.5).max() == 80
    assert damage("overexpose", gray, 1.0).max() == 160
    assert damage("overexpose", np.full_like(gray, 100), 1.0).min() == 255
    assert damage("underexpose", gray, 1.0).max() == 5


def test_jitter_shifts_whole_frames(clip: Pixels) -> None:
    shaken = damage("jitter", clip, 1.0)
    found = set()
    for before, after in zip(clip, shaken, strict=True):
        inside = after[8:-8, 8:-8]
        errors = {
            (y, x): np.abs(before[8 + y : 56 + y, 8 + x : 72 + x].astype(int) - inside).max()
            for y in range(-6, 7)
            for x in range(-6, 7)
        }
        assert min(errors.values()) == 0
        found.add(min(errors, key=lambda shift: errors[shift]))
    assert len(found) > 10


@pytest.mark.parametrize("strength", STRENGTHS)
def test_slow_and_speed_change_the_pace(strength: float, ramp: Pixels) -> None:
    slowed, sped = moments(damage("slow", ramp, strength)), moments(damage("speed", ramp, strength))
    np.testing.assert_allclose(slowed, np.arange(24) * (1 - 0.75 * strength), atol=0.051)
    first = np.arange(24)[np.arange(24) * (1 + 3 * strength) <= 23]
    np.testing.assert_allclose(sped[first], first * (1 + 3 * strength), atol=0.051)
    # Back and forth: never faster than stated, never standing still.
    steps = np.abs(np.diff(sped))
    assert steps.max() <= 1 + 3 * strength + 0.11
    assert np.median(steps) == pytest.approx(1 + 3 * strength, abs=0.11)


def test_block_makes_edges_at_multiples_of_eight() -> None:
    y, x = np.mgrid[0:64, 0:64]
    smooth = (60 + x + y)[..., None].repeat(3, 2).astype(np.uint8)
    columns = np.abs(np.diff(damage("block", smooth[None], 1.0)[0, ..., 1].astype(int), axis=1)).mean(axis=0)
    seams = np.arange(63) % 8 == 7
    assert columns[seams].mean() > 5 * columns[~seams].mean()


def test_smear_leaves_a_trail() -> None:
    dot = np.zeros((10, 8, 40, 3), np.uint8)
    for t in range(10):
        dot[t, :, 4 * t : 4 * t + 4] = 200
    trail = damage("smear", dot, 0.5)[9, 0, ::4, 0]
    kept = 0.475
    expected = [200 * kept**9, *[200 * (1 - kept) * kept ** (9 - t) for t in range(1, 10)]]
    np.testing.assert_allclose(trail, expected, atol=0.51)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_drop_leaves_out_half_that_share_of_the_inner_frames(strength: float, ramp: Pixels) -> None:
    shown = moments(damage("drop", ramp, strength))
    assert len(set(shown)) == 24 - round(strength / 2 * 22)
    turn = int(shown.argmax())
    assert shown[turn] == 23
    assert (np.diff(shown[: turn + 1]) > 0).all()
    assert (np.diff(shown[turn:]) < 0).all()


def test_warp_wobbles_anew_and_morph_comes_back(clip: Pixels) -> None:
    still = np.repeat(clip[:1], 9, axis=0)
    wobbly, melting = damage("warp", still, 1.0), damage("morph", still, 0.5)
    assert all(changed(a, b) > 1 for a, b in itertools.pairwise(wobbly))
    away = [changed(frame, still[0]) for frame in melting]
    assert away[0] == 0
    assert away[8] < 0.1
    assert int(np.argmax(away)) == 4
    assert max(np.diff(away)) < max(away)  # never in one step


def test_displace_moves_that_share_of_blocks(clip: Pixels) -> None:
    moved = damage("displace", clip, 0.5)
    blocks = np.abs(moved.astype(int) - clip).sum(-1)[:, :64, :80].reshape(24, 8, 8, 10, 8).sum((2, 4)) > 0
    assert blocks.mean() == pytest.approx(0.5, abs=0.05)
    assert (blocks[0] != blocks[1]).any()


def test_drift_ends_redder_and_grows_evenly() -> None:
    ends = damage("drift", np.full((10, 8, 8, 3), 100, np.uint8), 1.0)
    np.testing.assert_array_equal(ends[-1, 0, 0], [160, 100, 40])
    np.testing.assert_allclose(np.diff(ends[:, 0, 0, 0].astype(int)), 6, atol=1)


def test_blend_and_fade_mix_moments(ramp: Pixels) -> None:
    flash = np.zeros((17, 8, 8, 3), np.uint8)
    flash[8] = 200
    spread = damage("blend", flash, 1.0)[:, 0, 0, 0]
    expected = 200 * np.exp(-((np.arange(17) - 8) ** 2) / 8)
    np.testing.assert_allclose(spread, expected / expected.sum() * 200, atol=1)
    faded = damage("fade", flash, 1.0)[:, 0, 0, 0]
    np.testing.assert_allclose(faded[:9], 25 * np.arange(9), atol=1)
    np.testing.assert_allclose(faded[8:], 25 * np.arange(8, -1, -1), atol=1)
    np.testing.assert_allclose(moments(damage("fade", ramp, 1.0)), np.arange(24), atol=0.1)  # a ramp fades into itself


def test_pan_shows_one_still_frame_moving(clip: Pixels) -> None:
    panned = damage("pan", clip, 0.5)
    np.testing.assert_array_equal(panned[:12], clip[:12])
    mark = clip.copy()
    mark[12] = 200  # the middle frame is all that the camera looks at
    assert (damage("pan", mark, 1.0) == 200).all()


def test_wrong_use_is_said(clip: Pixels) -> None:
    with pytest.raises(InputError, match="unknown damage 'blurr'; did you mean blur"):
        damage("blurr", clip, 0.5)
    with pytest.raises(InputError, match="there are: flicker, blur"):
        damage("qqqq", clip, 0.5)
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="between 0 and 1"):
            damage("blur", clip, strength)
    for wrong in (clip.astype(np.float32), clip[0], clip[..., :1], clip[:0]):
        with pytest.raises(InputError, match="a clip is"):
            damage("blur", wrong, 0.5)  # type: ignore[arg-type]  # what is tested
