"""How colourful a clip is, after D. Hasler and S. Süsstrunk, "Measuring colourfulness in natural images", 2003."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import Extractor, NoParameters, Observation, Session
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, Observations, Score
from vidbench.video import Frames


def opponent_moments(frame: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Means and standard deviations of the opponent colours red-green and yellow-blue.

    Args:
        frame: (H, W, 3) uint8 RGB.

    Returns:
        mean and deviation of red-green, mean and deviation of yellow-blue, in grey levels.
    """
    red, green, blue = np.moveaxis(frame.astype(np.float64), -1, 0)
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    return float(red_green.mean()), float(red_green.std()), float(yellow_blue.mean()), float(yellow_blue.std())


def colourfulness(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hasler and Süsstrunk's M3 = sqrt(s_rg² + s_yb²) + 0.3 sqrt(m_rg² + m_yb²).

    Args:
        moments: (T, 4) rows of `opponent_moments`.

    Returns:
        (T,) 0 for grey, about 15 for a little and 109 for extremely colourful pictures.
    """
    mean_rg, deviation_rg, mean_yb, deviation_yb = moments.T
    return np.asarray(np.hypot(deviation_rg, deviation_yb) + 0.3 * np.hypot(mean_rg, mean_yb))


@dataclass(frozen=True)
class OpponentMoments(Observation):
    """Moments of the opponent colours of each frame."""

    moments: NDArray[np.float64]
    """(T, 4) rows of `opponent_moments`."""


class _Session(Session):
    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float, float]] = []

    def push(self, frames: Frames) -> None:
        self._rows += [opponent_moments(frame) for frame in frames.pixels]

    def close(self) -> OpponentMoments:
        return OpponentMoments(np.array(self._rows))


class OpponentColours(Extractor[NoParameters]):
    """Frames to the moments of their opponent colours."""

    name = "opponent_colours"
    version = "1"
    summary = "mean and deviation of red-green and yellow-blue, per frame"
    observation_type = OpponentMoments

    def open(self, clip: Clip) -> Session:
        return _Session()


class Colourfulness(ClipMetric[NoParameters]):
    """Mean colourfulness of a clip's frames."""

    name = "colour_strength"
    version = "1"
    summary = "how colourful the frames are; says nothing about whether the colours are right"
    reference = "D. Hasler and S. Süsstrunk, Measuring colourfulness in natural images, 2003, equation for M3"
    protocol = "hasler2003"
    higher_is_better = True
    unit = "1"
    value_range = (0.0, math.inf)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("opponent_colours"),))
    diagnostic = True

    def score(self, observations: Observations, clip: Clip) -> Score:
        moments = observations.of("opponent_colours", OpponentMoments).moments
        return Score(float(colourfulness(moments).mean()))
