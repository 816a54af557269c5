"""What all views of a leaderboard say alike."""

from __future__ import annotations

from collections.abc import Sequence

from vidbench import wording
from vidbench.leaderboard import Block
from vidbench.results import MetricFacts, ModelScore, is_baseline

LEGEND = (
    "↑ higher is better, ↓ lower is better. In brackets the 95 % interval over prompts. A rank such as 1–2 names every "
    "rank that is left when only certain differences count: paired by prompt and corrected for the number of pairs "
    "(Holm), so that where none is true, any is claimed in at most 5 % of cases. 11/12 means that 11 of 12 clips have "
    "a score."
)


def kind(block: Block, model: str) -> str:
    """`model`, `yardstick` (the reference set itself) or `baseline` (broken on purpose)."""
    if model in block.yardsticks:
        return "yardstick"
    return "baseline" if is_baseline(model) else "model"


def verdict(block: Block) -> list[str]:
    """Who leads, and how sure that is: a headline and what qualifies it."""
    placed = [block.place(model) for model in block.competing if block.place(model).rank is not None]
    if not placed:
        return ["No model is ranked: no metric that judges has a value."]
    if len(placed) == 1:
        return [f"{wording.plain(placed[0].model)} is the only ranked model, so there is nothing to compare it with."]
    first = placed[0]
    over = f"over {wording.count(len(block.ranking), 'metric')}"
    candidates = [wording.plain(place.model) for place in placed if place.rank_low == 1]
    lines = [
        f"{wording.plain(first.model)} is first {over}: mean rank {first.mean_rank:.2f}, certainly ahead of all others."
        if candidates == [wording.plain(first.model)] and first.rank_high == 1
        else f"No model is certainly first {over}: {wording.listed(candidates)} may each be."
    ]
    front = [wording.plain(place.model) for place in placed if place.pareto]
    lines.append(
        f"{wording.listed(front)} {'is' if len(front) == 1 else 'are'} on the Pareto front: no other model is at least "
        "as good in every metric and better in one."
    )
    lines.append(_without(block, [place.model for place in placed if place.rank == 1]))
    return lines


def _without(block: Block, first: Sequence[str]) -> str:
    changed = {
        metric: [model for model, rank in ranks.items() if rank == 1]
        for metric, ranks in block.overall.without.items()
        if sorted(model for model, rank in ranks.items() if rank == 1) != sorted(first) and ranks
    }
    if not changed:
        return "The lead by mean rank stays the same whichever metric is left out."
    told = [f"{wording.listed([wording.plain(m) for m in lead])} without {metric}" for metric, lead in changed.items()]
    return f"The lead by mean rank hangs on the choice of metrics: it would be {'; '.join(told)}."


def digits(block: Block, facts: MetricFacts) -> int:
    """Digits after the point for all of one metric's values."""
    return wording.digits(facts, block.summary)


def value(block: Block, facts: MetricFacts, score: ModelScore | None) -> str:
    """The value alone; empty where there is none."""
    if score is None or score.value is None:
        return ""
    return wording.number(score.value, digits(block, facts))


def interval(block: Block, facts: MetricFacts, score: ModelScore) -> str:
    """`[0.91, 0.95]`; empty where there is none."""
    if score.low is None or score.high is None:
        return ""
    return f"[{wording.number(score.low, digits(block, facts))}, {wording.number(score.high, digits(block, facts))}]"


def rank(facts: MetricFacts, score: ModelScore) -> str:
    """The ranks that are left; empty where it is not ranked."""
    return "" if facts.diagnostic else wording.span_of_ranks(score.rank_low, score.rank_high)


def place(block: Block, model: str) -> str:
    """The overall ranks that are left, or a dash."""
    found = block.place(model)
    return wording.span_of_ranks(found.rank_low, found.rank_high) or "–"


def mean_rank(block: Block, model: str) -> str:
    """`1.90 [1.50, 2.30]`, or a dash."""
    found = block.place(model)
    if found.mean_rank is None:
        return "–"
    span = f" [{found.low:.2f}, {found.high:.2f}]" if found.low is not None and found.high is not None else ""
    return f"{found.mean_rank:.2f}{span}"


def unscored(block: Block) -> list[tuple[str, str, int, str]]:
    """Model, metric, how many clips have no score, and why."""
    return [
        (score.model, score.metric, count, reason)
        for score in block.summary.scores
        for reason, count in sorted(score.reasons.items(), key=lambda item: -item[1])
    ]


def pair(block: Block, a: str, b: str) -> str:
    """`3 : 1` metrics that are certainly won and lost, and how many stay open."""
    won, lost, still = block.pair_counts(a, b)
    return f"{won} : {lost}" + (f" ({still} open)" if still else "")
