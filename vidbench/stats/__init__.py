"""Aggregates, intervals, paired comparisons and ranks.

Clips that share a prompt are not independent, so everything here treats the *prompt* as the unit (clips without a
prompt stand alone). Intervals speak of the sampling of prompts only, never of the choice of metric.

    intervals    one model: its aggregate and the 95 % interval of it
    comparison   two or more models: paired differences, Holm's correction, which ranks are allowed
    ranking      all metrics together: mean ranks, their intervals, the Pareto front
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
    sample_spread,
    spread_difference,
    unpaired_spread,
)
from vidbench.stats.intervals import (
    CONFIDENCE,
    TAIL_PROMPTS,
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
from vidbench.stats.ranking import Criterion, Overall, Standing, mean_ranks, overall

__all__ = [
    "CONFIDENCE",
    "TAIL_PROMPTS",
    "Criterion",
    "Difference",
    "Interval",
    "Overall",
    "Sample",
    "Spread",
    "Standing",
    "aggregate",
    "allowed_ranks",
    "average_ranks",
    "certain_wins",
    "cluster_interval",
    "differences",
    "holm",
    "jackknife_interval",
    "jackknife_spread",
    "mean_ranks",
    "overall",
    "paired_difference",
    "rank_intervals",
    "ranks",
    "sample_spread",
    "spread_difference",
    "unpaired_spread",
    "wilson_interval",
    "wilson_lower",
    "wilson_upper",
]
