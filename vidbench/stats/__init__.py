"""Aggregates, intervals, paired comparisons and ranks.

Clips that share a prompt are not independent, so everything here treats the *prompt* as the unit (clips without a
prompt stand alone). Intervals speak of the sampling of prompts only, never of the choice of metric.

    intervals    one model: its aggregate and the 95 % interval of it
    comparison   two or more models: paired differences, Holm's correction, which ranks are allowed
"""

from vidbench.stats.comparison import (
    Difference,
    Sample,
    Spread,
    allowed_ranks,
    certain_wins,
    differences,
    holm,
    jackknife_spread,
    paired_difference,
    spread_difference,
    unpaired_spread,
)
from vidbench.stats.intervals import (
    CONFIDENCE,
    DRAWS,
    Interval,
    aggregate,
    average_ranks,
    cluster_interval,
    jackknife_interval,
    rank_intervals,
    ranks,
    wilson_interval,
    wilson_lower,
    wilson_upper,
)

__all__ = [
    "CONFIDENCE",
    "DRAWS",
    "Difference",
    "Interval",
    "Sample",
    "Spread",
    "aggregate",
    "allowed_ranks",
    "average_ranks",
    "certain_wins",
    "cluster_interval",
    "differences",
    "holm",
    "jackknife_interval",
    "jackknife_spread",
    "paired_difference",
    "rank_intervals",
    "ranks",
    "spread_difference",
    "unpaired_spread",
    "wilson_interval",
    "wilson_lower",
    "wilson_upper",
]
