"""Background consistency, VBench's formula: how alike frames stay to the first and to the one before, to CLIP.

Huang et al., "VBench: Comprehensive Benchmark Suite for Video Generative Models", CVPR 2024 (arXiv 2311.17982);
upstream `vbench/background_consistency.py` at commit 45e79ec14e69a2187202c675d2dbce1a71843d53 of Vchitect/VBench
(Apache-2.0), which this does not copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, Observations, Score
from vidbench_metrics.clip_model import PUBLISHED, other_weights
from vidbench_metrics.clip_temporal_consistency import still_details
from vidbench_metrics.extractors.clip_image import ClipImageObservation, cosines


def background_consistency(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """What each frame after the first contributes.

    Args:
        embeddings: (N, D), N >= 2, normalised or not.

    Returns:
        (N - 1,) of (max(0, cos(f[i-1], f[i])) + max(0, cos(f[0], f[i]))) / 2, from 0 to 1; their mean is the clip's
        value, 1 where nothing changes.
    """
    before = np.maximum(0.0, cosines(embeddings[:-1], embeddings[1:]))
    first = np.maximum(0.0, cosines(embeddings[1:], embeddings[0]))
    return np.asarray((before + first) / 2)


@dataclass(frozen=True)
class BackgroundConsistencyParameters:
    """By which model; VBench's unless told."""

    model: str = "ViT-B-32"
    """An architecture of open_clip, or a JSON file of one."""
    weights: str = PUBLISHED
    """`openai` for the published file of the model, or the path of a file."""


class BackgroundConsistency(ClipMetric[BackgroundConsistencyParameters]):
    """VBench's background consistency."""

    name = "background_consistency"
    version = "1"
    summary = (
        "how alike frames stay to the first and to the one before in the eyes of CLIP; sees the whole picture, not the "
        "background alone, and can't tell a frozen clip from a good one: a frozen one scores 1"
    )
    reference = (
        "Huang et al., VBench, CVPR 2024 (arXiv 2311.17982); Vchitect/VBench vbench/background_consistency.py "
        "at 45e79ec14e69a2187202c675d2dbce1a71843d53"
    )
    protocol = (
        "vbench: ViT-B/32, every frame, bicubic without antialiasing to a shorter side of 224, centre; a model's value "
        "is the mean over clips (VBench pools the frames of all clips: equal where clips have equally many)"
    )
    higher_is_better = True
    unit = "1"
    value_range = (0.0, 1.0)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("clip_image", {"preprocess": "vbench"}),))
    parameters_type = BackgroundConsistencyParameters
    min_frames = 2
    responds_to = ("cut", "flicker", "jitter", "noise")

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """CLIP as VBench has it."""
        values = {"model": self.parameters.model, "weights": self.parameters.weights, "preprocess": "vbench"}
        return (ExtractorSpec("clip_image", values),)

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip."""
        seen = observations.of("clip_image", ClipImageObservation)
        parts = background_consistency(seen.embeddings)
        if not np.isfinite(parts).all():
            return Score.unscored("CLIP gives a zero or infinite embedding for a frame")
        worst = int(parts.argmin())
        return Score(
            float(parts.mean()),
            details={
                "lowest": float(parts[worst]),
                "lowest_frame": int(seen.frame_numbers[worst + 1]),
                **still_details(cosines(seen.embeddings[:-1], seen.embeddings[1:])),
                "remark": other_weights(seen.unpublished),
            },
        )
