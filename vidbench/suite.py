"""A suite: a named selection of metrics with parameters, and a hash that two runs can be compared by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Term:
    """How one metric's value enters a total."""

    low: float
    """The metric's value that counts 0; values beyond either end are not cut off."""
    high: float
    """The metric's value that counts 1."""
    weight: float = 1.0

    def normalised(self, value: float) -> float:
        """Where a value lies between `low` (0) and `high` (1)."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Total:
    """A published weighted mean of a suite's metrics."""

    name: str
    """What the number is called, e.g. `VBench quality`."""
    terms: Mapping[str, Term]
    """By metric."""
    rule: str
    """In words: where the weights come from, and what the number can be compared with."""

    def value(self, normalised: Mapping[str, float]) -> float | None:
        """Weighted mean of the terms that are given; None where none is.

        Args:
            normalised: metric to its normalised value.
        """
        weight = sum(self.terms[name].weight for name in normalised)
        return sum(self.terms[name].weight * x for name, x in normalised.items()) / weight if weight else None


@dataclass(frozen=True, slots=True)
class Suite:
    """What to compute and how."""

    name: str
    version: str
    summary: str
    metrics: Mapping[str, Mapping[str, Any]]
    """Metric name to parameters; an empty mapping takes the defaults."""
    required: frozenset[str] = field(default_factory=frozenset)
    """Metrics without which a run is incomplete (exit code 3)."""
    total: Total | None = None
    """A weighted mean that the summary of a run carries beside the ranks."""
    rank_weights: Mapping[str, float] = field(default_factory=dict)
    """Weights of metrics in the overall ranking; 1 where none is given, 0 leaves a metric out of it."""
    policy: str | None = None
    """What `vidbench gate` asks of its metrics, as the TOML text of a policy; not part of the hash, since it changes no
    number."""

    def hash(self) -> str:
        """First 16 hex digits of the sha256 over all that changes what a run computes or how it ranks."""
        content: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "metrics": {name: dict(parameters) for name, parameters in self.metrics.items()},
            "required": sorted(self.required),
        }
        if self.total is not None:
            terms = {name: [term.low, term.high, term.weight] for name, term in self.total.terms.items()}
            content["total"] = {"name": self.total.name, "terms": terms}
        if self.rank_weights:
            content["rank_weights"] = dict(self.rank_weights)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
