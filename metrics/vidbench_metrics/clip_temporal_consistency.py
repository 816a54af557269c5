"""How alike neighbouring frames are in the eyes of CLIP: described, not judged, since a frozen clip is most alike.

`evalcrafter`: `clip_temp_score` of evalcrafter/EvalCrafter metrics/Scores_with_CLIP/Scores_with_CLIP.py. `plain`: the
same mean of cosines over frames prepared as CLIP was trained, so that it shares its extraction with `clip_score`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, Observations, Score
from vidbench_metrics.clip_model import PUBLISHED, other_weights
from vidbench_metrics.extractors.clip_image import ClipImageObservation, cosines

PREPROCESS = {"plain": "official", "evalcrafter": "evalcrafter-temporal"}
STILL = 1 - 1e-6
"""Cosine from which two frames count as the same picture: rounding makes 1e-12 of equal ones, a grain of noise 1e-4."""


def temporal_consistency(embeddings: NDArray[np.floating]) -> float:
    """Mean cosine of (N, D) embeddings with the one before, N >= 2; from -1 to 1, 1 where nothing changes."""
    return float(cosines(embeddings[:-1], embeddings[1:]).mean())


@dataclass(frozen=True)
class ClipTemporalConsistencyParameters:
    """How frames are prepared, and by which model."""

    protocol: str = "plain"
    """`plain` or `evalcrafter`."""
    model: str = "ViT-B-32"
    """An architecture of open_clip, or a JSON file of one."""
    weights: str = PUBLISHED
    """`openai` for the published file of the model, or the path of a file."""

    def __post_init__(self) -> None:
        if self.protocol not in PREPROCESS:
            known = ", ".join(PREPROCESS)
            raise InputError(f"clip_temporal_consistency.protocol must be one of {known}, got '{self.protocol}'")


class ClipTemporalConsistency(ClipMetric[ClipTemporalConsistencyParameters]):
    """Mean cosine of neighbouring frames."""

    name = "clip_temporal_consistency"
    version = "1"
    summary = (
        "how alike neighbouring frames are in the eyes of CLIP; it can't tell a frozen clip from a good one: a frozen "
        "one scores 1 and slow ones beat lively ones, so it ranks nobody; read it beside frozen_frames"
    )
    reference = (
        "evalcrafter/EvalCrafter metrics/Scores_with_CLIP/Scores_with_CLIP.py, clip_temp_score (arXiv 2310.11440)"
    )
    protocol = (
        "plain (meant where nothing is said): mean cosine of neighbouring frames, ViT-B/32, CLIP's own preparation. "
        "evalcrafter: frames squashed by bilinear interpolation, from 0 to 255 and never normalised. All: every frame"
    )
    higher_is_better = True
    unit = "1"
    value_range = (-1.0, 1.0)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("clip_image"),))
    parameters_type = ClipTemporalConsistencyParameters
    min_frames = 2
    responds_to = ("flicker", "jitter", "noise", "shuffle")
    diagnostic = True

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """CLIP as the protocol wants it."""
        chosen = self.parameters
        values = {"model": chosen.model, "weights": chosen.weights, "preprocess": PREPROCESS[chosen.protocol]}
        return (ExtractorSpec("clip_image", values),)

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip."""
        seen = observations.of("clip_image", ClipImageObservation)
        alike = cosines(seen.embeddings[:-1], seen.embeddings[1:])
        if not np.isfinite(alike).all():
            return Score.unscored("CLIP gives a zero or infinite embedding for a frame")
        worst = int(alike.argmin())
        return Score(
            temporal_consistency(seen.embeddings),
            details={
                "protocol": self.parameters.protocol,
                "lowest": float(alike[worst]),
                "lowest_frame": int(seen.frame_numbers[worst + 1]),
                **still_details(alike),
                "remark": other_weights(seen.unpublished),
            },
        )


def still_details(alike: NDArray[np.float64]) -> dict[str, float | str | None]:
    """How much of a clip stands still, and what that means for its value.

    Args:
        alike: (T - 1,) cosines of neighbouring frames.
    """
    share = float((alike >= STILL).mean())
    told = f"{share:.0%} of the frames look exactly like the one before: standing still raises this value"
    return {"still_share": share, "note": told if share >= 0.5 else None}
