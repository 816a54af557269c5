"""From the rows of one metric to estimates that can be compared: a value a model, and how it moves with the prompts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from vidbench.results import ClipRow, MetricFacts, ScoreRow
from vidbench.stats import (
    Difference,
    Sample,
    Spread,
    differences,
    jackknife_spread,
    sample_spread,
    spread_difference,
    unpaired_spread,
)

_USUAL_GROUPS = 10
"""Groups of a jackknife whose parts were not kept; runs of older versions are such."""


def unit_of(clip: ClipRow) -> str:
    """What a clip shares its chance with: its prompt; a clip without one stands alone."""
    return clip.prompt or f"clip {clip.clip}"


@dataclass(frozen=True, slots=True)
class MetricRows:
    """One metric's rows."""

    facts: MetricFacts
    rows: Mapping[str, Sequence[ScoreRow]]
    """By model."""
    clips: Mapping[str, ClipRow]
    """By clip."""

    def sample(self, model: str) -> Sample | None:
        """Its clip scores in the order of clips; None for a set metric, or where no clip has a score."""
        if self.facts.granularity == "set":
            return None
        scored = sorted(
            (row.clip, row.value) for row in self.rows.get(model, ()) if row.value is not None and row.clip is not None
        )
        if not scored:
            return None
        units = [unit_of(self.clips[clip]) if clip in self.clips else f"clip {clip}" for clip, _ in scored]
        return Sample(np.array([value for _, value in scored], dtype=np.float64), units)

    def spread(self, model: str) -> Spread | None:
        """Its value with the spread over prompts; None where it has no value."""
        if self.facts.granularity == "set":
            return self._set_spread(model)
        sample = self.sample(model)
        if sample is None:
            return None
        return sample_spread(sample, self.facts.aggregation, higher_is_better=self.facts.higher_is_better)

    def differences(self, models: Sequence[str]) -> dict[tuple[str, str], Difference]:
        """First minus second, of every pair of `models` that both have a value, in their order."""
        if self.facts.granularity == "set":
            spreads = {m: spread for m in models if (spread := self._set_spread(m)) is not None}
            return {(a, b): spread_difference(spreads[a], spreads[b]) for a, b in combinations(spreads, 2)}
        samples = {m: sample for m in models if (sample := self.sample(m)) is not None}
        return differences(samples, self.facts.aggregation, higher_is_better=self.facts.higher_is_better)

    def _set_spread(self, model: str) -> Spread | None:
        row = next(iter(self.rows.get(model, ())), None)
        if row is None or row.value is None:
            return None
        low, high, left_out = (row.details.get(key) for key in ("low", "high", "left_out"))
        if low is None or high is None:
            return Spread(row.value, {}, frozenset(), 0, str(row.details.get("interval", "no interval")))
        prompts: frozenset[Hashable] = frozenset(unit_of(clip) for clip in self.clips.values() if clip.model == model)
        if isinstance(left_out, list | tuple) and len(left_out) > 2:
            # Groups are made from the sorted prompts, so equal prompts mean equal groups.
            return jackknife_spread(row.value, left_out, prompts, source=(self.facts.name, prompts, len(left_out)))
        from scipy.special import stdtrit

        half = max(high - row.value, row.value - low)  # an end may be cut to the metric's range
        error = half / float(stdtrit(_USUAL_GROUPS - 1, 0.975))
        return unpaired_spread(
            row.value, error, _USUAL_GROUPS - 1, source=(self.facts.name, model), method="jackknife, not paired"
        )
