"""How a camera turned between two keyframes, from points that were followed; or that nobody can tell.

Three explanations are tried: the camera only turned; it turned and moved among things at different distances (essential
matrix); it looked at something flat (homography), where a turn and a step aside look alike. One camera tells neither
how far it moved nor, therefore, the shape of its path: only turns are reckoned.

Camera axes: x right, y down, z ahead. Rotations take points from the first keyframe's axes to the second's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

LEAST_POINTS = 24
NEAR = 1.0
"""Pixels by which a point may miss its place."""
TURNED_ONLY = 0.85
"""Share of points that a turn alone must explain to be taken for the whole truth."""
FLAT = 0.9
"""Share of points that a plane must explain for the scene to be called flat."""
MOVED = 0.5
"""Share of points that an essential matrix must explain."""
AGREE = 1.0
"""Degrees by which the two explanations of a flat scene may differ."""
STILL = 0.35
"""Median way in pixels below which nothing moved."""


@dataclass(frozen=True)
class Turn:
    """What is known of the turn between two keyframes."""

    rotation: Values | None
    """(3, 3); None where it can't be told."""
    how: str
    """`still`, `turn`, `essential`, `plane`, or why not: `points`, `flat`, `unexplained`."""


def intrinsics(width: int, height: int, fov: float) -> Values:
    """(3, 3) of a camera without distortion whose picture is `fov` degrees wide."""
    focal = width / 2 / math.tan(math.radians(fov) / 2)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def fitted_rotation(first: Values, second: Values, weights: Values) -> Values:
    """Rotation that takes unit vectors (n, 3) to others with the least squared error (Kabsch)."""
    u, _, vt = np.linalg.svd((second * weights[:, None]).T @ first)
    return np.asarray(u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt)


def turn_between(points: NDArray[np.floating], camera: Values) -> Turn:
    """The turn between two keyframes.

    Args:
        points: (n, 4) x, y in the first and x, y in the second, in pixels.
        camera: (3, 3) intrinsics.
    """
    if len(points) < LEAST_POINTS:
        return Turn(None, "points")
    first, second = points[:, :2].astype(np.float64), points[:, 2:].astype(np.float64)
    if float(np.median(np.linalg.norm(second - first, axis=1))) < STILL:
        return Turn(np.eye(3), "still")
    rotation, share = _turn_alone(first, second, camera)
    if share >= TURNED_ONLY:
        return Turn(rotation, "turn")
    found_plane = cv2.findHomography(first, second, cv2.RANSAC, NEAR)
    plane: Any = found_plane[0]  # None where there is none, whatever its stub says
    if plane is not None and float(np.mean(found_plane[1])) >= FLAT:
        return _before_a_plane(plane, first, second, found_plane[1].ravel() > 0, camera)
    return _by_essential_matrix(first, second, camera, rotation)


def _by_essential_matrix(first: Values, second: Values, camera: Values, rotation: Values) -> Turn:
    """The turn among things at different distances; `rotation` is a second start of the search."""
    found = cv2.findEssentialMat(first, second, camera, cv2.RANSAC, 0.999, NEAR)
    essential: Any = found[0]
    if essential is None or essential.shape != (3, 3) or float(np.mean(found[1])) < MOVED:
        return Turn(None, "unexplained")
    good, turned, _, _ = cv2.recoverPose(essential, first, second, camera, mask=found[1].copy())
    if good < LEAST_POINTS / 2:
        return Turn(None, "unexplained")
    kept = found[1].ravel() > 0
    starts = [np.asarray(turned, np.float64), rotation]
    refined = [_refined(start, first[kept], second[kept], camera) for start in starts]
    return Turn(min(refined, key=lambda one: one[1])[0], "essential")


def _before_a_plane(plane: Values, first: Values, second: Values, on_plane: NDArray[np.bool_], camera: Values) -> Turn:
    """The turn where all points lie in a plane: there are two, and only where both agree is one known."""
    _, rotations, shifts, normals = cv2.decomposeHomographyMat(plane, camera)
    seen = _rays(first[on_plane], camera), _rays(second[on_plane], camera)
    possible: list[Values] = []
    for rotation, shift, normal in zip(rotations, shifts, normals, strict=True):
        # Points must lie before both cameras.
        depth = seen[0] @ normal.ravel()
        later = seen[0] @ np.asarray(rotation).T + np.outer(depth, np.asarray(shift).ravel())
        if float(np.median(depth)) > 0 and float(np.mean(np.sum(later * seen[1], axis=1) > 0)) > 0.9:
            possible.append(np.asarray(rotation, np.float64))
    if not possible or angle_between(possible[0], possible[-1]) > AGREE:
        return Turn(None, "flat")
    return Turn(possible[0], "plane")


def angle_between(a: Values, b: Values) -> float:
    """Degrees of the rotation that takes one rotation to another."""
    return math.degrees(math.acos(min(1.0, max(-1.0, (float(np.trace(a @ b.T)) - 1) / 2))))


def _refined(start: Values, first: Values, second: Values, camera: Values) -> tuple[Values, float]:
    """The rotation near `start` with the least epipolar (Sampson) error of all points, and that error."""
    from scipy.optimize import least_squares
    from scipy.spatial.transform import Rotation

    a, b = (_rays(points, camera) for points in (first, second))
    a, b = a / a[:, 2:], b / b[:, 2:]
    # The direction of the step that fits a rotation best is the vector most at right angles to all R a x b.
    step = np.linalg.svd(np.cross(a @ start.T, b))[2][-1]
    focal = float(camera[0, 0])

    def sampson(x: Values) -> Values:
        rotation = Rotation.from_rotvec(x[:3]).as_matrix() @ start
        along = x[3:] / max(float(np.linalg.norm(x[3:])), 1e-9)
        cross = np.array([[0, -along[2], along[1]], [along[2], 0, -along[0]], [-along[1], along[0], 0]])
        epipolar = cross @ rotation
        lines, back = a @ epipolar.T, b @ epipolar
        slope = lines[:, 0] ** 2 + lines[:, 1] ** 2 + back[:, 0] ** 2 + back[:, 1] ** 2
        return np.asarray(focal * np.sum(b * lines, axis=1) / np.sqrt(np.maximum(slope, 1e-12)))

    found = least_squares(sampson, np.concatenate([np.zeros(3), step]), loss="soft_l1", f_scale=0.3, max_nfev=60)
    return np.asarray(Rotation.from_rotvec(found.x[:3]).as_matrix() @ start), float(found.cost)


def _turn_alone(first: Values, second: Values, camera: Values) -> tuple[Values, float]:
    """The rotation that explains most points, and their share."""
    a, b = _rays(first, camera), _rays(second, camera)
    rng = np.random.default_rng(0)
    weights = np.ones(len(a))
    best, best_inside = np.eye(3), np.zeros(len(a), bool)
    for attempt in range(60):
        pick = np.arange(len(a)) if attempt == 0 else rng.choice(len(a), 3, replace=False)
        rotation = fitted_rotation(a[pick], b[pick], weights[pick])
        inside = _misses(rotation, a, second, camera) < NEAR
        if inside.sum() > best_inside.sum():
            best, best_inside = rotation, inside
    for _ in range(3):
        if best_inside.sum() < 3:
            break
        best = fitted_rotation(a[best_inside], b[best_inside], weights[best_inside])
        best_inside = _misses(best, a, second, camera) < NEAR
    return best, float(best_inside.mean())


def _rays(points: Values, camera: Values) -> Values:
    rays = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ np.linalg.inv(camera).T
    return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True))


def _misses(rotation: Values, rays: Values, second: Values, camera: Values) -> Values:
    turned = rays @ rotation.T @ camera.T
    ahead = turned[:, 2] > 1e-6
    places = turned[:, :2] / np.where(ahead, turned[:, 2], 1.0)[:, None]
    return np.where(ahead, np.linalg.norm(places - second, axis=1), math.inf)


def facing(yaw: float, pitch: float) -> Values:
    """(3, 3) from the axes of a camera that faces so many degrees to the right and up to those it had at 0."""
    right, up = math.radians(yaw), math.radians(pitch)
    about_y = np.array([[math.cos(right), 0, math.sin(right)], [0, 1, 0], [-math.sin(right), 0, math.cos(right)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(up), -math.sin(up)], [0, math.sin(up), math.cos(up)]])
    return np.asarray(about_y @ about_x)


def headings(rotations: list[Values]) -> tuple[Values, Values]:
    """Yaw (to the right) and pitch (up) in degrees at each keyframe, both 0 at the first.

    Args:
        rotations: from each keyframe to the next.

    Returns:
        Two (K,) arrays; yaw is unwrapped, so that two full turns are 720 degrees.
    """
    pose = np.eye(3)
    yaw, pitch = [0.0], [0.0]
    for rotation in rotations:
        pose = pose @ rotation.T
        yaw.append(math.atan2(pose[0, 2], pose[2, 2]))
        pitch.append(math.asin(min(1.0, max(-1.0, -float(pose[1, 2])))))
    return np.degrees(np.unwrap(np.array(yaw))), np.degrees(np.array(pitch))
