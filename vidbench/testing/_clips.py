"""Clips to try metrics and extractors on, made from nothing."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@functools.lru_cache(maxsize=8)
def synthetic_clips(
    count: int = 4, frames: int = 16, height: int = 72, width: int = 96, seed: int = 0
) -> tuple[Pixels, ...]:
    """Small clips of a camera that pans over a textured wall while a disc and a square move before it.

    Returns:
        `count` read-only arrays (frames, height, width, 3) uint8, the same for the same arguments.
    """
    return tuple(_moving_shapes(np.random.default_rng((seed, n)), frames, height, width) for n in range(count))


def edge_clips() -> dict[str, Pixels]:
    """Clips at the edge of what a metric may be given, by what they are."""
    whole = synthetic_clips()[0]
    return {
        "one frame": whole[:1],
        "two frames": whole[:2],
        "8x8 pixels": whole[:6, :8, :8],
        "47x33 pixels": whole[:6, :33, :47],
        "one colour": np.full_like(whole[:6], 77),
        "nothing but black": np.zeros_like(whole[:6]),
        "nothing but white": np.full_like(whole[:6], 255),
        "the same frame again and again": np.repeat(whole[:1], 6, axis=0),
    }


def negative(pixels: Pixels) -> Pixels:
    """The photographic negative: as different from a clip as a clip of the same structure can be."""
    return np.asarray(255 - pixels, np.uint8)


def _moving_shapes(rng: np.random.Generator, frames: int, height: int, width: int) -> Pixels:
    time = np.arange(frames)[:, None, None]
    row, column = np.arange(height)[None, :, None], np.arange(width)[None, None, :]
    pan = rng.uniform(-1.5, 1.5, 2)
    y, x = row + pan[0] * time, column + pan[1] * time  # each broadcasts to (T, H, W)
    clip = np.full((frames, height, width, 3), rng.uniform(90, 150, 3))
    # Amplitudes fall with frequency as they do in photographs; a sum of sines pans by fractions of a pixel exactly.
    for frequency in np.geomspace(0.03, 1.2, 24):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        wave = np.sin(frequency * (np.cos(angle) * x + np.sin(angle) * y) + phase)
        clip += (9 * frequency**-0.4 * wave)[..., None] * rng.uniform(0.5, 1.0, 3)
    size = max(2, min(height, width) // 6)
    for inside in (_in_disc, _in_square):
        start, speed = rng.uniform(0.25, 0.75, 2), rng.uniform(-1.5, 1.5, 2)
        centre_y, centre_x = start[0] * height + speed[0] * time, start[1] * width + speed[1] * time
        clip[inside(row - centre_y, column - centre_x, size)] = rng.uniform(20, 235, 3)
    pixels: Pixels = np.clip(clip, 0, 255).astype(np.uint8)
    pixels.setflags(write=False)
    return pixels


def _in_disc(y: NDArray[Any], x: NDArray[Any], size: int) -> NDArray[np.bool_]:
    return np.asarray(y**2 + x**2 < size**2)


def _in_square(y: NDArray[Any], x: NDArray[Any], size: int) -> NDArray[np.bool_]:
    return np.asarray((np.abs(y) < size) & (np.abs(x) < size))
