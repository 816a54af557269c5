"""What carries sprites along with a filmed scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidbench.errors import InputError
from vidbench.video import encode_h264
from vidbench_suites.physics import composite


def wall(width: int, height: int = 144, seed: int = 0) -> np.ndarray:
    """A smooth random texture with enough corners to track."""
    import cv2

    cells = np.random.default_rng(seed).uniform(30, 225, (height // 8, width // 8, 3)).astype(np.float32)
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)).clip(0, 255).astype(np.uint8)


def filmed(path: Path, shifts: list[int], square: bool = False) -> Path:
    """A camera that pans over a wall by so many pixels in all, now and then with somebody walking through."""
    texture = wall(192 + max(shifts) + 8)
    frames = []
    for number, shift in enumerate(shifts):
        frame = texture[:, shift : shift + 192].copy()
        if square:
            frame[50:110, number * 4 % 150 : number * 4 % 150 + 40] = wall(40, 60, seed=1)[:60, :40]
        frames.append(frame)
    encode_h264(path, frames, 24.0, crf=12)
    return path


def test_the_motion_of_a_panning_camera_is_found(tmp_path):
    shifts = [number * 3 // 2 for number in range(48)]
    clip = composite.footage(filmed(tmp_path / "pan.mp4", shifts))
    assert clip.frames.shape == (48, 144, 192, 3)
    assert clip.fps == pytest.approx(24)
    # The picture moves left as the camera moves right.
    places = composite.followed(clip.motion, 192, 144)
    assert places[-1] - places[0] == pytest.approx(np.full((4, 2), [-shifts[-1], 0.0]), abs=2.5)
    assert composite.trackable(clip)


def test_somebody_walking_before_a_fixed_camera_drags_nothing_along(tmp_path):
    clip = composite.footage(filmed(tmp_path / "fixed.mp4", [0] * 48, square=True))
    assert np.array_equal(clip.motion, np.repeat(np.eye(3)[None, :2], 48, axis=0))


def test_a_jerk_makes_footage_useless_as_a_background(tmp_path):
    shifts = [number if number < 24 else number + 12 for number in range(48)]
    clip = composite.footage(filmed(tmp_path / "jerk.mp4", shifts))
    assert not composite.trackable(clip)
    with pytest.raises(InputError, match=r"at least 1\.55 s long and steadily filmed; give other --backgrounds"):
        composite.cast(np.random.default_rng(0), tmp_path)


def test_footage_that_is_too_short_is_refused(tmp_path):
    filmed(tmp_path / "short.mp4", [0] * 20)
    with pytest.raises(InputError, match="give other --backgrounds"):
        composite.cast(np.random.default_rng(0), tmp_path)
    encode_h264(tmp_path / "still.mp4", [wall(192)], 24.0)
    with pytest.raises(InputError, match="is a single picture"):
        composite.footage(tmp_path / "still.mp4")


def test_a_sprite_lands_where_its_matrix_says():
    picture = np.zeros((60, 80, 3), np.float32)
    pixels = np.concatenate([np.full((10, 10, 3), 200.0), np.ones((10, 10, 1))], axis=2).astype(np.float32)
    # One pixel of the sprite is a tenth of a metre, one metre is twenty pixels: twenty pixels across, at (30, 10).
    sprite = composite.Sprite(pixels, np.array([[0.1, 0.0, 1.5], [0.0, -0.1, -0.5]]))
    composite.paste(picture, sprite, np.array([[20.0, 0.0, 0.0], [0.0, -20.0, 0.0]]))
    assert picture.sum() / 200 / 3 == pytest.approx(400, rel=0.06)
    rows, columns = np.nonzero(picture[..., 0] > 100)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (10, 30, 30, 50)
