"""Moving things in one frame (blobs), and the same thing from frame to frame (tracks).

Tracks are made with open gates: whether an end, a jump or a change is suspicious is decided later, from numbers, by a
learned layer, and never by a gate here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vidbench_metrics.physics.background import Difference, Image, gradient
from vidbench_metrics.physics.camera import Similarity, apply, inverse
from vidbench_metrics.physics.segments import Foretold, Segment, colour_bins, histogram, segments

LEAST_AREA = 11
"""Pixels of the smallest blob, at the working size."""
LEAST_SHARE = 0.00018
"""Its least share of the frame."""
MOST_BLOBS = 24
"""Blobs of a frame that are followed, the largest first."""
GAP = 6
"""Frames that a track survives without its blob."""
MERGED_GAP = 20
"""Frames that a track survives inside another's blob."""
REACH = 2.5
"""Gate of the assignment in object sizes, beyond what its speed explains."""
REACH_KNOWN = 1.2
"""The same for a track whose speed is known."""
UNLIKE_AREA = 1.0
"""Logarithm of the areas' ratio from which a blob further away than an object's size is another thing."""
UNLIKE_COLOUR = 45.0
"""The same for the distance of colours."""
NOBODY = 1e6

COLUMNS = (
    "track", "frame", "x", "y", "x0", "y0", "x1", "y1", "area", "lightness", "red_green", "blue_yellow", "spread",
    "contrast", "fill", "elongation", "angle", "outline", "ghost", "shadow", "border", "others", "merged",
    "edge_left", "edge_right", "edge_top", "edge_bottom", "divided",
)  # fmt: skip
"""What is known of a track in a frame; see `Blob`. `merged` is 1 where the place is foretold, not measured, and
`divided` 1 where its pixels were parted from those of something that it touches."""


@dataclass(slots=True)
class Blob:
    """One connected moving thing in one frame, at the working size."""

    x: float
    """Centre on the canvas, where the camera stands still."""
    y: float
    frame_x: float
    """Centre in the frame."""
    frame_y: float
    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in the frame's own pixels, ends exclusive."""
    area: float
    """Pixels of the frame."""
    lightness: float
    """Mean L*a*b* colour over the inner pixels, 0 to 255 each (OpenCV's 8-bit scale)."""
    red_green: float
    blue_yellow: float
    spread: float
    """Standard deviation of the lightness."""
    contrast: float
    """Mean difference from the background, in grey levels."""
    fill: float
    """Area by the box's."""
    elongation: float
    """Long axis by short axis of the ellipse with equal moments, at least 1."""
    angle: float
    """Of the long axis, radians."""
    outline: float
    """Area by its convex hull's, 0 to 1."""
    ghost: float
    """Gradient along its outline in the background minus that in the frame, by their sum: near 1 where the background
    still shows a thing that has left, near -1 where the frame shows a thing that has come."""
    shadow: float
    """Share of its pixels that a shadow would explain."""
    border: float
    """Distance of the box to the frame's border in pixels, 0 where it touches."""
    others: float
    """Distance to the nearest other blob's box in pixels; the frame's width where there is none."""
    edges: tuple[float, float, float, float]
    """Coherent straight edge of the background just outside its left, right, top and bottom side: mean gradient across
    the side, in grey levels a pixel, of one sign."""
    segment: Segment
    colours: NDArray[np.float64]
    """(bins,) histogram of its colours, as `segments.histogram`."""


def blobs(frame: Image, seen: Difference, to_canvas: Similarity, foretold: Sequence[Foretold] = ()) -> list[Blob]:
    """The moving things of a frame, the largest first.

    Args:
        frame: (h, w, 3) uint8 RGB.
        seen: the frame against its background.
        to_canvas: where the frame lies on the background.
        foretold: what the tracks so far expect to see, from `Tracker.foretold`.
    """
    if not seen.mask.any():
        return []
    height, width = seen.mask.shape
    least = max(LEAST_AREA, LEAST_SHARE * seen.mask.size)
    lab = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2LAB), np.uint8)
    bins = colour_bins(lab)
    parts = segments(seen.mask, bins, foretold, least=least)
    parts.sort(key=lambda part: (-int(part.mask.sum()), part.top, part.left))
    grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
    expected = np.asarray(cv2.cvtColor(seen.expected, cv2.COLOR_RGB2GRAY), np.uint8)
    found: list[Blob] = []
    for part in parts[:MOST_BLOBS]:
        h, w = part.mask.shape
        box = _Patch(part.left, part.top, w, h, width, height)
        own = np.zeros((box.rows.stop - box.rows.start, box.columns.stop - box.columns.start), np.uint8)
        y, x = part.top - box.rows.start, part.left - box.columns.start
        own[y : y + h, x : x + w] = part.mask
        colours = histogram(bins[part.top : part.top + h, part.left : part.left + w], part.mask)
        found.append(_blob(lab, grey, expected, seen, own, box, to_canvas, part, colours))
    found = [blob for blob in found if not _is_shadow(blob)]
    for blob in found:
        gaps = [_gap(blob.box, other.box) for other in found if other is not blob]
        blob.others = min(gaps, default=float(width))
    return found


@dataclass(frozen=True, slots=True)
class _Patch:
    """A blob's surroundings: its box and four pixels around."""

    left: int
    top: int
    w: int
    h: int
    width: int
    height: int

    @property
    def rows(self) -> slice:
        return slice(max(0, self.top - 4), min(self.height, self.top + self.h + 4))

    @property
    def columns(self) -> slice:
        return slice(max(0, self.left - 4), min(self.width, self.left + self.w + 4))


def _blob(
    lab: Image,
    grey: NDArray[np.uint8],
    expected: NDArray[np.uint8],
    seen: Difference,
    own: NDArray[np.uint8],
    patch: _Patch,
    to_canvas: Similarity,
    segment: Segment,
    colours: NDArray[np.float64],
) -> Blob:
    rows, columns = patch.rows, patch.columns
    area = float(cv2.countNonZero(own))
    shadow = float(np.count_nonzero(seen.shadow[rows, columns][own > 0])) / area
    body = own
    if 0.15 < shadow < 0.75:
        # The thing itself without the shadow that hangs on it.
        lit = (own & (seen.shadow[rows, columns] == 0)).astype(np.uint8)
        lit = np.asarray(cv2.morphologyEx(lit, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
        if cv2.countNonZero(lit) >= max(LEAST_AREA, 0.2 * area):
            body = lit
    inner = cv2.erode(body, np.ones((3, 3), np.uint8))
    if cv2.countNonZero(inner) < 5:
        inner = body
    mean, deviation = cv2.meanStdDev(np.ascontiguousarray(lab[rows, columns]), mask=inner)
    moments = cv2.moments(body, binaryImage=True)
    body_area = moments["m00"]
    cx, cy = moments["m10"] / body_area, moments["m01"] / body_area
    elongation, angle = _ellipse(moments)
    x0, y0, w, h = cv2.boundingRect(body)
    contours, _ = cv2.findContours(body, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = sum(cv2.contourArea(cv2.convexHull(c)) + 0.5 * len(cv2.convexHull(c)) for c in contours)
    rim = cv2.morphologyEx(body, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    in_frame, in_ground = gradient(grey[rows, columns]), gradient(expected[rows, columns])
    a, b = float(in_frame[rim].mean()), float(in_ground[rim].mean())
    left, top = columns.start + x0, rows.start + y0
    box = (float(left), float(top), float(left + w), float(top + h))
    place = apply(to_canvas, np.array([[columns.start + cx, rows.start + cy]]))[0]
    border = min(box[0], box[1], patch.width - box[2], patch.height - box[3])
    return Blob(
        x=float(place[0]),
        y=float(place[1]),
        frame_x=float(columns.start + cx),
        frame_y=float(rows.start + cy),
        box=box,
        area=float(body_area),
        lightness=float(mean[0, 0]),
        red_green=float(mean[1, 0]),
        blue_yellow=float(mean[2, 0]),
        spread=float(deviation[0, 0]),
        contrast=float(seen.levels[rows, columns][body > 0].mean()),
        fill=float(body_area) / (w * h),
        elongation=elongation,
        angle=angle,
        outline=min(1.0, float(body_area) / max(1.0, float(hull))),
        ghost=(b - a) / (a + b + 1e-3),
        shadow=shadow,
        border=float(border),
        others=float(patch.width),
        edges=_edges(expected, box),
        segment=segment,
        colours=colours,
    )


def _ellipse(moments: dict[str, float]) -> tuple[float, float]:
    area = moments["m00"]
    xx, yy, xy = moments["mu20"] / area + 1 / 12, moments["mu02"] / area + 1 / 12, moments["mu11"] / area
    middle, half = (xx + yy) / 2, float(np.hypot((xx - yy) / 2, xy))
    short = max(middle - half, 1 / 12)
    return float(np.sqrt((middle + half) / short)), 0.5 * float(np.arctan2(2 * xy, xx - yy))


def _edges(ground: NDArray[np.uint8], box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """See `Blob.edges`; 0 for a side at the frame's border."""
    height, width = ground.shape
    x0, y0, x1, y1 = (int(v) for v in box)
    rows = ground[max(0, y0) : y1].astype(np.float32)
    columns = ground[:, max(0, x0) : x1].astype(np.float32)

    def across(strip: NDArray[np.float32]) -> float:
        # Steps from pixel to pixel across the side, averaged along it: texture cancels, a straight edge does not.
        if strip.shape[1] < 3 or strip.shape[0] < 2:
            return 0.0
        steps = strip[:, 2:] - strip[:, :-2]
        signed = np.abs(steps.mean(0))
        coherent = signed / (np.abs(steps).mean(0) + 1.0)
        return float((signed * coherent).max()) / 2

    left = across(rows[:, max(0, x0 - 5) : x0 + 2])
    right = across(rows[:, x1 - 2 : min(width, x1 + 5)])
    above = across(columns[max(0, y0 - 5) : y0 + 2].T)
    below = across(columns[y1 - 2 : min(height, y1 + 5)].T)
    return left, right, above, below


def _is_shadow(blob: Blob) -> bool:
    """A thing that is nothing but darkened background with a soft outline."""
    return blob.shadow > 0.85 and blob.contrast < 60 and blob.ghost > -0.55


def _gap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    dx = max(0.0, max(a[0], b[0]) - min(a[2], b[2]))
    dy = max(0.0, max(a[1], b[1]) - min(a[3], b[3]))
    return float(np.hypot(dx, dy))


@dataclass(slots=True)
class _Track:
    number: int
    rows: list[tuple[float, ...]] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    vx: float = 0.0
    vy: float = 0.0
    area: float = 0.0
    colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    missed: int = 0
    length: int = 0
    mask: NDArray[np.uint8] | None = None
    """Outline when last seen free of others."""
    offset: tuple[float, float] = (0.0, 0.0)
    """From the centre of the thing, in the frame, to the mask's first column and row."""
    colours: NDArray[np.float64] | None = None

    @property
    def size(self) -> float:
        return max(3.0, float(np.sqrt(self.area)))


class Tracker:
    """Follows blobs from frame to frame; one a clip."""

    def __init__(self) -> None:
        self._live: list[_Track] = []
        self._done: list[_Track] = []
        self._made = 0

    def rebase(self, move: Similarity | None) -> None:
        """Take the live tracks to a new canvas; None where there is no way (a cut), which ends them all."""
        if move is None:
            self._done += self._live
            self._live = []
            return
        for track in self._live:
            track.x, track.y = (float(v) for v in apply(move, np.array([[track.x, track.y]]))[0])

    def foretold(self, to_canvas: Similarity) -> list[Foretold]:
        """What the tracks expect to see in the next frame.

        Args:
            to_canvas: where that frame lies on the background.
        """
        tracks = [t for t in self._live if t.mask is not None and t.colours is not None and t.length >= 2]
        if not tracks:
            return []
        places = np.array([[t.x + t.vx, t.y + t.vy] for t in tracks])
        return [
            Foretold(
                t.number,
                round(float(x + t.offset[0])),
                round(float(y + t.offset[1])),
                t.mask,
                t.colours,
                float(t.mask.sum()),
            )
            for t, (x, y) in zip(tracks, apply(inverse(to_canvas), places), strict=True)
            if t.mask is not None and t.colours is not None
        ]

    def push(self, frame: int, found: list[Blob]) -> None:
        """Take the blobs of the next frame."""
        live = self._live
        pairs: list[tuple[int, int]] = []
        if live and found:
            costs = np.array([[_cost(track, blob) for blob in found] for track in live])
            rows, columns = linear_sum_assignment(costs)
            pairs = [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if costs[i, j] < NOBODY / 2]
        taken = {j for _, j in pairs}
        matched = {i for i, _ in pairs}
        for i, j in pairs:
            _measure(live[i], frame, found[j])
        for i, track in enumerate(live):
            if i not in matched:
                host = _host(track, found)
                track.x, track.y = track.x + track.vx, track.y + track.vy
                track.missed += 1
                if host is not None:
                    track.rows.append(_row(track.number, frame, host, merged=True, at=(track.x, track.y)))
        for j, blob in enumerate(found):
            if j not in taken:
                self._made += 1
                track = _Track(self._made - 1)
                _measure(track, frame, blob)
                live.append(track)
        limit = {id(t): MERGED_GAP if t.rows and t.rows[-1][_MERGED] else GAP for t in live}
        self._done += [t for t in live if t.missed > limit[id(t)]]
        self._live = [t for t in live if t.missed <= limit[id(t)]]

    def table(self) -> NDArray[np.float64]:
        """(N, len(COLUMNS)) all tracks of at least two frames so far, by track and frame; numbered anew from 0.

        What a track held inside others' blobs after its last measurement is left out: it was lost there.
        """
        tracks = sorted(self._done + self._live, key=lambda t: t.number)
        kept: list[NDArray[np.float64]] = []
        for track in tracks:
            rows = np.array(track.rows)
            measured = np.flatnonzero(rows[:, _MERGED] == 0)
            rows = rows[: measured[-1] + 1]
            if len(measured) >= 2:
                rows[:, 0] = len(kept)
                kept.append(rows)
        return np.concatenate(kept) if kept else np.zeros((0, len(COLUMNS)))


_MERGED = COLUMNS.index("merged")


def _row(number: int, frame: int, blob: Blob, *, merged: bool, at: tuple[float, float]) -> tuple[float, ...]:
    return (
        float(number), float(frame), at[0], at[1], *blob.box, blob.area, blob.lightness, blob.red_green,
        blob.blue_yellow, blob.spread, blob.contrast, blob.fill, blob.elongation, blob.angle, blob.outline, blob.ghost,
        blob.shadow, blob.border, blob.others, float(merged), *blob.edges,
        float(blob.segment.divided),
    )  # fmt: skip


def _measure(track: _Track, frame: int, blob: Blob) -> None:
    if track.length:
        span = track.missed + 1
        # Where the track was lost its place was foretold: the velocity is over the whole span.
        start_x, start_y = track.rows[-1][2], track.rows[-1][3]
        if track.missed:
            last = next(row for row in reversed(track.rows) if not row[_MERGED])
            start_x, start_y, span = last[2], last[3], frame - int(last[1])
        vx, vy = (blob.x - start_x) / span, (blob.y - start_y) / span
        blend = 0.7 if track.length > 1 else 1.0
        track.vx, track.vy = blend * vx + (1 - blend) * track.vx, blend * vy + (1 - blend) * track.vy
    track.x, track.y, track.area = blob.x, blob.y, blob.area
    track.colour = blob.lightness, blob.red_green, blob.blue_yellow
    if not blob.segment.divided or track.mask is None:
        mean = blob.colours if track.colours is None else 0.7 * track.colours + 0.3 * blob.colours
        track.colours, track.mask = mean, blob.segment.mask
        centre = (blob.frame_x, blob.frame_y)
        track.offset = blob.segment.left - centre[0], blob.segment.top - centre[1]
    track.missed = 0
    track.length += 1
    track.rows.append(_row(track.number, frame, blob, merged=False, at=(blob.x, blob.y)))


def _cost(track: _Track, blob: Blob) -> float:
    if blob.segment.track is not None and blob.segment.track != track.number:
        return NOBODY
    dx, dy = blob.x - track.x - track.vx, blob.y - track.y - track.vy
    distance = float(np.hypot(dx, dy))
    speed = float(np.hypot(track.vx, track.vy))
    size = max(track.size, float(np.sqrt(blob.area)))
    reach = (REACH_KNOWN if track.length >= 4 else REACH) * size + speed + 3.0 + 1.5 * track.missed
    if track.length == 1:
        reach += 2 * size  # nothing is known of its speed
    growth = abs(float(np.log(blob.area / max(track.area, 1.0))))
    colour = float(np.linalg.norm(np.subtract((blob.lightness, blob.red_green, blob.blue_yellow), track.colour)))
    if distance > reach or (distance > size and (growth > UNLIKE_AREA or colour > UNLIKE_COLOUR)):
        return NOBODY
    return distance / reach + 0.25 * min(growth, 3.0) + 0.35 * min(colour / 40.0, 2.0) + 0.05 * track.missed


def _host(track: _Track, found: list[Blob]) -> Blob | None:
    """The blob that the lost track's foretold box lies in."""
    # Boxes are in the frame and places on the canvas: compare by where the blobs' own centres are.
    x, y = track.x + track.vx, track.y + track.vy
    for blob in found:
        half_w, half_h = (blob.box[2] - blob.box[0]) / 2, (blob.box[3] - blob.box[1]) / 2
        if abs(x - blob.x) <= half_w + 2 and abs(y - blob.y) <= half_h + 2 and blob.area > 1.15 * track.area:
            return blob
    return None
