"""What metrics of a clip and its reference clip share: one number per pair of frames, and when it may be scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.extractor import Observation, PairSession
from vidbench.video import Frames

LENGTHS = ("equal", "common")


@dataclass(frozen=True)
class PairParameters:
    """How a clip and a reference clip of different lengths are treated."""

    lengths: str = "equal"
    """`equal`: clips of another length than their reference are unscored; `common`: the shorter one's frames count."""

    def __post_init__(self) -> None:
        if self.lengths not in LENGTHS:
            raise InputError(f"lengths must be one of {', '.join(LENGTHS)}, got '{self.lengths}'")


@dataclass(frozen=True)
class PairObservation(Observation):
    """One number per pair of frames, frame *t* of the clip beside frame *t* of the reference clip."""

    values: NDArray[np.float64]
    """(min(frames, reference_frames),); empty where the two differ in size."""
    frames: int
    """Frames of the clip."""
    reference_frames: int
    """Frames of the reference clip."""
    width: int
    """Pixels, of the clip."""
    height: int
    reference_width: int
    reference_height: int


O = TypeVar("O", bound=PairObservation)  # noqa: E741


class FramewiseSession(PairSession):
    """Measures each pair of frames as it passes; keeps one number a pair.

    Args:
        measure: two uint8 (H, W, 3) frames of one size to a number.
        make: the observation class.
    """

    def __init__(
        self, measure: Callable[[NDArray[np.uint8], NDArray[np.uint8]], float], make: type[PairObservation]
    ) -> None:
        self._measure = measure
        self._make = make
        self._values: list[float] = []
        self._sizes = (0, 0, 0, 0)

    def push_pair(self, frames: Frames, reference: Frames) -> None:
        """Measure the next pairs."""
        (height, width), (reference_height, reference_width) = frames.pixels.shape[1:3], reference.pixels.shape[1:3]
        self._sizes = (width, height, reference_width, reference_height)
        if (width, height) == (reference_width, reference_height):
            self._values += [self._measure(a, b) for a, b in zip(frames.pixels, reference.pixels, strict=True)]

    def close_pair(self, frames: int, reference_frames: int) -> PairObservation:
        """The numbers, both lengths and both sizes."""
        return self._make(np.array(self._values, dtype=np.float64), frames, reference_frames, *self._sizes)


def why_unscored(observation: PairObservation, lengths: str) -> str | None:
    """The reason why a pair cannot be compared frame by frame, or None.

    Args:
        observation: of the pair.
        lengths: as in `PairParameters`.
    """
    size = (observation.width, observation.height)
    reference_size = (observation.reference_width, observation.reference_height)
    if size != reference_size:
        return (
            f"the clip is {size[0]}×{size[1]} and its reference clip {reference_size[0]}×{reference_size[1]}; "
            "both must have one size"
        )
    if lengths == "equal" and observation.frames != observation.reference_frames:
        return (
            f"the clip has {observation.frames} frames and its reference clip {observation.reference_frames}; "
            "set lengths=common to compare the frames that both have"
        )
    if observation.values.size == 0:
        return "the clip and its reference clip have no frame in common"
    return None
