"""A suite: a named selection of metrics with parameters, and a hash that two runs can be compared by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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

    def hash(self) -> str:
        """First 16 hex digits of the sha256 over name, version, metrics, parameters and required metrics."""
        content = {
            "name": self.name,
            "version": self.version,
            "metrics": {name: dict(parameters) for name, parameters in self.metrics.items()},
            "required": sorted(self.required),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
