"""What the terminal and the page say alike of a comparison, and its form as JSON."""

from __future__ import annotations

from typing import Any

from vidbench import wording
from vidbench.compare.clips import ClipChange, FindingChange
from vidbench.compare.sides import Side
from vidbench.compare.verdict import Comparison, MetricChange, ModelComparison
from vidbench.results import ClipRow

VERDICTS = {
    "better": "better",
    "worse": "worse",
    "unclear": "may be chance",
    "same": "no change",
    "described": "described only",
    "mixed": "settings differ",
    "none": "not judged",
}
"""Verdicts as people read them."""


def label(side: Side) -> str:
    """A side as it is called: the run folder's name, with the model where one was named."""
    name = side.run.path.resolve().name
    return wording.plain(f"{name}:{side.models[0]}" if side.chosen else name)


def title(model: ModelComparison) -> str:
    """`old → new`, or the model alone where both are called alike."""
    before, after = wording.plain(model.before), wording.plain(model.after)
    return after if before == after else f"{before} → {after}"


def headline(model: ModelComparison) -> str:
    """What the metrics that judge say, in one sentence."""
    judged = model.of("better", "worse", "unclear", "same")
    pairs = f"Over {wording.count(len(model.pairing.pairs), 'pair')} of clips"
    if not model.pairing.pairs:
        return f"{title(model)}: no pairs of clips, so there is no difference to judge."
    if not judged:
        return f"{title(model)}: {pairs[0].lower()}{pairs[1:]}, no metric that judges can be compared."
    parts = [
        f"{wording.listed([change.facts.name for change in changes])} {what}"
        for what, changes in (("got better", model.of("better")), ("got worse", model.of("worse")))
        if changes
    ]
    rest = len(model.of("unclear"))
    if not parts:
        same = len(model.of("same"))
        that = "that judges" if len(judged) == 1 else "that judge"
        told = f"none of {wording.count(len(judged), 'metric')} {that} tells the two apart"
        return f"{title(model)}: {pairs[0].lower()}{pairs[1:]}, {told}" + (
            ": every score is equal." if same == len(judged) else "; what moved may be chance."
        )
    told = f"; the other {rest} may be chance" if rest else ""
    return f"{title(model)}: {pairs[0].lower()}{pairs[1:]}, {', '.join(parts)}{told}."


def after_point(change: MetricChange) -> int:
    """Digits after the point for all of one metric's numbers."""
    shown = (change.before, change.after, change.difference, change.low, change.high)
    return wording.decimals([v for v in shown if v is not None] or [0.0])


def signed(value: float, digits: int) -> str:
    """A difference with its sign, also where it is positive."""
    text = wording.number(value, digits)
    return text if text.startswith("-") or value == 0 else f"+{text}"


def p_value(p: float | None) -> str:
    """`0.031`, `<0.001`, or empty."""
    return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def moved_most(model: ModelComparison, most: int) -> tuple[list[ClipChange], list[ClipChange]]:
    """The clips that got worse most, and those that got better most; the strongest first."""
    worse = [change for change in model.moved if change.spreads < 0][:most]
    better = [change for change in reversed(model.moved) if change.spreads > 0][:most]
    return worse, better


def unpaired(model: ModelComparison) -> list[tuple[ClipRow, str]]:
    """Clips without a partner, with the side on which they are."""
    return [(row, "before") for row in model.pairing.only_before] + [(row, "after") for row in model.pairing.only_after]


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The whole comparison as plain JSON values; absent numbers are null."""
    return {
        "before": {"run": str(comparison.before.run.path), "given": comparison.before.given},
        "after": {"run": str(comparison.after.run.path), "given": comparison.after.given},
        "rule": comparison.rule,
        "models": [_model(model) for model in comparison.models],
        "refused": [{"metric": item.metric, "reasons": list(item.reasons)} for item in comparison.refused],
        "single": [{"metric": s.metric, "side": s.side, "reason": s.reason} for s in comparison.single],
        "only_before": list(comparison.only_before),
        "only_after": list(comparison.only_after),
        "notes": list(comparison.notes),
        "mixed": comparison.mixed,
    }


def _model(model: ModelComparison) -> dict[str, Any]:
    return {
        "before": model.before,
        "after": model.after,
        "headline": headline(model),
        "pairs": len(model.pairing.pairs),
        "only_before": [row.clip for row in model.pairing.only_before],
        "only_after": [row.clip for row in model.pairing.only_after],
        "notes": list(model.notes),
        "metrics": [_metric(change) for change in model.metrics],
        "clips": [_moved(change) for change in model.moved],
        "findings": [_finding(change) for change in model.findings],
        "coverage": [
            {
                "metric": item.metric,
                "before": item.before,
                "after": item.after,
                "pairs": item.pairs,
                "lost": [{"clip": clip, "reason": reason} for clip, reason in item.lost],
                "won": [{"clip": clip, "reason": reason} for clip, reason in item.won],
            }
            for item in model.coverage
        ],
    }


def _metric(change: MetricChange) -> dict[str, Any]:
    return {
        "metric": change.facts.name,
        "higher_is_better": change.facts.higher_is_better,
        "diagnostic": change.facts.diagnostic,
        "unit": change.facts.unit,
        "before": change.before,
        "after": change.after,
        "pairs": change.pairs,
        "difference": change.difference,
        "low": change.low,
        "high": change.high,
        "method": change.method,
        "p": change.p,
        "p_corrected": change.p_corrected,
        "verdict": change.verdict,
        "note": change.note,
    }


def _moved(change: ClipChange) -> dict[str, Any]:
    return {
        "before_clip": change.pair.before.clip,
        "after_clip": change.pair.after.clip,
        "prompt": change.pair.prompt,
        "metric": change.metric,
        "before": change.before,
        "after": change.after,
        "spreads": change.spreads,
    }


def _finding(change: FindingChange) -> dict[str, Any]:
    finding = change.finding
    return {
        "new": change.new,
        "clip": finding.clip,
        "metric": finding.metric,
        "kind": finding.kind,
        "start": finding.start,
        "end": finding.end,
        "confidence": finding.confidence,
        "message": finding.message,
    }
