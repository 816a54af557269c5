"""A metric that cannot be imported, as happens when a plug-in's own dependency is missing."""

from __future__ import annotations

import vidbench_colour_missing_dependency  # type: ignore[import-not-found]  # missing is the point

BrokenOnImport = vidbench_colour_missing_dependency.Metric
