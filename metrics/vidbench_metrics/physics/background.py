"""What stands still, and what differs from it: background, gain, noise, shadows, and one mask of moving things a frame.

Frames are laid over each other by the camera's motion; the background is their median pixel by pixel. A frame's
difference from it, after its gain is taken out, is held against the frame's own noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench_metrics.physics.camera import Similarity, compose, identity, inverse, is_still, refined

Image = NDArray[np.uint8]
Mask = NDArray[np.uint8]

SAMPLES = 31
"""Frames of a window that the background is the median of."""
CANVAS = 2.2
"""Longest side of the background by the frame's: a camera that travels further is given up there."""
LEAST_LEVELS = 11.0
"""Grey levels by which a pixel must differ at least."""
DEVIATIONS = 5.0
"""Standard deviations of the noise by which a pixel must differ."""
MOST_SLACK = 24.0
"""Grey levels by which steepness raises the threshold at most, where the camera stands still."""
CALM_SHARE = 0.35
"""Share of the samples, the nearest to the background, that its restlessness is told from."""
CALM_TO_MEDIAN = 1.49
"""Of normally distributed distances, the median by this quantile."""
RESTLESS = 3.5
"""Times the background's own restlessness by which a pixel must differ."""
SHADOW_DARKEST = 0.45
SHADOW_BRIGHTEST = 0.98
SHADOW_TINT = 0.035
"""Share of the colours' sum by which a shadow may change the balance of colours."""


@dataclass(frozen=True, slots=True)
class Background:
    """The still scene of one window of frames."""

    image: Image
    """(H, W, 3) RGB on the canvas."""
    known: Mask
    """(H, W) 255 where enough frames showed the place."""
    slope: NDArray[np.float32]
    """(H, W) largest gradient of the image around each pixel, in grey levels a pixel."""
    to_canvas: tuple[Similarity, ...]
    """By frame: from the frame's pixels to the canvas."""
    restless: NDArray[np.float32]
    """(H, W) median distance of the samples from the image, in grey levels: water, leaves and noise have some."""
    moved: bool
    """Whether the camera moved within the window."""


def build(frames: Sequence[Image], steps: Sequence[Similarity]) -> Background:
    """The background of a window.

    Args:
        frames: T frames (H, W, 3) uint8 RGB of one size.
        steps: T similarities, each from the frame before to the frame; the first is not looked at.
    """
    height, width = frames[0].shape[:2]
    greys = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames]
    moved = not is_still(greys, steps)
    poses = _poses(greys, steps) if moved else [identity() for _ in frames]
    to_canvas, size = _canvas(poses, width, height) if moved else (poses, (width, height))
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(SAMPLES, len(frames))).round().astype(int))
    if not moved:
        stack = np.stack([frames[i] for i in chosen], axis=-1)
        image = _middle(stack)
        known = np.full((height, width), 255, np.uint8)
        restless = _restless(stack, image)
    else:
        laid = [cv2.warpAffine(frames[i], to_canvas[i], size, flags=cv2.INTER_LINEAR) for i in chosen]
        full = np.full((height, width), 255, np.uint8)
        seen = np.stack([cv2.warpAffine(full, to_canvas[i], size, flags=cv2.INTER_NEAREST) > 0 for i in chosen], -1)
        stack = np.stack(laid, axis=-1)
        image, known = _masked_middle(stack, seen)
        restless = _restless(stack, image)
    return Background(image, known, _slope(image), tuple(to_canvas), restless, moved)


def _poses(greys: Sequence[Image], steps: Sequence[Similarity]) -> list[Similarity]:
    """From each frame to the middle one of the window: chained step by step, then set right against it."""
    poses = [identity()]
    for step in steps[1:]:
        poses.append(compose(inverse(step), poses[-1]))
    middle = len(poses) // 2
    to_middle = inverse(poses[middle])
    return [refined(greys[middle], grey, compose(pose, to_middle)) for grey, pose in zip(greys, poses, strict=True)]


def _canvas(poses: Sequence[Similarity], width: int, height: int) -> tuple[list[Similarity], tuple[int, int]]:
    """Poses from frames to a canvas that holds them all, as far as it may grow around the middle frame."""
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64)
    all_corners = np.concatenate([corners @ pose[:, :2].T + pose[:, 2] for pose in poses])
    most = np.array([width, height]) * (CANVAS - 1) / 2
    low = np.maximum(np.floor(all_corners.min(0)), -most)
    high = np.minimum(np.ceil(all_corners.max(0)), most + np.array([width, height]))
    shift = np.array([[1.0, 0.0, -low[0]], [0.0, 1.0, -low[1]]])
    size = int(high[0] - low[0]), int(high[1] - low[1])
    return [compose(pose, shift) for pose in poses], size


def _middle(stack: Image) -> Image:
    """Median over the last axis; the lower middle of an even number."""
    place = (stack.shape[-1] - 1) // 2
    return np.ascontiguousarray(np.partition(stack, place, axis=-1)[..., place])


def _restless(stack: Image, image: Image) -> NDArray[np.float32]:
    """How far the samples usually lie from the image, as a median over them, smoothed over a few pixels.

    Told from the nearest third of them: where a thing rests for half of the time and is gone for the other, the place
    changes once, and is not restless.
    """
    lit = np.stack([_as_lit(stack[..., i], image) for i in range(stack.shape[-1])], axis=-1)
    apart = (np.maximum(lit, image[..., None]) - np.minimum(lit, image[..., None])).max(axis=2)
    place = round(CALM_SHARE * (apart.shape[-1] - 1))
    near = np.partition(apart, place, axis=-1)[..., place].astype(np.float32)
    return np.asarray(cv2.blur(CALM_TO_MEDIAN * near, (5, 5)), np.float32)


def _as_lit(sample: Image, image: Image) -> Image:
    """A sample with the image's brightness."""
    gain = _gain(image, sample, np.full(image.shape[:2], 255, np.uint8))
    return sample if np.all(np.abs(gain - 1) < 0.004) else _times(sample, gain)


def _masked_middle(stack: Image, seen: NDArray[np.bool_]) -> tuple[Image, Mask]:
    """Median over the frames that show each place; a place shown by fewer than a fifth of them is not known."""
    counts = seen.sum(-1)
    ordered = np.sort(np.where(seen[:, :, None, :], stack, np.uint8(255)), axis=-1)
    place = np.maximum(0, (counts - 1) // 2)[:, :, None, None]
    image = np.take_along_axis(ordered, place, axis=-1)[..., 0]
    enough = counts >= max(3, round(0.2 * stack.shape[-1]))
    return np.ascontiguousarray(image), np.where(enough, 255, 0).astype(np.uint8)


def gradient(grey: Image) -> NDArray[np.float32]:
    """Length of the Sobel gradient of an (H, W) image, in grey levels a pixel.

    Not by OpenCV's `magnitude`, whose last bit depends on where in memory the image lies.
    """
    dx, dy = (np.asarray(cv2.Sobel(grey, cv2.CV_32F, x, 1 - x, ksize=3), np.float32) for x in (1, 0))
    return np.asarray(np.sqrt(dx * dx + dy * dy) / 8, dtype=np.float32)


def _slope(image: Image) -> NDArray[np.float32]:
    steep = gradient(_u8(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)))
    # Twice, since thresholds are in steps over two pixels.
    return np.asarray(2 * cv2.dilate(steep, np.ones((3, 3), np.uint8)), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Difference:
    """One frame against the background."""

    mask: Mask
    """(h, w) 255 where something moves, in the frame's own pixels."""
    shadow: Mask
    """(h, w) 255 where it is darker as in a shadow; part of the mask."""
    levels: NDArray[np.float32]
    """(h, w) largest difference over the colours, in grey levels."""
    gain: NDArray[np.float64]
    """(3,) how many times brighter than the background, by colour."""
    noise: float
    """Standard deviation of the difference where nothing moves, in grey levels."""
    share: float
    """Share of the frame that differs."""
    expected: Image
    """(h, w, 3) the background as this frame sees it, before the gain."""


def difference(frame: Image, background: Background, to_canvas: Similarity) -> Difference:
    """What in a frame differs from the background.

    Args:
        frame: (h, w, 3) uint8 RGB.
        background: of the frame's window.
        to_canvas: where the frame lies on the background.
    """
    height, width = frame.shape[:2]
    if background.moved:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        expected = _u8(cv2.warpAffine(background.image, to_canvas, (width, height), flags=flags))
        known = _u8(cv2.warpAffine(background.known, to_canvas, (width, height), flags=nearest))
        slope = np.asarray(cv2.warpAffine(background.slope, to_canvas, (width, height), flags=flags), np.float32)
        restless = np.asarray(cv2.warpAffine(background.restless, to_canvas, (width, height), flags=flags), np.float32)
    else:
        expected, known, slope = background.image, background.known, background.slope
        restless = background.restless
    gain = _gain(frame, expected, known)
    lit = expected if np.all(np.abs(gain - 1) < 0.004) else _times(expected, gain)
    levels = np.max(_apart(frame, lit) if background.moved else _u8(cv2.absdiff(frame, lit)), axis=2)
    inside = known > 0
    noise = max(0.5, 1.4826 * _median_of(levels[inside])) if inside.any() else 0.5
    # Where the scene is steep, half a pixel of misplacement looks like an object.
    slack = 0.3 * slope if background.moved else np.minimum(0.15 * slope, MOST_SLACK)
    threshold = np.maximum(max(LEAST_LEVELS, DEVIATIONS * noise), RESTLESS * restless) + slack
    mask: Mask = ((levels > threshold) & inside).astype(np.uint8) * 255
    mask = _u8(cv2.medianBlur(mask, 3))
    mask = _u8(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))
    shadow = _shadow(frame, lit, mask)
    return Difference(
        mask,
        shadow,
        levels.astype(np.float32),
        gain,
        float(noise),
        float(np.count_nonzero(mask)) / mask.size,
        expected,
    )


def _apart(frame: Image, lit: Image) -> Image:
    """By how much each pixel lies outside what the background has within a pixel around.

    So nothing that is misplaced by less than that, edge or texture, looks like an object.
    """
    around = np.ones((3, 3), np.uint8)
    above = cv2.subtract(frame, cv2.dilate(lit, around))
    below = cv2.subtract(cv2.erode(lit, around), frame)
    return np.asarray(cv2.max(above, below), np.uint8)


def _u8(image: Any) -> Image:
    return np.asarray(image, np.uint8)


def _gain(frame: Image, expected: Image, known: Mask) -> NDArray[np.float64]:
    """Median ratio by colour over a sparse grid of places that are neither dark nor clipped."""
    a = frame[::4, ::4].reshape(-1, 3).astype(np.float64)
    b = expected[::4, ::4].reshape(-1, 3).astype(np.float64)
    usable = (known[::4, ::4].ravel() > 0) & (b.min(1) > 16) & (b.max(1) < 240)
    if np.count_nonzero(usable) < 50:
        return np.ones(3)
    return np.asarray(np.median(a[usable] / b[usable], axis=0))


def _times(image: Image, gain: NDArray[np.float64]) -> Image:
    table = np.clip(np.arange(256)[:, None] * gain[None, :], 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(image, table.reshape(256, 1, 3)), np.uint8)


def _median_of(values: NDArray[np.uint8]) -> float:
    counts = np.bincount(values, minlength=256)
    half = values.size / 2
    place = int(np.searchsorted(np.cumsum(counts), half))
    before = int(counts[:place].sum())
    return place - 0.5 + (half - before) / max(1, int(counts[place]))


def _shadow(frame: Image, lit: Image, mask: Mask) -> Mask:
    """Pixels of the mask that are the background darkened, with the same balance of colours."""
    shadow = np.zeros_like(mask)
    places = np.flatnonzero(mask)
    if places.size == 0:
        return shadow
    a = frame.reshape(-1, 3)[places].astype(np.float32)
    b = lit.reshape(-1, 3)[places].astype(np.float32)
    total_a, total_b = a.sum(1) + 1, b.sum(1) + 1
    ratio = total_a / total_b
    tint = np.abs(a / total_a[:, None] - b / total_b[:, None]).max(1)
    dark = (ratio > SHADOW_DARKEST) & (ratio < SHADOW_BRIGHTEST) & (tint < SHADOW_TINT + 2 / total_a)
    shadow.ravel()[places[dark]] = 255
    return shadow
