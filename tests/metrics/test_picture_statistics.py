"""Noise, colourfulness and blockiness: known noise, a second implementation, known grids."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.damage import damage
from vidbench.testing import score, synthetic_clips
from vidbench_metrics.blockiness import Blockiness, find_grid
from vidbench_metrics.colourfulness import Colourfulness
from vidbench_metrics.noise import Noise

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def clip() -> Pixels:
    return synthetic_clips(1, 3, 200, 264)[0]


def value(metric: type, pixels: Pixels) -> float:
    result = score(metric, pixels, fps=8.0)
    assert result.value is not None
    return result.value


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0, 8.0, 16.0])
def test_known_noise_is_recovered_over_content(sigma: float, clip: Pixels) -> None:
    own = value(Noise, clip)
    assert own < 0.5  # a clean picture, but for rounding
    found = value(Noise, damage("noise", clip, sigma / 64))
    assert found == pytest.approx(sigma, rel=0.12)


def test_noise_on_grey_and_without_any() -> None:
    grey = np.full((2, 96, 96, 3), 128, np.uint8)
    assert value(Noise, grey) == 0
    assert value(Noise, damage("noise", grey, 5 / 64)) == pytest.approx(5, rel=0.06)
    ramp = np.broadcast_to(np.arange(40, 232, dtype=np.uint8)[None, None, :, None], (2, 96, 192, 3)).copy()
    assert value(Noise, ramp) == 0


def test_noise_where_two_middles_differ() -> None:
    """An even number of places whose two middle details differ has a median that is none of them."""
    for seed in range(12):
        loud = np.random.default_rng(seed).normal(128, 40, (1, 40, 41, 3)).clip(20, 235).astype(np.uint8)
        assert 20 < value(Noise, loud) < 60


def test_noise_unscored_where_clipped_or_tiny(clip: Pixels) -> None:
    for picture in (np.zeros((2, 64, 64, 3), np.uint8), np.full((2, 64, 64, 3), 255, np.uint8), clip[:, :20, :20]):
        result = score(Noise, picture, fps=8.0)
        assert result.value is None
        assert "32 pixels a side are needed" in str(result.reason)


def _reference_colourfulness(frame: Pixels) -> float:
    """Hasler & Süsstrunk's M3, pixel by pixel as in the paper."""
    red, green, blue = (frame[..., i].astype(float) for i in range(3))
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def test_colourfulness_is_the_papers(clip: Pixels) -> None:
    assert value(Colourfulness, clip) == pytest.approx(np.mean([_reference_colourfulness(f) for f in clip]), rel=1e-9)


def test_colourfulness_grows_with_saturation(clip: Pixels) -> None:
    grey = clip.mean(axis=3, keepdims=True)
    ladder = [
        value(Colourfulness, np.clip(grey + s * (clip - grey), 0, 255).astype(np.uint8)) for s in (0, 0.3, 0.6, 1, 1.5)
    ]
    assert ladder[0] == 0
    assert (np.diff(ladder) > 0).all()


def test_blockiness_grows_as_jpeg_gets_worse(clip: Pixels) -> None:
    ladder = [value(Blockiness, damage("block", clip, s)) for s in (0.0, 0.5, 0.8, 0.95, 1.0)]
    assert ladder[0] < 0.05
    assert (np.diff(ladder) > 0).all()
    assert ladder[-1] > 0.5


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (3, 5), (7, 1)])
def test_the_grid_is_found_where_it_is(rows: int, columns: int, clip: Pixels) -> None:
    blocky = np.ascontiguousarray(damage("block", clip, 0.95)[:, rows:, columns:])
    details = score(Blockiness, blocky, fps=8.0).details
    assert details["period_x"] == pytest.approx(8, abs=0.05)
    assert details["period_y"] == pytest.approx(8, abs=0.05)
    assert float(str(details["offset_x"])) == pytest.approx(-columns % 8, abs=0.05)
    assert float(str(details["offset_y"])) == pytest.approx(-rows % 8, abs=0.05)


@pytest.mark.parametrize("scale", [1.5, 2.0])
def test_the_grid_of_an_enlarged_clip_is_found(scale: float, clip: Pixels) -> None:
    blocky = damage("block", clip, 0.95)
    large = np.stack(
        [np.asarray(cv2.resize(f, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)) for f in blocky]
    )
    details = score(Blockiness, large, fps=8.0).details
    assert float(str(details["period_x"])) == pytest.approx(8 * scale, rel=0.01)


def test_of_a_clip_enlarged_by_a_broken_scale_a_whole_fraction_may_be_found(clip: Pixels) -> None:
    """The known limitation: resizing repeats itself every 5 pixels, four times a block."""
    blocky = damage("block", clip, 0.95)
    large = np.stack([np.asarray(cv2.resize(f, None, fx=2.5, fy=2.5, interpolation=cv2.INTER_CUBIC)) for f in blocky])
    lines = 20 / float(str(score(Blockiness, large, fps=8.0).details["period_x"]))
    assert round(lines) in (1, 2, 4)
    assert lines == pytest.approx(round(lines), rel=0.01)


def test_no_grid_in_noise_nor_in_one_colour() -> None:
    rng = np.random.default_rng(0)
    assert [find_grid(rng.normal(5, 1, 400)) for _ in range(30)] == [None] * 30
    assert find_grid(np.full(400, 3.0)) is None
    assert find_grid(np.arange(20.0)) is None


def test_a_written_grid_is_read_exactly() -> None:
    profile = np.random.default_rng(0).normal(5, 0.1, 399)
    profile[10::12] += 4
    grid = find_grid(profile)
    assert grid is not None
    assert grid.period == pytest.approx(12, abs=0.05)
    assert grid.offset == pytest.approx(11)  # step 10 leads to pixel 11
    assert grid.strength == pytest.approx(1 - 5 / 9, abs=0.02)


def test_blockiness_unscored_where_no_grid_fits(clip: Pixels) -> None:
    result = score(Blockiness, clip[:, :20], fps=8.0)
    assert result.value is None
    assert "short side has 20 pixels" in str(result.reason)
