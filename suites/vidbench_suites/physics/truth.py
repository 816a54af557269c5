"""What is where in the pictures: true boxes and visible shares, from label pictures that a look computes without light.

A look gives `labels`, a picture in which every pixel holds the number of the body seen there, -1 elsewhere; and
`outline`, the points of a body's silhouette whether hidden or not. A box is what is *visible*, over the whole exposure,
cut at the borders of the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench_suites.physics.world import Bools, Floats, Ints, Scene, Take, flat_angle

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels; x1 and y1 are the far edges of the last pixels."""

LEAST_PIXELS = 4
"""A body with fewer visible pixels is not visible."""


class Eye(Protocol):
    """How a look sees."""

    def mark(self, take: Take, frame: int) -> bytes:
        """What the sight of a frame depends on beside the take's own key."""
        ...

    def labels(self, take: Take, frame: int, moment: int) -> Ints:
        """(H, W) number of the body seen in each pixel, -1 where there is none."""
        ...

    def outline(self, take: Take, frame: int, body: int, moment: int) -> Floats:
        """(P, 2) points whose hull is the body's silhouette, in pixels, x to the right and y down."""
        ...


@dataclass
class Seen:
    """What can be seen of each body in each frame."""

    boxes: list[list[Box | None]]
    """[frame][body] box of what is visible, None where nothing is."""
    share: Floats
    """(T, bodies) visible pixels over pixels of the whole silhouette, borders and occluders counted as hidden."""
    centre: Floats
    """(T, bodies, 2) centre of the whole silhouette."""
    whole: list[list[Box]]
    """[frame][body] box of the whole silhouette, hidden or not, not cut."""
    touch: Bools
    """(T, bodies) whether the body touched something since the frame before."""

    def size(self, frame: int, body: int) -> float:
        """Geometric mean of the silhouette's sides in pixels."""
        x0, y0, x1, y1 = self.whole[frame][body]
        return float(np.sqrt(max(1e-9, (x1 - x0) * (y1 - y0))))


Glance = tuple[list[Box | None], list[float], list[Box], Floats]
"""Boxes, visible shares, whole boxes and centres of the bodies in one frame."""


def see(eye: Eye, scene: Scene, take: Take, known: dict[bytes, Glance] | None = None) -> Seen:
    """Look at every frame of a take.

    Args:
        eye: of the scene's look.
        scene: what is looked at.
        take: what was done to it.
        known: frames that were looked at already; twins share most of theirs. Is added to.
    """
    known = {} if known is None else known
    count, bodies = scene.frames, len(scene.bodies)
    seen = Seen([], np.zeros((count, bodies)), np.zeros((count, bodies, 2)), [], np.zeros((count, bodies), bool))
    for frame in range(count):
        key = take.key(scene, frame) + eye.mark(take, frame)
        if key not in known:
            known[key] = _look(eye, scene, take, frame)
        boxes, shares, whole, centres = known[key]
        seen.boxes.append(boxes)
        seen.whole.append(whole)
        seen.share[frame], seen.centre[frame] = shares, centres
        here = int(take.shown[frame]) * scene.steps
        seen.touch[frame] = take.trajectory.touch[max(0, here - scene.steps) : here + 1].any(axis=0)
    return seen


def _look(eye: Eye, scene: Scene, take: Take, frame: int) -> Glance:
    moments = take.moments(scene, frame)
    pictures = [eye.labels(take, frame, int(moment)) for moment in sorted({int(moments[0]), int(moments[-1])})]
    boxes: list[Box | None] = []
    shares: list[float] = []
    whole: list[Box] = []
    centres = np.zeros((len(scene.bodies), 2))
    for body in range(len(scene.bodies)):
        points = eye.outline(take, frame, body, int(moments[0])).astype(np.float32)
        area = float(cv2.contourArea(cv2.convexHull(points))) if np.isfinite(points).all() else 0.0
        low, high = points.min(axis=0), points.max(axis=0)
        whole.append((float(low[0]), float(low[1]), float(high[0]), float(high[1])))
        centres[body] = (low + high) / 2
        found: list[Box] = []
        pixels = 0
        for picture in pictures if take.visible[frame, body] else ():
            rows, columns = np.nonzero(picture == body)
            if len(rows) >= LEAST_PIXELS:
                pixels = max(pixels, len(rows))
                found.append((float(columns.min()), float(rows.min()), float(columns.max()) + 1, float(rows.max()) + 1))
        boxes.append(union(found) if found else None)
        shares.append(min(1.0, pixels / max(area, 1.0)))
    return boxes, shares, whole, centres


def union(boxes: list[Box]) -> Box:
    """The smallest box around all."""
    corners = np.array(boxes)
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


class FlatEye:
    """Sees a scene without depth: bodies further back are covered by nearer ones, occluders cover all.

    Args:
        scene: what is looked at.
        affine: gives the (2, 3) matrix from metres to pixels for a frame of a take.
    """

    def __init__(self, scene: Scene, affine: Callable[[Take, int], Floats]) -> None:
        self.scene = scene
        self.affine = affine
        self.order = sorted(range(len(scene.bodies)), key=lambda number: -scene.bodies[number].place[1])

    def mark(self, take: Take, frame: int) -> bytes:
        """The matrix: in a composite it follows the footage."""
        return self.affine(take, frame).tobytes()

    def labels(self, take: Take, frame: int, moment: int) -> Ints:
        """Bodies far to near, then what stands in front of them all."""
        picture = np.full((self.scene.height, self.scene.width), -1, np.int16)
        for body in self.order:
            if not take.visible[frame, body]:
                continue
            place, _ = take.pose(self.scene, frame, body, moment)
            points = self.outline(take, frame, body, moment)
            if np.abs(points).max() > 16000:
                continue
            if body in take.sunk:
                cover = np.zeros(picture.shape, np.uint8)
                _fill(cover, points, 1)
                floor = place[1] * self.scene.tilt
                far = 50 * self.scene.view
                ground = np.array([(-far, floor), (far, floor), (far, floor - far), (-far, floor - far)])
                _fill(cover, ground @ self.affine(take, frame)[:, :2].T + self.affine(take, frame)[:, 2], 0)
                picture[cover > 0] = body
            else:
                _fill(picture, points, body)
        for slab in self.scene.slabs:
            if slab.front:
                (x, z), (a, _, c) = slab.flat_centre(self.scene.tilt), slab.half
                corners = np.array([(x - a, z - c), (x + a, z - c), (x + a, z + c), (x - a, z + c)])
                matrix = self.affine(take, frame)
                _fill(picture, corners @ matrix[:, :2].T + matrix[:, 2], -1)
        return picture.astype(np.int64)

    def outline(self, take: Take, frame: int, body: int, moment: int) -> Floats:
        """The silhouette in the plane, turned and placed."""
        place, turn = take.pose(self.scene, frame, body, moment)
        angle = flat_angle(turn)
        cosine, sine = np.cos(angle), np.sin(angle)
        points = take.shape(self.scene, frame, body).outline()
        # Clockwise for the viewer: x turns towards -z.
        turned = np.stack(
            [points[:, 0] * cosine + points[:, 1] * sine, -points[:, 0] * sine + points[:, 1] * cosine], 1
        )
        matrix = self.affine(take, frame)
        placed = np.add(turned, [place[0], place[2] + place[1] * self.scene.tilt])
        return np.asarray(placed @ matrix[:, :2].T + matrix[:, 2])


def _fill(picture: NDArray[Any], points: Floats, value: int) -> None:
    # Pixel centres lie at whole numbers for OpenCV and at halves for us; 4 bits of subpixel.
    fixed = np.rint(np.clip(points - 0.5, -30000, 30000) * 16).astype(np.int32)
    cv2.fillConvexPoly(picture, fixed, value, shift=4)
