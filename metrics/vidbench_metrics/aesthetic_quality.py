"""Aesthetic quality, VBench's: LAION's linear predictor on CLIP ViT-L/14, mean over frames, divided by ten.

Huang et al., VBench (arXiv 2311.17982), upstream `vbench/aesthetic_quality.py` at commit 45e79ec1 of Vchitect/VBench
(Apache-2.0), which this does not copy; the predictor is LAION-AI/aesthetic-predictor `sa_0_4_vit_l_14_linear.pth`
(MIT), trained on people's ratings from 1 to 10 of pictures.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench import weights
from vidbench.clips import Clip
from vidbench.errors import PluginError
from vidbench.extractor import Requires
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, Observations, Score
from vidbench_metrics.clip_model import PUBLISHED, other_weights
from vidbench_metrics.extractors.clip_image import ClipImageObservation

HEAD = "laion-aesthetic"
DIMENSIONS = 768


@dataclass(frozen=True)
class AestheticHead:
    """A linear layer."""

    weight: NDArray[np.float64]
    """(768,)."""
    bias: float


def aesthetic_ratings(embeddings: NDArray[np.floating], head: AestheticHead) -> NDArray[np.float64]:
    """The rating of each frame, about 1 to 10: w.x / |x| + b of (N, 768) embeddings."""
    rows = np.asarray(embeddings, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True) @ head.weight + head.bias)


def read_head(data: bytes, file: str) -> AestheticHead:
    """The layer from the bytes of `sa_0_4_vit_l_14_linear.pth`; nothing but tensors is read.

    Raises:
        PluginError: it is not that layer.
    """
    import torch

    shapes = {"weight": (1, DIMENSIONS), "bias": (1,)}
    try:
        state: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        raise PluginError(_refusal(file, f"it cannot be read ({' '.join(str(error).split())[:120]})")) from None
    found = {k: tuple(getattr(v, "shape", ())) for k, v in state.items()} if isinstance(state, Mapping) else {}
    if found != shapes:
        raise PluginError(_refusal(file, f"it holds {found or type(state).__name__}, wanted is {shapes}"))
    if not all(bool(torch.isfinite(state[key]).all()) for key in shapes):
        raise PluginError(_refusal(file, "it holds NaN or infinity"))
    return AestheticHead(state["weight"][0].double().numpy(), float(state["bias"][0]))


def _refusal(file: str, why: str) -> str:
    return f"{file} is not LAION's linear predictor: {why}; remove it and run: vidbench weights fetch {HEAD}"


@functools.lru_cache(maxsize=2)
def _head(checksum: str | None) -> AestheticHead:
    data, found = weights.read(HEAD)
    return read_head(data, found.path.name)


@dataclass(frozen=True)
class AestheticQualityParameters:
    """By which CLIP; the predictor was trained on OpenAI's ViT-L/14."""

    model: str = "ViT-L-14"
    """An architecture of open_clip with 768 dimensions, or a JSON file of one."""
    weights: str = PUBLISHED
    """`openai` for the published file of the model, or the path of a file."""


class AestheticQuality(ClipMetric[AestheticQualityParameters]):
    """LAION's predictor, over frames."""

    name = "aesthetic_quality"
    version = "1"
    summary = (
        "how people would rate single frames as pictures (LAION's linear predictor on CLIP ViT-L/14); knows nothing of "
        "motion or of the prompt: compare models on the same prompts"
    )
    reference = (
        "LAION-AI/aesthetic-predictor sa_0_4_vit_l_14_linear; Vchitect/VBench vbench/aesthetic_quality.py "
        "at 45e79ec14e69a2187202c675d2dbce1a71843d53"
    )
    protocol = (
        "vbench: every frame, bicubic without antialiasing to a shorter side of 224, centre, ViT-L/14, normalised, "
        "linear predictor, mean over frames / 10"
    )
    higher_is_better = True
    unit = "1"
    value_range = (-math.inf, math.inf)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("clip_image", {"model": "ViT-L-14", "preprocess": "vbench"}),))
    requires = Requires(extra="models", modules=("torch",), weights=(HEAD,))
    parameters_type = AestheticQualityParameters

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """CLIP as VBench has it."""
        values = {"model": self.parameters.model, "weights": self.parameters.weights, "preprocess": "vbench"}
        return (ExtractorSpec("clip_image", values),)

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip."""
        seen = observations.of("clip_image", ClipImageObservation)
        if seen.embeddings.shape[1] != DIMENSIONS:
            return Score.unscored(
                f"the predictor reads {DIMENSIONS} numbers, {self.parameters.model} gives {seen.embeddings.shape[1]}"
            )
        ratings = aesthetic_ratings(seen.embeddings, _head(weights.require(HEAD).sha256))
        if not np.isfinite(ratings).all():
            return Score.unscored("CLIP gives a zero or infinite embedding for a frame")
        worst = int(ratings.argmin())
        return Score(
            float(ratings.mean() / 10),
            details={
                "lowest": float(ratings[worst] / 10),
                "lowest_frame": int(seen.frame_numbers[worst]),
                "highest": float(ratings.max() / 10),
                "remark": other_weights(seen.unpublished),
            },
        )
