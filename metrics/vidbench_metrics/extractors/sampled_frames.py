"""Evenly spaced frames of a clip whose length is not known before its end, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vidbench.video import Frames

T = TypeVar("T")


def evenly_spaced(available: int, wanted: int) -> NDArray[np.int64]:
    """Up to `wanted` numbers from 0 to available - 1, as evenly as whole numbers allow, both ends included."""
    return np.linspace(0, available - 1, min(available, wanted)).round().astype(np.int64)


class SampledFrames(Generic[T]):
    """Keeps every s-th frame, s doubling whenever more than `reserve` times the wanted frames are at hand.

    Of those kept at the end, evenly spaced ones are given: clips of up to reserve x wanted frames are sampled exactly,
    longer ones to within s frames.

    Args:
        wanted: frames of a clip, at least 1.
        keep: makes of a frame (H, W, 3) uint8 what is kept.
        reserve: at least 2.
    """

    def __init__(self, wanted: int, keep: Callable[[NDArray[np.uint8]], T], reserve: int) -> None:
        self._wanted = wanted
        self._keep = keep
        self._most = wanted * reserve
        self._stride = 1
        self._kept: list[tuple[int, T]] = []

    def push(self, frames: Frames) -> None:
        """Take the next frames."""
        for number, pixels in enumerate(frames.pixels, frames.start):
            if number % self._stride:
                continue
            self._kept.append((number, self._keep(pixels)))
            if len(self._kept) > self._most:
                self._stride *= 2
                self._kept = [(n, kept) for n, kept in self._kept if n % self._stride == 0]

    def chosen(self) -> list[tuple[int, T]]:
        """Frame numbers, rising, and what was kept of them."""
        return [self._kept[i] for i in evenly_spaced(len(self._kept), self._wanted)]
