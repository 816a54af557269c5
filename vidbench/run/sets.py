"""Set metrics, from kept observations: always in one order, so that runs repeat bit for bit.

Clips are put into groups by prompt. Each group's state is made clip by clip in the order of ids, the groups are merged
in order, and leaving one group out at a time gives the jackknife interval. Who computed a clip, and when, plays no
part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vidbench.clips import Clip
from vidbench.files import json_line
from vidbench.metric import Observations, Score, SetMetric
from vidbench.results import ClipRow, ScoreRow, to_json
from vidbench.run.cache import deserialise
from vidbench.run.feed import told
from vidbench.run.plan import Plan, make_extractor, make_metric
from vidbench.run.shard import checked_score
from vidbench.stats import jackknife_interval
from vidbench.video import ClipFacts

GROUPS = 10
"""How many groups of prompts the jackknife leaves out in turn."""

Lookup = Callable[[str, str], bytes | str]
"""(clip key, extractor identity) to the serialised observation, or why there is none."""
Met = tuple[ClipRow, Clip | None]
"""What a run says of a clip, and the clip itself with its metadata; None where that is not there any more."""


@dataclass(frozen=True, slots=True)
class KeptReference:
    """A metric's state of the reference set."""

    state: Any
    clips: int
    hashes: set[str | None]
    """Of the contents of its clips."""


def set_identities(plan: Plan) -> set[str]:
    """Identities of the extractors whose observations set metrics need."""
    return {
        make_extractor(spec).identity()
        for planned in plan.metrics
        if planned.unavailable is None
        for metric in [make_metric(planned)]
        if isinstance(metric, SetMetric)
        for spec in metric.extractor_specs()
    }


def score_sets(
    plan: Plan,
    clips: Sequence[Met],
    references: Sequence[Met],
    lookup: Lookup,
    progress: Callable[[str], None] = lambda _: None,
    kept: Mapping[str, KeptReference] | None = None,
) -> list[ScoreRow]:
    """One row a model and set metric.

    Args:
        plan: the run's plan.
        clips: generated clips, scored and failed.
        references: the reference set's clips.
        lookup: where kept observations are.
        progress: told the metric and model about to be computed.
        kept: states of a reference set from a file, by metric; `references` then plays no part.
    """
    rows: list[ScoreRow] = []
    counted = [(row, clip) for row, clip in clips if row.status != "skipped" and row.model is not None]
    models = sorted({row.model for row, _ in counted if row.model is not None})
    for planned in plan.metrics:
        metric = make_metric(planned)
        if not isinstance(metric, SetMetric):
            continue
        if planned.unavailable is not None:
            rows += [ScoreRow(m, None, metric.name, None, planned.unavailable) for m in models]
            continue
        try:
            collector = Collector(metric, lookup)
            if not metric.needs.reference_set:
                reference = KeptReference(metric.new_state(), 0, set())
            else:
                reference = kept[metric.name] if kept is not None else _whole(collector, references)
        except (Exception, SystemExit) as error:  # a stranger's metric may raise anything; the rows say so
            rows += [ScoreRow(m, None, metric.name, None, told(metric.name, error)) for m in models]
            continue
        for model in models:
            progress(f"{metric.name}: {model}")
            mine = [(row, clip) for row, clip in counted if row.model == model]
            rows.append(_writable(_compare(collector, model, mine, reference)))
    return rows


def _whole(collector: Collector, references: Sequence[Met]) -> KeptReference:
    state, clips, _ = collector.whole(references)
    return KeptReference(state, clips, {row.sha256 for row, _ in references if row.status == "scored"})


def _writable(row: ScoreRow) -> ScoreRow:
    try:
        json_line(to_json(row))
    except (TypeError, ValueError) as error:
        return ScoreRow(row.model, None, row.metric, None, told(row.metric, error))
    return row


class Collector:
    """Builds states of one metric from kept observations."""

    def __init__(self, metric: SetMetric[Any, Any], lookup: Lookup) -> None:
        self.metric = metric
        self._lookup = lookup
        self._extractors = {
            spec.name: (e.identity(), e.observation_type)
            for spec in metric.extractor_specs()
            for e in [make_extractor(spec)]
        }

    def observations(self, row: ClipRow, clip: Clip | None) -> Observations | str:
        """What the metric reads of a clip, or why it can't."""
        lack = self._lacks(row, clip)
        if lack is not None or row.key is None:
            return lack or f"clip failed: {row.reason}"
        named = {}
        for name, (identity, kind) in self._extractors.items():
            data = self._lookup(row.key, identity)
            if isinstance(data, str):
                return data
            try:
                named[name] = deserialise(data, kind)
            except ValueError as error:
                return f"the kept observation of {name} is damaged ({error}); remove it and run again"
        return Observations(named, _facts(row), clip)

    def _lacks(self, row: ClipRow, clip: Clip | None) -> str | None:
        """Why the metric cannot take the clip, before anything of it is read."""
        if row.status != "scored":
            return f"clip failed: {row.reason}"
        if (row.frames or 0) < self.metric.frames_needed():
            return f"has {row.frames} frames, {self.metric.frames_needed()} are needed"
        if self.metric.needs.fps and row.fps is None:
            return "its frame rate is unknown: add an fps column to metadata.csv or use --fps"
        if self.metric.needs.actions and (clip is None or clip.actions is None):
            return "it has no actions"
        return None

    def whole(self, rows: Sequence[Met]) -> tuple[Any, int, Counter[str]]:
        """State over all rows, how many clips are in it, and why the others are not."""
        state = self.metric.new_state()
        used, reasons = 0, Counter[str]()
        for row, clip in sorted(rows, key=lambda met: met[0].clip):
            seen = self.observations(row, clip)
            if isinstance(seen, str):
                reasons[seen] += 1
                continue
            state = self.metric.observe(state, seen)
            used += 1
        return state, used, reasons


def _compare(
    collector: Collector,
    model: str,
    rows: Sequence[Met],
    reference: KeptReference,
) -> ScoreRow:
    metric = collector.metric

    def shared(row: ClipRow, clip: Clip | None) -> str:
        own = metric.together(clip) if clip is not None else None
        return own or row.prompt or f"clip {row.clip}"

    groups: list[list[Met]] = []
    try:
        by_name: dict[str, list[Met]] = {}
        for row, clip in rows:
            by_name.setdefault(shared(row, clip), []).append((row, clip))
        groups = [[] for _ in range(min(GROUPS, len(by_name)))]
        for number, name in enumerate(sorted(by_name)):
            groups[number % len(groups)] += by_name[name]
    except (Exception, SystemExit) as error:  # a stranger's metric may raise anything; the row says so
        return ScoreRow(model, None, metric.name, None, told(metric.name, error))
    states, used, reasons = [], 0, Counter[str]()
    try:
        for group in groups:
            state, n, why = collector.whole(group)
            used += n
            reasons += why
            if n:
                states.append(state)
        score = _compared(metric, states, reference.state)
        left_out = (
            [_compared(metric, states[:i] + states[i + 1 :], reference.state) for i in range(len(states))]
            if score.value is not None and len(states) > 1
            else []
        )
    except (Exception, SystemExit) as error:  # a stranger's metric may raise anything; the row says so
        score, left_out = Score.unscored(told(metric.name, error)), []
    details: dict[str, Any] = {
        **score.details,
        "clips": used,
        "reference_clips": reference.clips,
        "unscored": dict(reasons),
    }
    if score.value is not None:
        values = [s.value for s in left_out if s.value is not None]
        if len(values) < len(left_out):
            details["interval"] = "no interval: too few clips to leave some out"
        else:
            interval = jackknife_interval(score.value, values, metric.value_range)
            details |= {"low": interval.low, "high": interval.high, "interval": interval.method, "left_out": values}
        scored = [row for row, _ in rows if row.status == "scored"]
        own = sum(row.sha256 in reference.hashes for row in scored)
        if own:
            all_of = "all" if own == len(scored) else f"{own} of {len(scored)}"
            details["note"] = f"{all_of} of its clips are in the reference set, so this value says nothing about it"
            details |= {"low": None, "high": None, "interval": "no interval: compared with its own clips"}
    return ScoreRow(model, None, metric.name, score.value, score.reason, details)


def _compared(metric: SetMetric[Any, Any], states: Sequence[Any], reference: Any) -> Score:
    return checked_score(metric, metric.compare(_merged(metric, states), reference))


def _merged(metric: SetMetric[Any, Any], states: Sequence[Any]) -> Any:
    merged = metric.new_state()
    for state in states:
        merged = metric.merge(merged, state)
    return merged


def _facts(row: ClipRow) -> ClipFacts:
    import numpy as np

    frames = row.frames or 0
    return ClipFacts(frames, row.fps, row.width or 0, row.height or 0, np.arange(frames) / (row.fps or 1.0))
