"""Counterfactual divergence: from one start, do clips with different actions differ as the true ones do?

For two clips of one start, the difference of their frames is held against the difference of their true clips' frames,
place by place: 2 Σ g · r / (Σ g² + Σ r²), g being the generated difference and r the true one, over all pixels and
frames. 1 where they are the same; 0 where actions change nothing, or where clips differ for no reason (noise is not
correlated with anything); below 0 where the opposite happens. Too small and too large an effect both cost. Our own
definition.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.metric import ExtractorSpec, Needs, Observations, Score, SetMetric
from vidbench_metrics.extractors.thumbnails import PairThumbnailsObservation
from vidbench_metrics.starts import COLUMN, OfStart, by_start, start_of

Thumbnails = NDArray[np.uint8]

NOTICEABLE = 1.0
"""Grey levels of root-mean-square difference at 32 pixels below which two true clips are taken to be the same."""


@dataclass(frozen=True)
class CounterfactualDivergenceParameters:
    """How far clips are followed."""

    frames: int = 16
    """Frames after the start; later ones of a chaotic scene differ for reasons that no model can know."""

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise InputError(f"counterfactual_divergence.frames must be at least 1, got {self.frames}")


@dataclass(frozen=True, eq=False)
class ThumbnailsOfStart(OfStart):
    """A clip and its true clip."""

    frames: Thumbnails
    """(T, h, w, 3)."""
    reference: Thumbnails


@dataclass(frozen=True, slots=True)
class Divergence:
    """Sums over pixels and frames; of a pair of clips, or of several."""

    generated: float
    """Σ g²."""
    true: float
    """Σ r²."""
    common: float
    """Σ g · r."""

    def agreement(self) -> float:
        """2 Σ g · r / (Σ g² + Σ r²)."""
        return 2 * self.common / (self.generated + self.true)


def divergence(a: ThumbnailsOfStart, b: ThumbnailsOfStart, frames: int) -> Divergence | None:
    """How two clips of one start differ; None where their true clips do not.

    Args:
        a: a clip.
        b: another of its start.
        frames: how many after the first are looked at.
    """
    count = min(len(a.frames), len(b.frames), frames + 1)
    if count < 2 or a.frames.shape[1:] != b.frames.shape[1:]:
        return None
    g = a.frames[1:count].astype(np.float64) - b.frames[1:count]
    r = a.reference[1:count].astype(np.float64) - b.reference[1:count]
    if float(np.mean(r**2)) < NOTICEABLE**2:
        return None
    return Divergence(float(np.sum(g**2)), float(np.sum(r**2)), float(np.sum(g * r)))


def pooled(parts: Sequence[Divergence]) -> Divergence:
    """Several as one."""
    return Divergence(*(float(sum(values)) for values in zip(*((p.generated, p.true, p.common) for p in parts))))  # noqa: B905


class CounterfactualDivergence(SetMetric[CounterfactualDivergenceParameters, tuple[ThumbnailsOfStart, ...]]):
    """See the module."""

    name = "counterfactual_divergence"
    version = "1"
    summary = (
        "whether clips of one start with different actions differ where and as much as the true clips do; says nothing "
        "about what they have in common"
    )
    reference = "our own definition: the concordance of differences, after Lin's concordance correlation"
    protocol = (
        "frames 1 to 16 at 32 pixels; pairs of one start whose true clips differ by 1 grey level (root mean square); "
        "sums pooled over the pairs of a start, mean over starts"
    )
    higher_is_better = True
    unit = "1"
    value_range = (-1.0, 1.0)
    needs = Needs(extractors=(ExtractorSpec("pair_thumbnails"),), reference_set=False, columns=(COLUMN,))
    min_frames = 2
    parameters_type = CounterfactualDivergenceParameters

    def together(self, clip: Clip) -> str | None:
        """Clips of one start."""
        return start_of(clip)

    def new_state(self) -> tuple[ThumbnailsOfStart, ...]:
        """No clips; of each, up to 17 thumbnails and those of its true clip are kept."""
        return ()

    def observe(
        self, state: tuple[ThumbnailsOfStart, ...], observations: Observations
    ) -> tuple[ThumbnailsOfStart, ...]:
        """Add a clip that has a start."""
        seen = observations.of("pair_thumbnails", PairThumbnailsObservation)
        clip, start = observations.clip, start_of(observations.clip)
        if clip is None or start is None or not len(seen.frames):
            return state
        kept = slice(0, self.parameters.frames + 1)
        return (*state, ThumbnailsOfStart(start, clip.id, seen.frames[kept].copy(), seen.reference[kept].copy()))

    def merge(
        self, state: tuple[ThumbnailsOfStart, ...], other: tuple[ThumbnailsOfStart, ...]
    ) -> tuple[ThumbnailsOfStart, ...]:
        """Both together."""
        return (*state, *other)

    def compare(self, generated: tuple[ThumbnailsOfStart, ...], reference: tuple[ThumbnailsOfStart, ...]) -> Score:
        """The mean over starts."""
        starts: list[Divergence] = []
        pairs = same = 0
        for clips in by_start(generated).values():
            found = [divergence(a, b, self.parameters.frames) for a, b in itertools.combinations(clips, 2)]
            apart = [one for one in found if one is not None]
            pairs += len(apart)
            same += len(found) - len(apart)
            if apart:
                starts.append(pooled(apart))
        if not starts:
            return Score.unscored(
                "no start has two clips whose true clips differ: name each clip's own true clip in the column "
                f"'reference' and give clips of one start the same '{COLUMN}'"
                + (f" ({same} pairs have true clips that are alike)" if same else "")
            )
        whole = pooled(starts)
        return Score(
            float(np.mean([one.agreement() for one in starts])),
            details={
                "starts": len(starts),
                "pairs": pairs,
                "pairs_alike": same,
                "size_ratio": float(np.sqrt(whole.generated / whole.true)),
                "cosine": float(whole.common / np.sqrt(whole.generated * whole.true)) if whole.generated else 0.0,
            },
        )
