"""What a policy file says.

A policy is TOML: `[require]` says what must be there before anything can be judged (unmet: incomplete, exit code 3),
each `[[rule]]` says what must hold (broken: failed, exit code 1). docs/gate.md describes every key.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidbench.errors import PolicyError
from vidbench.stats import CONFIDENCE
from vidbench.wording import listed

VERSION = 1
"""Of the policy format: the value of the key `policy`."""
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


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: it cannot be read or says something that cannot be meant; names file and, where known, line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from None
    except ValueError as error:
        raise PolicyError(f"{path}: cannot be read: {error}") from None
    return parse_policy(text, source=str(path), folder=path.parent)


def parse_policy(text: str, *, source: str, folder: Path | None = None) -> Policy:
    """A policy from TOML text.

    Args:
        text: the file's content.
        source: what errors call it.
        folder: where the file lies: relative paths in it start from there. None: it is no file, so that nothing points
            at its lines.

    Raises:
        PolicyError: as `read_policy`.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{source}: is not TOML: {error}") from None
    where = _Places(source, text if folder is not None else "")
    top = _Table(values, where)
    version = top.values.get("policy")
    if version != VERSION or isinstance(version, bool):
        told = "its first line must be" if version is None else f"policy = {version!r} is unknown; this vidbench reads"
        raise top.fault("policy" if version is not None else None, f"{told} policy = {VERSION}")
    top.only("policy", "name", "models", "require", "rule", "accept", "baseline", "run")
    run = top.table("run")
    run.only("suite", "metrics", "settings")
    base = top.table("baseline")
    base.only("run", "model")
    baseline = base.text("run")
    rules = tuple(_rule(table, number) for number, table in enumerate(top.tables("rule"), 1))
    names = [rule.name for rule in rules]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise PolicyError(f"{where.at('rule', number, 'name')}: two rules are called '{name}'; rename one")
    require = _require(top.table("require"))
    if not rules and not require.metrics and not require.coverage_of:
        raise PolicyError(f"{source}: has neither a [[rule]] nor required metrics, so everything would pass")
    return Policy(
        source=source,
        name=top.text("name") or Path(source).stem,
        rules=rules,
        require=require,
        models=top.names("models"),
        accepted=tuple(map(_accepted, top.tables("accept"))),
        baseline=None if baseline is None else (folder or Path()) / baseline,
        baseline_model=base.text("model"),
        suite=run.text("suite"),
        run_metrics=run.names("metrics"),
        settings=_settings(run),
    )


_COMMON = ("name", "note", "certain", "confidence")
_COUNTED = ("findings", "kinds", "min_confidence")
_KEYS = {
    "value": ("metric", "min", "max", "certain"),
    "quantile": ("metric", "quantile", "min", "max", "certain", "confidence"),
    "findings": (*_COUNTED, "max_clips", "max_rate", "certain", "confidence"),
    "regression": ("metric", *_COUNTED, "max_loss", "certain"),
}
"""Keys of each kind of rule, besides name and note."""


def _rule(table: _Table, number: int) -> AnyRule:
    values = table.values
    table.known(*_COMMON, *(key for keys in _KEYS.values() for key in keys))
    has = values.keys().__contains__
    kind = "regression" if has("max_loss") else "findings" if has("findings") else "value"
    if kind == "value" and not has("metric"):
        raise table.fault(None, f"rule {number} names neither a metric nor findings")
    if kind == "value" and has("quantile"):
        kind = "quantile"
    for key in values:
        if key not in ("name", "note", *_KEYS[kind]):
            others = [other for other, keys in _KEYS.items() if key in keys]
            raise table.fault(key, f"'{key}' goes with a rule on {listed(others)}; rule {number} is one on {kind}")
    metric = table.text("metric")
    common: dict[str, Any] = {"note": table.text("note") or "", "line": table.line}
    common["confidence"] = table.number("confidence", 0.5, 1, open_ends=True) or CONFIDENCE
    if kind == "value":
        low, high = _bounds(table, number, both=True)
        name = table.text("name") or f"{metric} {_told(low, high)}"
        return ValueRule(name=name, metric=str(metric), min=low, max=high, certain=table.flag("certain", False), **common)
    if kind == "quantile":
        low, high = _bounds(table, number, both=False)
        at = table.number("quantile", 0, 1, open_ends=True)
        name = table.text("name") or f"{metric}, {at:.4g} quantile {_told(low, high)}"
        certain = table.flag("certain", True)
        return QuantileRule(
            name=name, metric=str(metric), quantile=float(at or 0), min=low, max=high, certain=certain, **common
        )
    counted = _selection(table) if has("findings") else None
    if kind == "regression":
        if (metric is None) == (counted is None):
            raise table.fault("max_loss", f"rule {number} needs either a metric or findings that must not get worse")
        loss = None if values["max_loss"] == "noise" else table.number("max_loss", 0, math.inf, or_text="noise")
        name = table.text("name") or f"{metric or 'findings'} against the baseline"
        certain = table.flag("certain", loss is not None)
        if certain and loss is None:
            raise table.fault("certain", 'max_loss = "noise" never makes sure of anything; give max_loss as a number')
        return RegressionRule(name=name, metric=metric, findings=counted, max_loss=loss, certain=certain, **common)
    if has("max_clips") == has("max_rate"):
        raise table.fault("findings", f"rule {number} needs either max_clips or max_rate")
    most, rate = table.whole("max_clips"), table.number("max_rate", 0, 1)
    if has("max_clips") and has("certain"):
        raise table.fault("certain", "max_clips counts these clips: there is nothing to be certain of; use max_rate")
    limit = f"at most {100 * (rate or 0):.4g} % of clips" if most is None else f"at most {most} clips" if most else "no clip"
    name = table.text("name") or f"{limit} with findings"
    assert counted is not None
    certain = rate is not None and table.flag("certain", True)
    return FindingsRule(name=name, findings=counted, max_clips=most, max_rate=rate, certain=certain, **common)


def _bounds(table: _Table, number: int, *, both: bool) -> tuple[float | None, float | None]:
    low, high = table.number("min"), table.number("max")
    if low is None and high is None:
        raise table.fault("metric", f"rule {number} needs min, max or max_loss")
    if low is not None and high is not None:
        if not both:
            raise table.fault("max", "a quantile has either min or max; write two rules")
        if low > high:
            raise table.fault("max", f"nothing is both at least {low:g} and at most {high:g}")
    return low, high


def _told(low: float | None, high: float | None) -> str:
    return " and ".join(
        f"{word} {bound:.6g}" for word, bound in (("at least", low), ("at most", high)) if bound is not None
    )


def _selection(table: _Table) -> Selection:
    metrics = table.names("findings")
    if not metrics:
        raise table.fault("findings", "'findings' names no metric; name those whose findings count")
    return Selection(metrics, table.names("kinds"), table.number("min_confidence", 0, 1))


def _require(table: _Table) -> Require:
    table.only("clips", "unreadable", "metrics", "coverage", "settings")
    default, single = COVERAGE, {}
    if isinstance(table.values.get("coverage"), Mapping):
        inner = table.table("coverage")
        single = {metric: inner.number(metric, 0, 1) or 0.0 for metric in inner.values}
        default = single.pop("default", COVERAGE)
    else:
        given = table.number("coverage", 0, 1)
        default = COVERAGE if given is None else given
    clips, unreadable = table.whole("clips"), table.whole("unreadable")
    return Require(
        clips=1 if clips is None else clips,
        unreadable=unreadable or 0,
        metrics=table.names("metrics"),
        coverage=default,
        coverage_of=single,
        settings=table.text("settings"),
    )


def _accepted(table: _Table) -> Accepted:
    table.only("clip", "sha256", "reason")
    clip, sha256, reason = (table.text(key) for key in ("clip", "sha256", "reason"))
    if clip is None or sha256 is None or not reason:
        raise table.fault(None, "[[accept]] needs clip, sha256 and reason: whose findings are accepted, and why")
    if not re.fullmatch(r"[0-9a-f]{8,64}", sha256):
        raise table.fault("sha256", "sha256 wants 8 to 64 hex digits of the clip's hash, as in clips.jsonl")
    return Accepted(clip, sha256, reason, table.line)


def _settings(table: _Table) -> dict[str, dict[str, Any]]:
    inner = table.table("settings")
    found: dict[str, dict[str, Any]] = {}
    for key, value in inner.values.items():
        metric, dot, name = key.partition(".")
        if isinstance(value, Mapping):
            found.setdefault(key, {}).update(value)
        elif dot and metric and name:
            found.setdefault(metric, {})[name] = value
        else:
            raise inner.fault(key, f"settings are written METRIC.NAME = VALUE; '{key}' names only one of the two")
    return found


class _Places:
    """Where tables and keys stand in the file. tomllib does not tell, so lines are looked for; a key that is written in
    an unusual way is reported at its table.
    """

    _HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\"'-]+)\s*\]")
    _KEY = re.compile(r"\s*[\"']?([\w-]+)[\"']?\s*[=.]")

    def __init__(self, source: str, text: str) -> None:
        self.source = source
        self._lines: dict[tuple[str, int, str], int] = {}
        section, number, met = "", 0, dict[str, int]()
        for line, content in enumerate(text.splitlines(), 1):
            header = self._HEADER.match(content)
            if header is not None:
                section = header[2]
                met[section] = number = met.get(section, -1) + 1
                self._lines[section, number, ""] = line
                continue
            key = self._KEY.match(content)
            if key is not None:
                self._lines.setdefault((section, number, key[1]), line)

    def line(self, section: str, number: int, key: str | None) -> int | None:
        """The line of a key, else of its table, else of the key that an inline table is the value of."""
        parent, _, own = section.rpartition(".")
        tried = [(section, number, key or ""), (section, number, ""), (parent, 0, own)]
        if key is not None:
            tried.insert(1, (f"{section}.{key}".lstrip("."), 0, ""))
        return next((self._lines[place] for place in tried if place in self._lines), None)

    def at(self, section: str, number: int, key: str | None) -> str:
        """`policy.toml line 7`."""
        line = self.line(section, number, key)
        return self.source if line is None else f"{self.source} line {line}"


class _Table:
    """A table of the file, read key by key with checks."""

    def __init__(self, values: Mapping[str, Any], places: _Places, section: str = "", number: int = 0) -> None:
        self.values = values
        self._places = places
        self._section = section
        self._number = number

    @property
    def line(self) -> int | None:
        return self._places.line(self._section, self._number, None)

    def fault(self, key: str | None, message: str) -> PolicyError:
        return PolicyError(f"{self._places.at(self._section, self._number, key)}: {message}")

    def only(self, *keys: str) -> None:
        """Refuse keys that the table does not have, with close matches."""
        for key in self.values:
            if key not in keys:
                close = difflib.get_close_matches(key, keys, n=2)
                hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(sorted(set(keys)))}"
                table = f" in [{self._section}]" if self._section else ""
                raise self.fault(key, f"no key is called '{key}'{table}; {hint}")

    known = only

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise self.fault(key, f"'{key}' wants text in quotes, got {_shown(value)}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.fault(key, f"'{key}' wants true or false, got {_shown(value)}")
        return value

    def number(
        self,
        key: str,
        low: float = -math.inf,
        high: float = math.inf,
        *,
        open_ends: bool = False,
        or_text: str | None = None,
    ) -> float | None:
        value = self.values.get(key)
        if value is None:
            return None
        inside = (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (low < value < high if open_ends else low <= value <= high)
        )
        if not inside:
            span = "a number" if math.isinf(low) else f"a number of at least {low:g}"
            if math.isfinite(high):
                span = f"a number {'between' if open_ends else 'from'} {low:g} {'and' if open_ends else 'to'} {high:g}"
            also = f', or "{or_text}"' if or_text else ""
            raise self.fault(key, f"'{key}' wants {span}{also}, got {_shown(value)}")
        return float(value)

    def whole(self, key: str) -> int | None:
        value = self.values.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise self.fault(key, f"'{key}' wants a whole number of at least 0, got {_shown(value)}")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key, [])
        listed_names = [value] if isinstance(value, str) else value
        if not isinstance(listed_names, list) or not all(isinstance(n, str) and n.strip() for n in listed_names):
            raise self.fault(key, f"'{key}' wants a list of names in quotes, got {_shown(value)}")
        return tuple(dict.fromkeys(listed_names))

    def table(self, key: str) -> _Table:
        value = self.values.get(key, {})
        if not isinstance(value, Mapping):
            raise self.fault(key, f"'{key}' is a table: write [{key}] above its keys")
        return _Table(value, self._places, f"{self._section}.{key}".lstrip("."), 0)

    def tables(self, key: str) -> list[_Table]:
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
            raise self.fault(key, f"'{key}' is a list of tables: write [[{key}]] above each")
        return [_Table(entry, self._places, key, number) for number, entry in enumerate(value)]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
