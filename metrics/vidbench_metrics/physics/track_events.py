"""Events of moving things: ends and beginnings, passages, breaks, flights, standstills, changes, trends, edges crossed.

Every candidate is described by numbers; none is judged here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vidbench_metrics.extractors.motion import MotionObservation
from vidbench_metrics.physics.event import Event
from vidbench_metrics.physics.frame_events import around, ratio
from vidbench_metrics.physics.tracks import Flight, Joint, Track, tracks_of

Floats = NDArray[np.float64]

BREAKS = 4
"""Breaks of a track that are described, the strongest."""
ENDS = 12
"""Ends (and starts) of a clip that are described, those of the largest and longest tracks."""
HIDDEN_SECONDS = 1.2
"""Within which a thing that went behind another is waited for."""
TRACKS = 10
"""Tracks of a clip that are described, the most visible ones."""
LOOKS = ("lightness", "red_green", "blue_yellow")
_NAN = float("nan")


@dataclass(frozen=True)
class Scene:
    """What the describing functions share of one clip."""

    observation: MotionObservation
    tracks: list[Track]
    fps: float
    gravity: float | None
    """Expected acceleration of a free fall in working pixels a frame squared, where scale and rate are known."""

    @property
    def frames(self) -> int:
        """T."""
        return len(self.observation.frames_table)

    @property
    def scale(self) -> float:
        """Pixels of the clip by working pixels."""
        return self.observation.scale


def object_events(scene: Scene) -> Iterator[Event]:
    """All events of moving things."""
    tracks = most_visible(scene.tracks)
    yield from ends(scene, backwards=False)
    yield from ends(scene, backwards=True)
    yield from passages(scene)
    flights = [(track, flight) for track in tracks for flight in track.flights]
    for track in tracks:
        yield from breaks(scene, track, tracks)
        yield from standstills(scene, track)
        yield from changes(scene, track)
        yield from crossings(scene, track)
        yield from object_flicker(scene, track)
        yield from trends(scene, track)
    for track, flight in flights:
        yield described_flight(scene, track, flight, flights)


def most_visible(tracks: Sequence[Track]) -> list[Track]:
    """The tracks worth describing: long, large, far from what noise makes."""
    weighed = sorted(tracks, key=lambda t: (-len(t) * np.sqrt(t.size) * np.median(t["contrast"]), t.number))
    return sorted([t for t in weighed if len(t) >= 5][:TRACKS], key=lambda t: t.number)


def tail(track: Track, column: str, rows: int = 5) -> Floats:
    """The last measured values of a column."""
    return track[column][-rows:]


def slope(values: Floats, times: Floats) -> float:
    """Least-squares slope; NaN below three values."""
    if len(values) < 3 or np.ptp(times) == 0:
        return _NAN
    centred = times - times.mean()
    return float((centred * (values - values.mean())).sum() / (centred**2).sum())


def look(track: Track, rows: slice) -> Floats:
    """(3,) median colour over some rows."""
    return np.median(np.stack([track[c][rows] for c in LOOKS], axis=1), axis=0)


def colour_distance(a: Floats, b: Floats) -> float:
    """Between two colours, lightness counting half: light changes more easily than paint."""
    return float(np.hypot(0.5 * (a[0] - b[0]), np.hypot(a[1] - b[1], a[2] - b[2])))


def leading_edge(track: Track, row: int, velocity: Floats) -> float:
    """Strongest coherent background edge on the sides that a track moves towards."""
    sides = (("edge_right" if velocity[0] > 0 else "edge_left"), ("edge_bottom" if velocity[1] > 0 else "edge_top"))
    weights = np.abs(velocity) / (np.abs(velocity).max() + 1e-9)
    return float(max(w * track[side][row] for side, w in zip(sides, weights, strict=True)))


def last_velocity(track: Track, rows: int = 4) -> Floats:
    """(2,) pixels a frame over the last rows."""
    near = slice(max(0, len(track) - rows), len(track))
    t = track["frame"][near]
    if len(t) < 2:
        return np.zeros(2)
    if len(t) == 2:
        return np.asarray((track.places[-1] - track.places[-2]) / (t[1] - t[0]))
    return np.array([slope(track.places[near, k], t) for k in (0, 1)])


def free_velocity(track: Track, rows: int = 8) -> Floats:
    """(2,) pixels a frame over the last rows in which a thing was seen whole.

    What goes behind something is seen less and less, and the centre of what is left lags behind.
    """
    whole = np.flatnonzero((track["area"] > 0.8 * np.median(track["area"])) & (track["divided"] == 0))[-rows:]
    if len(whole) < 3:
        return last_velocity(track)
    t = track["frame"][whole]
    return np.array([slope(track.places[whole, k], t) for k in (0, 1)])


def touching(track: Track, first: int, stop: int) -> float:
    """Share of some rows in which a thing was parted from something that it touches."""
    rows = track["divided"][max(0, first) : max(0, stop)]
    return float(rows.mean()) if rows.size else 0.0


def ends(scene: Scene, *, backwards: bool) -> Iterator[Event]:
    """Tracks that end before the clip does; backwards, those that begin after it."""
    tracks = scene.tracks if not backwards else tracks_of(scene.observation, backwards=True)
    last = scene.frames - 1
    candidates = [t for t in tracks if t.frames[-1] < last]
    candidates.sort(key=lambda t: (-len(t) * t.size, t.number))
    starts = tracks
    step = scene.observation.frame("grey_change")
    noise = float(np.nanmedian(scene.observation.frame("noise")))
    for track in candidates[:ENDS]:
        end = int(track.frames[-1])
        velocity = last_velocity(track)
        free = free_velocity(track)
        size, speed = track.size, float(np.hypot(*velocity))
        area = track["area"]
        steady = float(np.median(area[-8:-2])) if len(track) > 4 else float(np.median(area))
        border = track["border"]
        coming = [_border_then(scene, track, velocity, ahead) for ahead in (1, 2, 4)]
        partner = _partner(track, velocity, starts)
        ghost = _twin_end(track, tracks)
        real = last - end if backwards else end
        into = real if backwards else real + 1
        merged = track.merged_frames
        features = {
            "rows": float(len(track)),
            "seconds": (end - int(track.frames[0])) / scene.fps,
            "size": size / scene.observation.width,
            "contrast": float(np.median(tail(track, "contrast"))),
            "contrast_to_noise": float(np.median(tail(track, "contrast"))) / max(noise, 0.5),
            "contrast_last": ratio(float(track["contrast"][-1]), float(np.median(track["contrast"])), 1.0),
            "area_last": ratio(float(area[-1]), steady, 1.0),
            "area_slope": slope(np.log(tail(track, "area")), tail(track, "frame")),
            "area_unsteady": float(np.std(np.diff(np.log(area[-9:])))) if len(track) > 3 else _NAN,
            "speed": speed / size,
            "speed_pixels": speed,
            "speed_free": float(np.hypot(*free)) / size,
            "touching": touching(track, len(track) - 5, len(track)),
            "whole": float(np.median(tail(track, "area", 3))) / _largest(area),
            "border": float(border[-1]) / size,
            "border_1": coming[0] / size,
            "border_2": coming[1] / size,
            "border_4": coming[2] / size,
            "border_least": float(tail(track, "border").min()) / size,
            "others": float(track["others"][-1]) / size,
            "others_least": float(tail(track, "others").min()) / size,
            "merged": float(np.sum(merged > end - 8)),
            "ghost": float(np.median(tail(track, "ghost"))),
            "ghost_last": float(track["ghost"][-1]),
            "shadow": float(np.median(tail(track, "shadow"))),
            "fill": float(np.median(track["fill"])),
            "outline": float(np.median(track["outline"])),
            "outline_last": float(track["outline"][-1] - np.median(track["outline"])),
            "edge_ahead": leading_edge(track, -1, velocity) if len(track) > 1 else _NAN,
            "edge_any": float(max(track[f"edge_{s}"][-1] for s in ("left", "right", "top", "bottom"))),
            "edge_bottom": float(track["edge_bottom"][-1]),
            "step_ratio": ratio(step[into], around(step, into), 0.3) if 0 < into < scene.frames else _NAN,
            "together": float(sum(1 for o in tracks if o is not track and abs(o.frames[-1] - end) <= 1)),
            "left": (last - end) / scene.fps,
            "blobs": float(np.mean(scene.observation.frame("blobs"))),
            "moved": scene.observation.moved,
            "noise": noise,
            "fps": scene.fps,
            **partner,
            **ghost,
        }
        reach = max(1, round(0.08 * scene.fps))
        first, stop = (real - reach, real) if backwards else (real, real + reach)
        boxes = _end_boxes(scene, track, real, backwards=backwards)
        gradual = features["area_slope"] < -0.08
        kind = "appear" if backwards else ("no_reappearance" if gradual else "vanish")
        if partner["partner_gap"] <= 1 and partner["partner_colour"] < 15 and partner["partner_area"] < 0.5:
            kind = "teleport"
        start_end = (max(0, first), min(last, stop))
        yield Event("track_start" if backwards else "track_end", *start_end, boxes, features, kind)
        if not backwards and max(speed, float(np.hypot(*free))) > 0.02 * size:
            yield _hidden(scene, track, free, features)


def _hidden(scene: Scene, track: Track, velocity: Floats, features: dict[str, float]) -> Event:
    """A moving thing that is seen no more: the time in which it should come out again."""
    end, last = int(track.frames[-1]), scene.frames - 1
    stop = min(last, end + max(2, round(HIDDEN_SECONDS * scene.fps)))
    boxes = []
    for frame in np.unique(np.linspace(end + 1, stop, 5).round().astype(int)):
        moved = track.table[-1, 4:8] + np.tile(velocity * (frame - end), 2)
        x0, y0, x1, y1 = (round(float(v) * scene.scale, 1) for v in moved)
        boxes.append((int(frame), x0, y0, x1, y1))
    return Event("hidden", min(last, end + 1), stop, tuple(boxes), features, "no_reappearance")


def _border_then(scene: Scene, track: Track, velocity: Floats, ahead: int) -> float:
    """Distance of the box to the frame's border some frames on, if it went on as it does; below 0 outside."""
    row = track.table[-1]
    x0, y0, x1, y1 = row[4:8] + np.tile(velocity * ahead, 2)
    return float(min(x0, y0, scene.observation.width - x1, scene.observation.height - y1))


def _partner(track: Track, velocity: Floats, tracks: Sequence[Track]) -> dict[str, float]:
    """The track that most looks like this one's continuation, after it."""
    end = int(track.frames[-1])
    mine = look(track, slice(-6, None))
    best: tuple[float, dict[str, float]] | None = None
    for other in tracks:
        start = int(other.frames[0])
        if other is track or start < end - 1 or len(other) < 2:
            continue
        gap = start - end
        colour = colour_distance(mine, look(other, slice(None, 6)))
        area = abs(ratio(float(np.median(other["area"][:6])), float(np.median(tail(track, "area", 6))), 1.0))
        away = other.places[0] - track.places[-1]
        missed = away - velocity * gap
        cost = colour / 25 + area + 0.15 * gap + 0.1 * float(np.hypot(*missed)) / track.size
        if best is None or cost < best[0]:
            best = (
                cost,
                {
                    "partner_cost": cost,
                    "partner_gap": float(gap),
                    "partner_colour": colour,
                    "partner_area": area,
                    "partner_away": float(np.hypot(*away)) / track.size,
                    "partner_missed": float(np.hypot(*missed)) / track.size,
                    "partner_rows": float(len(other)),
                    "partner_border": float(other["border"][0]) / track.size,
                },
            )
    if best is not None:
        return best[1]
    names = ("cost", "gap", "colour", "area", "away", "missed", "rows", "border")
    return {f"partner_{name}": _NAN for name in names}


def _twin_end(track: Track, tracks: Sequence[Track]) -> dict[str, float]:
    """Another track that ends at the same time and place: what comes to rest where the background already shows it."""
    end = int(track.frames[-1])
    near = [
        (float(np.hypot(*(other.places[-1] - track.places[-1]))) / track.size, float(other["ghost"][-1]))
        for other in tracks
        if other is not track and abs(int(other.frames[-1]) - end) <= 2
    ]
    distance, ghost = min(near, default=(_NAN, _NAN))
    return {"twin": distance, "twin_ghost": ghost}


def _end_boxes(
    scene: Scene, track: Track, real: int, *, backwards: bool
) -> tuple[tuple[int, float, float, float, float], ...]:
    """The last box, in the frame where the track is seen last and in the next where it is missed."""
    x0, y0, x1, y1 = (round(float(v) * scene.scale, 1) for v in track.table[-1, 4:8])
    missing = max(0, real - 1) if backwards else min(scene.frames - 1, real + 1)
    return tuple((frame, x0, y0, x1, y1) for frame in sorted({real, missing}))


def passages(scene: Scene) -> Iterator[Event]:
    """A track that ends and the one that may be its continuation after a gap: behind something, perhaps."""
    width = scene.observation.width
    found: list[tuple[float, Event]] = []
    for track in scene.tracks:
        end = int(track.frames[-1])
        if len(track) < 4 or end >= scene.frames - 2:
            continue
        velocity = last_velocity(track, 5)
        speed = float(np.hypot(*velocity))
        for other in scene.tracks:
            start = int(other.frames[0])
            gap = start - end
            if other is track or len(other) < 4 or not 1 <= gap <= 1.6 * scene.fps:
                continue
            away = other.places[0] - track.places[-1]
            distance = float(np.hypot(*away))
            if distance > 0.6 * width or distance > 3 * track.size + 3 * speed * gap + 10:
                continue
            heading = float(away @ velocity) / (distance * speed + 1e-6)
            a, b = look(track, slice(-10, -1)), look(other, slice(1, 10))
            after = np.array([slope(other.places[:5, k], other["frame"][:5]) for k in (0, 1)])
            features = {
                "gap": float(gap),
                "gap_seconds": gap / scene.fps,
                "distance": distance / track.size,
                "heading": heading,
                "speed": speed / track.size,
                "slack": ratio(distance, speed * gap, 1.0),
                "speed_after": ratio(float(np.hypot(*after)), speed, 0.3),
                "turn": float(np.hypot(*(after - velocity))) / (speed + 0.3),
                "colour": colour_distance(a, b),
                "lightness": abs(float(a[0] - b[0])),
                "tint": float(np.hypot(*(a[1:] - b[1:]))),
                "area": ratio(_largest(other["area"]), _largest(track["area"]), 1.0),
                "elongation": _difference(track, other, "elongation"),
                "fill": _difference(track, other, "fill"),
                "outline": _difference(track, other, "outline"),
                "spread": _difference(track, other, "spread"),
                "own_colour": _own_spread(track),
                "own_area": float(np.std(np.log(track["area"]))),
                "rows_before": float(len(track)),
                "rows_after": float(len(other)),
                "edge_before": leading_edge(track, -1, velocity),
                "edge_after": leading_edge(other, 0, -after) if np.isfinite(after).all() else _NAN,
                "area_slope_before": slope(np.log(tail(track, "area")), tail(track, "frame")),
                "area_slope_after": slope(np.log(other["area"][:5]), other["frame"][:5]),
                "others_before": float(track["others"][-1]) / track.size,
                "others_after": float(other["others"][0]) / track.size,
                "border": min(float(track["border"][-1]), float(other["border"][0])) / track.size,
                "ghost": max(float(np.median(track["ghost"])), float(np.median(other["ghost"]))),
                "merged": float(track.merged_frames.size + other.merged_frames.size),
                "touching": max(touching(track, len(track) - 5, len(track)), touching(other, 0, 5)),
            }
            cost = features["colour"] / 25 + abs(features["area"]) + abs(features["slack"]) - heading
            boxes = track.boxes(end - 2, end, scene.scale) + other.boxes(start, start + 2, scene.scale)
            odd = features["colour"] > 18 or abs(features["area"]) > 0.6 or features["elongation"] > 0.35
            found.append((cost, Event("passage", end, start, boxes, features, "swap" if odd else "teleport")))
    yield from (event for _, event in sorted(found, key=lambda pair: pair[0])[:8])


def _largest(area: Floats) -> float:
    """An object's full area: the upper quartile, since parts of it may be hidden."""
    return float(np.percentile(area, 75))


def _difference(a: Track, b: Track, column: str) -> float:
    return abs(float(np.median(a[column]) - np.median(b[column])))


def _own_spread(track: Track) -> float:
    """How much a track's colour varies by itself."""
    colours = np.stack([track[c] for c in LOOKS], axis=1)
    return float(np.median(np.linalg.norm(colours - np.median(colours, axis=0), axis=1)))


def breaks(scene: Scene, track: Track, tracks: Sequence[Track]) -> Iterator[Event]:
    """The strongest breaks of a track's motion."""
    chosen = track.breaks[:BREAKS]
    floor = max((float(t["y"].max()) for t in tracks), default=0.0)
    for order, joint in enumerate(chosen):
        if joint.strength < 1.5:
            break
        yield _break(scene, track, joint, order, tracks, floor)


def _break(scene: Scene, track: Track, joint: Joint, order: int, tracks: Sequence[Track], floor: float) -> Event:
    row, frame, size = joint.row, joint.frame, track.size
    before, after = joint.before, joint.after
    fast, slow = float(np.hypot(*before)), float(np.hypot(*after))
    turn = after - before
    near = slice(max(0, row - 2), row + 2)
    jump = float(np.hypot(*joint.jump))
    along = float(joint.jump @ before) / (fast + 1e-6)
    step = scene.observation.frame("grey_change")
    rest = scene.observation.frame("unexplained")
    others = [
        (float(np.hypot(*(_place_at(t, frame) - track.places[row]))) / size, t)
        for t in tracks
        if t is not track and t.frames[0] <= frame <= t.frames[-1]
    ]
    distance, nearest = min(others, key=lambda pair: pair[0], default=(_NAN, None))
    push = _push(nearest, frame) if nearest is not None else None
    same = sum(1 for _, t in others if any(abs(j.frame - frame) <= 1 and j.strength > 5 for j in t.breaks[:BREAKS]))
    lows = [t.places[j.row, 1] for t in tracks for j in t.breaks[:BREAKS] if j is not joint and _is_bounce(j)]
    height = max(1.0, float(np.ptp(track["y"])))
    fall, rise = float(before[1]), float(-after[1])
    features = {
        "strength": joint.strength,
        "order": float(order),
        "jump": jump / size,
        "jump_to_step": ratio(jump, max(fast, slow), 0.5),
        "jump_to_noise": jump / track.noise,
        "jump_along": along / size,
        "turn": float(np.hypot(*turn)) / size,
        "turn_to_speed": float(np.hypot(*turn)) / (max(fast, slow) + 0.2),
        "turn_to_noise": float(np.hypot(*turn)) / track.noise,
        "turn_down": float(turn[1]) / (float(np.hypot(*turn)) + 1e-6),
        "cosine": float(before @ after) / (fast * slow + 1e-6),
        "speed_before": fast / size,
        "speed_after": slow / size,
        "speed_ratio": ratio(slow, fast, 0.2),
        "fall": fall / size,
        "rise": rise / size,
        "restitution": rise / fall if fall > 0.3 and rise > 0 else _NAN,
        "side_ratio": ratio(abs(float(after[0])), abs(float(before[0])), 0.2),
        "energy": ratio(slow**2, fast**2, 0.1),
        "bend_before": joint.bend_before / size,
        "bend_after": joint.bend_after / size,
        "bend_step": abs(joint.bend_after - joint.bend_before) / size,
        "misfit": joint.misfit / track.noise,
        "misfit_gain": ratio(joint.misfit_joined, joint.misfit, 0.1),
        "edge_bottom": float(track["edge_bottom"][near].max()),
        "edge_top": float(track["edge_top"][near].max()),
        "edge_side": float(max(track["edge_left"][near].max(), track["edge_right"][near].max())),
        "edge_ahead": leading_edge(track, row - 1, before),
        "above_lowest": (float(track["y"].max()) - float(track.places[row, 1])) / size,
        "above_floor": (floor - float(track.places[row, 1])) / scene.observation.height,
        "level_of_bounces": min((abs(y - track.places[row, 1]) / size for y in lows), default=_NAN),
        "height": height / size,
        "others": distance,
        "others_box": float(track["others"][near].min()) / size,
        "push": push if push is not None else _NAN,
        "exchange": _exchange(track, joint, nearest) if nearest is not None else _NAN,
        "touching": touching(track, row - 2, row + 2),
        "gap_ahead": _gap_ahead(track, row, before, others),
        "same_time": float(same),
        "border": float(track["border"][near].min()) / size,
        "area_step": abs(ratio(float(np.median(track["area"][row : row + 4])),
                               float(np.median(track["area"][max(0, row - 4) : row])), 1.0)),
        "area_unsteady": float(np.std(np.diff(np.log(track["area"][max(0, row - 5) : row + 5])))),
        "gap": float(track.frames[row] - track.frames[row - 1]),
        "merged": float(np.sum(np.abs(track.merged_frames - frame) < 6)),
        "rows": float(len(track)),
        "size": size / scene.observation.width,
        "from_ends": min(row, len(track) - row) / 6.0,
        "step_ratio": ratio(step[frame], around(step, frame), 0.3),
        "rest_ratio": ratio(rest[frame], around(rest, frame), 0.5),
        "held": float(np.nanmin(step[max(1, frame - 2) : frame + 2])),
        "contrast": float(np.median(track["contrast"])),
        "shadow": float(np.median(track["shadow"])),
        "ghost": float(np.median(track["ghost"])),
        "elongation": float(np.median(track["elongation"])),
        "noise": track.noise / size,
        "moved": scene.observation.moved,
        "fps": scene.fps,
    }  # fmt: skip
    if jump > 0.6 * size and jump > 1.2 * max(fast, slow):
        kind = "teleport"
    elif fall > 0.3 and rise > 1.02 * fall:
        kind = "energy_gain"
    else:
        kind = "velocity_jump"
    boxes = track.boxes(frame - 2, frame + 2, scene.scale)
    return Event("break", int(track.frames[row - 1]), frame, boxes, features, kind)


def _is_bounce(joint: Joint) -> bool:
    return bool(joint.before[1] > 0.3 and joint.after[1] < -0.1 and joint.strength > 4)


def _place_at(track: Track, frame: int) -> Floats:
    return np.asarray(track.places[int(np.argmin(np.abs(track.frames - frame)))])


def _push(other: Track, frame: int) -> float:
    """How strongly another track's velocity changes at about the same time, in its own noise deviations."""
    return max((j.strength for j in other.breaks[:BREAKS] if abs(j.frame - frame) <= 2), default=0.0)


def _exchange(track: Track, joint: Joint, other: Track) -> float:
    """What is left of a change of momentum after the other's, by the change itself.

    0 where one gives what the other takes. Masses are taken to grow with the area to the power of 3/2.
    """
    theirs = [j for j in other.breaks[:BREAKS] if abs(j.frame - joint.frame) <= 2]
    if not theirs:
        return 1.0
    strongest = max(theirs, key=lambda j: j.strength)
    mine = track.size**3 * (joint.after - joint.before)
    sum_of_both = mine + other.size**3 * (strongest.after - strongest.before)
    return float(np.hypot(*sum_of_both) / (np.hypot(*mine) + 1e-6))


def _gap_ahead(track: Track, row: int, velocity: Floats, others: Sequence[tuple[float, Track]]) -> float:
    """Sizes to the nearest other thing in the direction of motion; NaN where nothing lies there."""
    speed = float(np.hypot(*velocity))
    found = []
    for _, other in others:
        away = _place_at(other, int(track.frames[row])) - track.places[row]
        distance = float(np.hypot(*away))
        if speed > 0.1 and float(away @ velocity) > 0.5 * distance * speed:
            found.append(distance / (0.5 * (track.size + other.size)))
    return min(found, default=_NAN)


def described_flight(scene: Scene, track: Track, flight: Flight, flights: Sequence[tuple[Track, Flight]]) -> Event:
    """A stretch of smooth motion: does it fall as things fall?"""
    size = track.size
    rows = slice(flight.first, flight.stop)
    down, side = float(flight.acceleration[1]), float(flight.acceleration[0])
    height = scene.observation.height
    per_second = scene.fps**2
    others = [
        float(f.acceleration[1])
        for t, f in flights
        if f is not flight and f.deviation < 0.35 * abs(float(f.acceleration[1])) and f.extent[1] > t.size
    ]
    same = [
        float(f.acceleration[1])
        for t, f in flights
        if t is track and f is not flight and f.deviation < 0.35 * abs(float(f.acceleration[1]))
    ]
    usual = float(np.median(others)) if others else _NAN
    own = float(np.median(same)) if same else _NAN
    y = track["y"][rows]
    t = track["frame"][rows]
    frames = float(flight.end - flight.start + 1)
    features = {
        "frames": frames,
        "seconds": frames / scene.fps,
        "down": down * per_second / height,
        "down_certain": down / flight.deviation,
        "down_sizes": down * per_second / size,
        "side": side * per_second / height,
        "side_to_down": side / (abs(down) + flight.deviation),
        "curve": abs(down) * frames**2 / 8 / size,
        "curve_side": abs(side) * frames**2 / 8 / size,
        "extent": float(flight.extent[1]) / size,
        "extent_side": float(flight.extent[0]) / size,
        "extent_frame": float(flight.extent[1]) / height,
        "path": float(np.hypot(*flight.extent)) / size,
        "misfit": flight.misfit / track.noise,
        "misfit_size": flight.misfit / size,
        "apex": float(y.min() < min(y[0], y[-1]) - 0.3 * size),
        "valley": float(y.max() > max(y[0], y[-1]) + 0.3 * size),
        "velocity": float(flight.velocity[1]) / size,
        "velocity_side": float(flight.velocity[0]) / size,
        "speed_trend": slope(track.speed[rows] / size, t),
        "to_usual": ratio(max(down, 0.0), max(usual, 0.0), 0.02) if np.isfinite(usual) else _NAN,
        "to_own": ratio(max(down, 0.0), max(own, 0.0), 0.02) if np.isfinite(own) else _NAN,
        "to_gravity": ratio(max(down, 0.0), scene.gravity, 0.02) if scene.gravity else _NAN,
        "flights": float(len(flights)),
        "edge_bottom": float(np.median(track["edge_bottom"][rows])),
        "edge_bottom_least": float(track["edge_bottom"][rows].min()),
        "lowest": (height - float(np.median(track["y1"][rows]))) / height,
        "above_lowest": (float(track["y"].max()) - float(y.max())) / size,
        "others": float(np.median(track["others"][rows])) / size,
        "others_least": float(track["others"][rows].min()) / size,
        "touching": touching(track, flight.first, flight.stop),
        "first": float(flight.first == 0),
        "last": float(flight.stop == len(track)),
        "border": float(track["border"][rows].min()) / size,
        "ghost": float(np.median(track["ghost"][rows])),
        "shadow": float(np.median(track["shadow"][rows])),
        "size": size / scene.observation.width,
        "area_trend": slope(np.log(track["area"][rows]), t) * frames,
        "moved": scene.observation.moved,
        "rows": float(len(track)),
        "fps": scene.fps,
        "half_change": _half_change(track, flight) / (abs(down) + flight.deviation),
    }
    if down < -2 * flight.deviation:
        kind = "gravity_reversed"
    elif np.isfinite(usual) and 0 < down < 0.6 * usual:
        kind = "slow_fall"
    else:
        kind = "hover" if abs(down) < 2 * flight.deviation else "slow_fall"
    boxes = track.boxes(flight.start, flight.end, scene.scale)
    return Event("flight", flight.start, flight.end, boxes[:: max(1, len(boxes) // 12)], features, kind)


def _half_change(track: Track, flight: Flight) -> float:
    """Vertical acceleration of the later half minus that of the earlier, pixels a frame squared; 0 where too short."""
    middle = (flight.first + flight.stop) // 2
    halves = []
    for first, stop in ((flight.first, middle), (middle, flight.stop)):
        if stop - first < 5:
            return 0.0
        t = track["frame"][first:stop]
        halves.append(2 * float(np.polyfit(t - t.mean(), track["y"][first:stop], 2)[0]))
    return halves[1] - halves[0]


def standstills(scene: Scene, track: Track) -> Iterator[Event]:
    """Where a track that moves elsewhere stands still: on something, or in the air?"""
    least = max(4, round(0.2 * scene.fps))
    if len(track) < least + 2:
        return
    still = track.speed < max(0.25 * track.noise, 0.02 * track.size, 0.15)
    still &= np.isfinite(track.speed)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]])))
    found = [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= least]
    for first, stop in sorted(found, key=lambda run: run[0] - run[1])[:2]:
        rows = slice(first, stop)
        size = track.size
        came = float(np.nanmean(track.speed[max(0, first - 4) : first])) if first else _NAN
        went = float(np.nanmean(track.speed[stop : stop + 4])) if stop < len(track) else _NAN
        drop = float(np.median(track.places[max(0, first - 4) : first, 1])) - track.places[first, 1] if first else _NAN
        others = [
            t for t in scene.tracks if t is not track and t.frames[0] <= track.frames[stop - 1] >= track.frames[first]
        ]
        lowest = max((float(t["y1"].max()) for t in others), default=_NAN)
        features = {
            "frames": float(stop - first),
            "seconds": float(track.frames[stop - 1] - track.frames[first] + 1) / scene.fps,
            "speed_before": came / size,
            "speed_after": went / size,
            "came_down": -drop / size,
            "edge_bottom": float(np.median(track["edge_bottom"][rows])),
            "edge_sides": float(np.median(np.maximum(track["edge_left"][rows], track["edge_right"][rows]))),
            "above_lowest": (float(track["y"].max()) - float(np.median(track["y"][rows]))) / size,
            "below_highest": (float(np.median(track["y"][rows])) - float(track["y"].min())) / size,
            "above_bottom": (scene.observation.height - float(np.median(track["y1"][rows]))) / scene.observation.height,
            "above_others": (lowest - float(np.median(track["y1"][rows]))) / size,
            "others": float(np.median(track["others"][rows])) / size,
            "ghost": float(np.median(track["ghost"][rows])),
            "shadow": float(np.median(track["shadow"][rows])),
            "share": float(stop - first) / len(track),
            "at_start": float(first == 0),
            "at_end": float(stop >= len(track) - 1),
            "size": size / scene.observation.width,
            "border": float(track["border"][rows].min()) / size,
            "contrast": float(np.median(track["contrast"][rows])),
            "path": float(np.hypot(*np.ptp(track.places, axis=0))) / size,
            "moved": scene.observation.moved,
        }
        start, end = int(track.frames[first]), int(track.frames[stop - 1])
        boxes = track.boxes(start, end, scene.scale)
        yield Event("standstill", start, end, boxes[:: max(1, len(boxes) // 8)], features, "hover")


def changes(scene: Scene, track: Track) -> Iterator[Event]:
    """The moment at which a track's look changes most, for good: colour, size or shape."""
    side = 6
    if len(track) < 2 * 3 + 2:
        return
    colours = np.stack([track[c] for c in LOOKS], axis=1)
    area = np.log(track["area"])
    shape = np.stack([np.log(track["elongation"]), 2 * track["fill"], 2 * track["outline"]], axis=1)
    free = (track["border"] > 1) & (track["others"] > 1)
    best: tuple[float, int] = (-1.0, 0)
    for row in range(3, len(track) - 2):
        a, b = slice(max(0, row - side), row), slice(row, row + side)
        moved = np.median(colours[b], axis=0) - np.median(colours[a], axis=0)
        score = (
            float(np.linalg.norm(moved)) / 12
            + abs(float(np.median(area[b]) - np.median(area[a]))) / 0.35
            + float(np.linalg.norm(np.median(shape[b], axis=0) - np.median(shape[a], axis=0))) / 0.4
        )
        if score > best[0]:
            best = score, row
    row = best[1]
    a, b = slice(max(0, row - side), row), slice(row, row + side)
    inside = np.concatenate([colours[a] - np.median(colours[a], 0), colours[b] - np.median(colours[b], 0)])
    gains = scene.observation.frame("level")
    frame = int(track.frames[row])
    features = {
        "colour": colour_distance(np.median(colours[a], axis=0), np.median(colours[b], axis=0)),
        "lightness": abs(float(np.median(colours[b, 0]) - np.median(colours[a, 0]))),
        "tint": float(np.hypot(*(np.median(colours[b, 1:], axis=0) - np.median(colours[a, 1:], axis=0)))),
        "step": float(np.linalg.norm(colours[row] - colours[row - 1])),
        "within": float(np.median(np.linalg.norm(inside, axis=1))),
        "drift": float(np.linalg.norm(np.median(colours[-4:], 0) - np.median(colours[:4], 0))),
        "area": abs(float(np.median(area[b]) - np.median(area[a]))),
        "area_step": abs(float(area[row] - area[row - 1])),
        "area_within": float(np.median(np.abs(np.diff(area)))),
        "elongation": abs(float(np.median(shape[b, 0]) - np.median(shape[a, 0]))),
        "fill": abs(float(np.median(shape[b, 1]) - np.median(shape[a, 1]))) / 2,
        "outline": abs(float(np.median(shape[b, 2]) - np.median(shape[a, 2]))) / 2,
        "shape_within": float(np.median(np.abs(np.diff(shape, axis=0)))),
        "spread": abs(float(np.median(track["spread"][b]) - np.median(track["spread"][a]))),
        "free": float(np.mean(free[a.start : b.stop])),
        "others": float(track["others"][a.start : b.stop].min()) / track.size,
        "border": float(track["border"][a.start : b.stop].min()) / track.size,
        "gap": float(track.frames[row] - track.frames[row - 1]),
        "touching": touching(track, a.start, b.stop),
        "merged": float(np.sum(np.abs(track.merged_frames - frame) < 8)),
        "jump": float(np.hypot(*(track.places[row] - track.places[row - 1]))) / track.size,
        "level": abs(float(gains[frame] - gains[max(0, frame - 2)])),
        "rows": float(len(track)),
        "from_ends": float(min(row, len(track) - row)),
        "size": track.size / scene.observation.width,
        "shadow": abs(float(np.median(track["shadow"][b]) - np.median(track["shadow"][a]))),
        "ghost": abs(float(np.median(track["ghost"][b]) - np.median(track["ghost"][a]))),
        "contrast": float(np.median(track["contrast"])),
        "moved": scene.observation.moved,
    }
    start = int(track.frames[row - 1])
    yield Event("change", start, frame, track.boxes(frame - 3, frame + 3, scene.scale), features, "swap")


def crossings(scene: Scene, track: Track) -> Iterator[Event]:
    """Moments at which a straight background edge goes in at a track's front and comes out at its back."""
    if len(track) < 8:
        return
    found: list[tuple[float, Event]] = []
    for axis, (low, high) in enumerate((("edge_left", "edge_right"), ("edge_top", "edge_bottom"))):
        extent = track["x1"] - track["x0"] if axis == 0 else track["y1"] - track["y0"]
        velocity = np.gradient(track.places[:, axis], track["frame"])
        for row in range(2, len(track) - 2):
            pace = float(velocity[row])
            if abs(pace) < 0.3:
                continue
            ahead, behind = (high, low) if pace > 0 else (low, high)
            front = float(track[ahead][row])
            later = int(np.searchsorted(track["frame"], track["frame"][row] + extent[row] / abs(pace)))
            if front < 4 or later >= len(track) - 1 or front < track[ahead][max(0, row - 2) : row + 3].max():
                continue
            back = float(track[behind][max(row, later - 2) : later + 3].max())
            after = float(np.median(velocity[later : later + 4]))
            before = float(np.median(velocity[max(0, row - 4) : row + 1]))
            rows = slice(row, later + 1)
            features = {
                "front": front,
                "back": back,
                "kept": ratio(back, front, 1.0),
                "axis": float(axis),
                "down": float(axis == 1 and pace > 0),
                "pace": abs(pace) / track.size,
                "pace_kept": after / before if abs(before) > 0.2 else _NAN,
                "area_least": ratio(float(track["area"][rows].min()), float(np.median(track["area"])), 1.0),
                "area_after": ratio(float(track["area"][later]), float(track["area"][row]), 1.0),
                "missing": float(track.frames[later] - track.frames[row] - (later - row)),
                "contrast": float(np.median(track["contrast"])),
                "size": track.size / scene.observation.width,
                "strength": max((j.strength for j in track.breaks[:6] if row - 2 <= j.row <= later + 2), default=0.0),
                "others": float(track["others"][rows].min()) / track.size,
                "above_lowest": (float(track["y"].max()) - float(track["y"][row])) / track.size,
                "border": float(track["border"][rows].min()) / track.size,
                "moved": scene.observation.moved,
            }
            start, end = int(track.frames[row]), int(track.frames[later])
            boxes = track.boxes(start, end, scene.scale)
            event = Event("edge_crossing", start, end, boxes[:: max(1, len(boxes) // 8)], features, "pass_through")
            found.append((-min(front, back), event))
    yield from (event for _, event in sorted(found, key=lambda pair: pair[0])[:2])


def object_flicker(scene: Scene, track: Track) -> Iterator[Event]:
    """How restless a track's own colour is."""
    if len(track) < 8:
        return
    colours = np.stack([track[c] for c in LOOKS], axis=1)
    second = np.linalg.norm(np.diff(colours, 2, axis=0), axis=1)
    first = np.diff(colours, axis=0)
    turns = (first[1:] * first[:-1]).sum(1) < 0
    loud = np.flatnonzero(second > max(6.0, 0.4 * second.max()))
    area = np.diff(np.log(track["area"]), 2)
    gains = np.abs(np.diff(np.log(scene.observation.frame("level") + 1), 2))
    tint = np.linalg.norm(np.diff(colours[:, 1:], 2, axis=0), axis=1)
    first_row, last_row = (int(loud.min()), int(loud.max()) + 2) if loud.size else (0, len(track) - 1)
    start, end = int(track.frames[first_row]), int(track.frames[min(last_row, len(track) - 1)])
    boxes = track.boxes(start, end, scene.scale)
    yield Event(
        "object_flicker",
        start,
        end,
        boxes[:: max(1, len(boxes) // 8)],
        {
            "largest": float(second.max()),
            "mean": float(second.mean()),
            "median": float(np.median(second)),
            "tint": float(tint.mean()),
            "turns": float(np.mean(turns)),
            "loud": float(loud.size) / len(track),
            "area": float(np.median(np.abs(area))),
            "area_mean": float(np.mean(np.abs(area))),
            "whole": float(np.mean(gains)) if gains.size else _NAN,
            "spread": float(np.median(track["spread"])),
            "speed": float(np.nanmedian(track.speed)) / track.size,
            "others": float(np.percentile(track["others"], 20)) / track.size,
            "touching": touching(track, 0, len(track)),
            "rows": float(len(track)),
            "size": track.size / scene.observation.width,
            "elongation": float(np.median(track["elongation"])),
            "noise": float(np.nanmedian(scene.observation.frame("noise"))),
            "moved": scene.observation.moved,
        },
        "flicker",
    )


def trends(scene: Scene, track: Track) -> Iterator[Event]:
    """What only time's direction tells: bounces that rise, rolling that gains speed, rest that ends by itself."""
    if len(track) < 10:
        return
    size = track.size
    bounces = sorted((j for j in track.breaks[:8] if _is_bounce(j)), key=lambda j: j.row)
    springs = [float(-j.after[1] / j.before[1]) for j in bounces]
    tops = [float(track["y"][a.row : b.row].min()) for a, b in pairwise(bounces) if b.row > a.row]
    pace = track.speed
    t = track["frame"]
    third = max(3, len(track) // 3)
    across = np.abs(np.gradient(track["x"], t))
    early, late = float(np.nanmedian(across[:third])), float(np.nanmedian(across[-third:]))
    features = {
        "bounces": float(len(bounces)),
        "spring_mean": float(np.mean(springs)) if springs else _NAN,
        "spring_largest": max(springs, default=_NAN),
        "spring_least": min(springs, default=_NAN),
        "tops_rise": (tops[0] - tops[-1]) / size if len(tops) > 1 else _NAN,
        "highest_late": _where_highest(track),
        "speed_slope": slope(pace / size, t / scene.fps),
        "side_late": ratio(late, early, 0.1),
        "still_start": float(np.nanmedian(pace[:4])) / size,
        "still_end": float(np.nanmedian(pace[-4:])) / size,
        "height": float(np.ptp(track["y"])) / size,
        "width": float(np.ptp(track["x"])) / size,
        "first_height": (float(track["y"].max()) - float(track["y"][0])) / size,
        "last_height": (float(track["y"].max()) - float(track["y"][-1])) / size,
        "rows": float(len(track)),
        "seconds": float(t[-1] - t[0]) / scene.fps,
        "border": float(track["border"].min()) / size,
        "edge_bottom": float(np.median(track["edge_bottom"])),
        "size": size / scene.observation.width,
        "moved": scene.observation.moved,
        "strength": max((j.strength for j in track.breaks[:4]), default=_NAN),
        "others": float(np.percentile(track["others"], 20)) / size,
        "touching": touching(track, 0, len(track)),
    }
    boxes = track.boxes(int(track.frames[0]), int(track.frames[-1]), scene.scale)
    start, end = int(track.frames[0]), int(track.frames[-1])
    yield Event("trend", start, end, boxes[:: max(1, len(boxes) // 8)], features, "time_reversed")


def _where_highest(track: Track) -> float:
    """When a track is at its highest, 0 at its first row to 1 at its last."""
    return float(np.argmin(track["y"])) / (len(track) - 1)
