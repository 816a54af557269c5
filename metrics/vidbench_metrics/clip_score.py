"""CLIPScore of every frame with the prompt, reduced over frames; each protocol as its source has it.

Hessel et al., arXiv 2104.08718, jmhessel/clipscore 10364652 clipscore.py (`hessel`); Lightning-AI/torchmetrics dab03339
src/torchmetrics/functional/multimodal/clip_score.py (`torchmetrics`); evalcrafter/EvalCrafter
metrics/Scores_with_CLIP/Scores_with_CLIP.py (`evalcrafter`); Vchitect/VBench 45e79ec1 vbench/overall_consistency.py
(`vbench-overall`: ViCLIP, one value of the whole clip). Numbers under two protocols can't be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, Observations, Score
from vidbench_metrics import viclip_text
from vidbench_metrics.clip_model import PUBLISHED, ClipSource, other_weights
from vidbench_metrics.clip_text import PromptEmbedding, embed_prompt
from vidbench_metrics.extractors.clip_image import ClipImageObservation, cosines
from vidbench_metrics.extractors.viclip_video import ViClipVideoObservation


@dataclass(frozen=True, slots=True)
class Protocol:
    """One set of choices."""

    model: str
    preprocess: str
    prefix: str = ""
    """Before the prompt."""
    scale: float = 1.0
    """Of the cosine."""
    clamp_frames: bool = False
    """Values below 0 become 0 before they are reduced."""
    clamp_value: bool = False
    """A value below 0 becomes 0 after the frames are reduced."""
    keep_end: bool = True
    """Texts that are cut to the model's length keep their end token."""

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return (0.0 if self.clamp_frames or self.clamp_value else -self.scale, self.scale)


PROTOCOLS = {
    "hessel": Protocol("ViT-B-32", "official", prefix="A photo depicts ", scale=2.5, clamp_frames=True),
    "torchmetrics": Protocol("ViT-L-14", "huggingface", scale=100.0, clamp_value=True, keep_end=False),
    "evalcrafter": Protocol("ViT-B-32", "evalcrafter"),
}
DESCRIBED = {
    "hessel": "hessel: 2.5 x max(cosine, 0) with 'A photo depicts ' before the prompt, ViT-B/32, 0 to 2.5",
    "torchmetrics": (
        "torchmetrics: 100 x cosine, clamped at 0 after the mean over frames, ViT-L/14, 0 to 100; a prompt of more "
        "than 77 tokens loses its end token and with it all meaning"
    ),
    "evalcrafter": ("evalcrafter: mean cosine of frames from 0 to 255 that were never normalised, ViT-B/32, -1 to 1"),
    "vbench-overall": (
        "vbench-overall: cosine of ViCLIP-L/14's embeddings of the prompt, cut to 32 tokens, and of eight frames, the "
        "middles of eight spans, as one clip; -1 to 1"
    ),
}
EVERY_FRAME = "every frame, mean over frames unless reduce says otherwise"
VICLIP = "vbench-overall"
REDUCTIONS = ("mean", "median", "min", "max", "first", "middle", "last")


def frame_scores(images: NDArray[np.floating], text: NDArray[np.floating], protocol: Protocol) -> NDArray[np.float64]:
    """Each frame's score.

    Args:
        images: (N, D) embeddings, not normalised.
        text: (D,) embedding, not normalised.
        protocol: scale and clamping.

    Returns:
        (N,) scale x cosine, at least 0 where the protocol clamps frames; NaN where an embedding is zero.
    """
    values = protocol.scale * cosines(images, text)
    return np.maximum(values, 0.0) if protocol.clamp_frames else values


def reduced(values: NDArray[np.float64], how: str) -> float:
    """One number of (N,) frames in their order: a name in `REDUCTIONS`."""
    if how in ("first", "middle", "last"):
        return float(values[{"first": 0, "middle": len(values) // 2, "last": -1}[how]])
    reductions: dict[str, Callable[[NDArray[np.float64]], Any]] = {
        "mean": np.mean,
        "median": np.median,
        "min": np.min,
        "max": np.max,
    }
    return float(reductions[how](values))


@dataclass(frozen=True)
class ClipScoreParameters:
    """Which protocol, and what may differ from it."""

    protocol: str = "hessel"
    """A name in `PROTOCOLS`, or `vbench-overall`, for which `reduce`, `model` and `weights` have no other choice."""
    reduce: str = "mean"
    """How frames become one value: `mean`, `median`, `min`, `max`, `first`, `middle` or `last`."""
    model: str = ""
    """An architecture of open_clip, or a JSON file of one; empty for the protocol's."""
    weights: str = PUBLISHED
    """`openai` for the published file of the model, or the path of a file."""

    def __post_init__(self) -> None:
        if self.protocol not in (*PROTOCOLS, VICLIP):
            known = ", ".join((*PROTOCOLS, VICLIP))
            raise InputError(f"clip_score.protocol must be one of {known}, got '{self.protocol}'")
        if self.reduce not in REDUCTIONS:
            raise InputError(f"clip_score.reduce must be one of {', '.join(REDUCTIONS)}, got '{self.reduce}'")
        if self.protocol == VICLIP and (self.reduce, self.model, self.weights) != ("mean", "", PUBLISHED):
            raise InputError("clip_score.protocol=vbench-overall leaves no choice of reduce, model and weights")


class ClipScore(ClipMetric[ClipScoreParameters]):
    """How well frames fit the prompt."""

    name = "clip_score"
    version = "1"
    summary = (
        "how well single frames fit the prompt in the eyes of CLIP; knows nothing of motion, order or counts, and "
        "differs by prompt: compare models on the same prompts, and only under one protocol"
    )
    reference = (
        "Hessel et al., CLIPScore, EMNLP 2021 (arXiv 2104.08718); jmhessel/clipscore 10364652, "
        "Lightning-AI/torchmetrics dab03339 clip_score, evalcrafter/EvalCrafter Scores_with_CLIP.py, "
        "Vchitect/VBench 45e79ec1 overall_consistency.py"
    )
    protocol = f"{'. '.join(DESCRIBED.values())}. All: {EVERY_FRAME}. hessel is meant where nothing is said"
    higher_is_better = True
    unit = "1"
    value_range = (-1.0, 100.0)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("clip_image"),), prompt=True)
    parameters_type = ClipScoreParameters

    def __init__(self, parameters: ClipScoreParameters | None = None) -> None:
        super().__init__(parameters)
        chosen = self._protocol()
        # What a run tells of a metric, it tells of this protocol alone; intervals are cut to its range.
        told = DESCRIBED[self.parameters.protocol]
        self.protocol = told if chosen is None else f"{told}; {EVERY_FRAME}"  # type: ignore[misc]
        self.value_range = (-1.0, 1.0) if chosen is None else chosen.value_range  # type: ignore[misc]

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """CLIP, or ViCLIP, as the protocol wants it."""
        chosen = self._protocol()
        if chosen is None:
            return (ExtractorSpec("viclip_video"),)
        source = self._source(chosen)
        values = {"model": source.model, "weights": source.weights, "preprocess": chosen.preprocess}
        return (ExtractorSpec("clip_image", values),)

    def _protocol(self) -> Protocol | None:
        return PROTOCOLS.get(self.parameters.protocol)

    def _source(self, chosen: Protocol) -> ClipSource:
        return ClipSource(self.parameters.model or chosen.model, self.parameters.weights)

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip."""
        chosen = self._protocol()
        if not clip.prompt or not clip.prompt.strip():
            return Score.unscored("it has no prompt")
        if chosen is None:
            return _of_the_whole_clip(observations, clip.prompt)
        seen = observations.of("clip_image", ClipImageObservation)
        prompt = embed_prompt(self._source(chosen), chosen.prefix + clip.prompt, keep_end=chosen.keep_end)
        values = frame_scores(seen.embeddings, prompt.vector, chosen)
        if not np.isfinite(values).all():
            return Score.unscored("CLIP gives a zero or infinite embedding for a frame or for the prompt")
        value = reduced(values, self.parameters.reduce)
        worst, best = int(values.argmin()), int(values.argmax())
        return Score(
            max(value, 0.0) if chosen.clamp_value else value,
            details={
                "protocol": self.parameters.protocol,
                "reduce": self.parameters.reduce,
                "frames": len(values),
                "lowest": float(values[worst]),
                "lowest_frame": int(seen.frame_numbers[worst]),
                "highest": float(values[best]),
                "highest_frame": int(seen.frame_numbers[best]),
                "note": note(prompt, keep_end=chosen.keep_end),
                "remark": other_weights(seen.unpublished),
                "curve": [round(float(value), 5) for value in values],
            },
        )


def _of_the_whole_clip(observations: Observations, text: str) -> Score:
    """VBench's overall consistency."""
    seen = observations.of("viclip_video", ViClipVideoObservation)
    prompt = viclip_text.embed_prompt(text)
    (value,) = cosines(seen.embedding[None], prompt.vector)
    if not np.isfinite(value):
        return Score.unscored("ViCLIP gives a zero or infinite embedding for the clip or for the prompt")
    return Score(
        float(value),
        details={
            "protocol": VICLIP,
            "frames": len(seen.frames),
            "frame_numbers": seen.frames.tolist(),
            "note": note(prompt, keep_end=True, model="ViCLIP"),
            "remark": other_weights(seen.unpublished),
        },
    )


def note(prompt: PromptEmbedding, *, keep_end: bool, model: str = "CLIP") -> str | None:
    """What must be said of a prompt that was cut; None of one that was not."""
    if not prompt.cut:
        return None
    told = f"the prompt has {prompt.tokens} tokens and {model} takes {prompt.room}: the rest was cut off"
    if keep_end:
        return told
    return (
        f"{told}, its end token too, as torchmetrics does; the value is that of an empty text and says nothing of the "
        "prompt"
    )
