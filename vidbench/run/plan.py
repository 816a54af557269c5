"""Which metrics run on this input, and which extractors they need; the rest is left out, with reason and remedy."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vidbench.clips import ClipFolder
from vidbench.errors import InputError, PluginError
from vidbench.extractor import BaseExtractor, PairExtractor, Requires
from vidbench.metric import ExtractorSpec, Metric
from vidbench.plugins import extractors, metrics
from vidbench.results import LeftOut, MetricFacts
from vidbench.run.feed import told
from vidbench.suite import Suite, Total
from vidbench.video import Limits
from vidbench.weights import require, table


@dataclass(frozen=True, slots=True)
class PlannedMetric:
    """A metric with its parameters, as plain values that travel to other processes and machines."""

    name: str
    parameters: Mapping[str, Any]
    unavailable: str | None = None
    """Why it cannot run although the user asked for it: every clip is then unscored with this reason."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All a worker must know. Small and picklable."""

    metrics: tuple[PlannedMetric, ...]
    limits: Limits = field(default_factory=Limits)
    cache_folder: Path | None = None
    """None switches the cache off."""
    cache_limit: int = 0
    media: bool = True
    """Make filmstrips, previews and pictures of findings."""

    def for_reference(self) -> Plan:
        """The part of the plan that reference clips need: set metrics only, no pictures."""
        registry = metrics()
        wanted = tuple(m for m in self.metrics if m.unavailable is None and compares_with_set(registry.load(m.name)))
        return replace(self, metrics=wanted, media=False)


@dataclass(frozen=True, slots=True)
class Selection:
    """A plan and all that must be told about how it came to be."""

    plan: Plan
    facts: tuple[MetricFacts, ...]
    left_out: tuple[LeftOut, ...]
    required: frozenset[str]
    """Metrics that the user or the suite asked for by name."""
    suite: str | None
    suite_hash: str | None
    total: Total | None = None
    """The weighted mean that the suite asks for."""
    rank_weights: Mapping[str, float] = field(default_factory=dict)
    """Weights of metrics in the overall ranking that the suite asks for."""

    def settings_hash(self, seed: int) -> str:
        """Hash of everything the scores depend on besides the clips."""
        content = {
            "metrics": [
                [f.name, f.version, dict(f.parameters), list(f.extractors), dict(f.weights)] for f in self.facts
            ],
            "limits": [self.plan.limits.max_pixels, self.plan.limits.max_frames],
            "suite": self.suite_hash,
            "seed": seed,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def make_extractor(spec: ExtractorSpec) -> BaseExtractor[Any]:
    """An extractor from its name and parameters.

    Raises:
        PluginError: it is unknown or does not load.
        InputError: a parameter does not exist or has the wrong type.
    """
    return extractors().load(spec.name).from_mapping(spec.parameters)


def make_metric(planned: PlannedMetric) -> Metric[Any]:
    """A metric from its plan; raises as `make_extractor` does."""
    return metrics().load(planned.name).from_mapping(planned.parameters)


def select(
    folder: ClipFolder,
    *,
    has_reference: bool,
    names: tuple[str, ...] = (),
    suite: Suite | None = None,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    limits: Limits | None = None,
    cache_folder: Path | None = None,
    cache_limit: int = 0,
    media: bool = True,
    kept: Callable[[PlannedMetric], str | None] | None = None,
) -> Selection:
    """Choose the metrics and check them against the input.

    Without names and suite every installed metric is taken whose needs are met; the others are left out, each with the
    reason. What the user named stays in the plan even if it cannot run, so that its absence shows in every result.

    Args:
        folder: the clips; tells whether there are prompts, actions, reference clips.
        has_reference: whether a reference set was given.
        names: metrics asked for by name.
        suite: a suite asked for by name; `names` then add to it.
        parameters: metric name to parameter values, over the suite's.
        limits: of decoding.
        cache_folder: None for no cache.
        cache_limit: bytes.
        media: make filmstrips, previews and pictures of findings.
        kept: says of a set metric why the reference file can't serve it; None where it can, or there is no file.

    Raises:
        PluginError: a named metric is unknown or does not load.
        InputError: a parameter is unknown, or nothing is left to run.
    """
    registry = metrics()
    chosen: dict[str, dict[str, Any]] = {}
    if suite is not None:
        chosen.update({name: dict(values) for name, values in suite.metrics.items()})
    for name in names:
        chosen.setdefault(name, {})
    required = frozenset(names) | (suite.required if suite is not None else frozenset())
    automatic = not chosen
    if automatic:
        chosen = {name: {} for name in registry.load_all()}
    for name, values in (parameters or {}).items():
        if name not in chosen:
            registry.load(name)  # an unknown name fails with close matches
            raise InputError(f"--set {name}.…: the metric {name} is not part of this run; add it with --metrics {name}")
        chosen[name].update(values)

    planned: list[PlannedMetric] = []
    facts: list[MetricFacts] = []
    left_out = _unloadable(chosen.keys() - required)
    for name in sorted(chosen.keys() - {item.metric for item in left_out}):
        metric_class = registry.load(name)
        try:
            metric = metric_class.from_mapping(chosen[name])
            lack, identities, weights = _availability(metric, folder, has_reference=has_reference)
            if lack is None and kept is not None and compares_with_set(metric):
                lack = kept(PlannedMetric(name, metric.parameter_values()))
            if lack is not None and (automatic or name not in required):
                left_out.append(LeftOut(name, lack))
                continue
            fact = _facts(metric, identities, weights, registry.distribution(name))
        except InputError:
            raise
        except (Exception, SystemExit) as error:  # a stranger's metric may raise anything, even on being made
            if name in required:
                raise PluginError(told(f"{name} from {registry.distribution(name)}", error)) from error
            left_out.append(LeftOut(name, told(name, error)))
            continue
        planned.append(PlannedMetric(name, metric.parameter_values(), lack))
        facts.append(fact)
    if not planned:
        reasons = "; ".join(f"{item.metric}: {item.reason}" for item in left_out) or "no metrics are installed"
        raise InputError(f"no metric can run on this input ({reasons})")
    return Selection(
        plan=Plan(tuple(planned), limits or Limits(), cache_folder, cache_limit, media),
        facts=tuple(facts),
        left_out=tuple(left_out),
        required=required,
        suite=suite.name if suite is not None else None,
        suite_hash=suite.hash() if suite is not None else None,
        total=suite.total if suite is not None else None,
        rank_weights=suite.rank_weights if suite is not None else {},
    )


def _unloadable(names: Collection[str]) -> list[LeftOut]:
    """Metrics that do not load, among those that a suite names and does not require: another package may bring them."""
    found = []
    for name in sorted(names):
        if name not in metrics().names():
            found.append(LeftOut(name, "no installed package brings it"))
            continue
        try:
            metrics().load(name)
        except PluginError as error:
            found.append(LeftOut(name, str(error)))
    return found


def _availability(
    metric: Metric[Any], folder: ClipFolder, *, has_reference: bool
) -> tuple[str | None, tuple[str, ...], dict[str, str]]:
    """Why the metric cannot run (None if it can), the identities of its extractors, and their weights' checksums."""
    lack = _lacks(metric, folder, has_reference=has_reference)
    if lack is not None:
        return lack, (), {}
    try:
        made = [make_extractor(spec) for spec in metric.extractor_specs()]
    except PluginError as error:
        return str(error), (), {}
    if any(isinstance(e, PairExtractor) for e in made) and not any(clip.reference for clip in folder.clips):
        return "needs each clip's true clip: add a 'reference' column to metadata.csv", (), {}
    lack = missing([metric.requirements(), *(extractor.requirements() for extractor in made)])
    if lack is not None:
        return lack, (), {}
    weights = {e.name: checksum for e in made if (checksum := e.weights_checksum()) is not None}
    weights |= {name: require(name).checksum() for name in metric.requirements().weights if name in table()}
    return None, tuple(e.identity() for e in made), weights


def missing(needed: Iterable[Requires]) -> str | None:
    """All that is missing, each with the command that adds it; None if everything is there."""
    return "; ".join(dict.fromkeys(lack for requires in needed for lack in requires.lacks())) or None


def compares_with_set(metric: Metric[Any] | type[Metric[Any]]) -> bool:
    """Whether the metric compares a model's clips with a reference set."""
    return metric.granularity == "set" and metric.needs.reference_set


def requirements(metric: Metric[Any]) -> tuple[Requires, ...]:
    """What must be present before the metric can run: its own requirements and its extractors'.

    Raises:
        PluginError: an extractor is unknown or does not load.
        InputError: a parameter does not exist or has the wrong type.
    """
    return (metric.requirements(), *(make_extractor(spec).requirements() for spec in metric.extractor_specs()))


def _lacks(metric: Metric[Any], folder: ClipFolder, *, has_reference: bool) -> str | None:
    """Why the input does not meet the metric's needs, with the remedy; None if it does."""
    if compares_with_set(metric) and not has_reference:
        return "needs a reference set: --reference FOLDER"
    if metric.granularity == "pair" and not any(clip.reference for clip in folder.clips):
        return (
            "needs each clip's true clip: add a 'reference' column to metadata.csv, "
            "or --reference FOLDER --pair-by-name if equal names mean the same scene"
        )
    for column in metric.needs.columns:
        if all(clip.extra.get(column) in (None, "") for clip in folder.clips):
            return f"needs a column '{column}' in metadata.csv: see vidbench describe {metric.name}"
    if metric.needs.prompt and not any(clip.prompt for clip in folder.clips):
        return "needs prompts: add a metadata.csv with the columns file_name,prompt"
    if metric.needs.actions and not any(clip.actions is not None for clip in folder.clips):
        return "needs actions: put <clip>.actions.json, .csv or .npy beside each clip"
    return None


def _facts(
    metric: Metric[Any], identities: tuple[str, ...], weights: Mapping[str, str], distribution: str
) -> MetricFacts:
    low, high = metric.value_range
    return MetricFacts(
        name=metric.name,
        version=metric.version,
        summary=metric.summary,
        reference=metric.reference,
        protocol=metric.protocol,
        higher_is_better=metric.higher_is_better,
        unit=metric.unit,
        value_range=(low if math.isfinite(low) else None, high if math.isfinite(high) else None),
        granularity=metric.granularity,
        aggregation=metric.aggregation,
        diagnostic=metric.diagnostic,
        parameters=metric.parameter_values(),
        extractors=identities,
        weights=weights,
        distribution=distribution,
        needs=tuple(what for what in ("prompt", "actions") if getattr(metric.needs, what)),
    )
