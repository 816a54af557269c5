"""The look `flat2d`: a plane world simulated by pymunk, drawn analytically with numpy.

Every pixel of a body is computed from its signed distance to the body's outline, so edges are antialiased at any size
and turn; surfaces are procedural patterns of several colours. The background is a gradient, blotches, stripes, tiles or
grain, with a floor in the same manner; it is drawn once on a canvas larger than the picture, for cameras that move.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench_suites.physics import planar
from vidbench_suites.physics.truth import FlatEye
from vidbench_suites.physics.world import (
    Floats,
    Intervention,
    Scene,
    Shape,
    Skin,
    Take,
    Trajectory,
    flat_affine,
    flat_angle,
)

Picture = NDArray[np.float32]

_ROOM = 3.0
"""Width and height of the canvas in pictures."""


def check(backgrounds: Path | None = None) -> None:
    """Raise `MissingExtraError` if pymunk is not installed."""
    planar.engine()


class Stage:
    """Draws the takes of one scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.eye = FlatEye(scene, lambda take, frame: flat_affine(scene, take.path[frame]))
        self._canvas: Picture | None = None
        self._front: Picture | None = None
        self._known: dict[tuple[bytes, int], NDArray[np.uint8]] = {}

    def simulate(self, interventions: tuple[Intervention, ...] = ()) -> Trajectory:
        """Run the scene's physics."""
        return planar.simulate(self.scene, interventions)

    def render(self, take: Take) -> Iterator[NDArray[np.uint8]]:
        """(H, W, 3) uint8 RGB, frame by frame."""
        for frame in take.repeat:
            yield self.picture(take, int(frame))

    def picture(self, take: Take, frame: int) -> NDArray[np.uint8]:
        """One frame with noise and all."""
        key = take.key(self.scene, frame), frame
        if key not in self._known:
            self._known[key] = self._finish(self._expose(take, frame), take.gain[frame], frame)
        return self._known[key]

    def close(self) -> None:
        """Forget what was drawn."""
        self._known.clear()

    def _expose(self, take: Take, frame: int) -> Picture:
        scene = self.scene
        matrix = flat_affine(scene, take.path[frame])
        ground = self._backdrop(matrix)
        moments = [int(moment) for moment in take.moments(scene, frame)]
        total = np.zeros_like(ground)
        for moment in moments:
            picture = ground.copy() if len(moments) > 1 else ground
            for body in self.eye.order:
                if take.visible[frame, body]:
                    self._paint(picture, take, frame, body, moment, matrix)
            if self._front is not None:
                layer = self._warp(self._front, matrix)
                picture += layer[..., 3:] * (layer[..., :3] - picture)
            total += picture
        return np.asarray(total / np.float32(len(moments)))

    def _paint(self, picture: Picture, take: Take, frame: int, body: int, moment: int, matrix: Floats) -> None:
        scene = self.scene
        points = self.eye.outline(take, frame, body, moment)
        height, width = picture.shape[:2]
        x0, y0 = np.floor(np.clip(points.min(axis=0) - 2, 0, (width, height))).astype(int)
        x1, y1 = np.ceil(np.clip(points.max(axis=0) + 2, 0, (width, height))).astype(int)
        if x1 <= x0 or y1 <= y0:
            return
        place, turn = take.pose(scene, frame, body, moment)
        shape, skin = take.shape(scene, frame, body), take.skin(scene, frame, body)
        inverse = np.linalg.inv(matrix[:, :2])
        grid = np.stack(np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5), -1)
        world = (grid - matrix[:, 2]) @ inverse.T
        x, z = world[..., 0] - place[0], world[..., 1] - place[2] - place[1] * scene.tilt
        cosine, sine = np.cos(flat_angle(turn)), np.sin(flat_angle(turn))
        across, up = x * cosine - z * sine, x * sine + z * cosine
        pixels = 1 / np.sqrt(abs(np.linalg.det(inverse)))
        distance = signed_distance(shape, across, up) * pixels
        cover = np.clip(0.5 - distance, 0, 1)
        if body in take.sunk:
            cover = cover * np.clip(0.5 + (world[..., 1] - place[1] * scene.tilt) * pixels, 0, 1)
        reach = max(shape.reach, 1e-6)
        colour = surface(skin, across / reach, up / reach)
        if skin.seed % 3 == 0:
            colour = colour * np.where(distance > -max(1.0, 0.12 * reach * pixels), 0.55, 1.0)[..., None]
        colour = np.clip(colour * take.tint[frame, body], 0, 255)
        patch = picture[y0:y1, x0:x1]
        patch += (cover[..., None] * (colour - patch)).astype(np.float32)

    def _backdrop(self, matrix: Floats) -> Picture:
        if self._canvas is None:
            self._canvas, self._front = _canvas(self.scene)
        return self._warp(self._canvas, matrix)

    def _warp(self, canvas: Picture, matrix: Floats) -> Picture:
        scene = self.scene
        # From canvas pixels to metres is the picture's own scale, the canvas centre being the picture's.
        rest = flat_affine(scene, np.array([0.0, 0.0, 1.0, 0.0, 0.0]))
        forward = matrix[:, :2] @ np.linalg.inv(rest[:, :2])
        corner = np.array([(_ROOM - 1) / 2 * scene.width, (_ROOM - 1) / 2 * scene.height])
        shift = matrix[:, 2] - forward @ (rest[:, 2] + corner)
        # OpenCV puts pixel centres at whole numbers.
        whole = np.hstack([forward, (shift + forward @ [0.5, 0.5] - 0.5)[:, None]])
        return np.asarray(
            cv2.warpAffine(
                canvas, whole, (scene.width, scene.height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
            ),
            np.float32,
        )

    def _finish(self, picture: Picture, gain: Floats, frame: int) -> NDArray[np.uint8]:
        scene = self.scene
        picture = picture * gain.astype(np.float32)
        if scene.defocus:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), scene.defocus), np.float32)
        if scene.noise:
            rng = np.random.default_rng([scene.seed, frame])
            picture = picture + np.float32(scene.noise) * rng.standard_normal(picture.shape, dtype=np.float32)
        return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def signed_distance(shape: Shape, x: Floats, z: Floats) -> Floats:
    """Distance to the outline in metres, negative inside; near it exact, for ellipses to first order."""
    a, _, c = shape.half
    if shape.kind == "sphere":
        return np.asarray(np.hypot(x, z) - a)
    if shape.kind == "box":
        right, above = np.abs(x) - a, np.abs(z) - c
        return np.asarray(
            np.hypot(np.maximum(right, 0), np.maximum(above, 0)) + np.minimum(np.maximum(right, above), 0)
        )
    if shape.kind == "capsule":
        return np.asarray(np.hypot(x - np.clip(x, c - a, a - c), z) - c)
    if shape.kind == "ellipsoid":
        level = np.hypot(x / a, z / c)
        slope = np.hypot(x / a**2, z / c**2)
        return np.asarray(level * (level - 1) / np.maximum(slope, 1e-9))
    distance = np.full(x.shape, -np.inf)
    corners = shape.corners
    for (x0, z0), (x1, z1) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = np.hypot(x1 - x0, z1 - z0)
        distance = np.maximum(distance, ((x - x0) * (z1 - z0) - (z - z0) * (x1 - x0)) / length)
    return distance


def surface(skin: Skin, u: Floats, v: Floats) -> Floats:
    """(..., 3) colours at (u, v), which run from -1 to 1 over the body."""
    colours = np.array(skin.colours, np.float64)
    rng = np.random.default_rng(skin.seed)
    period = 0.5 + skin.scale
    if skin.pattern == "stripes":
        which = np.floor((u + 3) / period * 2) % 2
    elif skin.pattern == "halves":
        which = np.where(u + 0.4 * v > 0, 1, 0)
    elif skin.pattern == "spots":
        which = np.zeros(u.shape)
        for number in range(7):
            x, z, radius = rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8), rng.uniform(0.12, 0.32)
            which = np.where(np.hypot(u - x, v - z) < radius, 1 + number % 2, which)
    elif skin.pattern == "checker":
        which = (np.floor((u + 3) / period * 2) + np.floor((v + 3) / period * 2)) % 2
    elif skin.pattern == "rings":
        which = np.floor(np.hypot(u, v) / period * 3) % 3
    elif skin.pattern == "grain":
        field = np.asarray(cv2.resize(rng.uniform(0.55, 1.25, (9, 9)).astype(np.float32), (64, 64)), np.float64)
        at = np.clip((np.stack([u, v]) + 1) * 32, 0, 63).astype(int)
        return np.asarray(colours[0] * field[at[1], at[0]][..., None])
    else:
        which = np.zeros(u.shape)
    return np.asarray(colours[which.astype(int)])


def _canvas(scene: Scene) -> tuple[Picture, Picture | None]:
    """Background with floor, and what stands in front of all bodies (RGBA, alpha 0 to 1) or None."""
    rng = np.random.default_rng([scene.seed, 1])
    width, height = round(_ROOM * scene.width), round(_ROOM * scene.height)
    rest = flat_affine(scene, np.array([0.0, 0.0, 1.0, 0.0, 0.0]))
    rest[:, 2] += [(_ROOM - 1) / 2 * scene.width, (_ROOM - 1) / 2 * scene.height]
    inverse = np.linalg.inv(rest[:, :2])
    x = (np.arange(width) + 0.5 - rest[0, 2]) * inverse[0, 0]
    z = (np.arange(height) + 0.5 - rest[1, 2]) * inverse[1, 1]
    wall, floor = (_contrasting(rng, scene, width, height) for _ in range(2))
    back = max((body.place[1] * scene.tilt for body in scene.bodies), default=0.0)
    back = (back + rng.uniform(0.02, 0.1) * scene.tall) if back > 0 or rng.random() < 0.6 else 0.0
    cover = np.clip(0.5 - (z - back) * scene.scale, 0, 1).astype(np.float32)[:, None, None]
    line = np.clip(1.5 - np.abs(z - back) * scene.scale, 0, 1).astype(np.float32)[:, None, None]
    canvas = wall + cover * (floor - wall)
    canvas *= 1 - line * np.float32(rng.uniform(0, 0.6))
    front = np.zeros((height, width, 4), np.float32)
    for slab in sorted(scene.slabs, key=lambda one: -one.centre[1]):
        (left, low), (a, _, c) = slab.flat_centre(scene.tilt), slab.half
        u, v = np.meshgrid((x - left), (z - low))
        box = Shape("box", (a, a, c))
        distance = signed_distance(box, u, v) * scene.scale
        alpha = np.clip(0.5 - distance, 0, 1)[..., None].astype(np.float32)
        size = max(a, c)
        colour = surface(slab.skin, u / size, v / size).astype(np.float32) * np.float32(0.8)
        colour *= np.where(distance > -1.5, 0.6, 1.0)[..., None].astype(np.float32)
        if slab.front:
            front[..., :3] += alpha * (colour - front[..., :3])
            front[..., 3:] = np.maximum(front[..., 3:], alpha)
        else:
            canvas += alpha * (colour - canvas)
    if not front[..., 3].any():
        return canvas, None
    # Colours bleed past the alpha's edge so that interpolation mixes no black into it.
    grown = np.asarray(cv2.dilate(front[..., :3], np.ones((3, 3), np.uint8)), np.float32)
    front[..., :3] = np.where(front[..., 3:] > 0, front[..., :3] / np.maximum(front[..., 3:], 1e-3), grown)
    front[..., :3] = np.clip(front[..., :3], 0, 255)
    return canvas, front


def _contrasting(rng: np.random.Generator, scene: Scene, width: int, height: int) -> Picture:
    """A ground that no body's main colour disappears on."""
    mains = np.array([skin.colours[0] for body in scene.bodies for skin in (body.skin, body.other_skin) if skin], float)
    for least in np.linspace(130, 30, 40):
        ground = _ground(rng, width, height, scene.width)
        mean = ground.reshape(-1, 3).mean(axis=0)
        if np.abs(mains - mean).sum(axis=1).min() > least:
            break
    return ground


def _ground(rng: np.random.Generator, width: int, height: int, unit: int) -> Picture:
    """(height, width, 3) float32 background at random, muted."""
    base = rng.uniform(50, 205) + rng.uniform(-30, 30, 3)
    other = np.clip(base + rng.uniform(-45, 45, 3), 10, 245)
    kind = rng.choice(["gradient", "blotches", "blotches", "stripes", "tiles", "grain", "plain"])
    if kind == "gradient":
        slope = rng.uniform(-1, 1, 2)
        share = slope[0] * np.linspace(0, 1, width)[None] + slope[1] * np.linspace(0, 1, height)[:, None]
        share = (share - share.min()) / max(1e-6, float(np.ptp(share)))
    elif kind == "blotches":
        share = np.zeros((height, width))
        for octave in (3, 7, 17, 37):
            cells = rng.random((round(octave * _ROOM), round(octave * _ROOM))).astype(np.float32)
            smooth = np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC), np.float64)
            share += smooth / octave**0.5
        share = (share - share.min()) / max(1e-6, float(np.ptp(share)))
    elif kind == "stripes":
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.04, 0.2) * unit
        along = np.arange(width)[None] * np.cos(angle) + np.arange(height)[:, None] * np.sin(angle)
        share = 0.5 + 0.5 * np.clip(2 * np.sin(2 * np.pi * along / period), -1, 1)
    elif kind == "tiles":
        size = rng.uniform(0.05, 0.15) * unit
        column, row = (np.arange(width) / size).astype(int)[None], (np.arange(height) / size).astype(int)[:, None]
        share = (
            rng.random(64)[(column * 7 + row * 13 + column * row) % 64] if rng.random() < 0.5 else (column + row) % 2
        )
        share = np.broadcast_to(share, (height, width))
    elif kind == "grain":
        share = np.asarray(cv2.resize(rng.random((height // 2, width // 2)).astype(np.float32), (width, height)))
    else:
        share = np.zeros((height, width))
    return (base + np.asarray(share, np.float32)[..., None] * (other - base)).astype(np.float32)
