"""Optical flow against motions whose field is known in closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.testing import observe
from vidbench_metrics.extractors.flow_statistics import (
    FlowParameters,
    FlowStatistics,
    FlowStatisticsObservation,
    without_affine,
)

Pixels = NDArray[np.uint8]
Place = Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]
MARGIN = 48


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.float64]:
    """Detail of all sizes, as photographs have, with a margin on every side."""
    rng = np.random.default_rng(seed)
    shape = (height + 2 * MARGIN, width + 2 * MARGIN)
    layers = [scale * scipy.ndimage.gaussian_filter(rng.normal(size=shape), scale) for scale in (1.5, 3, 6, 12)]
    image = np.sum(layers, axis=0)
    return np.asarray(128 + 50 * image / image.std())


def warped(image: NDArray[np.float64], places: list[Place], height: int = 128, width: int = 176) -> Pixels:
    """One frame a place: what `image` shows at (y, x) of the frame's grid, its origin at the frame's centre."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    centre_y, centre_x = (height - 1) / 2, (width - 1) / 2
    frames = []
    for place in places:
        row, column = place(y - centre_y, x - centre_x)
        at = [row + centre_y + MARGIN, column + centre_x + MARGIN]
        frames.append(scipy.ndimage.map_coordinates(image, at, order=3, mode="nearest"))
    grey = np.clip(np.array(frames), 0, 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3)


def panned(steps: list[tuple[float, float]], height: int = 128, width: int = 176) -> Pixels:
    """Frame t shows the texture moved by (down, right) of `steps[t]` pixels."""
    places: list[Place] = [lambda y, x, s=step: (y - s[0], x - s[1]) for step in steps]  # type: ignore[misc]
    return warped(texture(height, width), places, height, width)


def flow(pixels: Pixels, *, chunk: int | None = None, **parameters: object) -> FlowStatisticsObservation:
    extractor = FlowStatistics.from_mapping(parameters)
    seen = observe(extractor, pixels, chunk=chunk)
    assert isinstance(seen, FlowStatisticsObservation)
    return seen


@pytest.mark.parametrize("speed", [1.0, 2.0, 5.0, 12.0])
def test_a_known_translation_is_found_within_five_per_cent(speed: float) -> None:
    angle = 0.6
    steps = [(speed * t * np.sin(angle), speed * t * np.cos(angle)) for t in range(3)]
    np.testing.assert_allclose(flow(panned(steps)).magnitude, speed, rtol=0.05)


def test_magnitudes_are_in_pixels_of_the_reduced_picture() -> None:
    seen = flow(panned([(0.0, 4.0 * t) for t in range(3)], height=256, width=352))
    assert (seen.width, seen.height) == (176, 128)
    np.testing.assert_allclose(seen.magnitude, 2.0, rtol=0.05)


def test_a_pan_is_no_local_motion_no_acceleration_and_keeps_its_direction() -> None:
    seen = flow(panned([(0.0, 3.0 * t) for t in range(5)]))
    assert (seen.local_magnitude < 0.05 * seen.magnitude).all()
    assert (seen.acceleration < 0.05 * seen.magnitude[:-1]).all()
    np.testing.assert_allclose(seen.agreement / seen.agreement_bound, 1.0, atol=0.01)


def test_swinging_to_and_fro_turns_round_at_every_step() -> None:
    seen = flow(panned([(1.8 * (t % 2), 2.4 * (t % 2)) for t in range(5)]))  # 3 pixels a step
    np.testing.assert_allclose(seen.agreement / seen.agreement_bound, -1.0, atol=0.02)
    np.testing.assert_allclose(seen.acceleration, 2 * 3.0, rtol=0.05)
    np.testing.assert_allclose(seen.agreement_bound, 9.0, rtol=0.1)


def test_a_zoom_has_the_field_of_a_zoom() -> None:
    factor = 1.04
    places: list[Place] = [lambda y, x: (y, x), lambda y, x: (y / factor, x / factor)]
    seen = flow(warped(texture(128, 176), places))
    y, x = np.mgrid[0:128, 0:176]
    expected = (factor - 1) * np.hypot(y - 63.5, x - 87.5).mean()
    assert seen.magnitude[0] == pytest.approx(expected, rel=0.05)
    assert seen.local_magnitude[0] < 0.07 * expected


def test_an_object_before_a_still_background_is_local_motion() -> None:
    clip = panned([(0.0, 0.0)] * 2)
    patch = panned([(0.0, 0.0), (0.0, 3.0)], height=40, width=40)
    clip[:, 40:80, 60:100] = patch
    seen = flow(clip)
    assert seen.local_magnitude[0] > 0.5 * 3.0 * (40 * 40) / (128 * 176)


def test_a_frozen_clip_does_not_move_at_all() -> None:
    seen = flow(panned([(0.0, 0.0)] * 4))
    for array in seen.to_parts()[0].values():
        assert not array.any()


def test_affine_fit_matches_least_squares() -> None:
    rng = np.random.default_rng(0)
    field = rng.normal(size=(21, 34, 2)).astype(np.float32)
    y, x = np.mgrid[0:21, 0:34]
    design = np.stack([np.ones(field[..., 0].size), x.ravel(), y.ravel()], axis=1)
    vectors = field.reshape(-1, 2).astype(np.float64)
    coefficients, *_ = np.linalg.lstsq(design, vectors, rcond=None)
    expected = (vectors - design @ coefficients).reshape(field.shape)
    np.testing.assert_allclose(without_affine(field), expected, atol=1e-6)  # the field is float32


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_does_not_depend_on_chunk_borders(chunk: int) -> None:
    clip = panned([(0.3 * t, 1.7 * t) for t in range(6)])
    whole, _ = flow(clip).to_parts()
    pieces, _ = flow(clip, chunk=chunk).to_parts()
    for name, array in whole.items():
        assert array.tobytes() == pieces[name].tobytes(), name


@pytest.mark.parametrize("size", [(15, 40), (40, 8), (1, 1)])
def test_too_small_a_picture_has_no_flow(size: tuple[int, int]) -> None:
    seen = flow(np.zeros((4, *size, 3), np.uint8))
    assert seen.magnitude.shape == (3,)
    assert seen.acceleration.shape == (2,)
    assert all(np.isnan(array).all() for array in seen.to_parts()[0].values())


@pytest.mark.parametrize("size", [(16, 16), (16, 400), (33, 47)])
def test_small_pictures_that_do(size: tuple[int, int]) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (3, *size, 3), dtype=np.uint8)
    assert all(np.isfinite(array).all() for array in flow(clip).to_parts()[0].values())


@pytest.mark.parametrize("frames", [1, 2])
def test_short_clips(frames: int) -> None:
    seen = flow(panned([(0.0, 2.0 * t) for t in range(frames)]))
    assert len(seen.magnitude) == len(seen.local_magnitude) == frames - 1
    assert len(seen.acceleration) == len(seen.agreement) == len(seen.agreement_bound) == 0


def test_parameters_change_the_search_and_bad_ones_are_refused() -> None:
    clip = panned([(0.0, 0.0), (0.0, 3.0)])
    assert flow(clip, short_side=64).height == 64
    assert flow(clip, preset="ultrafast").magnitude[0] != flow(clip).magnitude[0]
    with pytest.raises(InputError, match=r"one of ultrafast, fast, medium, not 'slow'"):
        FlowStatistics(FlowParameters(preset="slow"))
    with pytest.raises(InputError, match="at least 16, not 4"):
        FlowStatistics.from_mapping({"short_side": "4"})
