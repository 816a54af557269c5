"""What of two runs must be the same before a number of one may be set against a number of the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vidbench.results import MetricFacts, Run

_FACTS = (
    ("version", "version"),
    ("protocol", "protocol"),
    ("unit", "unit"),
    ("aggregation", "aggregation"),
    ("granularity", "granularity"),
    ("distribution", "package"),
)
_DECODING = (("fps", "--fps"), ("max_pixels", "--max-pixels"), ("max_frames", "--max-frames"))


@dataclass(frozen=True, slots=True)
class Refused:
    """A metric whose values of the two runs must not be compared."""

    metric: str
    reasons: tuple[str, ...]
    """What differs, each as `what: one side, other side`."""


@dataclass(frozen=True, slots=True)
class OneSided:
    """A metric that only one of the runs has."""

    metric: str
    side: str
    """`before` or `after`."""
    reason: str
    """Why the other run has none, as far as it says."""


def common_metrics(before: Run, after: Run) -> tuple[list[MetricFacts], list[Refused], list[OneSided]]:
    """The metrics of both runs that mean the same, those that do not, and those of one run only."""
    alike: list[MetricFacts] = []
    refused: list[Refused] = []
    single: list[OneSided] = []
    for facts in after.info.metrics:
        theirs = before.info.metric(facts.name)
        if theirs is None:
            single.append(OneSided(facts.name, "after", _why(before, facts.name)))
            continue
        reasons = differences(before, after, theirs, facts)
        if reasons:
            refused.append(Refused(facts.name, tuple(reasons)))
        else:
            alike.append(facts)
    single += [
        OneSided(facts.name, "before", _why(after, facts.name))
        for facts in before.info.metrics
        if after.info.metric(facts.name) is None
    ]
    return alike, refused, sorted(single, key=lambda item: item.metric)


def differences(before: Run, after: Run, theirs: MetricFacts, ours: MetricFacts) -> list[str]:
    """What differs in how one metric was computed; empty where nothing does.

    Args:
        before: a run.
        after: another.
        theirs: the metric's facts in `before`.
        ours: its facts in `after`.
    """
    told: list[str] = []
    one, other = before.info, after.info
    if one.suite_hash != other.suite_hash and one.suite_hash is not None and other.suite_hash is not None:
        told.append(_told("suite", f"{one.suite} {one.suite_hash}", f"{other.suite} {other.suite_hash}"))
    for field, what in _FACTS:
        a, b = getattr(theirs, field), getattr(ours, field)
        if field == "distribution":
            # The metric's own version says whether its values changed; the package's need not.
            a, b = a.split(" ")[0], b.split(" ")[0]
        if a != b:
            told.append(_told(what, a, b))
    if theirs.higher_is_better != ours.higher_is_better:
        told.append(_told("better", *("higher" if f.higher_is_better else "lower" for f in (theirs, ours))))
    told += [_told(f"parameter {key}", a, b) for key, a, b in _unequal(theirs.parameters, ours.parameters)]
    told += [_told(f"weights of {key}", a, b) for key, a, b in _unequal(theirs.weights, ours.weights)]
    if set(theirs.extractors) != set(ours.extractors):
        told.append(_told("extractors", " ".join(theirs.extractors), " ".join(ours.extractors)))
    for key, what in _DECODING:
        a, b = one.settings.get(key), other.settings.get(key)
        if a != b:
            told.append(_told(what, a, b))
    if ours.granularity == "set" and (sets := _reference_difference(before, after)) is not None:
        told.append(sets)
    if ours.granularity == "pair" and one.settings.get("pair_by_name") != other.settings.get("pair_by_name"):
        told.append(_told("--pair-by-name", one.settings.get("pair_by_name"), other.settings.get("pair_by_name")))
    return told


def notes(before: Run, after: Run) -> list[str]:
    """What differs and does not forbid a comparison, but may explain a small difference."""
    told = []
    if before.info.vidbench != after.info.vidbench:
        told.append(_told("vidbench", before.info.vidbench, after.info.vidbench))
    if (before.info.suite is None) != (after.info.suite is None):
        told.append(_told("suite", before.info.suite, after.info.suite))
    for key, a, b in _unequal(before.info.platform, after.info.platform):
        told.append(_told(key, a, b))
    return told


def _reference_difference(before: Run, after: Run) -> str | None:
    """Whether the sets that were compared with differ: by content where both runs read them, else by place."""
    contents = [{row.sha256 for row in run.references if row.sha256 is not None} for run in (before, after)]
    if all(contents):
        changed = contents[0] ^ contents[1]
        return (
            _told("reference clips", *(f"{len(c)}" for c in contents)) + (f" ({len(changed)} not in both)")
            if changed
            else None
        )
    ids = [run.info.settings.get("reference_id") for run in (before, after)]
    if ids[0] == ids[1]:
        return None
    return _told("reference set", *(f"{run.info.reference}" for run in (before, after)))


def _why(run: Run, metric: str) -> str:
    left = next((item.reason for item in run.info.left_out if item.metric == metric), None)
    return left or "was not asked for there"


def _unequal(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(key, a.get(key), b.get(key)) for key in sorted(set(a) | set(b)) if a.get(key) != b.get(key)]


def _told(what: str, a: object, b: object) -> str:
    return f"{what}: {'none' if a is None else a} before, {'none' if b is None else b} after"
