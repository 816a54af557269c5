"""Peak signal-to-noise ratio against the true clip: how far each pixel is from the reference clip's.

10 log10(255² / MSE), the error taken over all pixels of all frames: scikit-image's `peak_signal_noise_ratio` of the two
whole clips, with data_range=255.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.metric import ExtractorSpec, Needs, Observations, PairMetric, Score
from vidbench_metrics.extractors.pair_error import PairErrorObservation
from vidbench_metrics.pairs import PairParameters, why_unscored

PEAK = 255.0
CAP = 100.0


def psnr(mean_squared_error: NDArray[np.float64]) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of 8-bit images, at most 100 dB.

    Args:
        mean_squared_error: any shape, 0 to 255².

    Returns:
        The same shape, dB, 0 to 100; 100 where the error is 0.

    Example:
        >>> psnr(np.array([0.0, 65025.0])).tolist()
        [100.0, 0.0]
    """
    smallest = PEAK**2 / 10 ** (CAP / 10)
    ratio = 10 * np.log10(PEAK**2 / np.maximum(mean_squared_error, smallest))
    return np.asarray(np.minimum(ratio, CAP), dtype=np.float64)


class Psnr(PairMetric[PairParameters]):
    """PSNR of the clip's mean squared error.

    Not the mean of the frames' PSNR: there a few equal frames, each worth 100 dB, outweigh any number of wrong ones, so
    that a clip which is exact until its object teleports beats one that is nearly right throughout.
    """

    name = "psnr"
    version = "1"
    summary = (
        "how near each pixel is to the true clip's (peak signal-to-noise ratio); punishes a shift of one pixel "
        "and says little about what people see"
    )
    reference = "scikit-image metrics.peak_signal_noise_ratio (data_range=255) of the whole clips"
    protocol = (
        "RGB, 8 bit, PSNR of the mean squared error over all pixels of all frames, at most 100 dB (equal clips would "
        "be infinite); the mean of the frames' PSNR is kept in the details as mean_of_frames"
    )
    higher_is_better = True
    unit = "dB"
    value_range = (0.0, CAP)
    aggregation = "mean"
    needs = Needs(extractors=(ExtractorSpec("pair_error"),))
    responds_to = ("blur", "noise")
    parameters_type = PairParameters

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip against its reference clip."""
        error = observations.of("pair_error", PairErrorObservation)
        reason = why_unscored(error, self.parameters.lengths)
        if reason is not None:
            return Score.unscored(reason)
        per_frame = psnr(error.values)
        return Score(
            float(psnr(np.array([error.values.mean()]))[0]),
            details={
                "frames": int(per_frame.size),
                "worst_frame": int(per_frame.argmin()),
                "worst_frame_psnr": float(per_frame.min()),
                "equal_frames": int(np.count_nonzero(error.values == 0)),
                "mean_of_frames": float(per_frame.mean()),
            },
        )
