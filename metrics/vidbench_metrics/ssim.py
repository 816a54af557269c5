"""Structural similarity against the true clip: how alike light, contrast and structure are, place by place.

Wang, Bovik, Sheikh & Simoncelli, IEEE TIP 2004; per frame equal to scikit-image's `structural_similarity` with the
paper's settings (see `extractors/pair_ssim.py`).
"""

from __future__ import annotations

import numpy as np

from vidbench.clips import Clip
from vidbench.metric import ExtractorSpec, Needs, Observations, PairMetric, Score
from vidbench_metrics.extractors.pair_ssim import WINDOW, PairSsimObservation
from vidbench_metrics.pairs import PairParameters, why_unscored


class Ssim(PairMetric[PairParameters]):
    """Mean over frames of each frame's SSIM."""

    name = "ssim"
    version = "1"
    summary = (
        "how alike structure is to the true clip's, place by place (SSIM); kinder than psnr to a change of light, "
        "but still punishes any shift"
    )
    reference = (
        "Wang et al., IEEE TIP 2004; scikit-image metrics.structural_similarity (gaussian_weights=True, sigma=1.5, "
        "use_sample_covariance=False, data_range=255, channel_axis=-1)"
    )
    protocol = (
        "RGB, 8 bit, mean over channels, 11×11 Gaussian window of sigma 1.5 fully inside the frame, K1 0.01, K2 0.03, "
        "no downsampling, then the mean over frames"
    )
    higher_is_better = True
    unit = "1"
    value_range = (-1.0, 1.0)
    aggregation = "mean"
    needs = Needs(extractors=(ExtractorSpec("pair_ssim"),))
    responds_to = ("blur", "noise")
    parameters_type = PairParameters

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip against its reference clip."""
        similarity = observations.of("pair_ssim", PairSsimObservation)
        reason = why_unscored(similarity, self.parameters.lengths)
        if reason is not None:
            return Score.unscored(reason)
        if min(similarity.width, similarity.height) < WINDOW:
            return Score.unscored(
                f"frames of {similarity.width}×{similarity.height} are smaller than the {WINDOW}×{WINDOW} window"
            )
        return Score(
            float(np.clip(similarity.values.mean(), -1.0, 1.0)),
            details={
                "frames": int(similarity.values.size),
                "worst_frame": int(similarity.values.argmin()),
                "worst_frame_ssim": float(similarity.values.min()),
            },
        )
