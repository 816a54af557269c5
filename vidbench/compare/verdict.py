"""The comparison itself: every metric's paired difference, corrected for their number, and what it allows to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from vidbench.compare.clips import (
    ClipChange,
    Coverage,
    FindingChange,
    Scores,
    clip_scores,
    coverage,
    findings_changed,
    moved,
)
from vidbench.compare.settings import OneSided, Refused, common_metrics, notes
from vidbench.compare.sides import ClipPair, Pairing, Side, model_pairs, pair_clips
from vidbench.errors import InputError
from vidbench.results import ClipRow, MetricFacts, Run
from vidbench.stats import aggregate, holm, paired_difference
from vidbench.wording import count

LEVEL = 0.05
RULE = (
    "Clips are paired by prompt and name; a difference is the second minus the first over the pairs that both scored, "
    "with the prompt as the unit. Better and worse are said where its p-value is at most 0.05 after Holm's correction "
    "over all metrics that judge; a metric of whole sets has no pairs, so there its 95 % intervals must be apart."
)

Verdict = Literal["better", "worse", "unclear", "same", "described", "mixed", "none"]
"""`unclear`: the difference may be chance. `same`: all pairs have equal scores. `described`: the metric does not judge.
`mixed`: settings differ. `none`: there is no difference to judge."""


@dataclass(frozen=True, slots=True)
class MetricChange:
    """What one metric says of two models."""

    facts: MetricFacts
    before: float | None
    """Over the pairs that both sides scored; of a set metric, over the whole set."""
    after: float | None
    pairs: int
    """Pairs that both sides scored; of a set metric, the clips of the smaller set."""
    difference: float | None
    """after - before, in the metric's unit."""
    low: float | None
    """95 % interval of the difference, not corrected for the number of metrics."""
    high: float | None
    method: str
    """How interval and p-value were made, or why there are none."""
    p: float | None
    """Two-sided, as it stands."""
    p_corrected: float | None
    """After Holm's correction; None where the metric takes no part in it."""
    verdict: Verdict
    note: str | None = None
    """What must be known before believing it."""


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """Two models, set side by side."""

    before: str
    after: str
    pairing: Pairing
    metrics: tuple[MetricChange, ...]
    moved: tuple[ClipChange, ...]
    """At most two a pair of clips, one for worse and one for better; from the most worsened to the most improved."""
    findings: tuple[FindingChange, ...]
    coverage: tuple[Coverage, ...]
    notes: tuple[str, ...]
    """What makes the pairs unlike besides the model."""

    def of(self, *verdicts: Verdict) -> list[MetricChange]:
        """The metrics with these verdicts."""
        return [change for change in self.metrics if change.verdict in verdicts]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, or two models of one, set side by side."""

    before: Side
    after: Side
    models: tuple[ModelComparison, ...]
    refused: tuple[Refused, ...]
    """Metrics whose settings differ."""
    single: tuple[OneSided, ...]
    """Metrics of one run only."""
    only_before: tuple[str, ...]
    """Models of the first run that the second has not."""
    only_after: tuple[str, ...]
    notes: tuple[str, ...]
    """What differs between the runs and does not forbid comparing."""
    mixed: bool
    """Whether refused metrics are shown all the same, without a verdict."""
    rule: str = RULE


def compare(before: Side, after: Side, *, allow_mixed: bool = False) -> Comparison:
    """Set two sides side by side.

    Args:
        before: the first side.
        after: the second; better and worse are said of it.
        allow_mixed: show metrics whose settings differ, without verdict.

    Raises:
        InputError: no metric, no model or no clip can be compared; says why.
    """
    pairs = model_pairs(before, after)
    alike, refused, single = common_metrics(before.run, after.run)
    if not alike and not refused:
        raise InputError(
            f"{before.given} and {after.given} have no metric in common "
            f"({_names(before.run)} against {_names(after.run)})"
        )
    if not alike and not allow_mixed:
        first = refused[0]
        raise InputError(
            f"no metric of {before.given} and {after.given} was computed alike: {first.metric} differs in "
            f"{'; '.join(first.reasons)}{f' (and {len(refused) - 1} more metrics)' if len(refused) > 1 else ''}; "
            "score both with the same settings, or see the values without verdict with --allow-mixed"
        )
    shown = list(alike)
    if allow_mixed:
        names = {item.metric for item in refused}
        shown += [facts for facts in after.run.info.metrics if facts.name in names]
    compared = [_models(before.run, a, after.run, b, shown, {f.name for f in alike}) for a, b in pairs]
    if not any(item.pairing.pairs for item in compared):
        raise InputError(
            f"no clip of {before.given} was made for the prompt of a clip of {after.given}, or has its name: there are "
            "no pairs; clips are paired by the prompt in metadata.csv, else by file name"
        )
    taken = {a for a, _ in pairs}, {b for _, b in pairs}
    named = before.chosen or after.chosen
    return Comparison(
        before=before,
        after=after,
        models=tuple(_corrected(compared)),
        refused=tuple(refused),
        single=tuple(single),
        only_before=() if named else tuple(m for m in before.models if m not in taken[0]),
        only_after=() if named else tuple(m for m in after.models if m not in taken[1]),
        notes=tuple(notes(before.run, after.run)),
        mixed=allow_mixed,
    )


def _names(run: Run) -> str:
    return ", ".join(facts.name for facts in run.info.metrics) or "none"


def _models(
    before: Run, old: str, after: Run, new: str, metrics: Sequence[MetricFacts], alike: set[str]
) -> ModelComparison:
    pairing = pair_clips(_clips(before, old), _clips(after, new))
    left, right = clip_scores(before, old), clip_scores(after, new)
    judged = [facts for facts in metrics if facts.name in alike]
    return ModelComparison(
        before=old,
        after=new,
        pairing=pairing,
        metrics=tuple(
            _set_change(before, old, after, new, facts, facts.name in alike)
            if facts.granularity == "set"
            else _clip_change(pairing.pairs, left, right, facts, facts.name in alike)
            for facts in metrics
        ),
        moved=tuple(moved(pairing.pairs, left, right, [f for f in judged if not f.diagnostic])),
        findings=tuple(
            findings_changed(
                pairing.pairs,
                (f for f in before.findings if f.model == old),
                (f for f in after.findings if f.model == new),
                [facts.name for facts in judged],
            )
        ),
        coverage=tuple(coverage(pairing.pairs, left, right, metrics)),
        notes=tuple(_unlike(pairing.pairs)),
    )


def _clips(run: Run, model: str) -> list[ClipRow]:
    return [row for row in run.clips if row.model == model and row.status != "skipped"]


def _clip_change(
    pairs: Sequence[ClipPair], before: Scores, after: Scores, facts: MetricFacts, alike: bool
) -> MetricChange:
    both: list[tuple[ClipPair, float, float]] = []
    for pair in pairs:
        a, b = before.get((pair.before.clip, facts.name)), after.get((pair.after.clip, facts.name))
        if a is not None and b is not None and a.value is not None and b.value is not None:
            both.append((pair, a.value, b.value))
    if not both:
        return MetricChange(
            facts, None, None, 0, None, None, None, "no pair of clips has both scores", None, None, "none"
        )
    old, new = (np.array([row[side] for row in both], dtype=np.float64) for side in (1, 2))
    first, last = (aggregate(v, facts.aggregation, higher_is_better=facts.higher_is_better) for v in (old, new))
    if not alike:
        return MetricChange(
            facts, first, last, len(both), None, None, None, "settings differ: no difference", None, None, "mixed"
        )
    prompts = [pair.prompt or f"clip {pair.name}" for pair, _, _ in both]
    # What differs in no clip differs in no prompt either: this is certain, not a matter of sampling.
    equal = bool(np.array_equal(old, new))
    found = paired_difference(new, old, prompts, facts.aggregation, higher_is_better=facts.higher_is_better)
    return MetricChange(
        facts,
        first,
        last,
        len(both),
        found.value,
        found.low,
        found.high,
        "every pair has equal scores" if equal else found.method,
        None if equal else found.p,
        None,
        "described" if facts.diagnostic else "same" if equal else "unclear",
    )


def _set_change(before: Run, old: str, after: Run, new: str, facts: MetricFacts, alike: bool) -> MetricChange:
    """A set metric: one value a side, whose intervals are not paired."""
    a, b = (
        run.summary.score(model, facts.name) if run.summary is not None else None
        for run, model in ((before, old), (after, new))
    )
    if a is None or b is None or a.value is None or b.value is None:
        reasons = [s.reason or "no reason given" for s in (a, b) if s is not None and s.value is None]
        told = "; ".join(dict.fromkeys(reasons)) or "not computed"
        first, last = (None if s is None else s.value for s in (a, b))
        return MetricChange(facts, first, last, 0, None, None, None, told, None, None, "none")
    note = "; ".join(dict.fromkeys(s.footnote for s in (a, b) if s.footnote is not None)) or None
    clips = min(a.n_scored, b.n_scored)
    if not alike:
        told = "settings differ: no difference"
        return MetricChange(facts, a.value, b.value, clips, None, None, None, told, None, None, "mixed", note)
    verdict: Verdict = "unclear"
    if a.value == b.value:
        verdict, method = "same", "equal values"
    elif a.low is None or a.high is None or b.low is None or b.high is None:
        method = "a side has no interval"
    else:
        apart = a.high < b.low or b.high < a.low
        method = f"the 95 % intervals of the two sets {'are apart' if apart else 'overlap'}"
        if apart:
            verdict = "better" if (b.value > a.value) == facts.higher_is_better else "worse"
    if a.note is not None or b.note is not None:
        verdict = "unclear"  # what may not be ranked may not be judged either
    if facts.diagnostic:
        verdict = "described"
    return MetricChange(
        facts, a.value, b.value, clips, b.value - a.value, None, None, method, None, None, verdict, note
    )


def _corrected(models: Sequence[ModelComparison]) -> list[ModelComparison]:
    """Holm's correction over all paired tests of all models, and the verdicts that survive it."""
    tests = [
        (i, k)
        for i, model in enumerate(models)
        for k, change in enumerate(model.metrics)
        if change.verdict == "unclear" and change.p is not None
    ]
    corrected = holm([models[i].metrics[k].p for i, k in tests])
    metrics = [list(model.metrics) for model in models]
    for (i, k), p in zip(tests, corrected, strict=True):
        change = metrics[i][k]
        verdict: Verdict = change.verdict
        if p is not None and p <= LEVEL and change.difference:
            verdict = "better" if (change.difference > 0) == change.facts.higher_is_better else "worse"
        metrics[i][k] = replace(change, p_corrected=p, verdict=verdict)
    return [replace(model, metrics=tuple(changes)) for model, changes in zip(models, metrics, strict=True)]


def _unlike(pairs: Sequence[ClipPair]) -> list[str]:
    """Ways in which paired clips differ that many metrics depend on."""
    told = []
    for what, fact in (
        ("number of frames", lambda row: row.frames),
        ("frame rate", lambda row: row.fps),
        ("size", lambda row: (row.width, row.height)),
    ):
        differing = [
            (fact(pair.before), fact(pair.after))
            for pair in pairs
            if pair.before.status == pair.after.status == "scored" and fact(pair.before) != fact(pair.after)
        ]
        if differing:
            a, b = ("×".join(map(str, v)) if isinstance(v, tuple) else f"{v}" for v in differing[0])
            told.append(
                f"{count(len(differing), 'pair')} of {len(pairs)} differ in {what} (the first: {a} and {b}); "
                "metrics that depend on it measure that too"
            )
    same = sum(p.before.sha256 is not None and p.before.sha256 == p.after.sha256 for p in pairs)
    if same:
        told.append(f"{count(same, 'pair')} of {len(pairs)} {'is' if same == 1 else 'are'} the same file twice")
    return told
