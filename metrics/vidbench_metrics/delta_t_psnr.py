"""ΔtPSNR: how much nearer to the truth a clip with the true actions comes than one with actions drawn at random.

Bruce et al., "Genie: Generative Interactive Environments" (arXiv 2402.15391): PSNR(x_t, x̂_t) - PSNR(x_t, x̂'_t) at t = 4,
where x is the true clip, x̂ the clip generated with its actions and x̂' one generated from the same start with actions
drawn uniformly. 0 where actions change nothing. It rewards any effect of the actions; whether the right thing happens
shows in how large the first PSNR is, which stands in the details.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.metric import ExtractorSpec, Needs, Observations, Score, SetMetric
from vidbench_metrics.extractors.pair_error import mean_squared_error
from vidbench_metrics.extractors.pair_frame import PairFrameObservation
from vidbench_metrics.psnr import CAP, psnr
from vidbench_metrics.starts import COLUMN, OfStart, by_start, is_random, start_of

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class DeltaTPsnrParameters:
    """Where it is measured."""

    frame: int = 4
    """t: number of the frame, from 0; frame 0 is the start, so that t actions have been applied."""

    def __post_init__(self) -> None:
        if self.frame < 1:
            raise InputError(f"delta_t_psnr.frame must be at least 1, got {self.frame}")


@dataclass(frozen=True, eq=False)
class FrameOfStart(OfStart):
    """Frame t of a clip and of its true clip."""

    frame: Frame
    reference: Frame
    random: bool


def frame_psnr(truth: Frame, frame: Frame) -> float:
    """PSNR of two uint8 frames of one shape in dB, at most 100."""
    return float(psnr(np.array([mean_squared_error(frame, truth)]))[0])


class DeltaTPsnr(SetMetric[DeltaTPsnrParameters, tuple[FrameOfStart, ...]]):
    """See the module."""

    name = "delta_t_psnr"
    version = "1"
    summary = (
        "by how many dB the clip with the true actions is nearer to the true clip at frame 4 than clips with random "
        "actions from the same start; any effect of actions counts, not only the right one"
    )
    reference = "Bruce et al., Genie, arXiv 2402.15391, section 3 (ΔtPSNR); no code was published"
    protocol = (
        "t = 4; RGB, 8 bit; PSNR of a frame at most 100 dB; mean over clips with true actions, each against the mean "
        "of the random clips of its start (frames over 512 pixels are reduced to 512)"
    )
    higher_is_better = True
    unit = "dB"
    value_range = (-CAP, CAP)
    needs = Needs(extractors=(ExtractorSpec("pair_frame"),), reference_set=False, columns=(COLUMN,))
    min_frames = 2
    parameters_type = DeltaTPsnrParameters
    identical_is_best = False

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """The frame that is looked at."""
        return (ExtractorSpec("pair_frame", {"frame": self.parameters.frame}),)

    def frames_needed(self) -> int:
        """Up to the frame that is looked at."""
        return self.parameters.frame + 1

    def together(self, clip: Clip) -> str | None:
        """Clips of one start."""
        return start_of(clip)

    def new_state(self) -> tuple[FrameOfStart, ...]:
        """No clips; two frames are kept of each."""
        return ()

    def observe(self, state: tuple[FrameOfStart, ...], observations: Observations) -> tuple[FrameOfStart, ...]:
        """Add a clip that has a start and frame t."""
        seen = observations.of("pair_frame", PairFrameObservation)
        clip, start = observations.clip, start_of(observations.clip)
        if clip is None or start is None or not seen.frame.size or seen.frame.shape != seen.reference.shape:
            return state
        return (*state, FrameOfStart(start, clip.id, seen.frame, seen.reference, is_random(clip)))

    def merge(self, state: tuple[FrameOfStart, ...], other: tuple[FrameOfStart, ...]) -> tuple[FrameOfStart, ...]:
        """Both together."""
        return (*state, *other)

    def compare(self, generated: tuple[FrameOfStart, ...], reference: tuple[FrameOfStart, ...]) -> Score:
        """The mean over all clips with true actions whose start has clips with random ones."""
        true_psnr, random_psnr, starts, without = [], [], set(), 0
        for start, clips in by_start(generated).items():
            drawn = [clip for clip in clips if clip.random]
            for clip in clips:
                if clip.random:
                    continue
                values = [frame_psnr(clip.reference, other.frame) for other in drawn
                          if other.frame.shape == clip.reference.shape]  # fmt: skip
                if not values:
                    without += 1
                    continue
                starts.add(start)
                true_psnr.append(frame_psnr(clip.reference, clip.frame))
                random_psnr.append(float(np.mean(values)))
        if not true_psnr:
            return Score.unscored(
                "no start has both a clip with the true actions and one with 'random' in its column actions_kind, each "
                f"with a reference of its own size and {self.parameters.frame + 1} frames"
            )
        return Score(
            float(np.mean(true_psnr) - np.mean(random_psnr)),
            details={
                "starts": len(starts),
                "true_clips": len(true_psnr),
                "true_clips_without_random": without,
                "psnr_true_actions": float(np.mean(true_psnr)),
                "psnr_random_actions": float(np.mean(random_psnr)),
                "share_above_0": float(np.mean(np.array(true_psnr) > np.array(random_psnr))),
            },
        )
