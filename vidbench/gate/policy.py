"""What a policy says.

`[require]`: what must be there before anything can be judged (unmet: incomplete, exit code 3). Each `[[rule]]`: what
must hold (broken: failed, exit code 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidbench.stats import CONFIDENCE
from vidbench.wording import count

COVERAGE = 0.9
"""Share of a model's clips that every metric of a policy must have scored, unless the policy says otherwise."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which findings a rule counts."""

    metrics: tuple[str, ...]
    """Whose findings; a clip without one counts as clean only where all of these have scored it."""
    kinds: tuple[str, ...] = ()
    """Only these kinds; empty: all."""
    min_confidence: float | None = None
    """Findings with a lower confidence do not count; one without a confidence does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What every rule has."""

    name: str
    note: str = ""
    """Said beside the rule wherever it does not pass."""
    line: int | None = None
    """Where it stands in the policy file."""
    certain: bool = False
    """Passes only where the confidence bound meets the limit too; else: not enough clips."""
    confidence: float = CONFIDENCE
    """Of a one-sided bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRule(Rule):
    """A floor or a ceiling of a model's value."""

    metric: str
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileRule(Rule):
    """A floor or a ceiling of a quantile of the clips' scores."""

    metric: str
    quantile: float
    min: float | None = None
    max: float | None = None

    @property
    def allowed(self) -> float:
        """Share of clips that may lie beyond the bound."""
        return self.quantile if self.min is not None else 1 - self.quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingsRule(Rule):
    """How many clips, or which share of them, may have findings."""

    findings: Selection
    max_clips: int | None = None
    max_rate: float | None = None

    @property
    def limit(self) -> str:
        """`at most 1 % of clips`."""
        return told_limit(self.max_clips, self.max_rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionRule(Rule):
    """How much worse than the baseline a metric, or the share of clips with findings, may be."""

    metric: str | None = None
    findings: Selection | None = None
    max_loss: float | None = None
    """In the metric's unit; None: fails where the paired interval lies wholly on the worse side."""


AnyRule = ValueRule | QuantileRule | FindingsRule | RegressionRule


@dataclass(frozen=True, slots=True)
class Require:
    """What must be there before anything can be judged."""

    clips: int = 1
    """Readable clips of each model, at least."""
    unreadable: int = 0
    """Files that could not be read, at most."""
    metrics: tuple[str, ...] = ()
    """Must have a value, besides those that rules name."""
    coverage: float = COVERAGE
    """Share of a model's clips that each metric must have scored, at least."""
    coverage_of: Mapping[str, float] = field(default_factory=dict)
    """The same for single metrics."""
    settings: str | None = None
    """The run's settings hash; another one is wrong use."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A clip that a person looked at: its findings no longer count while its content is the same."""

    clip: str
    sha256: str
    reason: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """All that a policy file says."""

    source: str
    """The file as the user gave it, or what else the policy is called."""
    name: str
    rules: tuple[AnyRule, ...]
    require: Require = field(default_factory=Require)
    models: tuple[str, ...] = ()
    """Only these models are judged; empty: all."""
    accepted: tuple[Accepted, ...] = ()
    baseline: Path | None = None
    """A run folder."""
    baseline_model: str | None = None
    """The baseline's model that every model is compared with."""
    suite: str | None = None
    """What to run over clips, besides the metrics that rules and requirements name."""
    run_metrics: tuple[str, ...] = ()
    """More of them, for example so that the settings are those of the run that the policy was drafted from."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Metric to parameter values, for running over clips."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that must have scored something."""
        named = [*self.require.metrics, *self.require.coverage_of]
        for rule in self.rules:
            named += metrics_of(rule)
        return tuple(dict.fromkeys(named))

    def coverage(self, metric: str) -> float:
        """Share of a model's clips that the metric must have scored."""
        return self.require.coverage_of.get(metric, self.require.coverage)


def metrics_of(rule: AnyRule) -> tuple[str, ...]:
    """The metrics that a rule reads."""
    if isinstance(rule, FindingsRule):
        return rule.findings.metrics
    if isinstance(rule, RegressionRule) and rule.findings is not None:
        return rule.findings.metrics
    return (rule.metric,) if rule.metric is not None else ()


def told_bounds(low: float | None, high: float | None) -> str:
    """`at least 0.8 and at most 0.95`."""
    bounds = (("at least", low), ("at most", high))
    return " and ".join(f"{word} {bound:.6g}" for word, bound in bounds if bound is not None)


def told_limit(clips: int | None, rate: float | None) -> str:
    """`no clip`, `at most 2 clips` or, where a rate is given, `at most 1 % of clips`."""
    if rate is not None:
        return f"at most {percent(rate)} of clips"
    return f"at most {count(clips, 'clip')}" if clips else "no clip"


def percent(share: float) -> str:
    """`8.3 %`."""
    return f"{100 * share:.3g} %" if share < 0.9995 else "100 %"
