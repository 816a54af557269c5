"""What every kind of clip gives: pictures in order, each with its time where the file knows it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import ClipError
from vidbench.video import Limits

Picture = tuple[NDArray[np.uint8], float | None]
"""RGB (H, W, 3), valid until the next picture is asked for, and its time in seconds, None where it is missing."""


class Source(ABC):
    """One clip being read. `rate` and `tick` hold once the first picture is there, `warnings` after the last."""

    timed: bool = True
    """False where pictures have no clock at all: arrays and frame folders."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.rate: float | None = None
        """Frames per second as the file declares it."""
        self.tick: float = 0.0
        """Seconds by which times are rounded in the file."""
        self.warnings: list[str] = []

    @abstractmethod
    def pictures(self) -> Iterator[Picture]:
        """Every picture once, in presentation order.

        Raises:
            ClipError: the clip cannot be read, or a part of it would be wrong.
        """

    def check_size(self, width: int, height: int) -> None:
        """Refuse a frame over the limit, before memory is taken for it."""
        if width * height > self.limits.max_pixels:
            raise ClipError(
                f"frames of {width}x{height} exceed the limit of {self.limits.max_pixels} pixels; "
                "raise it with --max-pixels"
            )

    def check_count(self, frames: int) -> None:
        """Refuse a clip over the limit."""
        if frames > self.limits.max_frames:
            raise ClipError(f"more than {self.limits.max_frames} frames; raise the limit with --max-frames")


def over_black(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Straight alpha (H, W, 4) composited over black, rounded to nearest."""
    alpha = rgba[..., 3:]
    if int(alpha.min()) == 255:
        return rgba[..., :3]
    product = np.multiply(rgba[..., :3], alpha, dtype=np.uint16)
    return ((product + 127) // 255).astype(np.uint8)
