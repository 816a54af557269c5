"""Clips of three made-up models with known faults, for `vidbench demo` and for tests.

A ball flies in an arc before a still background. `steady` shows it as it is, `flickering` changes brightness from frame
to frame, `teleporting` lets the ball jump aside in mid-flight. The true clips stand beside them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FPS = 12.0
FRAMES = 24
SIZE = 128
COLOURS = {"red": (214, 58, 48), "blue": (52, 104, 214), "yellow": (236, 196, 62), "green": (60, 160, 84)}
SURFACES = ("a wooden wall", "a grey carpet")


@dataclass(frozen=True, slots=True)
class DemoFolders:
    """Where the demo's clips are."""

    clips: Path
    """Clip folder: one folder a model and a metadata.csv."""
    real: Path
    """The true clips, flat, with the same names."""


def ball_clip(seed: int, colour: tuple[int, int, int], *, jump: int = 0) -> NDArray[np.uint8]:
    """A ball in free flight.

    Args:
        seed: of background and flight.
        colour: of the ball, RGB.
        jump: pixels by which the ball is moved aside from the middle frame on.

    Returns:
        (FRAMES, SIZE, SIZE, 3) uint8 RGB.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    waves = sum(np.sin(rng.uniform(0.02, 0.5) * x + rng.uniform(0.02, 0.3) * y + rng.uniform(0, 6)) for _ in range(6))
    background = np.clip(140 + 9 * np.asarray(waves)[..., None] + rng.uniform(-25, 25, 3), 0, 255)
    radius = 9.0
    start = np.array([rng.uniform(14, 30), rng.uniform(70, 90)])
    velocity = np.array([rng.uniform(2.6, 3.6), rng.uniform(-6.4, -5.6)])  # pixels a frame, y down
    gravity = 0.5
    clip = np.empty((FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
    for t in range(FRAMES):
        cx, cy = start + velocity * t + np.array([0.0, 0.5 * gravity * t * t])
        if t >= FRAMES // 2:
            cx += jump if cx + jump < SIZE - radius else -jump
        distance = np.hypot(x - cx, y - cy)
        cover = np.clip(radius + 0.5 - distance, 0, 1)[..., None]
        shade = np.clip(1.15 - 0.45 * np.hypot(x - cx + 3, y - cy + 3) / radius, 0.5, 1.15)[..., None]
        clip[t] = np.clip(background * (1 - cover) + np.array(colour) * shade * cover, 0, 255).astype(np.uint8)
    return clip


def make_demo(folder: Path) -> DemoFolders:
    """Write the demo's clips (H.264) and metadata below `folder`; existing files are replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    from vidbench.damage import damage
    from vidbench.video import encode_h264

    folders = DemoFolders(folder / "clips", folder / "real")
    rows = []
    for number, (name, colour, surface) in enumerate((n, c, s) for s in SURFACES for n, c in COLOURS.items()):
        truth = ball_clip(number, colour)
        faulty = {
            "steady": truth,
            "flickering": damage("flicker", truth, 0.5, seed=number),
            "teleporting": ball_clip(number, colour, jump=40),
        }
        takes = {folders.real: truth}
        # A little noise of its own on every take: no model returns the true clip itself.
        takes |= {folders.clips / m: damage("noise", pixels, 0.02, seed=number) for m, pixels in faulty.items()}
        for place, pixels in takes.items():
            place.mkdir(parents=True, exist_ok=True)
            file_name = f"{number:02d}-{name}-ball.mp4"
            encode_h264(place / file_name, pixels, FPS)
            if place != folders.real:
                rows.append((f"{place.name}/{file_name}", f"a {name} ball is thrown before {surface}", number))
    with (folders.clips / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "prompt", "seed"])
        writer.writerows(sorted(rows))
    return folders
