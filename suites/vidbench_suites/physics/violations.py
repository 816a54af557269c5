"""The fifteen kinds of violation: which scenes show them, what is done to the hero, and in which frames it shows.

For each kind a *recipe* draws a variant and a scene that suits it, and a *plan* reads the simulated possible twin and
decides where and when the violation happens, uniformly over all moments that can show it. A plan that finds no such
moment says None and another scene is drawn. Whether the result is visible is checked afterwards on the true boxes of
both twins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vidbench_suites.physics.scenarios import compose
from vidbench_suites.physics.truth import Box, Seen
from vidbench_suites.physics.world import GRAVITY, Intervention, Scene, Shape, Skin, Take, Trajectory

HERO = 0

Span = tuple[int, int]


@dataclass
class Context:
    """The possible twin, simulated and looked at."""

    scene: Scene
    variant: str
    trajectory: Trajectory
    seen: Seen
    rng: np.random.Generator

    @property
    def count(self) -> int:
        """Frames of the clip."""
        return self.scene.frames

    def uniform(self, low: float, high: float) -> float:
        """A number between two."""
        return float(self.rng.uniform(low, high))

    def sign(self) -> float:
        """1 or -1."""
        return 1.0 if self.rng.random() < 0.5 else -1.0

    def after(self, seconds: float, least: int = 1) -> int:
        """Frames in so many seconds."""
        return max(least, round(seconds * self.scene.fps))

    def pick(self, frames: list[int]) -> int | None:
        """One of the frames, None if there are none."""
        return frames[int(self.rng.integers(len(frames)))] if frames else None

    def middle(self) -> range:
        """Frames with something before and after them."""
        return range(max(3, round(0.15 * self.count)), self.count - max(3, round(0.2 * self.count)))

    def in_view(self, frame: int, share: float = 0.85) -> bool:
        """Whether the hero is in the picture as a whole and hardly hidden."""
        if not 0 <= frame < self.count or self.seen.boxes[frame][HERO] is None:
            return False
        return self.seen.share[frame, HERO] >= share and inside(self.seen.whole[frame][HERO], self.scene)

    def airborne(self, frame: int, before: int = 1, after: int = 1) -> bool:
        """Whether the hero touches nothing from `before` frames earlier to `after` frames later."""
        window = self.seen.touch[max(0, frame - before) : frame + after + 1, HERO]
        return not window.any()

    def clearance(self, frame: int) -> float:
        """Metres between the hero and the floor."""
        height = float(self.trajectory.place[frame * self.scene.steps, HERO, 2])
        return height - self.scene.bodies[HERO].shape.reach

    def velocity(self, frame: int) -> tuple[float, float]:
        """(x, z) in m/s at the frame's start."""
        moment = frame * self.scene.steps
        place = self.trajectory.place[:, HERO]
        change = (place[moment] - place[max(0, moment - 1)]) / self.scene.step
        return float(change[0]), float(change[2])

    def moves(self, frame: int, pixels: float = 0.8) -> bool:
        """Whether the hero moves from this frame to the next by so many pixels at least."""
        if frame + 1 >= self.count:
            return False
        return float(np.linalg.norm(self.seen.centre[frame + 1, HERO] - self.seen.centre[frame, HERO])) >= pixels

    def free_of(self, frame: int) -> bool:
        """Whether the hero touches nothing but the floor around the frame."""
        near = range((frame - 2) * self.scene.steps, (frame + 4) * self.scene.steps)
        return not any(body == HERO and other >= 0 and step in near for step, body, other in self.trajectory.hits)

    def first_hit(self, other: int, after: int = 0) -> int | None:
        """Frame in which the hero first touches a slab (its number) or the floor (-1)."""
        for step, body, what in self.trajectory.hits:
            if body == HERO and what == other and step >= after * self.scene.steps:
                return step // self.scene.steps
        return None


@dataclass
class Plan:
    """What is done, and how to tell when it shows."""

    interventions: tuple[Intervention, ...] = ()
    absent: tuple[int, ...] = ()
    """Bodies that the possible twin lacks."""
    edit: Callable[[Take], None] = lambda take: None
    """Done to the impossible take."""
    span: Callable[[Seen, Seen], Span | None] = lambda possible, impossible: None
    """From what is seen of the possible and the impossible twin to first and last frame; None if it does not show."""
    whole: bool = False
    """The whole picture is meant, not the hero."""
    also_twin: bool = False
    """The place where the hero ought to be belongs to the first frame's boxes."""


def inside(box: Box, scene: Scene, rim: float = 1.0) -> bool:
    """Whether the box lies in the picture."""
    return box[0] >= rim and box[1] >= rim and box[2] <= scene.width - rim and box[3] <= scene.height - rim


def _parts(scene: Scene, possible: Seen, impossible: Seen, start: int) -> int | None:
    """First frame from `start` on in which the hero is clearly not where it ought to be."""
    for frame in range(start, scene.frames):
        gap = float(np.linalg.norm(possible.centre[frame, HERO] - impossible.centre[frame, HERO]))
        if gap >= max(1.5, 0.1 * possible.size(frame, HERO)):
            return frame
    return None


def _path_span(
    scene: Scene, start: int, end: int | None = None, *, lands: bool = False
) -> Callable[[Seen, Seen], Span | None]:
    """The span of what shows in the hero's path: from where the twins' paths part to `end`, as far as it is seen.

    Args:
        scene: the scene.
        start: first frame that can differ.
        end: last frame; None is the last in which the hero is seen.
        lands: stop where the impossible hero touches something.
    """

    def span(possible: Seen, impossible: Seen) -> Span | None:
        first = _parts(scene, possible, impossible, start)
        if first is None or impossible.boxes[first][HERO] is None:
            return None
        last = first
        for frame in range(first, (scene.frames - 1 if end is None else min(end, scene.frames - 1)) + 1):
            if impossible.boxes[frame][HERO] is None:
                break
            last = frame
            if lands and frame > first and impossible.touch[frame, HERO]:
                break
        gaps = np.linalg.norm(
            possible.centre[first : last + 1, HERO] - impossible.centre[first : last + 1, HERO], axis=1
        )
        size = possible.size(first, HERO)
        if float(gaps.max()) < max(4.0, 0.5 * size, 0.02 * scene.width) or last - first < 1:
            return None
        shown = [impossible.share[frame, HERO] >= 0.5 for frame in range(first, min(first + 3, last + 1))]
        return (first, last) if any(shown) else None

    return span


def _seen_moment(now: Context) -> int | None:
    """A frame with the hero in full view, as it is just before and after; still or moving as the variant says."""
    wanted = now.variant.startswith("still")
    return now.pick(
        [
            frame
            for frame in now.middle()
            if now.in_view(frame) and now.in_view(frame - 1) and now.in_view(frame + 1) and now.moves(frame) != wanted
        ]
    )


def _vanish(now: Context) -> Plan | None:
    start = _seen_moment(now)
    if start is None:
        return None

    def edit(take: Take) -> None:
        take.visible[start:, HERO] = False

    return Plan(edit=edit, span=_shows(now, start))


def _appear(now: Context) -> Plan | None:
    start = _seen_moment(now)
    if start is None:
        return None

    def edit(take: Take) -> None:
        take.visible[start:, HERO] = True

    def span(possible: Seen, impossible: Seen) -> Span | None:
        end = min(start + now.after(0.12), now.count - 1)
        return (start, end) if impossible.share[start, HERO] >= 0.85 else None

    return Plan(absent=(HERO,), edit=edit, span=span)


def _shows(now: Context, start: int, seconds: float = 0.12) -> Callable[[Seen, Seen], Span | None]:
    """A moment and the frames just after it."""
    return lambda possible, impossible: (start, min(start + now.after(seconds), now.count - 1))


def _hidden(now: Context) -> tuple[int, int, int] | None:
    """First frame in which an occluder hides the hero, the last one, and the first that shows it again in full."""
    share = now.seen.share[:, HERO]
    gone = [
        frame
        for frame in range(now.count)
        if now.seen.boxes[frame][HERO] is None and inside(now.seen.whole[frame][HERO], now.scene, -0.5)
    ]
    if not gone or gone[-1] - gone[0] + 1 != len(gone) or gone[0] < 2:
        return None
    if max(share[: gone[0]]) < 0.9:
        return None
    again = [frame for frame in range(gone[-1] + 1, now.count) if now.in_view(frame, 0.9)]
    return (gone[0], gone[-1], again[0]) if again else None


def _swap(now: Context) -> Plan | None:
    if now.variant.endswith("view"):
        start = now.pick([f for f in now.middle() if all(now.in_view(f + step) for step in (-1, 0, 1))])
        if start is None:
            return None
        turn = start
    else:
        hidden = _hidden(now)
        if hidden is None:
            return None
        turn = (hidden[0] + hidden[1] + 1) // 2
        start = hidden[1] + 1

    def edit(take: Take) -> None:
        take.swapped[turn:, HERO] = True

    def span(possible: Seen, impossible: Seen) -> Span | None:
        if now.variant.endswith("view"):
            return (start, min(start + now.after(0.15), now.count - 1)) if impossible.share[start, HERO] > 0.8 else None
        if impossible.boxes[turn][HERO] is not None:
            return None
        shown = [f for f in range(turn, now.count) if impossible.boxes[f][HERO] is not None]
        full = [f for f in shown if impossible.share[f, HERO] >= 0.9]
        return (shown[0], min(full[0] + now.after(0.12), now.count - 1)) if full else None

    return Plan(edit=edit, span=span)


def _no_reappearance(now: Context) -> Plan | None:
    hidden = _hidden(now)
    if hidden is None:
        return None
    turn = (hidden[0] + hidden[1] + 1) // 2

    def edit(take: Take) -> None:
        take.visible[turn:, HERO] = False

    def span(possible: Seen, impossible: Seen) -> Span | None:
        return hidden[1] + 1, min(hidden[2] + now.after(0.25), now.count - 1)

    return Plan(edit=edit, span=span)


def _act(now: Context, frame: int, act: str, *values: float) -> Intervention:
    return Intervention(frame * now.scene.steps, HERO, act, values)


def _gravity_reversed(now: Context) -> Plan | None:
    if now.variant == "lift":
        frames = [f for f in now.middle() if now.in_view(f) and not now.moves(f)]
        factor = -now.uniform(0.3, 1.0)
    else:
        frames = [f for f in now.middle() if now.in_view(f) and now.airborne(f, 1, now.after(0.1))]
        factor = -now.uniform(0.5, 1.3)
    start = now.pick(frames)
    if start is None:
        return None
    return Plan((_act(now, start, "gravity", factor),), span=_path_span(now.scene, start))


def _hover(now: Context) -> Plan | None:
    flying = [f for f in now.middle() if now.in_view(f) and now.airborne(f, 1, 2)]
    if now.variant == "apex":
        flying = [f for f in flying if now.velocity(f)[1] > 0 >= now.velocity(f + 1)[1]]
    elif now.variant == "abrupt":
        flying = [f for f in flying if math.hypot(*now.velocity(f)) > 0.1 * now.scene.tall * 2]
    else:
        flying = [0] if now.in_view(0) and now.airborne(0, 0, 2) else []
    start = now.pick([f for f in flying if now.clearance(f) > 0.1 * now.scene.tall])
    if start is None:
        return None
    acts = [_act(now, start, "hold")]
    end = now.count - 1
    if now.variant != "start" or now.rng.random() < 0.5:
        length = now.after(now.uniform(0.4, 1.0), 4)
        if now.rng.random() < 0.4 and start + length < now.count - 3:
            end = start + length
            acts.append(_act(now, end, "gravity", 1.0))
    return Plan(tuple(acts), span=_path_span(now.scene, start, end))


def _slow_fall(now: Context) -> Plan | None:
    if now.variant == "alone" and not now.scene.parallel:
        return None  # without a known scale nobody could tell
    factor = now.uniform(0.15, 0.38)
    if now.variant == "switched":
        start = now.pick(
            [
                f
                for f in now.middle()
                if now.in_view(f) and now.airborne(f, 1, now.after(0.08)) and now.velocity(f)[1] < 0.35 * GRAVITY * 0.3
            ]
        )
    else:
        start = 0 if now.airborne(0, 0, 1) else None
    if start is None:
        return None
    return Plan((_act(now, start, "gravity", factor),), span=_path_span(now.scene, start, lands=True))


def _bounces(now: Context) -> list[int]:
    """Moments in which the hero meets the floor after a flight of some height."""
    found = []
    last = -1
    for step, body, other in now.trajectory.hits:
        if body != HERO or other != -1 or step >= now.count * now.scene.steps:
            continue
        flight = now.trajectory.place[max(last, 0) : step, HERO, 2]
        if len(flight) and flight.max() - now.trajectory.place[step, HERO, 2] > 0.06 * now.scene.tall:
            found.append(step)
        last = step
    return found


def _rises(now: Context, contact: int) -> Callable[[Seen, Seen], Span | None]:
    """From a contact to the highest point after it, if that is seen to lie above the one before."""

    def span(possible: Seen, impossible: Seen) -> Span | None:
        height = -impossible.centre[:, HERO, 1]
        first = contact // now.scene.steps
        if first < 1 or first > now.count - 4:
            return None
        before = max(height[frame] for frame in range(max(0, first - now.after(1.0)), first + 1))
        low = min(height[first], height[min(first + 1, now.count - 1)])
        top = first + 1
        while top + 1 < now.count and height[top + 1] >= height[top] and impossible.boxes[top + 1][HERO] is not None:
            top += 1
        fall = before - low
        if fall < max(8.0, 0.08 * now.scene.height) or height[top] - low < 1.06 * fall:
            return None
        return first + 1, top

    return span


def _energy_gain(now: Context) -> Plan | None:
    contacts = [step for step in _bounces(now) if now.in_view(step // now.scene.steps - 2)]
    if not contacts:
        return None
    contact = contacts[int(now.rng.integers(len(contacts)))]
    before = [one for one in contacts if one < contact]
    # Between the bounce before and this one, so that only this one gains.
    begin = (before[-1] + contact) // 2 if before else contact // 2
    act = Intervention(begin, HERO, "gain", (now.uniform(1.12, 1.35), 1))
    return Plan((act,), span=_rises(now, contact))


def _time_reversed(now: Context) -> Plan | None:
    contacts = _bounces(now)
    if not contacts:
        return None
    body = now.scene.bodies[HERO]
    if now.variant == "bounces":
        # The time-reversed bounce of a ball that keeps the share e of its speed multiplies it by 1 / e, every time.
        act = Intervention(0, HERO, "gain", (1 / body.restitution, 99))
        rises = _rises(now, contacts[0])

        def span(possible: Seen, impossible: Seen) -> Span | None:
            found = rises(possible, impossible)
            if found is None:
                return None
            last = found[1]
            while last + 1 < now.count and impossible.boxes[last + 1][HERO] is not None:
                last += 1
            return found[0], last

        return Plan((act,), span=span)
    # The clip turns round at the top of a bounce and runs back over that bounce, to a greater height.
    height = -now.seen.centre[:, HERO, 1]
    tops = [
        f
        for f in range(now.count // 2, now.count - 3)
        if now.airborne(f) and height[f] >= height[f - 1] and height[f] >= height[f + 1] and now.in_view(f)
    ]
    tops = [
        f
        for f in tops
        if any(f < now.count - 1 - (f - step // now.scene.steps) for step in contacts if step < f * now.scene.steps)
    ]
    turn = now.pick(tops)
    if turn is None:
        return None
    contact = max(step for step in contacts if step < turn * now.scene.steps) // now.scene.steps

    def edit(take: Take) -> None:
        frames = np.arange(turn + 1, now.count)
        take.shown[turn + 1 :] = np.maximum(0, 2 * turn - frames)

    def turned(possible: Seen, impossible: Seen) -> Span | None:
        back = 2 * turn - contact
        last = back
        rising = -impossible.centre[:, HERO, 1]
        while (
            last + 1 < now.count and rising[last + 1] >= rising[last] and impossible.boxes[last + 1][HERO] is not None
        ):
            last += 1
        fall = rising[turn] - rising[back]
        if fall < max(8.0, 0.05 * now.scene.height) or last - back < 2:
            return None
        return (back, last) if rising[last] - rising[back] > 1.12 * fall else None

    return Plan(edit=edit, span=turned)


def _teleport(now: Context) -> Plan | None:
    scene = now.scene
    frames = [f for f in now.middle() if all(now.in_view(f + step) for step in (-1, 0))]
    start = now.pick(frames)
    if start is None:
        return None
    shape = scene.bodies[HERO].shape
    least = max(0.12 * scene.view, 2.5 * shape.reach)
    x, z = now.velocity(start)
    far = now.uniform(least, max(least * 1.2, 0.45 * scene.view))
    if now.variant == "forward":
        shift = (math.copysign(far, x), 0.0) if not now.airborne(start) else _along(x, z, far)
    elif now.variant == "up":
        if not now.airborne(start):
            return None
        shift = (0.0, now.sign() * now.uniform(2.5 * shape.reach, max(2.6 * shape.reach, 0.5 * scene.tall)))
    else:
        shift = (now.sign() * far, 0.0)
    place = scene.bodies[HERO].place
    here = now.trajectory.place[start * scene.steps, HERO]
    there = (here[0] + shift[0], here[2] + shift[1])
    if there[1] < shape.base or _in_slab(scene, there, shape.reach) or place[1] != 0.0:
        return None

    def span(possible: Seen, impossible: Seen) -> Span | None:
        gap = float(np.linalg.norm(possible.centre[start, HERO] - impossible.centre[start, HERO]))
        clear = gap > 1.3 * possible.size(start, HERO) and impossible.share[start, HERO] > 0.8
        return (start, min(start + now.after(0.1), now.count - 1)) if clear else None

    return Plan((_act(now, start, "shift", *shift),), span=span, also_twin=True)


def _along(x: float, z: float, far: float) -> tuple[float, float]:
    speed = max(1e-6, math.hypot(x, z))
    return far * x / speed, far * z / speed


def _in_slab(scene: Scene, place: tuple[float, float], reach: float) -> bool:
    for slab in scene.slabs:
        near_x = abs(place[0] - slab.centre[0]) < slab.half[0] + reach
        if near_x and abs(place[1] - slab.centre[2]) < slab.half[2] + reach:
            return True
    return False


def _velocity_jump(now: Context) -> Plan | None:
    scene = now.scene
    act, where = now.variant.split("-")
    air = where == "air"
    frames = []
    for frame in now.middle():
        x, z = now.velocity(frame)
        fast = math.hypot(x, z) if act == "deflect" or air else abs(x)
        if not (now.in_view(frame) and now.free_of(frame) and fast > 0.22 * scene.view):
            continue
        if air and not now.airborne(frame, 2, 2):
            continue
        frames.append(frame)
    start = now.pick(frames)
    if start is None:
        return None
    x, z = now.velocity(start)
    z = z if air else 0.0
    if act == "reverse":
        to = (-x * now.uniform(0.7, 1.1), z if abs(x) > abs(z) else -z)
    elif act == "boost":
        ratio = now.uniform(1.8, 2.8)
        to = (x * ratio, z * ratio if air else 0.0)
    elif act == "stop":
        to = (0.0, 0.0)
    else:
        turn = now.sign() * now.uniform(50, 115) * math.pi / 180
        if not air:  # off the floor, upwards
            turn = math.copysign(now.uniform(40, 100) * math.pi / 180, x)
        to = (x * math.cos(turn) - z * math.sin(turn), x * math.sin(turn) + z * math.cos(turn))
        if not air:  # high enough to be told from a bump
            to = (to[0], max(abs(to[1]), math.sqrt(2 * GRAVITY * now.uniform(0.12, 0.4) * scene.tall)))
    change = math.hypot(to[0] - x, to[1] - z)
    if change < (0.32 if air else 0.2) * scene.view:
        return None
    end = start + now.after(0.25, 2)
    inner = _path_span(scene, start, None)

    def span(possible: Seen, impossible: Seen) -> Span | None:
        found = inner(possible, impossible)
        if (
            found is None
            or found[0] > start + now.after(0.15, 2)
            or (impossible.touch[start : start + 2, HERO].any() and air)
        ):
            return None
        return start, max(min(end, now.count - 1), found[0] + 1)

    return Plan((_act(now, start, "velocity", *to),), span=span)


def _freeze(now: Context) -> Plan | None:
    where, how = now.variant.split("-")
    length = now.after(now.uniform(0.25, 0.8), 4)
    frames = []
    for frame in range(max(2, round(0.1 * now.count)), now.count - length - 2):
        moved = np.linalg.norm(np.diff(now.seen.centre[frame : frame + length + 1, HERO], axis=0), axis=1)
        if now.in_view(frame, 0.6) and float(np.median(moved)) > 0.5 and float(moved.sum()) > 0.04 * now.scene.width:
            frames.append(frame)
    start = now.pick(frames)
    if start is None:
        return None

    def edit(take: Take) -> None:
        stop = start + length
        if where == "picture":
            take.repeat[start : stop + 1] = start
        if how == "resumed":
            take.shown[stop + 1 :] = np.arange(start + 1, start + 1 + now.count - stop - 1)
        if where == "world":
            take.shown[start : stop + 1] = start
        elif how == "resumed":
            # A camera that stood still with the picture goes on from there, too.
            take.path[stop + 1 :] = now.scene.path[take.shown[stop + 1 :]]
            take.gain[stop + 1 :] = now.scene.light[take.shown[stop + 1 :]]

    return Plan(edit=edit, span=lambda possible, impossible: (start + 1, start + length), whole=True)


def _jump_cut(now: Context) -> Plan | None:
    scene = now.scene
    start = now.pick([f for f in now.middle() if now.in_view(f, 0.6) and now.in_view(f - 1, 0.6)])
    if start is None:
        return None
    if now.variant == "camera":
        side, zoom = now.sign(), float(now.rng.choice([now.uniform(0.62, 0.8), now.uniform(1.25, 1.55)]))
        right, down = side * now.uniform(0.1, 0.28), now.uniform(-0.08, 0.08)
        around = now.sign() * now.uniform(12, 35)

        def edit(take: Take) -> None:
            take.path[start:, 0] += right
            take.path[start:, 1] += down
            take.path[start:, 2] *= zoom
            take.path[start:, 4] += around

        def span(possible: Seen, impossible: Seen) -> Span | None:
            return (start, min(start + 1, now.count - 1)) if impossible.boxes[start][HERO] is not None else None

        return Plan(edit=edit, span=span, whole=True)
    skip = now.after(now.uniform(0.35, 1.0), 4)
    skip = min(skip, scene.world_frames - now.count)

    def jump(take: Take) -> None:
        take.shown[start:] += skip
        take.path[start:] = scene.path[take.shown[start:]]
        take.gain[start:] = scene.light[take.shown[start:]]

    def clear(possible: Seen, impossible: Seen) -> Span | None:
        gaps = np.linalg.norm(impossible.centre[start] - impossible.centre[start - 1], axis=1)
        sizes = [impossible.size(start - 1, body) for body in range(len(scene.bodies))]
        seen = [impossible.boxes[start - 1][body] is not None for body in range(len(scene.bodies))]
        big = [gap > max(0.1 * scene.width, 1.2 * size) and ok for gap, size, ok in zip(gaps, sizes, seen, strict=True)]
        return (start, min(start + 1, now.count - 1)) if big[HERO] else None

    return Plan(edit=jump, span=clear, whole=True)


def _flicker(now: Context) -> Plan | None:
    length = now.after(now.uniform(0.4, 1.2), 5)
    frames = [
        f
        for f in range(max(2, round(0.1 * now.count)), now.count - length - 1)
        if now.variant == "global" or all(now.in_view(f + step, 0.6) for step in range(0, length, 2))
    ]
    start = now.pick(frames)
    if start is None:
        return None
    period = 1 if now.scene.fps <= 15 else int(now.rng.choice([1, 2, 3]))
    phase = (np.arange(length) // period) % 2 == 0
    strength = now.rng.uniform(0.6, 1.0, length)
    whole = now.variant == "global"
    blink = now.variant == "object" and now.rng.random() < 0.4
    size = now.uniform(0.14, 0.38) if whole else now.uniform(0.4, 0.6)
    brighter = now.rng.random() < 0.5
    colour = np.array([1.0, 1.0, 1.0])
    if now.variant == "colour":
        colour = now.rng.permutation(np.array([1.0, -0.7, now.uniform(-0.5, 0.5)]))
    wave = np.where(phase, strength, 0.0)[:, None] * size * colour * (1 if brighter or now.variant == "colour" else -1)

    def edit(take: Take) -> None:
        if whole:
            take.gain[start : start + length] *= 1 + wave
        elif blink:
            take.visible[start : start + length, HERO] = ~phase
        else:
            take.tint[start : start + length, HERO] *= 1 + wave

    last = start + length - 1 if not blink or phase[-1] else start + length - 2
    return Plan(edit=edit, span=lambda possible, impossible: (start, last), whole=whole)


def _pass_through(now: Context) -> Plan | None:
    if now.variant == "floor":
        contact = now.first_hit(-1)
        frames = [f for f in now.middle() if now.in_view(f)]
        if contact is None:
            return None
        flying = [f for f in frames if f < contact and now.airborne(f)]
        start = (contact if flying else now.pick([f for f in frames if not now.airborne(f, 2, 2)])) or None
        if start is None:
            return None
        begin = max(0, start - 1) if flying else start

        def edit(take: Take) -> None:
            take.sunk = frozenset({HERO})

        def gone(possible: Seen, impossible: Seen) -> Span | None:
            first = _parts(now.scene, possible, impossible, begin)
            if first is None or impossible.boxes[first][HERO] is None:
                return None
            last = first
            while last + 1 < now.count and impossible.boxes[last + 1][HERO] is not None:
                last += 1
            deep = float(np.linalg.norm(possible.centre[last, HERO] - impossible.centre[last, HERO]))
            last = min(max(last + 1, first + 1), now.count - 1)
            return (first, last) if deep > 0.3 * possible.size(first, HERO) and first < now.count - 3 else None

        return Plan((_act(now, begin, "ghost", -1.0),), edit=edit, span=gone)
    slabs = [number for number, slab in enumerate(now.scene.slabs) if slab.role == now.variant]
    contact = now.first_hit(slabs[0]) if slabs else None
    if contact is None or contact >= now.count - 3 or not now.in_view(max(0, contact - 1), 0.6):
        return None

    def through(possible: Seen, impossible: Seen) -> Span | None:
        found = _path_span(now.scene, max(0, contact - 1))(possible, impossible)
        if found is None:
            return None
        slab, moments = now.scene.slabs[slabs[0]], range(found[0], found[1] + 1)
        # Until it has come out on the other side, as far as the boxes tell.
        gaps = [float(np.linalg.norm(possible.centre[f, HERO] - impossible.centre[f, HERO])) for f in moments]
        need = (
            2 * (slab.half[0] if slab.role == "wall" else slab.half[2]) + 1.2 * now.scene.bodies[HERO].shape.reach
        ) * now.scene.scale
        out = [f for f, gap in zip(moments, gaps, strict=True) if gap > need]
        return found[0], min(found[1], out[0] + now.after(0.1)) if out else found[1]

    return Plan((_act(now, 0, "ghost", float(slabs[0])),), span=through)


@dataclass(frozen=True)
class Kind:
    """One kind of violation."""

    name: str
    variants: dict[str, tuple[str, ...]]
    """Variant to the templates that can show it."""
    plan: Callable[[Context], Plan | None]
    wish: Callable[[str], dict[str, Any]] = lambda variant: {}
    forbidden: Callable[[str], frozenset[str]] = lambda variant: frozenset()
    change: Callable[[Scene, str, np.random.Generator], Scene] = field(default=lambda scene, variant, rng: scene)
    """Gives the hero what a swap needs."""

    def draw(self, rng: np.random.Generator, look: str, **options: Any) -> tuple[str, Scene]:
        """A variant and a scene that may show it."""
        variant = list(self.variants)[int(rng.integers(len(self.variants)))]
        return variant, self.scene(rng, look, variant, **options)

    def scene(self, rng: np.random.Generator, look: str, variant: str, **options: Any) -> Scene:
        """A scene that may show the variant."""
        templates = self.variants[variant]
        template = templates[int(rng.integers(len(templates)))]
        scene = compose(rng, look, template, wish=self.wish(variant), forbidden=self.forbidden(variant), **options)
        return self.change(scene, variant, rng)


def _other(scene: Scene, variant: str, rng: np.random.Generator) -> Scene:
    from vidbench_suites.physics.scenarios import Draft

    draft = Draft(rng, scene.look, scene.width, scene.height, scene.fps, scene.frames, scene.view, scene.margin)
    hero = scene.bodies[HERO]
    what = variant.split("-", maxsplit=1)[0]
    shape: Shape | None = None
    skin: Skin | None = None
    if what in {"colour", "both"}:
        skin = draft.skin(avoid=hero.skin)
    if what in {"shape", "both"}:
        kinds = {
            "sphere": ("box", "polygon"),
            "box": ("sphere", "ellipsoid"),
            "polygon": ("sphere", "capsule"),
            "capsule": ("box", "sphere"),
            "ellipsoid": ("box", "polygon"),
        }[hero.shape.kind]
        shape = draft.shape(hero.shape.half[0], kinds)
        while shape.kind == "polygon" and len(shape.corners) > 4:  # a heptagon is hardly another shape than a ball
            shape = draft.shape(hero.shape.half[0], ("polygon",))
        # The new shape covers about as much of the picture: the shape alone must give it away.
        shape = shape.scaled(math.sqrt(hero.shape.area / shape.area) * draft.uniform(0.93, 1.07))
    if what == "size":
        ratio = draft.uniform(0.45, 0.65) if draft.chance(0.5) else draft.uniform(1.5, 1.9)
        shape = hero.shape.scaled(ratio)
    changed = replace(hero, other=shape, other_skin=skin)
    return replace(scene, bodies=(changed, *scene.bodies[1:]))


_MOVING = ("roll", "throw", "bounce", "drop")
_STILL = ("rest", "shelf")
_CAMERA = frozenset({"shake", "pan", "zoom"})

_SLOW_WISHES: dict[str, dict[str, Any]] = {
    "beside": {"second": "drop"},
    "switched": {},
    "alone": {"scaled": True, "alone": True},
}

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("vanish", {"moving": _MOVING, "still": _STILL}, _vanish, lambda variant: {"big": True}),
        Kind("appear", {"moving": _MOVING, "still": _STILL}, _appear, lambda variant: {"big": True, "company": True}),
        Kind(
            "swap",
            {
                f"{what}-{where}": ("occlusion",) if where == "occluder" else ("roll", "throw", "rest", "shelf")
                for what in ("colour", "shape", "both", "size")
                for where in ("occluder", "view")
            },
            _swap,
            lambda variant: {"swap": variant.endswith("occluder"), "big": True, "least": 14},
            change=_other,
        ),
        Kind("no_reappearance", {"occluder": ("occlusion",)}, _no_reappearance),
        Kind("gravity_reversed", {"midair": ("throw", "drop", "bounce"), "lift": _STILL}, _gravity_reversed),
        Kind("hover", {"apex": ("throw",), "abrupt": ("throw", "drop", "bounce"), "start": ("drop",)}, _hover),
        Kind(
            "slow_fall",
            {"beside": ("drop",), "switched": ("drop", "throw", "bounce"), "alone": ("drop",)},
            _slow_fall,
            lambda variant: _SLOW_WISHES[variant],
            lambda variant: _CAMERA if variant == "alone" else frozenset(),
        ),
        Kind(
            "energy_gain",
            {"bounce": ("bounce",)},
            _energy_gain,
            lambda variant: {"height": (0.25, 0.75), "restitution": (0.6, 0.9), "across": 0.4},
        ),
        Kind(
            "time_reversed",
            {"bounces": ("bounce",), "turn": ("bounce",)},
            _time_reversed,
            lambda variant: {
                "height": (0.2, 0.5) if variant == "bounces" else (0.35, 0.9),
                "restitution": (0.74, 0.9) if variant == "bounces" else (0.6, 0.85),
                "across": 0.3 if variant == "bounces" else 0.03,
            },
        ),
        Kind(
            "teleport",
            {
                "sideways": ("roll", "throw", "bounce", "rest", "drop"),
                "forward": ("roll", "throw"),
                "up": ("throw", "drop", "bounce"),
            },
            _teleport,
        ),
        Kind(
            "velocity_jump",
            {
                f"{act}-{where}": ("throw", "bounce") if where == "air" else ("roll",)
                for act in ("reverse", "boost", "deflect", "stop")
                for where in ("air", "floor")
            },
            _velocity_jump,
        ),
        Kind(
            "pass_through",
            {"wall": ("wall",), "platform": ("platform",), "floor": ("drop", "throw", "bounce", "roll")},
            _pass_through,
            lambda variant: {"least": 12},
        ),
        Kind(
            "freeze",
            {
                f"{where}-{how}": (*_MOVING, "crossing", "collision")
                for where in ("picture", "world")
                for how in ("resumed", "skipped")
            },
            _freeze,
        ),
        Kind(
            "jump_cut",
            {"skip": (*_MOVING, "crossing"), "camera": (*_MOVING, "rest", "shelf")},
            _jump_cut,
            lambda variant: {"jump": True},
        ),
        Kind(
            "flicker",
            {
                "object": (*_MOVING, *_STILL),
                "colour": (*_MOVING, *_STILL),
                "global": (*_MOVING, *_STILL),
            },
            _flicker,
            lambda variant: {"big": True},
            lambda variant: frozenset({"light"}),
        ),
    )
}
"""Every kind by name."""
