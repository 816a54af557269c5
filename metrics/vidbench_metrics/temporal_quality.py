"""Temporal quality: whether what moves goes on as it began, keeps its shape, and is what changes the picture.

Our own definition; no network, no reference, nothing fitted to people's ratings. Three questions are put to the optical
flow at about 8 frames a second, and each answer is compared with that of real footage:

* *path*: do motions keep their speed (change of the flow over its size) and their direction (cosine of consecutive
  flows)? Jitter, lost, held and shuffled frames break it.
* *rigidity*: how much does the flow deform what it carries, over the size of the motion that lasts from one step to the
  next? Things that melt or wobble fail here even where they do so smoothly. Camera shake does not last, so it can't
  serve as an excuse.
* *explanation*: how much of the change between frames does motion leave unexplained? Noise, flicker, cross-fades and
  temporal blur change pixels without moving anything.

A clip in which nothing moves beyond what the camera explains would pass all three, so it is held back: see
`liveliness`; and one that flickers or boils with noise loses what `calmness` says. Real fluids, fire and crowds don't
keep their shape either and score lower than they should.

Validity: `benchmarks/validity_temporal_quality.py`; figures in `docs/quality.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, NoParameters, Observations, Score
from vidbench_metrics.extractors.flow_statistics import SMALLEST_SIDE
from vidbench_metrics.extractors.motion_consistency import MotionConsistencyObservation

Values = NDArray[np.float64]

FLOW_FLOOR = 0.25
"""Pixels of 128 by which sizes of the flow are raised before they are divided: below this, flow is mostly error."""
SHEAR_FLOOR = 0.002
"""The same of the deformation, pixels per pixel."""
LEVEL_FLOOR = 0.2
"""The same of luma that is left unexplained, grey levels: what rounding to whole levels leaves."""
STILL_DIFFERENCE = 0.35
"""Grey levels of mean luma difference below which a frame repeats the one before it; as in `frozen_frames`."""
PAN_LEAVES_LEVELS = (0.5, 1.0)
"""Mean luma difference, free of the camera, of light and of fine detail, that is none, and that surely is some. Pans
over a still picture leave 0.29 on the median and 0.61 at most; of real and generated clips 95 % have more than 1.4."""
PAN_LEAVES_MOTION = (0.05, 0.12)
"""The same of local motion, pixels of 128 a step: pans leave 0.06 on the median, 95 % of clips have more than 0.24.
This keeps noise and flicker over a still picture from passing for life."""
HALF_RESTLESS = 20.0
"""Grey levels by which half of the picture may change without moving before the score is halved: noise and flicker that
nobody overlooks. Real shots have 1.2 on the median, 3.6 at the 95th percentile."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What real footage answers to one question, in the question's unit."""

    typical: float
    """Median over 45 real shots (SAM 2, MMAction2, decord and Track-Anything examples), cropped to 120 x 120 pixels."""
    spread: float
    """Half the range from the 16th to the 84th percentile."""
    weight: float
    """Share in the score. The weights were chosen on the table of known damage, never on ratings."""


REAL = {
    "speed": Answer(-0.021, 0.235, 1 / 6),
    "direction": Answer(-0.624, 0.333, 1 / 6),
    "rigidity": Answer(-4.286, 0.695, 1 / 2),
    "explanation": Answer(-0.768, 0.334, 1 / 6),
}


def questions(seen: MotionConsistencyObservation) -> dict[str, float]:
    """The four answers of a clip of at least three frames; larger is worse.

    Returns:
        `speed`: log of acceleration over size; `direction`: minus the cosine; `rigidity`: log of deformation over
        lasting motion; `explanation`: log of unexplained over whole change.
    """
    lasting = math.sqrt(float(np.maximum(seen.agreement, 0).mean()))
    bound = float(seen.agreement_bound.mean()) + FLOW_FLOOR**2
    return {
        "speed": math.log((float(seen.acceleration.mean()) + FLOW_FLOOR) / (float(seen.magnitude.mean()) + FLOW_FLOOR)),
        "direction": -float(seen.agreement.mean()) / bound,
        "rigidity": math.log((float(seen.shear.mean()) + SHEAR_FLOOR) / (lasting + FLOW_FLOOR)),
        "explanation": math.log(
            (float(seen.unexplained.mean()) + LEVEL_FLOOR) / (float(seen.difference.mean()) + LEVEL_FLOOR)
        ),
    }


def steadiness(answers: dict[str, float]) -> float:
    """How much steadier than real footage the answers are, 0 to 1; 0.5 is typical real footage.

    The logistic of the weighted mean of how many spreads each answer is better than real footage's median.
    """
    better = sum(real.weight * (real.typical - answers[name]) / real.spread for name, real in REAL.items())
    return 1 / (1 + math.exp(-better))


def ramp(value: float, none: float, some: float) -> float:
    """0 up to `none`, 1 from `some` on, even in between."""
    return min(1.0, max(0.0, (value - none) / (some - none)))


def liveliness(happening: Values, local_magnitude: Values, difference: Values) -> float:
    """0 where frames repeat or only the camera moves, 1 where something happens in every step.

    Args:
        happening: (K - 1,) mean luma difference that camera and light leave unexplained, in grey levels.
        local_magnitude: (K - 1,) mean flow that an affine camera does not explain, in pixels of 128.
        difference: (K - 1,) mean luma differences, in grey levels.
    """
    return (
        ramp(float(happening.mean()), *PAN_LEAVES_LEVELS)
        * ramp(float(local_magnitude.mean()), *PAN_LEAVES_MOTION)
        * float((difference >= STILL_DIFFERENCE).mean())
    )


def calmness(restless: Values) -> float:
    """1 where places keep their brightness along their motion, 0.5 where half of them change by `HALF_RESTLESS`."""
    return 1 / (1 + (float(restless.mean()) / HALF_RESTLESS) ** 2)


class TemporalQuality(ClipMetric[NoParameters]):
    """Steady, rigid and explained motion, where there is any."""

    name = "temporal_quality"
    version = "1"
    summary = (
        "whether motion goes on as it began, keeps shapes and explains what changes, against real footage (0.5 is "
        "typical); 0 where nothing moves; water, fire and crowds score lower than they look, smooth but wrong motion "
        "higher"
    )
    reference = (
        "own definition; flow: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016 (OpenCV); see "
        "docs/quality.md for its agreement with people"
    )
    protocol = "OpenCV DIS medium on luma, short side 128 by area averaging, fixed stride nearest to 8 frames a second"
    higher_is_better = True
    unit = "1"
    value_range = (0.0, 1.0)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("motion_consistency"),), fps=True)
    min_frames = 3
    responds_to = ("freeze", "noise", "flicker", "warp")

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip; unscored where it is too short at 8 frames a second or too small for optical flow."""
        seen = observations.of("motion_consistency", MotionConsistencyObservation)
        if len(seen.frames) < self.min_frames:
            return Score.unscored(
                f"the clip has {len(seen.frames)} frames at about 8 a second; {self.min_frames} are needed"
            )
        if np.isnan(seen.magnitude).any():
            facts = observations.facts
            return Score.unscored(
                f"the picture is {facts.width}x{facts.height} pixels; optical flow needs {SMALLEST_SIDE} a side"
            )
        answers = questions(seen)
        alive = liveliness(seen.happening, seen.local_magnitude, seen.difference)
        calm = calmness(seen.restless)
        details = {name: (real.typical - answers[name]) / real.spread for name, real in REAL.items()}
        return Score(
            alive * calm * steadiness(answers),
            details={**details, "liveliness": alive, "calmness": calm, "frames": len(seen.frames)},
        )
