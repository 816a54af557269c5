"""Drift: how far the look of a clip wanders from its beginning to its end.

World models that feed on their own frames blur, boil, fade or shift in colour. For mean colour, chroma, contrast and
fine detail, a robust line (Theil-Sen: the median of the slopes between all pairs of frames) is laid over the frames;
the value is the size of all changes from the first frame to the last, an octave of contrast or of detail counting as
much as 32 grey levels of colour or chroma. Our own definition.

A camera that turns from a wall to the sky drifts too, so compare models on the same starts and actions, and real
clips beside them. It is blind to what goes wrong without changing these numbers, as when things vanish.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, NoParameters, Observations, Score
from vidbench_metrics.extractors.frame_look import FrameLookObservation

Values = NDArray[np.float64]

MOST_FRAMES = 240
"""Frames that the line is laid over, evenly spaced: all pairs of them are looked at."""
COLOUR_OCTAVE = 32.0
"""Grey levels of colour or chroma that weigh as much as an octave."""
FLOOR = 2.0
"""Grey levels added before logarithms are taken: contrast and detail below this are rounding."""


def change_over_clip(values: Values) -> float:
    """Slope of the Theil-Sen line over (T,) values times T - 1: the change from the first to the last frame."""
    frames = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_FRAMES)).round().astype(np.int64))
    chosen = values[frames]
    first, second = np.triu_indices(len(frames), 1)
    if not len(first):
        return 0.0
    slopes = (chosen[second] - chosen[first]) / (frames[second] - frames[first])
    return float(np.median(slopes)) * (len(values) - 1)


class Drift(ClipMetric[NoParameters]):
    """See the module."""

    name = "drift"
    version = "1"
    summary = (
        "how far colour, contrast and fine detail wander from the first frame to the last; what wanders because the "
        "camera looks elsewhere counts too, so compare on the same starts and actions"
    )
    reference = "our own definition; Theil-Sen slopes (Sen, JASA 63, 1968) of frame statistics"
    protocol = (
        "mean RGB, mean chroma (32 grey levels count 1), log2 of luma's standard deviation and of its Laplacian's root "
        "mean square (an octave counts 1); Theil-Sen slope times the clip's length; Euclidean norm of all changes"
    )
    higher_is_better = False
    diagnostic = True  # a frozen clip does not drift either
    unit = "octaves"
    value_range = (0.0, math.inf)
    aggregation = "mean"
    needs = Needs(extractors=(ExtractorSpec("frame_look"),), actions=True)  # any film may change its look
    min_frames = 8

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip."""
        seen = observations.of("frame_look", FrameLookObservation)
        colour = [change_over_clip(seen.colour[:, channel]) for channel in range(3)]
        chroma = change_over_clip(seen.chroma)
        contrast = change_over_clip(np.log2(seen.contrast + FLOOR))
        detail = change_over_clip(np.log2(seen.detail + FLOOR))
        shift = math.sqrt(sum(change**2 for change in colour) / 3)
        return Score(
            math.hypot(shift / COLOUR_OCTAVE, chroma / COLOUR_OCTAVE, contrast, detail),
            details={
                "colour_levels": shift,
                "chroma_levels": chroma,
                "contrast_octaves": contrast,
                "detail_octaves": detail,
            },
        )
