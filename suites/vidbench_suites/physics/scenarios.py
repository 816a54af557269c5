"""Scenes at random: what is in them, how it moves by physics alone, and how it is filmed.

A *template* places the hero (body 0) and what it needs (a wall, a platform, an occluder, a partner); bystanders in
other lanes, the camera and a nuisance are added afterwards. Everything a detector could learn by heart is drawn anew
for every scene: shapes, colours, patterns, sizes, speeds, places, moments, camera, lens, shutter, frame rate, picture
size, codec.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vidbench_suites.physics.world import GRAVITY, PATTERNS, Body, Floats, Scene, Shape, Skin, Slab

NUISANCES = ("shake", "pan", "zoom", "light", "noise", "blur", "compress")
NUISANCE_SHARE = 0.4

RATES = (8.0, 10.0, 12.0, 15.0, 24.0, 25.0, 30.0, 50.0, 60.0)
SIZES = (
    (192, 144), (192, 144), (256, 192), (256, 192), (256, 256), (320, 180), (320, 180), (320, 240), (320, 240),
    (320, 240), (384, 216), (424, 240), (480, 270), (480, 360), (512, 288), (640, 360),
)  # fmt: skip
"""Large pictures are rarer: they cost more and show the same."""
MAX_FRAMES = 72

CONTROLS = {
    "leave_enter": ("leave_enter", "up_and_back"),
    "occlusion": ("occlusion", "occlusion", "crossing"),
    "pan": ("roll", "throw", "rest", "bounce", "occlusion"),
    "zoom": ("roll", "throw", "rest", "bounce", "drop"),
    "shake": ("roll", "throw", "rest", "bounce", "occlusion"),
    "light": ("roll", "throw", "rest", "bounce", "wall"),
    "blur": ("roll", "throw", "bounce", "crossing"),
    "compression": ("roll", "throw", "rest", "bounce", "occlusion"),
    "noise": ("roll", "throw", "rest", "bounce", "drop"),
    "rest": ("rest", "shelf"),
    "projectile": ("throw", "throw", "drop"),
    "crossing": ("crossing",),
    "collision": ("collision",),
    "bounce": ("bounce", "bounce", "drop", "platform"),
    "wall_stop": ("wall",),
}
"""Possible controls and the templates that show them."""

_NUISANCE_OF = {"compression": "compress"} | {name: name for name in NUISANCES if name != "compress"}


@dataclass
class Draft:
    """A scene in the making."""

    rng: np.random.Generator
    look: str
    width: int
    height: int
    fps: float
    frames: int
    view: float
    margin: float
    bodies: list[Body] = field(default_factory=list)
    slabs: list[Slab] = field(default_factory=list)
    still_behind: bool = False
    """Whether bystanders must not move."""
    wish: dict[str, Any] = field(default_factory=dict)
    """What a violation asks of the template."""

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return self.frames / self.fps

    @property
    def tall(self) -> float:
        """Metres from the floor line to the upper border."""
        return self.view * self.height / self.width * (1 - self.margin)

    def uniform(self, low: float, high: float) -> float:
        """A number between two."""
        return float(self.rng.uniform(low, high))

    def one(self, choices: Sequence[Any]) -> Any:
        """One of several."""
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        """True in that share of cases."""
        return bool(self.rng.random() < share)

    def sign(self) -> float:
        """1 or -1."""
        return 1.0 if self.chance(0.5) else -1.0

    def half(self, low: float = 0.015, high: float = 0.12) -> float:
        """Half a width in metres; widths are near log-uniform shares of the picture's.

        They have at least 8 pixels, or as many as a violation wishes for to be seen.
        """
        low = max(low, self.wish.get("least", 8) / self.width)
        share: float = low * (max(high, low * 1.2) / low) ** (self.uniform(0, 1) ** 0.8)
        return min(share * self.view, 0.42 * self.tall) / 2

    def skin(self, avoid: Skin | None = None) -> Skin:
        """Strong colours, away from grey; far from the main colour of `avoid`."""
        while True:
            colours = tuple(_colour(self.rng) for _ in range(3))
            if avoid is None or sum(abs(a - b) for a, b in zip(colours[0], avoid.colours[0], strict=True)) > 190:
                break
        return Skin(colours, self.one(PATTERNS), int(self.rng.integers(1 << 31)), self.uniform(0.25, 0.7))

    def shape(self, half: float, kinds: Sequence[str] = ("sphere", "box", "capsule", "ellipsoid", "polygon")) -> Shape:
        """A shape of one of the kinds, about twice `half` wide."""
        kind = self.one(kinds)
        if kind == "sphere":
            return Shape(kind, (half, half, half))
        if kind == "box":
            return Shape(kind, (half, half * self.uniform(0.7, 1.2), half * self.uniform(0.6, 1.3)))
        if kind in {"capsule", "ellipsoid"}:
            thin = half * self.uniform(0.4, 0.75)
            return Shape(kind, (half, thin, thin))
        count = int(self.rng.integers(3, 8))
        # A flat foot, so that it can stand: the angles are symmetric about the lowest edge.
        angles = -np.pi / 2 + np.pi / count + 2 * np.pi * np.arange(count) / count
        corners = half * np.stack([np.cos(angles), np.sin(angles)], 1)
        return Shape("polygon", (half, half * 0.8, half), tuple((float(x), float(z)) for x, z in corners))

    def body(
        self, shape: Shape, place: tuple[float, float], velocity: tuple[float, float] = (0.0, 0.0), **more: Any
    ) -> Body:
        """A body in the hero's lane, at (x, z), with a speed along x and z."""
        more.setdefault("restitution", self.uniform(0.25, 0.8))
        more.setdefault("friction", self.uniform(0.3, 0.9))
        more.setdefault("skin", self.skin())
        return Body(shape, place=(place[0], 0.0, place[1]), velocity=(velocity[0], 0.0, velocity[1]), **more)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    hue, strength, value = rng.random(), rng.uniform(0.45, 1.0), rng.uniform(0.35, 1.0)
    ramp = [abs((hue * 6 + shift) % 6 - 3) - 1 for shift in (0, 4, 2)]
    return tuple(round(255 * value * (1 - strength + strength * min(1.0, max(0.0, part)))) for part in ramp)  # type: ignore[return-value]


def _roll(
    draft: Draft, half: float | None = None, kinds: Sequence[str] = ("sphere", "sphere", "box", "polygon")
) -> None:
    """The hero rolls or slides along the floor; a sliding thing slows down, a rolling one may."""
    shape = draft.shape(half or draft.half(0.02, 0.25 if draft.wish.get("big") else 0.14), kinds)
    way = draft.sign()
    speed = draft.uniform(0.4, 1.1) * draft.view / draft.seconds
    more: dict[str, Any] = {"restitution": 0.3}
    if shape.round:
        more |= {"spin": way * speed / shape.half[0], "drag": draft.uniform(0, 0.5) if draft.chance(0.6) else 0.0}
    else:
        # Sliding to a stop takes v / (g mu) seconds: keep it moving for most of the clip.
        more |= {"friction": speed / (GRAVITY * draft.seconds) * draft.uniform(0.2, 1.0)}
    start = -way * draft.view * draft.uniform(0.15, 0.42)
    draft.bodies.append(draft.body(shape, (start, shape.base), (way * speed, 0.0), **more))


def _throw(draft: Draft, kinds: Sequence[str] = ("sphere", "sphere", "box", "capsule", "ellipsoid", "polygon")) -> None:
    """The hero flies up and down."""
    shape = draft.shape(draft.half(0.02, 0.12), kinds)
    top = draft.tall * draft.uniform(0.6, 0.92)
    rise = min(draft.uniform(0.15, 0.55) * draft.seconds, math.sqrt(2 * max(0.01, top - 1.1 * shape.reach) / GRAVITY))
    way = draft.sign()
    across = way * draft.uniform(0.05, 0.55) * draft.view / draft.seconds
    start = draft.uniform(-0.25, 0.25) * draft.view - across * draft.seconds / 2
    spin = 0.0 if shape.round and draft.chance(0.5) else draft.uniform(-5, 5)
    height = top - GRAVITY * rise**2 / 2
    draft.bodies.append(draft.body(shape, (start, height), (across, GRAVITY * rise), spin=spin))


def _drop(draft: Draft, kinds: Sequence[str] = ("sphere", "sphere", "box", "capsule", "ellipsoid", "polygon")) -> None:
    """The hero falls, from rest or with a push; it may come in from above."""
    shape = draft.shape(draft.half(0.02, 0.12), kinds)
    height, speed = draft.tall * draft.uniform(0.6, 0.95) - shape.reach, 0.0
    if draft.chance(0.45):
        enter = draft.uniform(0.05, 0.35) * draft.seconds
        push = GRAVITY * enter / 2 + draft.uniform(0.1, 1.0)
        height, speed = draft.tall + shape.reach + push * enter - GRAVITY * enter**2 / 2, GRAVITY * enter - push
        speed = min(speed, 0.0)
    place = draft.uniform(-0.32, 0.32) * draft.view
    across = -math.copysign(draft.uniform(0.0, 0.25), place) * draft.view / draft.seconds
    spin = draft.uniform(-3, 3)
    draft.bodies.append(draft.body(shape, (place, max(height, 1.1 * shape.reach)), (across, speed), spin=spin))


def _bounce(draft: Draft) -> None:
    """The hero is a ball that bounces several times."""
    shape = draft.shape(draft.half(0.025, 0.1), ("sphere",))
    height = draft.tall * draft.uniform(*draft.wish.get("height", (0.4, 0.9)))
    # Several bounces must fit: the first contact comes early.
    height = min(height, 4.9 * (0.45 * draft.seconds) ** 2 + shape.half[2])
    place = draft.uniform(-0.35, 0.35) * draft.view
    reach = draft.wish.get("across", 0.5)
    across = -math.copysign(draft.uniform(0.0, reach), place) * draft.view / draft.seconds
    more = {"restitution": draft.uniform(*draft.wish.get("restitution", (0.55, 0.88)))}
    draft.bodies.append(draft.body(shape, (place, max(height, shape.half[2] * 1.5)), (across, 0.0), **more))


def _rest(draft: Draft) -> None:
    """The hero stands on the floor."""
    shape = draft.shape(draft.half(0.03, 0.25), ("sphere", "box", "box", "polygon", "capsule"))
    draft.bodies.append(draft.body(shape, (draft.uniform(-0.32, 0.32) * draft.view, shape.base)))


def _shelf(draft: Draft) -> None:
    """The hero stands on a platform."""
    shape = draft.shape(draft.half(0.03, 0.16), ("sphere", "box", "box", "polygon"))
    slab = _platform_slab(draft, shape.half[0] * 1.6)
    draft.slabs += slab
    x, _, z = slab[0].centre
    place = x + draft.uniform(-0.4, 0.4) * (slab[0].half[0] - shape.half[0])
    draft.bodies.append(draft.body(shape, (place, z + slab[0].half[2] + shape.base)))


def _platform_slab(draft: Draft, least: float) -> list[Slab]:
    thick = draft.uniform(0.008, 0.025) * draft.view
    half = (max(least, draft.uniform(0.08, 0.2) * draft.view), draft.uniform(0.1, 0.2) * draft.view, thick)
    top = draft.tall * draft.uniform(0.18, 0.45)
    x = draft.uniform(-0.25, 0.25) * draft.view
    slabs = [Slab("platform", (x, 0.0, top - thick), half, draft.skin())]
    if draft.chance(0.6):
        post = (draft.uniform(0.006, 0.02) * draft.view, 0.02 * draft.view, (top - 2 * thick) / 2)
        slabs.append(Slab("post", (x, 0.05 * draft.view, post[2]), post, slabs[0].skin))
    return slabs


def _platform(draft: Draft) -> None:
    """The hero falls on a platform; now and then a witness does so before it."""
    shape = draft.shape(draft.half(0.025, 0.11), ("sphere", "box", "polygon"))
    slabs = _platform_slab(draft, shape.half[0] * 2)
    draft.slabs += slabs
    (x, _, z), (a, _, c) = slabs[0].centre, slabs[0].half
    top = z + c
    height = min(draft.tall * draft.uniform(0.85, 1.05), top + 4.9 * (0.5 * draft.seconds) ** 2)
    place = x + draft.uniform(-0.4, 0.4) * a
    hero = draft.body(shape, (place, max(height, top + 2 * shape.reach)), restitution=draft.uniform(0.15, 0.6))
    draft.bodies.append(hero)
    _witness(draft, top, x, a, place, shape)


def _witness(draft: Draft, top: float, x: float, a: float, place: float, shape: Shape) -> None:
    """A second body at rest on the platform, where there is room for it."""
    other = draft.shape(draft.half(0.02, 0.07), ("box", "polygon"))
    for side in (-1, 1):
        spot = x + side * (a - other.half[0] * 1.1)
        if abs(spot - place) > 1.5 * (shape.reach + other.reach) and draft.chance(0.7):
            draft.bodies.append(draft.body(other, (spot, top + other.base)))
            return


def _wall(draft: Draft) -> None:
    """The hero rolls, slides or flies against a wall."""
    way = draft.sign()
    half = (
        draft.uniform(0.008, 0.03) * draft.view,
        draft.uniform(0.12, 0.25) * draft.view,
        draft.tall * draft.uniform(0.2, 0.42),
    )
    x = way * draft.uniform(0.0, 0.28) * draft.view
    front = draft.chance(0.5)
    draft.slabs.append(Slab("wall", (x, 0.0, half[2]), half, draft.skin(), front=front))
    draft.still_behind = True
    flying = draft.chance(0.3)
    kinds = ("sphere", "box", "polygon") if not flying else ("sphere",)
    shape = draft.shape(draft.half(0.025, 0.12), kinds)
    start = -way * draft.view * draft.uniform(0.2, 0.42)
    gap = abs(x - start) - half[0] - shape.half[0]
    arrive = draft.uniform(0.25, 0.5) * draft.seconds
    speed = way * gap / arrive
    more: dict[str, Any] = {"restitution": draft.uniform(0.1, 0.7)}
    if flying:
        height = half[2] * draft.uniform(0.5, 1.2)
        lift = GRAVITY * arrive / 2
        top = height + lift**2 / 2 / GRAVITY
        if top > draft.tall * 0.95:  # too slow for a throw in this view: roll instead
            flying = False
        else:
            draft.bodies.append(draft.body(shape, (start, height), (speed, lift), **more))
    if not flying:
        if shape.round:
            more["spin"] = speed / shape.half[0]
        else:
            drag = 0.25 * speed**2 / 2 / (GRAVITY * gap) * draft.uniform(0.2, 1.0)
            more["friction"] = drag
        draft.bodies.append(draft.body(shape, (start, shape.base), (speed, 0.0), **more))
    if draft.chance(0.5):  # a witness that touches the far side of the wall at rest or leans nowhere: size reference
        other = draft.shape(draft.half(0.02, 0.08), ("box", "polygon"))
        spot = x - way * (half[0] + other.half[0] * 1.05)
        if draft.wish.get("witness", False) and abs(spot - start) > 2 * (shape.reach + other.reach):
            return
        draft.bodies.append(
            draft.body(
                other, (x + way * (half[0] + other.half[0] + draft.uniform(0.08, 0.15) * draft.view), other.base)
            )
        )


def _occlusion(draft: Draft) -> None:
    """The hero passes behind an occluder and comes out again."""
    swap = draft.wish.get("swap")
    kinds = ("sphere", "box", "polygon") if not swap else ("box", "polygon", "sphere")
    shape = draft.shape(draft.half(0.025, 0.12), kinds)
    way = draft.sign()
    room = shape.reach * 1.25 * (1.5 if swap else 1.0)
    broad = min(max(room, draft.uniform(0.05, 0.13) * draft.view), 0.2 * draft.view)
    x = draft.uniform(-0.15, 0.15) * draft.view
    flying = draft.chance(0.35)
    # It should be out of sight for two frames at least, and back in sight before the clip ends.
    speed = draft.uniform(0.55, 1.1) * draft.view / draft.seconds
    meet = draft.uniform(0.35, 0.5) * draft.seconds
    start = x - way * speed * meet
    reach = draft.tall * draft.uniform(0.3, 0.6)
    if flying:
        top = draft.tall * draft.uniform(0.65, 0.9)
        rise = math.sqrt(2 * max(0.01, top - 1.1 * shape.reach) / GRAVITY)
        # At its highest before or behind the occluder.
        apex = max(0.02, meet + draft.uniform(-0.1, 0.1) * draft.seconds)
        if apex <= rise * 1.02 and apex > 0.25 * rise:
            height = top - GRAVITY * apex**2 / 2
            draft.bodies.append(
                draft.body(shape, (start, height), (way * speed, GRAVITY * apex), spin=draft.uniform(-3, 3))
            )
            reach = draft.tall * 0.97
        else:
            flying = False
    if not flying:
        more: dict[str, Any] = {"restitution": 0.3}
        if shape.round:
            more["spin"] = way * speed / shape.half[0]
        else:
            more["friction"] = speed / (GRAVITY * draft.seconds) * draft.uniform(0.05, 0.3)
        draft.bodies.append(draft.body(shape, (start, shape.base), (way * speed, 0.0), **more))
        reach = max(reach, shape.reach * 3.2)
    near = -1.6 * shape.reach - 0.02 * draft.view
    draft.slabs.append(
        Slab("occluder", (x, near, reach / 2), (broad, 0.015 * draft.view, reach / 2), draft.skin(), front=True)
    )


def _crossing(draft: Draft) -> None:
    """Two to four bodies cross each other's picture in different lanes."""
    count = int(draft.rng.integers(2, 5))
    meet, x = draft.uniform(0.3, 0.6) * draft.seconds, draft.uniform(-0.12, 0.12) * draft.view
    for number in range(count):
        way = 1.0 if number % 2 else -1.0
        speed = way * draft.uniform(0.35, 0.9) * draft.view / draft.seconds
        shape = draft.shape(draft.half(0.03, 0.13), ("sphere", "box", "polygon"))
        more: dict[str, Any] = {"lane": number}
        start = x - speed * meet * draft.uniform(0.85, 1.15)
        if draft.chance(0.3):
            rise = min(meet, math.sqrt(2 * max(0.01, draft.tall * 0.8 - shape.reach) / GRAVITY))
            height = max(draft.tall * draft.uniform(0.5, 0.85) - GRAVITY * rise**2 / 2, 1.1 * shape.reach)
            draft.bodies.append(draft.body(shape, (start, height), (speed, GRAVITY * rise), **more))
            continue
        if shape.round:
            more["spin"] = speed / shape.half[0]
        else:
            more["friction"] = abs(speed) / (GRAVITY * draft.seconds) * draft.uniform(0.05, 0.4)
        draft.bodies.append(draft.body(shape, (start, shape.base), (speed, 0.0), **more))


def _collision(draft: Draft) -> None:
    """Two bodies of one lane hit each other; one may stand."""
    meet, x = draft.uniform(0.25, 0.5) * draft.seconds, draft.uniform(-0.12, 0.12) * draft.view
    way, standing = draft.sign(), draft.chance(0.5)
    kind = ("sphere",) if draft.chance(0.7) else ("box",)
    shapes = [draft.shape(draft.half(0.035, 0.12), kind) for _ in range(2)]
    for number, shape in enumerate(shapes):
        side = -way if number == 0 else way
        speed = 0.0 if number and standing else -side * draft.uniform(0.3, 0.8) * draft.view / draft.seconds
        touch = x + side * shape.half[0]
        more: dict[str, Any] = {"restitution": draft.uniform(0.5, 0.9)}
        if shape.round:
            more["spin"] = speed / shape.half[0]
        else:
            more["friction"] = max(0.02, abs(speed) / (GRAVITY * draft.seconds) * draft.uniform(0.1, 0.5))
        draft.bodies.append(draft.body(shape, (touch - speed * meet, shape.base), (speed, 0.0), **more))


def _leave_enter(draft: Draft) -> None:
    """One body leaves the picture at its side, another comes in."""
    way, edge = draft.sign(), draft.view / 2
    leave, enter = draft.uniform(0.25, 0.6) * draft.seconds, draft.uniform(0.15, 0.6) * draft.seconds
    for number, (moment, side) in enumerate(((leave, way), (enter, draft.sign()))):
        shape = draft.shape(draft.half(0.03, 0.14), ("sphere", "box", "polygon"))
        speed = draft.uniform(0.45, 1.0) * draft.view / draft.seconds
        # Leaving bodies move towards their side, entering ones away from it.
        velocity = side * speed if number == 0 else -side * speed
        start = side * edge - velocity * moment
        more: dict[str, Any] = {"lane": number}
        if shape.round:
            more["spin"] = velocity / shape.half[0]
        else:
            more["friction"] = speed / (GRAVITY * draft.seconds) * draft.uniform(0.02, 0.15)
        draft.bodies.append(draft.body(shape, (start, shape.base), (velocity, 0.0), **more))


def _up_and_back(draft: Draft) -> None:
    """Thrown out of the picture at the top, and back in again."""
    shape = draft.shape(draft.half(0.03, 0.12), ("sphere", "box", "ellipsoid", "polygon"))
    top = draft.tall * draft.uniform(1.1, 1.5) + shape.reach
    rise = draft.uniform(0.35, 0.5) * draft.seconds
    height = top - GRAVITY * rise**2 / 2
    if height < 1.1 * shape.reach:
        height = 1.1 * shape.reach
        rise = math.sqrt(2 * (top - height) / GRAVITY)
    across = draft.sign() * draft.uniform(0.0, 0.3) * draft.view / draft.seconds
    start = draft.uniform(-0.15, 0.15) * draft.view - across * rise
    draft.bodies.append(draft.body(shape, (start, height), (across, GRAVITY * rise), spin=draft.uniform(-4, 4)))


TEMPLATES: dict[str, Callable[[Draft], None]] = {
    "roll": _roll,
    "throw": _throw,
    "drop": _drop,
    "bounce": _bounce,
    "rest": _rest,
    "shelf": _shelf,
    "platform": _platform,
    "wall": _wall,
    "occlusion": _occlusion,
    "crossing": _crossing,
    "collision": _collision,
    "leave_enter": _leave_enter,
    "up_and_back": _up_and_back,
}


def bystanders(draft: Draft, count: int, moving: bool | None = None) -> None:
    """Add bodies in lanes behind the hero's that have nothing to do with it."""
    for _ in range(count):
        lane = 1 + max(body.lane for body in draft.bodies)
        start = len(draft.bodies)
        wish, draft.wish = draft.wish, {}
        still = draft.still_behind if moving is None else not moving
        choice = (
            "rest"
            if still or (moving is None and draft.chance(0.3))
            else draft.one(("roll", "throw", "drop", "bounce"))
        )
        slabs = list(draft.slabs)
        TEMPLATES[choice](draft)
        draft.slabs, draft.wish = slabs, wish
        body = draft.bodies[start]
        if body.shape.half[0] > 0.09 * draft.view and len(draft.bodies) > 2:
            draft.bodies.pop()
            continue
        draft.bodies[start] = replace(body, lane=lane)


def compose(
    rng: np.random.Generator,
    look: str,
    template: str,
    *,
    wish: dict[str, Any] | None = None,
    nuisance: str | None = None,
    sizes: Sequence[tuple[int, int]] = SIZES,
    rates: Sequence[float] = RATES,
    longest: float = 3.0,
    forbidden: frozenset[str] = frozenset(),
) -> Scene:
    """A scene at random.

    Args:
        rng: gives everything.
        look: whose scene it is.
        template: one of `TEMPLATES`.
        wish: asks something of template, camera or bystanders; see the violations.
        nuisance: which one; None draws one for 40 % of scenes, out of those not `forbidden`.
        sizes: (width, height) to choose from.
        rates: frames per second to choose from.
        longest: seconds a clip can have at most.
        forbidden: nuisances that would hide what is to be shown.
    """
    wish = dict(wish or {})
    width, height = sizes[int(rng.integers(len(sizes)))]
    fps = float(rates[int(rng.integers(len(rates)))])
    seconds = rng.uniform(1.5, max(1.5, longest))
    frames = int(min(MAX_FRAMES, max(12, round(fps * seconds))))
    # In a very small room a fall is over within a few frames; a slow camera films a large one.
    lowest = max(0.8, 4.9 * (5 / fps) ** 2)
    tall = lowest * math.exp(rng.uniform(0, math.log(4.5)))
    if fps >= 24:
        tall = min(tall, 5.0)
    draft = Draft(
        rng, look, width, height, fps, frames, tall * width / height, float(rng.uniform(0.08, 0.24)), wish=wish
    )
    TEMPLATES[template](draft)
    if wish.get("company"):
        bystanders(draft, 1, moving=True)
    if wish.get("second"):
        start = len(draft.bodies)
        TEMPLATES[wish["second"]](draft)
        draft.bodies[start] = replace(draft.bodies[start], lane=1)
    spare = max(0, 4 - len(draft.bodies))
    if template not in {"crossing"} and spare and not wish.get("alone"):
        bystanders(draft, int(rng.choice([0, 0, 1, 1, 2, 3][: 3 + spare])))
    if nuisance is None:
        choices = [name for name in NUISANCES if name not in forbidden]
        nuisance = choices[int(rng.integers(len(choices)))] if rng.random() < NUISANCE_SHARE else "none"
    return _film(draft, nuisance)


def _film(draft: Draft, nuisance: str) -> Scene:
    """Camera, lens, light, codec; and lanes in depth."""
    rng, wish = draft.rng, draft.wish
    deepest = max(body.shape.reach for body in draft.bodies)
    bodies = tuple(_in_lane(body, deepest) for body in draft.bodies)
    world = draft.frames + (math.ceil(draft.frames * 0.7) if wish.get("jump") else 0) + 2
    camera = _camera(draft)
    path, light = _path(rng, nuisance, draft.frames, world, draft.fps), np.ones((world, 3))
    if nuisance == "light":
        light = _light(rng, draft.frames, world)
    shutter, samples = float(rng.uniform(0.1, 0.5)), int(rng.choice([1, 1, 1, 2, 3]))
    defocus = float(rng.choice([0.0, 0.0, 0.4, 0.7]))
    noise = float(rng.choice([0.0, 0.8, 1.6, 2.4]))
    crf = int(rng.integers(15, 28))
    if nuisance == "noise":
        noise = float(rng.uniform(5, 13))
    elif nuisance == "blur":
        shutter, samples = float(rng.uniform(0.7, 1.0)), 5
        defocus = float(rng.uniform(0.8, 1.8)) * draft.width / 320
    elif nuisance == "compress":
        crf = int(rng.integers(33, 42))
    scene = Scene(
        look=draft.look,
        seed=int(rng.integers(1 << 62)),
        frames=draft.frames,
        fps=draft.fps,
        width=draft.width,
        height=draft.height,
        view=draft.view,
        margin=draft.margin,
        tilt=float(rng.uniform(0.15, 0.4)),
        bodies=bodies,
        slabs=tuple(draft.slabs),
        camera=camera,
        shutter=shutter,
        samples=samples,
        defocus=defocus,
        noise=noise,
        crf=crf,
        nuisance=nuisance,
        path=path,
        light=light,
        scaled=bool(wish.get("scaled", rng.random() < 0.5)),
    )
    return scene


def _in_lane(body: Body, deepest: float) -> Body:
    x, _, z = body.place
    return replace(body, place=(x, 2.3 * deepest * body.lane, z))


def _camera(draft: Draft) -> tuple[float, float, float, float]:
    kind = "front" if draft.wish.get("scaled") else draft.one(("front", "front", "raised", "slanted", "slanted"))
    lens = draft.uniform(18, 60)
    if kind == "front":
        return 0.0, 0.0, lens, 0.0
    if kind == "raised":
        return 0.0, draft.uniform(6, 24), lens, 0.0
    return draft.sign() * draft.uniform(12, 38), draft.uniform(4, 24), lens, draft.uniform(-5, 5)


def _path(rng: np.random.Generator, nuisance: str, frames: int, world: int, fps: float) -> Floats:
    path = np.zeros((world, 5))
    path[:, 2] = 1.0
    # Beyond the last frame shown the camera moves on, to be there after a jump.
    share = np.arange(world) / max(1, frames - 1)
    if nuisance == "pan":
        course = share if rng.random() < 0.6 else share * share * (3 - 2 * np.minimum(share, 1))
        path[:, 0] = rng.choice([-1, 1]) * rng.uniform(0.08, 0.28) * (course - 0.5)
        path[:, 1] = rng.uniform(-0.05, 0.05) * (course - 0.5)
    elif nuisance == "zoom":
        end = rng.uniform(1.12, 1.45)
        path[:, 2] = end**share if rng.random() < 0.6 else end ** (1 - np.minimum(share, 1.0))
        if rng.random() < 0.5:
            path[:, 2] /= end**0.5
    elif nuisance == "shake":
        speed = rng.uniform(1.5, 6.0)
        time = np.arange(world) / fps
        for column, size in (
            (0, rng.uniform(0.003, 0.015)),
            (1, rng.uniform(0.003, 0.012)),
            (3, rng.uniform(0.0, 0.012)),
        ):
            waves = sum(
                np.sin(2 * np.pi * speed * rng.uniform(0.4, 1.6) * time + rng.uniform(0, 2 * np.pi)) for _ in range(4)
            )
            path[:, column] = size * (0.5 * np.asarray(waves) + 0.25 * rng.standard_normal(world))
    return path


def _light(rng: np.random.Generator, frames: int, world: int) -> Floats:
    share = np.arange(world) / max(1, frames - 1)
    size, turns = rng.uniform(0.15, 0.4), rng.uniform(0.3, 1.2)
    wave = np.sin(2 * np.pi * (turns * share + rng.random()))
    colour = 1 + rng.uniform(-0.1, 0.1, 3)
    return np.asarray(1 + size * (wave[:, None] - wave[0]) * colour / 2)


def control(rng: np.random.Generator, look: str, name: str, **options: Any) -> Scene:
    """A possible scene without a twin, of the kind `name` in `CONTROLS`."""
    templates = CONTROLS[name]
    template = templates[int(rng.integers(len(templates)))]
    wish: dict[str, Any] = {"big": True}
    return compose(rng, look, template, wish=wish, nuisance=_NUISANCE_OF.get(name), **options)
