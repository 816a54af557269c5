"""Runs of frames, how a finding tells a person when they are, and what is measured between frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidbench.video import ClipFacts


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index, inclusive, of each run of true values in an (N,) array."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return [(int(start), int(stop) - 1) for start, stop in edges.reshape(-1, 2)]


def from_steps(values: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    """What was measured from one frame to a later one, as (frames,) over the later frames; NaN before the first.

    Args:
        values: (n,) up to the last frame, n <= frames.
        frames: of the clip.
    """
    return np.concatenate([np.full(frames - len(values), np.nan), values])


def when(facts: ClipFacts, start: int, end: int) -> str:
    """`frames 3 to 7 (0.10 s to 0.23 s)`; without the seconds where the frame rate is unknown.

    The seconds are those at which the first and the last frame appear.
    """
    frames = f"frame {start}" if start == end else f"frames {start} to {end}"
    if facts.fps is None:
        return frames
    seconds = f"{facts.times[start]:.2f} s"
    return f"{frames} ({seconds})" if start == end else f"{frames} ({seconds} to {facts.times[end]:.2f} s)"
