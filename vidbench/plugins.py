"""The only door to plug-ins: entry-point groups.

Built-ins are declared in vidbench's own pyproject the same way as anybody's package declares them; there is no second
table. Listing names imports nothing. A plug-in is imported when it is first asked for, checked against its contract,
and if that fails the failure names the distribution and the cause, and breaks nothing else.
"""

from __future__ import annotations

import difflib
import inspect
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from vidbench.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vidbench.extractor import BaseExtractor
    from vidbench.generator import Generator
    from vidbench.metric import Metric
    from vidbench.report import LeaderboardView, Report
    from vidbench.suite import Suite

T = TypeVar("T")

METRIC_FACTS = (
    "name",
    "version",
    "summary",
    "reference",
    "protocol",
    "higher_is_better",
    "unit",
    "value_range",
    "granularity",
    "aggregation",
    "needs",
)
EXTRACTOR_FACTS = ("name", "version", "summary", "observation_type")
GENERATOR_FACTS = ("name", "version", "summary", "requires", "conditions", "context_frames", "budget")
REPORT_FACTS = ("name", "file_name", "summary")


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """A plug-in that is declared and cannot be used."""

    group: str
    name: str
    distribution: str
    reason: str

    def __str__(self) -> str:
        return f"{self.group} '{self.name}' from {self.distribution}: {self.reason}"


class Registry(Generic[T]):
    """The plug-ins of one entry-point group.

    Args:
        group: entry-point group, e.g. `vidbench.metrics`.
        check: raises `PluginError` with the cause when a loaded object does not keep the group's contract.
    """

    def __init__(self, group: str, check: Callable[[str, object], None]) -> None:
        self.group = group
        self._check = check
        self._loaded: dict[str, T] = {}
        self._failures: dict[str, PluginFailure] = {}
        self._entries: dict[str, list[EntryPoint]] = defaultdict(list)
        for entry in entry_points(group=group):
            # The same installed package can be found twice (a wheel beside its source on the path); that is no clash.
            if not any(_same(entry, known) for known in self._entries[entry.name]):
                self._entries[entry.name].append(entry)
        for name, entries in self._entries.items():
            if len(entries) > 1:
                owners = " and ".join(sorted(f"{_owner(e)} ({e.value})" for e in entries))
                self._failures[name] = PluginFailure(
                    group, name, owners, f"the name is declared by both {owners}; uninstall one of them"
                )

    def names(self) -> list[str]:
        """Every declared name, sorted. Imports nothing."""
        return sorted(self._entries)

    def distribution(self, name: str) -> str:
        """The installed package (and version) that declares `name`."""
        return " and ".join(sorted(_owner(entry) for entry in self._find(name)))

    def load(self, name: str) -> T:
        """Import and check the plug-in.

        Raises:
            PluginError: the name is unknown (close matches are named), declared twice, or it fails to load.
        """
        if name in self._loaded:
            return self._loaded[name]
        entries = self._find(name)
        if name in self._failures:
            raise PluginError(str(self._failures[name]))
        entry = entries[0]
        try:
            loaded = entry.load()
            self._check(name, loaded)
        except PluginError as error:
            raise self._fail(name, entry, str(error)) from error
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything, even on import
            raise self._fail(name, entry, f"{type(error).__name__}: {error}") from error
        self._loaded[name] = loaded
        return self._loaded[name]

    def load_all(self) -> dict[str, T]:
        """Every plug-in that loads, by name; the others are in `failures`."""
        for name in self.names():
            try:
                self.load(name)
            except PluginError:
                continue  # recorded in `failures`, which every listing and report shows
        return {name: self._loaded[name] for name in self.names() if name in self._loaded}

    def failures(self) -> list[PluginFailure]:
        """What could not be used so far; complete after `load_all`."""
        return [self._failures[name] for name in sorted(self._failures)]

    def _fail(self, name: str, entry: EntryPoint, reason: str) -> PluginError:
        one_line = " ".join(reason.split())
        self._failures[name] = PluginFailure(self.group, name, _owner(entry), one_line)
        return PluginError(str(self._failures[name]))

    def _find(self, name: str) -> list[EntryPoint]:
        if name not in self._entries:
            kind = self.group.removeprefix("vidbench.").removesuffix("s")
            close = difflib.get_close_matches(name, self._entries, n=3)
            hint = f"did you mean {' or '.join(close)}? " if close else ""
            raise PluginError(f"no {kind} is called '{name}'; {hint}there are: {', '.join(self.names()) or 'none'}")
        return self._entries[name]


def _owner(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unknown package"


def _same(a: EntryPoint, b: EntryPoint) -> bool:
    return a.value == b.value and (a.dist.name if a.dist else None) == (b.dist.name if b.dist else None)


def _check_facts(name: str, given: object, kind: type[Any], facts: tuple[str, ...]) -> None:
    if not (inspect.isclass(given) and issubclass(given, kind)):
        raise PluginError(f"is not a subclass of {kind.__module__}.{kind.__name__}")
    loaded: Any = given
    missing = [fact for fact in facts if not hasattr(loaded, fact)]
    if missing:
        raise PluginError(f"lacks the class attributes {', '.join(missing)}")
    if loaded.name != name:
        raise PluginError(f"its entry point is called '{name}' but its class says name = '{loaded.name}'")
    if inspect.isabstract(loaded):
        raise PluginError(f"leaves abstract: {', '.join(sorted(loaded.__abstractmethods__))}")


def _check_metric(name: str, loaded: object) -> None:
    from vidbench.metric import Aggregation, ClipMetric, Granularity, Metric, Needs, SetMetric

    _check_facts(name, loaded, Metric, METRIC_FACTS)
    if not (inspect.isclass(loaded) and issubclass(loaded, ClipMetric | SetMetric)):
        raise PluginError("is neither a ClipMetric, a PairMetric nor a SetMetric")
    facts: Any = loaded
    for fact, known in (("granularity", get_args(Granularity)), ("aggregation", get_args(Aggregation))):
        if getattr(facts, fact) not in known:
            raise PluginError(f"its {fact} is '{getattr(facts, fact)}'; known are {', '.join(known)}")
    if (facts.aggregation == "set") != issubclass(facts, SetMetric):
        raise PluginError("the aggregation 'set' is for set metrics, and for them alone")
    try:
        low, high = (float(bound) for bound in facts.value_range)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not low < high:
        raise PluginError(f"its value_range is {facts.value_range}; wanted are two numbers, the smaller one first")
    if not isinstance(facts.needs, Needs):
        raise PluginError("its needs are not a vidbench.metric.Needs")


def _check_extractor(name: str, loaded: object) -> None:
    from vidbench.extractor import BaseExtractor, Extractor, PairExtractor

    _check_facts(name, loaded, BaseExtractor, EXTRACTOR_FACTS)
    if not (inspect.isclass(loaded) and issubclass(loaded, Extractor | PairExtractor)):
        raise PluginError("is neither an Extractor nor a PairExtractor")


def _check_report(name: str, loaded: object) -> None:
    from vidbench.report import Report

    _check_facts(name, loaded, Report, REPORT_FACTS)


def _check_leaderboard(name: str, loaded: object) -> None:
    from vidbench.report import LeaderboardView

    _check_facts(name, loaded, LeaderboardView, REPORT_FACTS)


def _check_generator(name: str, loaded: object) -> None:
    from vidbench.extractor import Requires
    from vidbench.generator import CONDITIONS, Generator

    _check_facts(name, loaded, Generator, GENERATOR_FACTS)
    facts: Any = loaded
    if not isinstance(facts.conditions, frozenset) or not facts.conditions <= CONDITIONS:
        raise PluginError(f"its conditions are {facts.conditions}; known are {', '.join(sorted(CONDITIONS))}")
    if not isinstance(facts.requires, Requires):
        raise PluginError("its requires is not a vidbench.extractor.Requires")


def _check_suite(name: str, loaded: object) -> None:
    from vidbench.suite import Suite

    if not isinstance(loaded, Suite):
        raise PluginError("is not a vidbench.suite.Suite")
    if loaded.name != name:
        raise PluginError(f"its entry point is called '{name}' but the suite says name = '{loaded.name}'")


@cache
def metrics() -> Registry[type[Metric[Any]]]:
    """The group `vidbench.metrics`."""
    return Registry("vidbench.metrics", _check_metric)


@cache
def extractors() -> Registry[type[BaseExtractor[Any]]]:
    """The group `vidbench.extractors`."""
    return Registry("vidbench.extractors", _check_extractor)


@cache
def suites() -> Registry[Suite]:
    """The group `vidbench.suites`."""
    return Registry("vidbench.suites", _check_suite)


@cache
def reports() -> Registry[type[Report]]:
    """The group `vidbench.reports`."""
    return Registry("vidbench.reports", _check_report)


@cache
def leaderboards() -> Registry[type[LeaderboardView]]:
    """The group `vidbench.leaderboards`."""
    return Registry("vidbench.leaderboards", _check_leaderboard)


@cache
def generators() -> Registry[type[Generator]]:
    """The group `vidbench.generators`."""
    return Registry("vidbench.generators", _check_generator)


def forget() -> None:
    """Look at the installed packages anew; for tests and notebooks that install a plug-in while running."""
    for registry in (metrics, extractors, suites, reports, leaderboards, generators):
        registry.cache_clear()
