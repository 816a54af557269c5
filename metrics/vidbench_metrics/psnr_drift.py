"""PSNR drift: how many dB a clip loses against its true clip from its beginning to its end.

The slope of a robust line over the frames' PSNR (Theil-Sen), times the clip's length. A clip that is bad from the first
frame on loses nothing: read it beside `psnr`. Our own definition.
"""

from __future__ import annotations

import numpy as np

from vidbench.clips import Clip
from vidbench.metric import ExtractorSpec, Needs, Observations, PairMetric, Score
from vidbench_metrics.drift import change_over_clip
from vidbench_metrics.extractors.pair_error import PairErrorObservation
from vidbench_metrics.pairs import PairParameters, why_unscored
from vidbench_metrics.psnr import psnr

SEEN = 40.0
"""dB above which nobody sees an error: a frame that is better counts as this good. Without it, the step from an equal
frame to an invisible error would be the whole drift."""


class PsnrDrift(PairMetric[PairParameters]):
    """See the module."""

    name = "psnr_drift"
    version = "1"
    summary = "dB of PSNR against the true clip that are lost from the first frame to the last; 0 for a steady error"
    reference = "our own definition; Theil-Sen slope (Sen, JASA 63, 1968) of the frames' PSNR"
    protocol = "PSNR per frame at most 40 dB, the first frame (given to most models) left out; a gain counts 0"
    higher_is_better = False
    diagnostic = True  # a frozen clip does not drift either
    unit = "dB"
    value_range = (0.0, SEEN)
    aggregation = "mean"
    needs = Needs(extractors=(ExtractorSpec("pair_error"),))
    min_frames = 8
    parameters_type = PairParameters

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip against its reference clip."""
        error = observations.of("pair_error", PairErrorObservation)
        reason = why_unscored(error, self.parameters.lengths)
        if reason is not None:
            return Score.unscored(reason)
        if error.values.size < self.min_frames:
            return Score.unscored(f"it has {error.values.size} frames in common with its reference clip, 8 are needed")
        per_frame = np.minimum(psnr(error.values)[1:], SEEN)
        change = change_over_clip(per_frame)
        return Score(
            min(SEEN, max(0.0, -change)),
            details={
                "change": change,
                "first_quarter": float(per_frame[: max(1, len(per_frame) // 4)].mean()),
                "last_quarter": float(per_frame[-max(1, len(per_frame) // 4) :].mean()),
            },
        )
