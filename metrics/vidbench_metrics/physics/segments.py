"""Which pixels of the moving mask belong to which thing: connected parts, joined and parted by what is followed.

One thing may fall apart into several connected parts (it looks like what is behind it in places), and several things
that touch make one. The tracks of the frames before know what their things looked like and where they should be now:
parts that lie within one foretold outline are joined, a part that several foretold outlines claim is divided among
them, pixel by pixel, by distance to the outlines and by colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.uint8]

CLAIM = 0.3
"""Share of a foretold outline that must lie on a part for its track to claim it."""
JOIN = 0.6
"""Share of a part that must lie in a foretold outline to be joined with that outline's other parts."""
LEFT_OVER = 1.5
"""Times its track's area from which a part is searched for something else that hangs on it."""
FAR = 3.0
"""Pixels outside the foretold outline from which a pixel may be something else."""
LEAST_PIECE = 0.25
"""Share of a track's area that its piece of a divided part must have to count as seen."""
COLOUR_WEIGHT = 0.8
"""Of a colour's unlikeliness, in nats, against half the squared distance in units of `REACH`."""
REACH = 3.0
"""Pixels of distance to the foretold outline that weigh as one standard deviation."""
BINS = (6, 9, 9)
"""Of the colour histogram, over L*, a* and b*."""
_FIRST = (0, 74, 74)
_WIDTH = (43, 12, 12)
_BIN_COUNT = BINS[0] * BINS[1] * BINS[2]


@dataclass(frozen=True, slots=True)
class Foretold:
    """What a track expects to see in the next frame."""

    track: int
    left: int
    """Where its mask's first column lies in the frame; may be outside."""
    top: int
    mask: Mask
    """(h, w) 1 inside the outline, as last seen free of others."""
    colours: NDArray[np.float64]
    """(bins,) histogram, sum 1."""
    area: float


@dataclass(frozen=True, slots=True)
class Segment:
    """The pixels of one thing."""

    left: int
    top: int
    mask: Mask
    """(h, w) 1 inside."""
    track: int | None
    """The track whose piece it is; None where nobody or a single track claims it."""
    divided: bool
    """Whether it was cut out of a part that several things share."""


def colour_bins(lab: Image) -> NDArray[np.int64]:
    """The histogram bin of each pixel.

    Args:
        lab: (..., 3) uint8 L*a*b* in OpenCV's 8-bit scale.
    """
    place = np.zeros(lab.shape[:-1], np.int64)
    for channel in range(3):
        step = (lab[..., channel].astype(np.int64) - _FIRST[channel]) // _WIDTH[channel]
        place = place * BINS[channel] + np.clip(step, 0, BINS[channel] - 1)
    return place


def histogram(bins: NDArray[np.int64], mask: Mask) -> NDArray[np.float64]:
    """(bins,) share of the mask's pixels in each bin."""
    counts = np.bincount(bins[mask > 0], minlength=_BIN_COUNT).astype(np.float64)
    return counts / max(1.0, float(counts.sum()))


def segments(mask: Mask, bins: NDArray[np.int64], foretold: Sequence[Foretold], *, least: float) -> list[Segment]:
    """Part the mask of moving pixels into things.

    Args:
        mask: (h, w) nonzero where something moves.
        bins: (h, w) of `colour_bins`.
        foretold: what the tracks expect, in the same frame.
        least: pixels of the smallest thing.

    Returns:
        The things, in no order that means anything, but always the same for equal input.
    """
    count, found_labels, found_stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    labels, stats = np.asarray(found_labels, np.int32), np.asarray(found_stats, np.int32)
    areas = stats[:, cv2.CC_STAT_AREA]
    seen = [_on(labels, hint) for hint in foretold]
    owners: dict[int, list[int]] = {}
    for number, (hint, labels_under) in enumerate(zip(foretold, seen, strict=True)):
        under = np.bincount(labels_under, minlength=count)
        under[0] = 0
        inside = float(hint.mask.sum())
        best = int(under.argmax())
        if under[best] == 0:
            continue
        claimed = {int(i) for i in np.flatnonzero(under >= CLAIM * inside)} | {best}
        claimed |= {int(i) for i in np.flatnonzero((under >= JOIN * areas) & (areas >= 3))} - {0}
        for part in claimed:
            owners.setdefault(part, []).append(number)
    joined = _joined(count, owners)
    made: list[Segment] = []
    for group in joined:
        area = int(areas[group].sum())
        claims = sorted({number for part in group for number in owners.get(part, [])})
        if area < least:
            continue
        left, top, own = _cut(labels, stats, group)
        # A claim counts for parting only where a good share of the outline is really there.
        strong = [n for n in claims if np.isin(seen[n], group).sum() >= CLAIM * float(foretold[n].mask.sum())]
        hints = [foretold[n] for n in strong]
        alone = len(hints) == 1 and area > LEFT_OVER * hints[0].area + least
        if len(hints) > 1 or alone:
            rows, columns = slice(top, top + own.shape[0]), slice(left, left + own.shape[1])
            made += _divided(left, top, own, bins[rows, columns], hints, least)
        else:
            made.append(Segment(left, top, own, None, divided=False))
    return made


def _on(labels: NDArray[np.int32], hint: Foretold) -> NDArray[np.int32]:
    """Labels of the frame under a foretold outline, as far as that lies in the frame."""
    height, width = labels.shape
    h, w = hint.mask.shape
    rows, columns = (
        slice(max(0, hint.top), min(height, hint.top + h)),
        slice(max(0, hint.left), min(width, hint.left + w)),
    )
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return np.zeros(0, np.int32)
    own = hint.mask[rows.start - hint.top : rows.stop - hint.top, columns.start - hint.left : columns.stop - hint.left]
    return np.asarray(labels[rows, columns][own > 0])


def _joined(count: int, owners: dict[int, list[int]]) -> list[list[int]]:
    """Groups of parts: those that one track claims belong together."""
    group = list(range(count))

    def root(part: int) -> int:
        while group[part] != part:
            part = group[part]
        return part

    first: dict[int, int] = {}
    for part in sorted(owners):
        for number in owners[part]:
            if number in first:
                group[root(part)] = root(first[number])
            else:
                first[number] = part
    found: dict[int, list[int]] = {}
    for part in range(1, count):
        found.setdefault(root(part), []).append(part)
    return list(found.values())


def _cut(labels: NDArray[np.int32], stats: NDArray[np.int32], group: Sequence[int]) -> tuple[int, int, Mask]:
    """The patch of some parts together."""
    left = int(stats[group, cv2.CC_STAT_LEFT].min())
    top = int(stats[group, cv2.CC_STAT_TOP].min())
    right = int((stats[group, cv2.CC_STAT_LEFT] + stats[group, cv2.CC_STAT_WIDTH]).max())
    bottom = int((stats[group, cv2.CC_STAT_TOP] + stats[group, cv2.CC_STAT_HEIGHT]).max())
    patch = labels[top:bottom, left:right]
    own = patch == group[0] if len(group) == 1 else np.isin(patch, group)
    return left, top, own.astype(np.uint8)


def _divided(
    left: int, top: int, own: Mask, bins: NDArray[np.int64], hints: Sequence[Foretold], least: float
) -> list[Segment]:
    """Divide a part among the tracks that claim it; what none of them explains is something new."""
    distances = np.stack([_distance(left, top, own.shape, hint) for hint in hints])
    unlike = np.stack([-np.log(0.98 * hint.colours[bins] + 0.02 / 40) for hint in hints])
    costs = 0.5 * (distances / REACH) ** 2 + COLOUR_WEIGHT * unlike
    winner = costs.argmin(axis=0)
    # Something else: beyond every outline, and in a colour that no track is known for.
    strange = (distances.min(axis=0) > FAR) & (unlike.min(axis=0) > 2.5) & (own > 0)
    rest = _opened(strange.astype(np.uint8))
    if rest.sum() < max(2 * least, 0.3 * min(hint.area for hint in hints)):
        rest[:] = 0
    pieces: list[tuple[Foretold, Mask]] = []
    for number, hint in enumerate(hints):
        piece = ((winner == number) & (own > 0) & (rest == 0)).astype(np.uint8)
        if len(hints) > 1:
            piece = _opened(piece)
        if piece.sum() >= max(least, LEAST_PIECE * hint.area):
            pieces.append((hint, piece))
    if not pieces:
        return [Segment(left, top, own, None, divided=False)]
    several = len(pieces) > 1 or len(hints) > 1 or bool(rest.any())
    made = [_trimmed(left, top, piece, hint.track if several else None, divided=several) for hint, piece in pieces]
    if rest.any():
        count, labels, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
        made += [
            _trimmed(left, top, (labels == part).astype(np.uint8), None, divided=True)
            for part in range(1, count)
            if stats[part, cv2.CC_STAT_AREA] >= least
        ]
    return made


def _distance(left: int, top: int, shape: tuple[int, ...], hint: Foretold) -> NDArray[np.float64]:
    """Pixels from each place of a patch to a foretold outline, 0 inside; far away where the two share nothing."""
    away = np.ones(shape[:2], np.uint8)
    h, w = hint.mask.shape
    y0, x0 = max(top, hint.top), max(left, hint.left)
    y1, x1 = min(top + shape[0], hint.top + h), min(left + shape[1], hint.left + w)
    if y0 < y1 and x0 < x1:
        inside = hint.mask[y0 - hint.top : y1 - hint.top, x0 - hint.left : x1 - hint.left]
        away[y0 - top : y1 - top, x0 - left : x1 - left] = 1 - inside
    if away.all():
        return np.full(shape[:2], 1e3)
    return np.asarray(cv2.distanceTransform(away, cv2.DIST_L2, 3), np.float64)


def _opened(mask: Mask) -> Mask:
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)


def _trimmed(left: int, top: int, mask: Mask, track: int | None, *, divided: bool) -> Segment:
    x, y, w, h = cv2.boundingRect(mask)
    return Segment(left + x, top + y, np.ascontiguousarray(mask[y : y + h, x : x + w]), track, divided)
