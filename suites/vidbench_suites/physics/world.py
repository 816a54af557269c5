"""What a scene is: bodies, slabs, a camera and a clock. Nothing here draws or simulates.

World axes: x to the right, y away from the viewer, z up; metres, seconds, radians. The floor is z = 0 and the motion of
the *hero*, body 0, happens near the plane y = 0. Two-dimensional looks lift a body that stands further back by `tilt`
metres a metre, so that bodies that cannot touch are not drawn as if they stood on one line.

A clip is the picture of a `Take`: a trajectory plus what was done to it. The possible twin is the take to which nothing
was done; both come out of the same drawing code with the same random numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

GRAVITY = 9.81
"""Metres per second squared."""

SHAPES = ("sphere", "box", "capsule", "ellipsoid", "polygon")
PATTERNS = ("plain", "stripes", "halves", "spots", "checker", "rings", "grain")

PATH = ("right", "down", "zoom", "roll", "azimuth")
"""Columns of a camera path: shift of the picture right and down as shares of its width, magnification, roll in radians,
and degrees by which a three-dimensional camera walks around the scene."""


@dataclass(frozen=True)
class Shape:
    """A convex solid."""

    kind: str
    """One of `SHAPES`."""
    half: tuple[float, float, float]
    """Half extents along x, y and z, in metres."""
    corners: tuple[tuple[float, float], ...] = ()
    """Corners (x, z) of a polygon, in metres, counter-clockwise from the viewer; empty for other kinds."""

    @property
    def base(self) -> float:
        """Height of the centre over a floor on which the shape rests upright."""
        return -min(z for _, z in self.corners) if self.corners else self.half[2]

    @property
    def reach(self) -> float:
        """Largest distance of a point from the centre, in the plane of the picture."""
        if self.kind == "box":
            return math.hypot(self.half[0], self.half[2])
        return max(self.half[0], self.half[2], *(math.hypot(x, z) for x, z in self.corners), 0.0)

    @property
    def area(self) -> float:
        """Square metres of the silhouette seen along y."""
        x, z = self.outline().T
        return float(abs(np.dot(x, np.roll(z, -1)) - np.dot(z, np.roll(x, -1))) / 2)

    def scaled(self, ratio: float) -> Shape:
        """The same shape, `ratio` times as large."""
        a, b, c = self.half
        corners = tuple((x * ratio, z * ratio) for x, z in self.corners)
        return Shape(self.kind, (a * ratio, b * ratio, c * ratio), corners)

    @property
    def round(self) -> bool:
        """Whether it rolls."""
        return self.kind == "sphere"

    def outline(self) -> Floats:
        """(P, 2) points (x, z) of the silhouette seen along y, in metres, counter-clockwise."""
        a, _, c = self.half
        if self.kind == "box":
            return np.array([(-a, -c), (a, -c), (a, c), (-a, c)])
        if self.kind == "polygon":
            return np.array(self.corners)
        turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        circle = np.stack([np.cos(turn), np.sin(turn)], 1)
        if self.kind == "capsule":
            return np.asarray(circle * c + np.where(circle[:, :1] >= 0, 1, -1) * [[a - c, 0.0]])
        return np.asarray(circle * [a, c])

    def surface(self) -> Floats:
        """(P, 3) points whose convex hull is the solid, in metres."""
        a, b, c = self.half
        if self.kind == "box":
            return np.array([(x, y, z) for x in (-a, a) for y in (-b, b) for z in (-c, c)])
        if self.kind == "polygon":
            return np.array([(x, y, z) for x, z in self.corners for y in (-b, b)])
        number = np.arange(300) + 0.5
        polar, turn = np.arccos(1 - 2 * number / 300), np.pi * (1 + 5**0.5) * number
        ball = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], 1)
        if self.kind == "capsule":
            return np.asarray(ball * c + np.where(ball[:, :1] >= 0, 1, -1) * [[a - c, 0.0, 0.0]])
        return np.asarray(ball * [a, b, c])


@dataclass(frozen=True)
class Skin:
    """How a surface looks; every look has its own way of drawing it."""

    colours: tuple[tuple[int, int, int], ...]
    """Three RGB colours, the main one first."""
    pattern: str
    """One of `PATTERNS`."""
    seed: int
    """Of the pattern, or of the photograph that a composite cuts the surface from."""
    scale: float
    """Size of the pattern's parts as a share of the body."""


@dataclass(frozen=True)
class Body:
    """A thing that moves or could."""

    shape: Shape
    skin: Skin
    place: tuple[float, float, float]
    """Centre at time 0."""
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    spin: float = 0.0
    """Radians per second about y, clockwise for the viewer positive (a ball that rolls right)."""
    angle: float = 0.0
    """Radians about y at time 0, same sign."""
    restitution: float = 0.5
    """Share of the speed that a bounce off the floor keeps."""
    friction: float = 0.5
    drag: float = 0.0
    """Rolling resistance: share of the speed lost in a second of contact."""
    lane: int = 0
    """Bodies of different lanes never touch."""
    other: Shape | None = None
    """Shape after a swap; None keeps the shape."""
    other_skin: Skin | None = None
    """Skin after a swap; None keeps the skin."""


@dataclass(frozen=True)
class Slab:
    """A fixed block: wall, platform, post or occluder."""

    role: str
    """`wall`, `platform`, `post` or `occluder`; the last two touch nothing."""
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    skin: Skin
    front: bool = False
    """Drawn over the bodies by looks without depth."""

    @property
    def solid(self) -> bool:
        """Whether bodies of lane 0 bump into it."""
        return self.role in {"wall", "platform"}

    def flat_centre(self, tilt: float) -> tuple[float, float]:
        """Centre (x, z) in a look without depth, where an occluder stands lower in the picture than what it hides."""
        return self.centre[0], self.centre[2] + (tilt * min(0.0, self.centre[1]) if self.role == "occluder" else 0.0)


@dataclass(frozen=True)
class Scene:
    """All that both twins share."""

    look: str
    seed: int
    """Of everything a look draws at random: background, textures, noise."""
    frames: int
    fps: float
    width: int
    height: int
    view: float
    """Metres across the picture, in the plane y = 0."""
    margin: float
    """Share of the picture's height that lies below the floor line of y = 0."""
    tilt: float
    """Metres up in the picture for a metre further back (looks without depth)."""
    bodies: tuple[Body, ...]
    slabs: tuple[Slab, ...]
    camera: tuple[float, float, float, float]
    """Azimuth, elevation, field of view (vertical, degrees) and roll (degrees) of a three-dimensional camera."""
    shutter: float
    """Share of the frame time that the shutter is open."""
    samples: int
    """Moments averaged over the exposure."""
    defocus: float
    """Deviation of a Gaussian blur in pixels."""
    noise: float
    """Deviation of the sensor's noise in grey levels."""
    crf: int
    nuisance: str
    path: Floats
    """(world frames, 5) camera path, columns `PATH`."""
    light: Floats
    """(world frames, 3) smooth gain of the illumination."""
    scaled: bool
    """Whether metadata gives pixels per metre (if the camera allows it at all)."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What only one look needs, such as the background's file."""

    @property
    def steps(self) -> int:
        """Recorded moments of the simulation for each frame."""
        return max(1, math.ceil(960 / self.fps))

    @property
    def step(self) -> float:
        """Seconds between recorded moments."""
        return 1 / (self.fps * self.steps)

    @property
    def world_frames(self) -> int:
        """Frames that are simulated; more than are shown, so that a jump has somewhere to go."""
        return len(self.path)

    @property
    def tall(self) -> float:
        """Metres from the floor line to the upper border of the picture."""
        return self.view * self.height / self.width * (1 - self.margin)

    @property
    def scale(self) -> float:
        """Pixels per metre in the plane y = 0 before the camera moves."""
        return self.width / self.view

    @property
    def parallel(self) -> bool:
        """Whether the camera stands still and the plane y = 0 is parallel to the picture."""
        still = self.nuisance not in {"shake", "pan", "zoom"} and not self.extra.get("moving", False)
        return still and (self.look != "lit3d" or self.camera[0] == self.camera[1] == 0)


@dataclass(frozen=True)
class Intervention:
    """Something no physics would do, done to one body while it is simulated."""

    step: int
    """Recorded moment that is the first to show it."""
    body: int
    act: str
    """`velocity` (x, z in m/s; spin follows for round bodies on the floor), `shift` (x, z in metres), `gravity`
    (factor), `ghost` (number of the slab, -1 for the floor, that no longer stops it), `hold` (stands still) or `gain`
    (ratio of the speeds after and before a bounce, number of bounces)."""
    values: tuple[float, ...] = ()


@dataclass
class Trajectory:
    """Where bodies were, at every recorded moment."""

    place: Floats
    """(N, bodies, 3) centres."""
    turn: Floats
    """(N, bodies, 4) unit quaternions w, x, y, z."""
    touch: Bools
    """(N, bodies) whether the body touched anything since the moment before."""
    hits: list[tuple[int, int, int]]
    """First contacts (moment, body, other): a slab's number, -1 for the floor, 100 + number for a body."""

    def speed(self, step: float) -> Floats:
        """(N, bodies, 3) velocity by differences, in m/s."""
        return np.asarray(np.gradient(self.place, step, axis=0))


@dataclass
class Take:
    """One clip to be drawn."""

    trajectory: Trajectory
    shown: Ints
    """(T,) world frame that each frame shows."""
    visible: Bools
    """(T, bodies)."""
    swapped: Bools
    """(T, bodies) whether a body shows its other shape and skin."""
    tint: Floats
    """(T, bodies, 3) gain on a body's own colour."""
    gain: Floats
    """(T, 3) gain on the whole picture."""
    path: Floats
    """(T, 5) camera."""
    repeat: Ints
    """(T,) finished picture that is put out for each frame."""
    sunk: frozenset[int] = frozenset()
    """Bodies that are below the floor and hidden by it where a look has no depth."""

    @classmethod
    def plain(cls, scene: Scene, trajectory: Trajectory, absent: tuple[int, ...] = ()) -> Take:
        """The take to which nothing is done, without the bodies in `absent`."""
        count = scene.frames
        visible = np.ones((count, len(scene.bodies)), bool)
        visible[:, list(absent)] = False
        return cls(
            trajectory,
            shown=np.arange(count),
            visible=visible,
            swapped=np.zeros((count, len(scene.bodies)), bool),
            tint=np.ones((count, len(scene.bodies), 3)),
            gain=scene.light[:count].copy(),
            path=scene.path[:count].copy(),
            repeat=np.arange(count),
        )

    def shape(self, scene: Scene, frame: int, body: int) -> Shape:
        """The shape that the body has in the frame."""
        thing = scene.bodies[body]
        return thing.other if self.swapped[frame, body] and thing.other is not None else thing.shape

    def skin(self, scene: Scene, frame: int, body: int) -> Skin:
        """The skin that the body has in the frame."""
        thing = scene.bodies[body]
        return thing.other_skin if self.swapped[frame, body] and thing.other_skin is not None else thing.skin

    def moments(self, scene: Scene, frame: int) -> Ints:
        """Recorded moments that are averaged over the frame's exposure."""
        start = int(self.shown[frame]) * scene.steps
        reach = scene.shutter * scene.steps / scene.samples
        moments = start + np.rint(np.arange(scene.samples) * reach).astype(np.int64)
        return np.asarray(np.minimum(moments, len(self.trajectory.place) - 1))

    def pose(self, scene: Scene, frame: int, body: int, moment: int) -> tuple[Floats, Floats]:
        """Centre (3,) and quaternion (4,) of what is drawn for the body."""
        place, turn = self.trajectory.place[moment, body], self.trajectory.turn[moment, body]
        thing = scene.bodies[body]
        low = place[2] < 1.3 * thing.shape.reach
        if self.swapped[frame, body] and thing.other is not None and low:  # on the floor: so does the new shape
            place = np.add(place, [0.0, 0.0, thing.other.base - thing.shape.base])
            turn = np.array([1.0, 0.0, 0.0, 0.0]) if not thing.other.round else turn
        return place, turn

    def key(self, scene: Scene, frame: int) -> bytes:
        """What the picture of the frame depends on, apart from the scene and the frame's number."""
        moments = self.moments(scene, frame)
        seen = self.visible[frame][:, None, None]
        parts = (
            np.where(seen, self.trajectory.place[moments].transpose(1, 0, 2), 0.0),
            np.where(seen, self.trajectory.turn[moments].transpose(1, 0, 2), 0.0),
            self.visible[frame],
            self.swapped[frame],
            self.tint[frame],
            self.gain[frame],
            self.path[frame],
            self.shown[frame : frame + 1],
        )
        return b"".join(np.ascontiguousarray(part).tobytes() for part in parts) + repr(sorted(self.sunk)).encode()


def quaternion(angle: float) -> tuple[float, float, float, float]:
    """Turn by `angle` about y, clockwise for the viewer positive."""
    return math.cos(angle / 2), 0.0, math.sin(angle / 2), 0.0


def flat_angle(turn: Floats) -> float:
    """The turn about y that a quaternion holds, in radians, clockwise for the viewer positive."""
    return 2 * math.atan2(float(turn[2]), float(turn[0]))


def flat_affine(scene: Scene, row: Floats) -> Floats:
    """(2, 3) matrix from (x, z + y * tilt) in metres to pixels, for looks without depth.

    Args:
        scene: gives scale and floor line.
        row: (5,) of a camera path; its azimuth is not used.
    """
    centre = np.array([scene.width / 2, scene.height / 2])
    zoom = float(row[2])
    cosine, sine = math.cos(float(row[3])), math.sin(float(row[3]))
    rotation = zoom * np.array([[cosine, -sine], [sine, cosine]])
    base = np.array([[scene.scale, 0.0, scene.width / 2], [0.0, -scene.scale, scene.height * (1 - scene.margin)]])
    shift = row[:2] * scene.width
    matrix = np.empty((2, 3))
    matrix[:, :2] = rotation @ base[:, :2]
    matrix[:, 2] = rotation @ (base[:, 2] - centre) + centre + shift
    return matrix
