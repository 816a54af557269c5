"""What a board says: values, ranks, comparisons and coverage of all models whose numbers may stand in one table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vidbench.errors import InputError
from vidbench.leaderboard.sources import MixedRunsError, Setting, Source, group
from vidbench.results import ClipRow, MetricFacts, OverallRank, ScoreRow, Summary, is_baseline
from vidbench.stats import Difference, Overall, certain_wins
from vidbench.summary import Assessment, assess


@dataclass(frozen=True, slots=True)
class BoardClip:
    """One clip of the board."""

    row: ClipRow
    """As its run has it."""
    model: str
    """Its name on the board."""
    source: int
    """Which of the block's sources it comes from."""
    scores: Mapping[str, ScoreRow]
    """By metric; set metrics have none."""


@dataclass(frozen=True, slots=True)
class Block:
    """Models whose numbers may be compared."""

    sources: tuple[Source, ...]
    facts: tuple[MetricFacts, ...]
    """Of the metrics shown, those that judge first."""
    summary: Summary
    overall: Overall
    weights: Mapping[str, float]
    """Of metrics in the overall ranking, where not 1."""
    differences: Mapping[str, Mapping[tuple[str, str], Difference]]
    """By metric that judges, of every pair of models that it ranks."""
    wins: Mapping[str, frozenset[tuple[str, str]]]
    """By metric that judges, (better, worse) that are certain."""
    yardsticks: frozenset[str]
    clips: tuple[BoardClip, ...]
    """Scored and failed ones."""

    @property
    def judging(self) -> list[MetricFacts]:
        """Metrics that judge."""
        return [facts for facts in self.facts if not facts.diagnostic]

    @property
    def ranking(self) -> list[MetricFacts]:
        """Metrics that enter the overall ranking."""
        return [facts for facts in self.judging if facts.name in self.overall.without]

    @property
    def competing(self) -> list[str]:
        """Models that are ranked or could be, best first."""
        return [m for m in self.summary.models if m not in self.yardsticks and not is_baseline(m)]

    def place(self, model: str) -> OverallRank:
        """Its place over all metrics."""
        return next(place for place in self.summary.overall if place.model == model)

    def pair_counts(self, better: str, worse: str) -> tuple[int, int, int]:
        """Metrics in which the first certainly wins, certainly loses, and in which neither is certain."""
        won = sum((better, worse) in wins for wins in self.wins.values())
        lost = sum((worse, better) in wins for wins in self.wins.values())
        compared = sum((better, worse) in pairs or (worse, better) in pairs for pairs in self.differences.values())
        return won, lost, compared - won - lost


@dataclass(frozen=True, slots=True)
class Board:
    """A leaderboard: one block, or one a setting."""

    title: str
    blocks: tuple[Block, ...]
    settings: tuple[Setting, ...]
    """In what the blocks differ; empty where there is one."""
    labels: tuple[str, ...]
    """Of the runs, in the order of the values of `settings`."""
    notes: tuple[str, ...] = ()


def make_board(
    sources: Sequence[Source],
    *,
    title: str = "Leaderboard",
    metrics: Collection[str] = (),
    weights: Mapping[str, float] | None = None,
    allow_mixed: bool = False,
    notes: Sequence[str] = (),
    seed: int = 0,
) -> Board:
    """Put runs on a board.

    Args:
        sources: as from `load_sources`.
        title: of the board.
        metrics: only these; empty takes all that the runs have.
        weights: of metrics in the overall ranking, over those of the runs' suite; 0 leaves one out.
        allow_mixed: make one block a setting where runs differ.
        notes: carried into the board.
        seed: of the draws behind the intervals of mean ranks.

    Raises:
        MixedRunsError: the runs differ in their settings, and `allow_mixed` is off.
        InputError: nothing to rank, or a named metric is in no run.
    """
    if not sources:
        raise InputError("no run has a clip of any model: there is nothing to put on a board")
    known = list(dict.fromkeys(facts.name for source in sources for facts in source.run.info.metrics))
    for name in [*metrics, *(weights or {})]:
        if name not in known:
            raise InputError(f"no run here has the metric '{name}'; there are: {', '.join(known)}")
    groups, settings = group(sources, metrics)
    labels = tuple(source.label for source in sources)
    if settings and not allow_mixed:
        raise MixedRunsError(labels, settings)
    blocks = tuple(_block(members, metrics, weights or {}, seed) for members in groups)
    return Board(title, blocks, tuple(settings), labels, tuple(notes))


def _block(sources: Sequence[Source], metrics: Collection[str], weights: Mapping[str, float], seed: int) -> Block:
    chosen = [f for f in sources[0].run.info.metrics if not metrics or f.name in metrics]
    facts = [*(f for f in chosen if not f.diagnostic), *(f for f in chosen if f.diagnostic)]
    suite_weights = sources[0].run.info.settings.get("rank_weights")
    agreed = {**(suite_weights if isinstance(suite_weights, Mapping) else {}), **weights}
    names = {f.name for f in facts}
    agreed = {metric: float(weight) for metric, weight in agreed.items() if metric in names}
    rows, scores, clips = _combined(sources, {f.name for f in facts})
    yardsticks = frozenset(name for source in sources for name in source.yardsticks)
    assessment = assess(rows, scores, facts, yardsticks=yardsticks, seed=seed, weights=agreed)
    differences = _differences(assessment, facts)
    higher = {f.name: f.higher_is_better for f in facts}
    return Block(
        sources=tuple(sources),
        facts=tuple(facts),
        summary=assessment.summary,
        overall=assessment.standing,
        weights={metric: weight for metric, weight in agreed.items() if weight != 1},
        differences=differences,
        wins={
            metric: frozenset(certain_wins(pairs, higher_is_better=higher[metric]))
            for metric, pairs in differences.items()
        },
        yardsticks=yardsticks,
        clips=tuple(clips),
    )


def _combined(
    sources: Sequence[Source], metrics: Collection[str]
) -> tuple[list[ClipRow], list[ScoreRow], list[BoardClip]]:
    """Rows of all sources with the board's names of models; clips of several runs are told apart by their source."""
    rows: list[ClipRow] = []
    scores: list[ScoreRow] = []
    clips: list[BoardClip] = []
    for number, source in enumerate(sources):
        lead = f"{source.label}: " if len(sources) > 1 else ""
        of_clip: dict[str, dict[str, ScoreRow]] = {}
        for score in source.run.scores:
            if score.metric not in metrics or score.model not in source.names:
                continue
            if score.clip is not None:
                of_clip.setdefault(score.clip, {})[score.metric] = score
            clip = None if score.clip is None else f"{lead}{score.clip}"
            scores.append(replace(score, model=source.names[score.model], clip=clip))
        for row in source.run.clips:
            if row.model is None or row.model not in source.names or row.status == "skipped":
                continue
            name = source.names[row.model]
            rows.append(replace(row, model=name, clip=f"{lead}{row.clip}"))
            clips.append(BoardClip(row, name, number, of_clip.get(row.clip, {})))
    return rows, scores, clips


def _differences(assessment: Assessment, facts: Iterable[MetricFacts]) -> dict[str, dict[tuple[str, str], Difference]]:
    result = {}
    for metric in (f.name for f in facts if not f.diagnostic):
        ranked = [
            model
            for model in assessment.summary.models
            if (score := assessment.summary.score(model, metric)) is not None and score.rank is not None
        ]
        result[metric] = assessment.estimates[metric].differences(ranked)
    return result
