"""Small worlds with known actions and cameras, made from nothing: for tests of the metrics of control."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.testing import Describe

Pixels = NDArray[np.uint8]

MOVES = {0: (0, 0), 1: (0, -2), 2: (0, 2), 3: (-2, 0), 4: (2, 0)}
"""Stay, up, down, left, right: (dx, dy) in pixels. 5 stays too."""


def walk(actions: NDArray[np.int64], seed: int, size: int = 32) -> Pixels:
    """A square of 4 pixels walks over a textured floor; a ball of another colour rolls by and bounces.

    Walls stop the square.
    """
    rng = np.random.default_rng(seed)
    floor = np.clip(90 + 12 * rng.standard_normal((size, size, 1)) + np.zeros(3), 0, 255).astype(np.uint8)
    place, ball = rng.integers(3, size // 2 - 3, 2) * 2, rng.uniform(4, size - 4, 2)
    speed = rng.uniform(-1.5, 1.5, 2)
    frames = []
    for action in [*actions.tolist(), 0]:
        frame = floor.copy()
        cv2.circle(frame, (round(ball[0]), round(ball[1])), 2, (60, 60, 230), -1)
        frame[place[1] : place[1] + 4, place[0] : place[0] + 4] = (230, 210, 40)
        frames.append(frame)
        place = np.clip(place + MOVES.get(action, (0, 0)), 0, size - 4)
        ball = ball + speed
        speed = np.where((ball < 3) | (ball > size - 3), -speed, speed)
    return np.stack(frames)


@functools.lru_cache(maxsize=4)
def walks(count: int, steps: int, seed: int = 0, kinds: int = 5) -> tuple[tuple[Pixels, ...], NDArray[np.int64]]:
    """Clips of random walks, and their (count, steps) actions."""
    actions = np.random.default_rng((seed, count)).integers(0, kinds, (count, steps))
    return tuple(walk(row, 1000 * seed + n) for n, row in enumerate(actions)), actions


def told(actions: NDArray[Any]) -> Describe:
    """Gives clip n its row of actions; a clip of another length gets as many as fit."""

    def describe(clip: Clip, number: int) -> Clip:
        given = clip.actions if isinstance(clip.actions, tuple) else ()
        return replace(clip, actions=tuple(actions[number % len(actions)].tolist()[: len(given)]))

    return describe


@functools.lru_cache(maxsize=1)
def _textures() -> tuple[NDArray[np.float32], ...]:
    made = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        texture = np.zeros((512, 512))
        for side, weight in ((4, 1.0), (8, 1.0), (16, 1.0), (32, 0.6), (64, 0.6), (128, 0.5)):
            texture += weight * cv2.resize(rng.random((side, side)), (512, 512), interpolation=cv2.INTER_CUBIC)
        texture = (texture - texture.min()) / np.ptp(texture) * 255
        made.append(texture.astype(np.float32))
    return tuple(made)


def view(place: NDArray[np.float64], yaw: float, pitch: float = 0.0, size: tuple[int, int] = (240, 160)) -> Pixels:
    """What a camera of 60 degrees sees in a textured room of 8 x 3 x 12 metres with two pillars, ray by ray.

    Args:
        place: x right, y down, z ahead, in metres from the middle.
        yaw: degrees to the right.
        pitch: degrees up.
        size: width and height.
    """
    width, height = size
    focal = width / 2 / math.tan(math.radians(30))
    x, y = (np.arange(width) - (width - 1) / 2) / focal, (np.arange(height) - (height - 1) / 2) / focal
    rays = np.stack([*np.broadcast_arrays(x[None], y[:, None]), np.ones((height, width))], -1)
    right, up = math.radians(yaw), math.radians(pitch)
    turn = np.array([[math.cos(right), 0, math.sin(right)], [0, 1, 0], [-math.sin(right), 0, math.cos(right)]])
    tilt = np.array([[1, 0, 0], [0, math.cos(up), -math.sin(up)], [0, math.sin(up), math.cos(up)]])
    rays = rays @ (turn @ tilt).T
    picture, nearest = np.zeros((height, width), np.float32), np.full((height, width), np.inf)
    boxes = (((-4, -1.5, -6), (4, 1.5, 6)), ((-1.5, -1.5, 1.5), (-0.8, 1.5, 2.2)), ((1, -1.5, 3), (1.8, 1.5, 3.8)))
    for box in boxes:
        for axis in range(3):
            others = [other for other in range(3) if other != axis]
            for side in (0, 1):
                with np.errstate(divide="ignore", invalid="ignore"):
                    far = (box[side][axis] - place[axis]) / rays[..., axis]
                    hit = place + rays * far[..., None]
                    seen = (far > 1e-3) & (far < nearest)
                    for other in others:
                        seen &= (hit[..., other] >= box[0][other]) & (hit[..., other] <= box[1][other])
                    u, v = (np.nan_to_num(hit[..., other] * 60 % 511).astype(np.float32) for other in others)
                colour = cv2.remap(_textures()[2 * axis + side], u, v, cv2.INTER_LINEAR)
                picture[seen], nearest[seen] = colour[seen], far[seen]
    return np.repeat(picture.astype(np.uint8)[..., None], 3, axis=2)


def ride(
    frames: int, turn: float, *, aside: float = 0.0, ahead: float = 0.0, size: tuple[int, int] = (240, 160)
) -> tuple[Pixels, NDArray[np.float64]]:
    """A camera that turns `turn` degrees a frame and moves so many metres to its right and ahead; and its yaw."""
    place, yaws, seen = np.array([0.0, 0.0, -3.0]), turn * np.arange(frames), []
    for yaw in yaws:
        seen.append(view(place, float(yaw), size=size))
        right = math.radians(float(yaw))
        place = place + aside * np.array([math.cos(right), 0, -math.sin(right)])
        place = place + ahead * np.array([math.sin(right), 0, math.cos(right)])
    return np.stack(seen), yaws


@functools.lru_cache(maxsize=2)
def rides(count: int, frames: int) -> tuple[Pixels, ...]:
    """Clips of cameras that only turn, each at its own speed."""
    return tuple(ride(frames, 2.0 + n, size=(120, 80))[0] for n in range(count))


def with_yaw(clip: Clip, number: int) -> Clip:
    """Commands for the clips of `rides`, for as many frames as the clip has."""
    frames = len(clip.actions) + 1 if isinstance(clip.actions, tuple) else 1
    return replace(clip, extra={"camera_yaw": [(2.0 + number) * t for t in range(frames)]})
