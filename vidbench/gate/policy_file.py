"""Policy files: TOML, read with errors that name the line. docs/gate.md describes every key."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidbench.errors import PolicyError
from vidbench.gate.policy import (
    COVERAGE,
    Accepted,
    AnyRule,
    FindingsRule,
    Policy,
    QuantileRule,
    RegressionRule,
    Require,
    Selection,
    ValueRule,
    told_bounds,
    told_limit,
)
from vidbench.gate.table import Places, Table
from vidbench.stats import CONFIDENCE
from vidbench.wording import listed

VERSION = 1
"""Of the policy format: the value of the key `policy`."""


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
    where = Places(source, text if folder is not None else "")
    top = Table(values, where)
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


def _rule(table: Table, number: int) -> AnyRule:
    table.only(*_COMMON, *(key for keys in _KEYS.values() for key in keys))
    has = table.values.__contains__
    if has("max_loss"):
        kind = "regression"
    elif has("findings"):
        kind = "findings"
    elif has("metric"):
        kind = "quantile" if has("quantile") else "value"
    else:
        raise table.fault(None, f"rule {number} names neither a metric nor findings")
    for key in table.values:
        if key not in ("name", "note", *_KEYS[kind]):
            others = [other for other, keys in _KEYS.items() if key in keys]
            raise table.fault(key, f"'{key}' goes with a rule on {listed(others)}; rule {number} is one on {kind}")
    makers = {"value": _value, "quantile": _quantile, "findings": _findings, "regression": _regression}
    common = {
        "note": table.text("note") or "",
        "line": table.line,
        "confidence": table.number("confidence", 0.5, 1, open_ends=True) or CONFIDENCE,
    }
    return makers[kind](table, number, common)


def _value(table: Table, number: int, common: Mapping[str, Any]) -> AnyRule:
    metric = str(table.text("metric"))
    low, high = _bounds(table, number, both=True)
    name = table.text("name") or f"{metric} {told_bounds(low, high)}"
    return ValueRule(
        name=name, metric=metric, min=low, max=high, certain=table.flag("certain", default=False), **common
    )


def _quantile(table: Table, number: int, common: Mapping[str, Any]) -> AnyRule:
    metric, at = str(table.text("metric")), table.number("quantile", 0, 1, open_ends=True) or 0.0
    low, high = _bounds(table, number, both=False)
    name = table.text("name") or f"{metric}, {at:.4g} quantile {told_bounds(low, high)}"
    certain = table.flag("certain", default=True)
    return QuantileRule(name=name, metric=metric, quantile=at, min=low, max=high, certain=certain, **common)


def _findings(table: Table, number: int, common: Mapping[str, Any]) -> AnyRule:
    counted = _selection(table)
    most, rate = table.whole("max_clips"), table.number("max_rate", 0, 1)
    if (most is None) == (rate is None):
        raise table.fault("findings", f"rule {number} needs either max_clips or max_rate")
    if most is not None and "certain" in table.values:
        raise table.fault("certain", "max_clips counts these clips: there is nothing to be certain of; use max_rate")
    name = table.text("name") or f"{told_limit(most, rate)} with findings"
    certain = rate is not None and table.flag("certain", default=True)
    return FindingsRule(name=name, findings=counted, max_clips=most, max_rate=rate, certain=certain, **common)


def _regression(table: Table, number: int, common: Mapping[str, Any]) -> AnyRule:
    metric, counted = table.text("metric"), _selection(table) if "findings" in table.values else None
    if (metric is None) == (counted is None):
        raise table.fault("max_loss", f"rule {number} needs either a metric or findings that must not get worse")
    noise = table.values["max_loss"] == "noise"
    loss = None if noise else table.number("max_loss", 0, math.inf, or_text="noise")
    name = table.text("name") or f"{metric or 'findings'} against the baseline"
    certain = table.flag("certain", default=not noise)
    if certain and noise:
        raise table.fault("certain", 'max_loss = "noise" never makes sure of anything; give max_loss as a number')
    return RegressionRule(name=name, metric=metric, findings=counted, max_loss=loss, certain=certain, **common)


def _bounds(table: Table, number: int, *, both: bool) -> tuple[float | None, float | None]:
    low, high = table.number("min"), table.number("max")
    if low is None and high is None:
        raise table.fault("metric", f"rule {number} needs min, max or max_loss")
    if low is not None and high is not None:
        if not both:
            raise table.fault("max", "a quantile has either min or max; write two rules")
        if low > high:
            raise table.fault("max", f"nothing is both at least {low:g} and at most {high:g}")
    return low, high


def _selection(table: Table) -> Selection:
    metrics = table.names("findings")
    if not metrics:
        raise table.fault("findings", "'findings' names no metric; name those whose findings count")
    return Selection(metrics, table.names("kinds"), table.number("min_confidence", 0, 1))


def _require(table: Table) -> Require:
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


def _accepted(table: Table) -> Accepted:
    table.only("clip", "sha256", "reason")
    clip, sha256, reason = (table.text(key) for key in ("clip", "sha256", "reason"))
    if clip is None or sha256 is None or not reason:
        raise table.fault(None, "[[accept]] needs clip, sha256 and reason: whose findings are accepted, and why")
    if not re.fullmatch(r"[0-9a-f]{8,64}", sha256):
        raise table.fault("sha256", "sha256 wants 8 to 64 hex digits of the clip's hash, as in clips.jsonl")
    return Accepted(clip, sha256, reason, table.line)


def _settings(table: Table) -> dict[str, dict[str, Any]]:
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
