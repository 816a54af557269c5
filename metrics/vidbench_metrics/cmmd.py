"""CMMD: kernel distance of CLIP embeddings of frames; blind to time, and not biased by few samples as FID is.

Jayasumana et al., "Rethinking FID", arXiv 2401.09603; google-research/google-research 4c429948, cmmd/distance.py:
1000 times the biased squared MMD under the kernel exp(-|x - y|² / (2 · 10²)) of embeddings of length 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.extractor import Requires
from vidbench.metric import ExtractorSpec, Needs, Observations, Score
from vidbench_metrics.feature_sets import Rows, RowSet, RowsMetric
from vidbench_metrics.kvd import Floats

SIGMA = 10.0
SCALE = 1000.0
MODEL = "ViT-L-14-336"
PUBLISHED = "openai"
MIN_FRAMES = 2
BLOCK = 1024
"""Rows whose kernels are worked out together: 8 MB."""


def normalised(rows: Floats) -> NDArray[np.float64]:
    """(n, d) rows of length 1, float64; rows of zeros stay."""
    wide = np.asarray(rows, np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(length > 0, length, 1))


def mean_kernel_gap(x: Floats, y: Floats, sigma: float = SIGMA) -> float:
    """Mean over all pairs of 1 - exp(-|a - b|² / (2 sigma²)) of (m, d) and (n, d) rows.

    One minus the kernel, because kernels of such a width are nearly 1 and their difference would be lost in rounding.
    """
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    squares = (second**2).sum(axis=1)
    total = 0.0
    for start in range(0, len(first), BLOCK):
        part = first[start : start + BLOCK]
        for other in range(0, len(second), BLOCK):
            beside = second[other : other + BLOCK]
            products = part @ beside.T
            distances = (part**2).sum(axis=1)[:, None] + squares[other : other + BLOCK] - 2 * products
            total += float(-np.expm1(-np.maximum(distances, 0) / (2 * sigma**2)).sum())
    return total / (len(first) * len(second))


def gaussian_mmd(x: Floats, y: Floats, sigma: float = SIGMA) -> float:
    """Biased squared maximum mean discrepancy of two sets of rows under a Gaussian kernel; lower is nearer.

    Args:
        x: (m, d), m >= 1.
        y: (n, d), n >= 1.
        sigma: the kernel's deviation.

    Returns:
        0 to 2.

    Raises:
        ValueError: no rows, or unequal dimensions.

    Example:
        >>> import numpy as np
        >>> rows = np.array([[0.0], [1.0]])
        >>> gaussian_mmd(rows, rows)
        0.0
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not len(x) or not len(y):
        raise ValueError(f"needs (m, d) and (n, d), got {x.shape} and {y.shape}")
    return max(0.0, 2 * mean_kernel_gap(x, y, sigma) - mean_kernel_gap(x, x, sigma) - mean_kernel_gap(y, y, sigma))


@dataclass(frozen=True)
class CmmdParameters:
    """Whose embeddings, of which frames."""

    model: str = MODEL
    """A model of the extractor `clip_image`; the published numbers are ViT-L-14-336's."""
    weights: str = PUBLISHED
    """`openai` for the published file, or the path of a file."""
    frames: int = 16
    """Frames of each clip, evenly spaced over it; all of a shorter clip."""

    def __post_init__(self) -> None:
        if not self.model or not self.weights:
            raise InputError(f"cmmd.model and cmmd.weights must name those of the extractor clip_image, as {MODEL}")
        if self.frames < 1:
            raise InputError(f"cmmd.frames must be at least 1, got {self.frames}")


class Cmmd(RowsMetric[CmmdParameters]):
    """Kernel distance of CLIP embeddings."""

    name = "cmmd"
    version = "1"
    summary = (
        "how far the look of single frames is from the reference set's (Gaussian MMD² of CLIP embeddings); blind to "
        "time; steadier than FID with few frames"
    )
    reference = "Jayasumana et al., arXiv 2401.09603; google-research/google-research 4c429948 cmmd/"
    protocol = (
        f"16 frames a clip, evenly spaced; squash to 336, antialiased bicubic; CLIP {MODEL}, embeddings of length 1; "
        "1000 · biased MMD², kernel exp(-|x - y|² / 200); float64"
    )
    higher_is_better = False
    unit = "1"
    value_range = (0.0, 2 * SCALE)
    needs = Needs(extractors=(ExtractorSpec("clip_image"),))
    requires = Requires(extra="models", modules=("torch",), weights=("clip-vit-l-14-336",))
    parameters_type = CmmdParameters
    noun = "frames"

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """CLIP's image tower on such frames, prepared as CMMD's program does."""
        values = self.parameter_values()
        return (ExtractorSpec("clip_image", {**values, "preprocess": "cmmd", "sampling": "even"}),)

    def requirements(self) -> Requires:
        """The published weights, unless the user brings others."""
        published = (self.parameters.model, self.parameters.weights) == (MODEL, PUBLISHED)
        return self.requires if published else Requires(self.requires.extra, self.requires.modules)

    def features(self, observations: Observations) -> tuple[Rows, str]:
        """The clip's frames, at length 1."""
        seen: Any = observations["clip_image"]
        return normalised(seen.embeddings).astype(np.float32), getattr(seen, "unpublished", "")

    def compare(self, generated: RowSet, reference: RowSet) -> Score:
        """The distance, with what it rests on."""
        ours, theirs = generated.stacked(), reference.stacked()
        rows = len(ours), len(theirs)
        reason = self.few(generated.facts, reference.facts, rows, MIN_FRAMES)
        if reason is not None:
            return Score.unscored(reason)
        value = SCALE * gaussian_mmd(normalised(ours), normalised(theirs))
        return Score(value, details=self.told(generated, reference, rows, ours.shape[1]))
