"""Subject consistency, VBench's formula: how alike frames look to DINO, to their predecessor and to the first.

Huang et al., "VBench", CVPR 2024 (arXiv 2311.17982); upstream `vbench/subject_consistency.py` at commit
45e79ec14e69a2187202c675d2dbce1a71843d53 of Vchitect/VBench (Apache-2.0), which this does not copy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, NoParameters, Observations, Score
from vidbench_metrics.extractors.dino import LONGEST, DinoObservation


def consistencies(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """For each frame but the first, the mean of its cosines with its predecessor and with the first frame.

    Args:
        features: (T, d), of any length but 0.

    Returns:
        (T - 1,), each cosine cut off below 0; 1 where nothing changes.
    """
    unit = features.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    before = (unit[1:] * unit[:-1]).sum(axis=1)
    first = (unit[1:] * unit[0]).sum(axis=1)
    # Rounding may put the cosine of a frame with itself above 1.
    return np.asarray((before.clip(0, 1) + first.clip(0, 1)) / 2)


class SubjectConsistency(ClipMetric[NoParameters]):
    """VBench's subject consistency."""

    name = "subject_consistency"
    version = "1"
    summary = (
        "how alike the frames look to DINO, which attends to the main subject; a frozen clip scores 1, and a subject "
        "that turns or leaves, or a moving camera, costs as much as one that changes shape"
    )
    reference = (
        "Huang et al., VBench, CVPR 2024 (arXiv 2311.17982); Vchitect/VBench vbench/subject_consistency.py "
        "at 45e79ec14e69a2187202c675d2dbce1a71843d53"
    )
    protocol = (
        "vbench, every frame; averaging: mean over clips of the clips' means over frames, as VBench on several GPUs "
        "(on one it pools frames, the same for clips of equal length)"
    )
    higher_is_better = True
    unit = "1"
    value_range = (0.0, 1.0)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("dino"),))
    min_frames = 2

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip; unscored where the picture is a strip."""
        features = observations.of("dino", DinoObservation).features
        if not len(features):
            facts = observations.facts
            return Score.unscored(
                f"the picture is {facts.width}x{facts.height} pixels; DINO takes sides of at most {LONGEST} to 1"
            )
        values = consistencies(features)
        worst = int(values.argmin())
        return Score(
            float(values.mean()),
            details={"frames": len(values), "least": float(values[worst]), "least_frame": worst + 1},
        )
