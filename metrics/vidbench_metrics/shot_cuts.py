"""Hard cuts inside a clip: a clip generated for one prompt should be one shot.

The rule is PySceneDetect's AdaptiveDetector (release 0.7.2, BSD-3-Clause, github.com/Breakthrough/PySceneDetect) with
its published numbers: a frame begins a shot where its content difference to the frame before is at least 15 and at
least 3 times the mean of its neighbours', two on either side. Four changes make it fit for short generated clips:

* no minimum length of a shot: 15 frames would blind it on a clip of 16;
* at either end of a clip, the four nearest neighbours: two frames at each end would be blind;
* held frames (up to four repeats in a row) are nobody's neighbours: between repeats, as where 8 frames a second were
  written as 24, every step of a motion stands out;
* a change that is undone within three frames is a flash, not a cut.

`benchmarks/shot_cuts_validity.py` measures each, beside PySceneDetect's other detectors and TransNet V2 (arXiv
2008.04838), on spliced real clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.metric import ClipMetric, ExtractorSpec, Finding, Needs, Observations, Score
from vidbench_metrics.extractors.shot_boundaries import ShotBoundariesObservation
from vidbench_metrics.spans import runs, when

UNDONE = 0.5
"""A change is undone where the picture is again at most this share of the change away from what it was."""
LARGEST_RATIO = 255.0
"""Given where the neighbours do not change at all, as PySceneDetect does."""


def held_frames(content: NDArray[np.float64], held: float, longest: int) -> NDArray[np.bool_]:
    """Which frames are held: repeats of the frame before, in runs so short that the scene is not simply still.

    Args:
        content: (T,) difference of each frame to the one before it; the first entry is not looked at.
        held: a frame that differs by less is a repeat.
        longest: repeats in a row; more are a still scene.

    Returns:
        (T,); false for the first frame.
    """
    repeats = np.concatenate([[False], content[1:] < held])
    for start, end in runs(repeats):
        if end - start + 1 > longest:
            repeats[start : end + 1] = False
    return repeats


def adaptive_ratio(
    content: NDArray[np.float64], window: int, held: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Each frame's content difference by the mean of its neighbours'.

    Args:
        content: (T,) difference of each frame to the one before it; the first entry is not looked at.
        window: neighbours on either side; near an end, as many more from the other side.
        held: (T,) frames that get 0 and are nobody's neighbours; None for none.

    Returns:
        (T,) 0 to 255; 255 where no neighbour differs from the frame before it, 0 for clips of two frames.
    """
    ratios = np.zeros(len(content))
    if len(content) < 3:
        return ratios
    moving = np.arange(1, len(content)) if held is None else 1 + np.flatnonzero(~held[1:])
    changes = content[moving]
    span = min(2 * window + 1, len(changes))
    for t, (frame, change) in enumerate(zip(moving, changes, strict=True)):
        first = min(max(0, t - window), len(changes) - span)
        around = (changes[first : first + span].sum() - change) / max(1, span - 1)
        if around > 1e-5:
            ratios[frame] = min(change / around, LARGEST_RATIO)
        elif change > 0:
            ratios[frame] = LARGEST_RATIO
    return ratios


def is_undone(content: NDArray[np.float64], cut: int) -> bool:
    """Whether the change into frame `cut` begins or ends a flash: the picture before or after it comes back.

    Args:
        content: (lags, T) as in `ShotBoundariesObservation`; flashes of up to lags - 1 frames are told.
        cut: number of the frame after the change.
    """
    limit = UNDONE * content[0, cut]
    lags, frames = content.shape
    # A flash of k frames begins at `cut`: frame cut + k looks like frame cut - 1. Or it ends at `cut`: so does frame
    # cut like frame cut - k - 1.
    begins = any(cut + k < frames and content[k, cut + k] <= limit for k in range(1, lags))
    ends = any(cut - k - 1 >= 0 and content[k, cut] <= limit for k in range(1, lags))
    return begins or ends


@dataclass(frozen=True)
class ShotCutsParameters:
    """PySceneDetect's published numbers, and ours."""

    adaptive_threshold: float = 3.0
    """How many times its neighbours' difference a cut's must be."""
    min_content: float = 15.0
    """Smallest content difference of a cut, 0 to 255."""
    window: int = 2
    """Neighbours on either side."""
    held: float = 0.5
    """Frames whose content difference is less repeat the one before."""
    longest_hold: int = 4
    """Repeats in a row that are held frames (up to 5 of a kind); more are a still scene. 0: none are held."""
    flash_frames: int = 3
    """Changes undone within this many frames are no cuts; 0 counts them."""

    def __post_init__(self) -> None:
        if self.window < 1 or self.flash_frames < 0:
            raise InputError(
                "shot_cuts.window must be at least 1 and shot_cuts.flash_frames at least 0, "
                f"got {self.window} and {self.flash_frames}"
            )


class ShotCuts(ClipMetric[ShotCutsParameters]):
    """Number of hard cuts."""

    name = "shot_cuts"
    version = "1"
    summary = (
        "how many hard cuts a clip has, where it should be one shot; dissolves are not seen, nor a cut in a clip "
        "whose every frame jumps"
    )
    reference = "PySceneDetect 0.7.2, detectors/adaptive_detector.py and content_detector.py (BSD-3-Clause)"
    protocol = (
        "AdaptiveDetector with its defaults (adaptive_threshold 3, min_content_val 15, window_width 2), but "
        "min_scene_len 1, nearest four neighbours at the ends of a clip; held frames and flashes of up to 3 frames are "
        "left aside"
    )
    higher_is_better = False
    unit = "cuts"
    value_range = (0.0, float("inf"))
    aggregation = "mean"
    needs = Needs(extractors=(ExtractorSpec("shot_boundaries"),))
    min_frames = 3
    responds_to = ("cut",)
    parameters_type = ShotCutsParameters

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """Frames must be compared as far apart as a flash is long."""
        return (ExtractorSpec("shot_boundaries", {"lags": self.parameters.flash_frames + 1}),)

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Count the cuts of one clip, with a finding for each."""
        content = observations.of("shot_boundaries", ShotBoundariesObservation).content
        parameters = self.parameters
        held = held_frames(content[0], parameters.held, parameters.longest_hold)
        ratios = adaptive_ratio(content[0], parameters.window, held)
        changes = np.nan_to_num(content[0])
        jumps = np.flatnonzero((ratios >= parameters.adaptive_threshold) & (changes >= parameters.min_content))
        cuts = [int(t) for t in jumps if not is_undone(content, int(t))]
        findings = tuple(
            Finding(
                kind="jump_cut",
                start=cut - 1,
                end=cut,
                message=f"The picture jumps to another shot within {when(observations.facts, cut - 1, cut)}.",
                limitation="The whole frame is compared: a sudden large motion in an otherwise still clip can look "
                "like a cut.",
            )
            for cut in cuts
        )
        return Score(
            float(len(cuts)),
            findings=findings,
            details={
                "flashes": int(jumps.size) - len(cuts),
                "largest_content": float(changes.max()),
                "largest_ratio": float(ratios.max()),
            },
        )
