"""Dynamic degree, VBench's formula: whether anything in a clip moves far enough, often enough.

Huang et al., "VBench", CVPR 2024 (arXiv 2311.17982); upstream `vbench/dynamic_degree.py` at commit
45e79ec14e69a2187202c675d2dbce1a71843d53 of Vchitect/VBench (Apache-2.0), which this does not copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, Observations, Score
from vidbench_metrics.extractors.raft_flow import WEIGHTS, RaftFlowObservation, RaftFlowParameters, interval_of


def threshold(height: int, width: int) -> float:
    """Pixels that the largest 5 % of a flow must exceed on average: 6 where the short side has 256."""
    return 6.0 * (min(height, width) / 256.0)


def pairs_needed(frames: int) -> int:
    """How many pairs must exceed the threshold: a quarter of the frames looked at, rounded as Python does."""
    return round(4 * (frames / 16.0))


def moves(top: NDArray[np.float64], frames: int, height: int, width: int) -> bool:
    """VBench's verdict.

    It counts pair by pair and stops at the number needed; where that is none, which it is for two frames, the first
    pair ends it whatever it shows.

    Args:
        top: (P,) mean of the largest 5 % of each pair's flow, in pixels.
        frames: how many frames were looked at.
        height: of the picture, in pixels, not padded.
        width: of the picture, in pixels, not padded.
    """
    enough, limit = pairs_needed(frames), threshold(height, width)
    return len(top) > 0 and int((top > limit).sum()) >= enough


@dataclass(frozen=True)
class DynamicDegreeParameters:
    """Whose copy of the weights is used."""

    weights: str = "authors"
    """`authors`: raft-things.pth out of their zip, as VBench; `torchvision`: torchvision's port of the same weights."""

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise InputError(f"dynamic_degree.weights must be one of {', '.join(WEIGHTS)}, got '{self.weights}'")


class DynamicDegree(ClipMetric[DynamicDegreeParameters]):
    """VBench's dynamic degree."""

    name = "dynamic_degree"
    version = "1"
    summary = (
        "share of clips in which something moves far and often; a shaking camera counts as motion, and one clip is "
        "either 0 or 1"
    )
    reference = (
        "Huang et al., VBench, CVPR 2024 (arXiv 2311.17982); Vchitect/VBench vbench/dynamic_degree.py "
        "at 45e79ec14e69a2187202c675d2dbce1a71843d53"
    )
    protocol = (
        "vbench, RAFT raft-things with 20 iterations on every max(1, round(fps / 8))-th frame at its own size; moving "
        "where the largest 5 % exceed 6 min(H, W) / 256 pixels in at least round(N / 4) pairs; averaging: share of "
        "clips"
    )
    higher_is_better = True
    unit = "1"
    value_range = (0.0, 1.0)
    aggregation = "rate"
    needs = Needs((ExtractorSpec("raft_flow"),))
    parameters_type = DynamicDegreeParameters
    min_frames = 2

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """RAFT with these weights."""
        return (ExtractorSpec("raft_flow", {"weights": self.parameters.weights}),)

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip; unscored where RAFT can't take its size or only one frame was looked at."""
        seen = observations.of("raft_flow", RaftFlowObservation)
        facts = observations.facts
        if seen.unfit:
            return Score.unscored(seen.unfit)
        if not len(seen.top):
            return Score.unscored(f"of {facts.frames} frames one in {seen.interval} is looked at, which leaves no pair")
        limit = threshold(facts.height, facts.width)
        return Score(
            float(moves(seen.top, len(seen.frames), facts.height, facts.width)),
            details={
                "pairs_moving": int((seen.top > limit).sum()),
                "pairs_needed": pairs_needed(len(seen.frames)),
                "pairs": len(seen.top),
                "threshold": limit,
                "largest": float(seen.top.max()),
                "note": _note(seen, facts.fps),
            },
        )


def _note(seen: RaftFlowObservation, fps: float | None) -> str | None:
    """What sets this clip's value apart."""
    if pairs_needed(len(seen.frames)) == 0:
        return "VBench counts a clip of two such frames as moving, whatever it shows"
    usual = interval_of(fps, RaftFlowParameters().rate) if fps is not None else 1
    if usual != seen.interval:
        return f"its rate changes: one frame in {seen.interval} was looked at, VBench would take one in {usual}"
    return None
