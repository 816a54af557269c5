"""How each frame looks as a whole: colours, contrast, fine detail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import Extractor, NoParameters, Observation, Session
from vidbench.video import Frames
from vidbench_metrics.extractors.luma import luma


@dataclass(frozen=True)
class FrameLookObservation(Observation):
    """Of T frames; float64, grey levels."""

    colour: NDArray[np.float64]
    """(T, 3) mean red, green and blue."""
    chroma: NDArray[np.float64]
    """(T,) mean of the largest minus the smallest channel."""
    contrast: NDArray[np.float64]
    """(T,) standard deviation of luma."""
    detail: NDArray[np.float64]
    """(T,) root mean square of the Laplacian of luma: falls with blur, rises with noise."""

    def curves(self) -> Mapping[str, NDArray[np.float64]]:
        """Detail and contrast: see `Observation.curves`."""
        return {"fine detail (grey levels)": self.detail, "contrast (grey levels)": self.contrast}


@dataclass
class _Session(Session):
    rows: list[tuple[float, ...]] = field(default_factory=list)

    def push(self, frames: Frames) -> None:
        for frame in frames.pixels:
            grey = luma(frame)
            detail = np.asarray(cv2.Laplacian(grey, cv2.CV_32F), np.float64)
            spread = frame.max(axis=-1) - frame.min(axis=-1)
            self.rows.append(
                (
                    *cv2.mean(frame)[:3],
                    float(spread.mean()),
                    float(grey.std()),
                    float(np.sqrt(np.mean(detail**2))),
                )
            )

    def close(self) -> FrameLookObservation:
        table = np.array(self.rows, np.float64).reshape(-1, 6)
        return FrameLookObservation(table[:, :3].copy(), table[:, 3].copy(), table[:, 4].copy(), table[:, 5].copy())


class FrameLook(Extractor[NoParameters]):
    """See `FrameLookObservation`."""

    name = "frame_look"
    version = "1"
    summary = "mean colour, chroma, contrast and fine detail of every frame"
    observation_type = FrameLookObservation

    def open(self, clip: Clip) -> Session:
        """Begin a clip."""
        return _Session()
